//! How many instructions the plane takes for 1000 packets, exactly: counted by callgrind.
//!
//! `cargo run -- setup --tests` installs what this needs: valgrind and gungraun-runner.

#![allow(missing_docs)]

mod site;

use gungraun::{
    Callgrind, LibraryBenchmarkConfig, OutputFormat, library_benchmark, library_benchmark_group, main,
};
use netstack::packet::Packet;
use site::{Case, Site};

/// Packets of one measurement: the figures that are printed are thousandths of a packet.
const PACKETS: usize = 1000;

/// Packets of flows that are under way, in random order.
fn established(case: Case, flows: u32, payload: usize) -> (Site, Vec<Packet>) {
    let mut site = Site::warm(case, flows);
    let order = site.shuffled(flows, PACKETS);
    let packets = site.packets(&order, payload);
    (site, packets)
}

/// The first packets of as many flows.
fn first(case: Case) -> (Site, Vec<Packet>) {
    let mut site = Site::warm(case, 1);
    let flows: Vec<u32> = (1..).take(PACKETS).collect();
    let packets = site.packets(&flows, 22);
    (site, packets)
}

/// Packets that go nowhere.
fn missing(case: Case) -> (Site, Vec<Packet>) {
    let mut site = Site::new(case, 0);
    let flows: Vec<u32> = (1..).take(PACKETS).collect();
    let packets = site.packets(&flows, 22);
    (site, packets)
}

#[library_benchmark]
#[bench::forward(args = (Case::Forward, 1, 22), setup = established)]
#[bench::forward_4096_flows(args = (Case::Forward, 4096, 22), setup = established)]
#[bench::masquerade(args = (Case::Masquerade, 1, 22), setup = established)]
#[bench::masquerade_1500_bytes(args = (Case::Masquerade, 1, 1458), setup = established)]
#[bench::masquerade_4096_flows(args = (Case::Masquerade, 4096, 22), setup = established)]
#[bench::dnat(args = (Case::Dnat, 1, 22), setup = established)]
#[bench::new_forward(args = (Case::Forward), setup = first)]
#[bench::new_masquerade(args = (Case::Masquerade), setup = first)]
#[bench::new_dnat(args = (Case::Dnat), setup = first)]
#[bench::no_rule(args = (Case::NoRule), setup = missing)]
#[bench::no_route(args = (Case::NoRoute), setup = missing)]
fn receive((mut site, mut packets): (Site, Vec<Packet>)) -> (Site, Vec<Packet>) {
    site.receive(&mut packets);
    (site, packets)
}

library_benchmark_group!(name = plane, benchmarks = receive);

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]))
        .output_format(OutputFormat::default().truncate_description(None)),
    library_benchmark_groups = plane
);
