//! How long the plane takes for a packet, from the frame to the queue of its egress, in bursts of 64.

#![allow(missing_docs)]

mod site;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netstack::packet::Packet;
use site::{BURST, Case, Site};
use std::time::{Duration, Instant};

/// How the router takes the packets of a burst.
type Receive = fn(&mut Site, &mut Vec<Packet>);

/// Time of `count` packets of these flows, again and again in this order. They are made before the clock starts.
fn measure(site: &mut Site, receive: Receive, order: &[u32], payload: usize, count: u64) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = count as usize;
    for flows in order.chunks_exact(BURST).cycle() {
        let mut packets = site.packets(&flows[..BURST.min(left)], payload);
        left -= packets.len();
        let start = Instant::now();
        receive(site, &mut packets);
        spent += start.elapsed();
        site.drain();
        if left == 0 {
            break;
        }
    }
    spent
}

/// Packets of flows under way, in random order.
fn established(criterion: &mut Criterion) {
    for (name, case) in [("forward", Case::Forward), ("masquerade", Case::Masquerade), ("dnat", Case::Dnat)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        for flows in [1, 1 << 16, 1 << 20] {
            let mut site = Site::warm(case, flows);
            let order = site.shuffled(flows, (flows as usize).max(BURST));
            let payloads: &[usize] = if flows == 1 { &[22, 1458] } else { &[22] };
            for &payload in payloads {
                let id = BenchmarkId::new(format!("{} bytes", payload + 42), format!("{flows} flows"));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|count| measure(&mut site, Site::receive, &order, payload, count));
                });
            }
            // What is gained by taking a burst together.
            group.bench_function(BenchmarkId::new("one by one", format!("{flows} flows")), |bencher| {
                bencher.iter_custom(|count| measure(&mut site, Site::receive_singly, &order, 22, count));
            });
        }
        group.finish();
    }
}

/// First packets of flows: the table is full after a while, and then each takes the place of another.
fn first(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("new flow");
    group.throughput(Throughput::Elements(1));
    for (name, case) in [("forward", Case::Forward), ("masquerade", Case::Masquerade), ("dnat", Case::Dnat)] {
        let mut site = Site::new(case, 0);
        let order: Vec<u32> = (0..1 << 20).collect();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| measure(&mut site, Site::receive, &order, 22, count));
        });
    }
    group.finish();
}

/// Packets that go nowhere.
fn missing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("miss");
    group.throughput(Throughput::Elements(1));
    for (name, case) in [("no rule", Case::NoRule), ("no route", Case::NoRoute)] {
        let mut site = Site::new(case, 0);
        let order: Vec<u32> = (0..1 << 16).collect();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| measure(&mut site, Site::receive, &order, 22, count));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = established, first, missing
}
criterion_main!(benches);
