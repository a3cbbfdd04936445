//! Guest instructions for a packet, from its arrival to its departure, all that it causes included. QEMU counts them
//! exactly under `-icount`, and tells the count by `query-replay`.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use qemu::lab::{Lab, Plan};
use serde_json::json;
use smoltcp::wire::EthernetAddress;

use super::Figures;
use super::frame::Path;

/// Both neighbours are known for good: no ARP is counted.
const NETWORK: &str = "
ip addr add 192.168.1.1/24 dev eth0
ip addr add 203.0.113.1/24 dev eth1
ip link set eth0 up
ip link set eth1 up
ip route add default via 203.0.113.254
ip neigh add 192.168.1.10 lladdr 02:00:00:00:00:0a nud permanent dev eth0
ip neigh add 203.0.113.254 lladdr 02:00:00:00:01:01 nud permanent dev eth1
sysctl -w net.ipv4.ip_forward=1
";
const MASQUERADE: &str = "
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -i eth0 -j ACCEPT
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
";
const LAPTOP_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x0a]);
const LAPTOP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const WEB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// Packets of one measurement, and how many of them are under way at a time.
const PACKETS: u32 = 8192;
const BURST: u32 = 64;

pub fn measure(figures: &mut Figures) -> Result<()> {
    let mut plain = Router::boot("bench_forward", NETWORK)?;
    figures.add("guest instructions per forwarded packet", "", plain.cost(|_| 5000)?);
    plain.0.finish();
    let mut masquerade = Router::boot("bench_masquerade", &format!("{NETWORK}{MASQUERADE}"))?;
    figures.add("guest instructions per masqueraded packet", "", masquerade.cost(|_| 5000)?);
    figures.add(
        "guest instructions per new masqueraded flow",
        "",
        masquerade.cost(|number| 10_000 + number as u16)?,
    );
    masquerade.0.finish();
    Ok(())
}

struct Router(Lab);

impl Router {
    fn boot(name: &str, config: &str) -> Result<Router> {
        let more = ["-icount", "shift=0"].map(Into::into).to_vec();
        Ok(Router(Lab::boot(Plan { config: Some(config.to_owned()), more, ..Plan::new(name) })?))
    }

    /// Sends packets, each from the port that `port` says, and gives what one of them cost.
    fn cost(&mut self, port: impl Fn(u32) -> u16) -> Result<f64> {
        // The first packet of a flow has costs that the others have not.
        self.send(0..1, &port)?;
        let before = self.executed()?;
        for start in (0..PACKETS).step_by(BURST as usize) {
            self.send(start + 1..start + 1 + BURST, &port)?;
        }
        Ok((self.executed()? - before) as f64 / f64::from(PACKETS))
    }

    fn send(&mut self, numbers: std::ops::Range<u32>, port: impl Fn(u32) -> u16) -> Result<()> {
        let lab = &mut self.0;
        lab.segments[1].seen.clear();
        let path = Path { macs: (LAPTOP_MAC, lab.segments[0].router), addresses: (LAPTOP, WEB) };
        let count = numbers.len();
        for number in numbers {
            lab.inject(0, &path.datagram(port(number)))?;
        }
        lab.until("the packets on the other side", |lab| {
            (lab.segments[1].from_router() == count).then_some(())
        })
    }

    fn executed(&mut self) -> Result<u64> {
        // The count stands still once the machine sleeps.
        let mut last = None;
        loop {
            let answer = self.0.qmp.execute("query-replay", json!({}))?;
            let count = answer["icount"].as_u64().context("query-replay gave no icount")?;
            if last == Some(count) {
                return Ok(count);
            }
            last = Some(count);
            self.0.run_for(std::time::Duration::from_millis(5))?;
        }
    }
}
