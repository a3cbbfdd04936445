//! How long the plane takes for a packet, from the frame to the queue of its egress, in bursts of 64.

#![allow(missing_docs)]

mod site;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use site::{BURST, Case, Site};
use std::time::{Duration, Instant};

/// Time of `count` packets of `flows` flows in random order. The packets are made before the clock starts.
fn measure(site: &mut Site, order: &[u32], payload: usize, count: u64) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = count as usize;
    for burst in order.chunks_exact(BURST).cycle() {
        let mut packets = site.packets(&burst[..BURST.min(left)], payload);
        let start = Instant::now();
        site.receive(&mut packets);
        spent += start.elapsed();
        left -= site.drain();
        if left == 0 {
            break;
        }
    }
    spent
}

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
                    bencher.iter_custom(|count| measure(&mut site, &order, payload, count));
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = established
}
criterion_main!(benches);
