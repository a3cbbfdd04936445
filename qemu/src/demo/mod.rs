//! `demo`: this program plays the hosts on both sides of the router, and judges what each of them saw.

mod arp;
mod blocked;
mod download;
mod forward;
mod hairpin;
mod icmp_error;
mod ping;
mod report;
mod traceroute;
mod udp;

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use qemu::lab::services::{FileServer, UdpEcho};
use qemu::lab::{HostId, Lab, Plan};
use qemu::machine::{Accel, Board};

const LAN: usize = 0;
const WAN: usize = 1;
/// The router's addresses.
const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The web server on the WAN has an address of its own behind the provider's gateway.
const WEB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const LAPTOP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
const OUTSIDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
/// Where the outside reaches the server.
const FORWARDED_PORT: u16 = 8080;
const FILE: usize = 256 * 1024;

#[derive(clap::Args)]
pub struct Options {
    /// q35, pc or microvm, with QEMU's own options after a comma
    #[arg(long, value_name = "MACHINE", default_value = "q35")]
    machine: Board,
    /// What runs the guest [default: kvm where it works, else tcg]
    #[arg(long, value_enum)]
    accel: Option<Accel>,
}

/// The router and the hosts around it.
struct Demo {
    lab: Lab,
    laptop: HostId,
    outsider: HostId,
}

/// One thing that has to hold, and how to find out. The answer says what was seen.
type Station = (&'static str, fn(&mut Demo) -> Result<String>);

const STATIONS: [Station; 9] = [
    ("ARP", arp::run),
    ("ping through the router", ping::run),
    ("traceroute", traceroute::run),
    ("concurrent downloads", download::run),
    ("UDP exchange", udp::run),
    ("port-forward from outside", forward::run),
    ("hairpin", hairpin::run),
    ("blocked port", blocked::run),
    ("ICMP error", icmp_error::run),
];

/// Plays all stations; fails when one of them did not hold.
pub fn run(options: Options) -> Result<()> {
    let mut demo = Demo::start(options)?;
    let mut failed = 0;
    for (name, station) in STATIONS {
        demo.forget();
        let outcome = station(&mut demo).and_then(|seen| demo.check_outside().map(|()| seen));
        failed += usize::from(outcome.is_err());
        report::station(name, &outcome, &demo.lab.segments);
    }
    ensure!(
        failed == 0,
        "{failed} of {} stations failed; the logs are in {}",
        STATIONS.len(),
        demo.lab.logs()
    );
    report::good(&format!("all {} stations held", STATIONS.len()));
    demo.lab.finish();
    Ok(())
}

impl Demo {
    fn start(options: Options) -> Result<Demo> {
        let mut plan = Plan::new("demo");
        plan.config = Some(include_str!("router.conf").to_owned());
        plan.board = options.machine;
        plan.accel = options.accel.unwrap_or(plan.accel);
        report::heading(&format!("rutter boots on {}, configured by", plan.board));
        report::quote(include_str!("router.conf"));
        let mut lab = Lab::boot(plan)?;
        report::heading(&format!("its prompt was there after {} ms\n", lab.started().elapsed().as_millis()));

        let laptop = lab.host(LAN, "laptop", &[&format!("{LAPTOP}/24")], Some(INSIDE));
        let server = lab.host(LAN, "server", &[&format!("{SERVER}/24")], Some(INSIDE));
        let web = lab.host(WAN, "web", &["203.0.113.254/24", &format!("{WEB}/32")], None);
        let outsider = lab.host(WAN, "outsider", &[&format!("{OUTSIDER}/24")], None);
        FileServer::start(lab.get(web), 80, FILE, download::COUNT);
        UdpEcho::start(lab.get(web), udp::PORT);
        FileServer::start(lab.get(server), 80, FILE, 2);
        Ok(Demo { lab, laptop, outsider })
    }

    fn forget(&mut self) {
        for segment in &mut self.lab.segments {
            segment.seen.clear();
        }
    }

    /// Nothing that left on the WAN may name an address of the LAN.
    fn check_outside(&self) -> Result<()> {
        let inner = [LAPTOP, SERVER, INSIDE].map(|address| address.octets());
        let mut left = self.lab.segments[WAN].seen.iter().filter(|sighting| sighting.from_router);
        let leak = left.find(|sighting| {
            // From the sender of an ARP packet, or the source of an IPv4 one, to the quote within an ICMP error.
            sighting.frame[14..]
                .windows(4)
                .take(48)
                .any(|window| inner.iter().any(|address| address == window))
        });
        ensure!(
            leak.is_none(),
            "a frame with an inner address left on the WAN: {:02x?}",
            leak.map(|leak| &leak.frame)
        );
        Ok(())
    }
}
