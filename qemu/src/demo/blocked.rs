//! A host on the WAN tries a port that is open to nobody: it hears nothing, and the router counts it.

use anyhow::{Context, Result, ensure};
use qemu::lab::services::tcp_socket;
use qemu::lab::tuple::Tuple;
use smoltcp::socket::tcp;

use super::{Demo, OUTSIDE, OUTSIDER, WAN};

const PORT: u16 = 22;

pub fn run(demo: &mut Demo) -> Result<String> {
    let before = dropped(demo)?;
    let outsider = demo.outsider;
    let host = demo.lab.get(outsider);
    let port = host.port();
    let mut socket = tcp_socket();
    socket.connect(host.iface.context(), (OUTSIDE, PORT), port)?;
    let handle = host.add(socket);

    // What is answered behind the SYN shows that the SYN was dealt with.
    demo.lab.ping(outsider, OUTSIDE)?;
    let answers = demo.lab.segments[WAN].seen.iter().filter(|sighting| {
        let tuple = Tuple::of(&sighting.frame).map(|(tuple, _)| tuple);
        sighting.from_router && matches!(tuple, Some(Tuple::Tcp { destination: (OUTSIDER, _), .. }))
    });
    ensure!(answers.count() == 0, "port {PORT} answered");
    let after = dropped(demo)?;
    ensure!(after > before, "the policy's counter stayed at {after}");
    demo.lab.get(outsider).get::<tcp::Socket<'_>>(handle).abort();
    Ok(format!(
        "{OUTSIDE}:{PORT} is silent to {OUTSIDER}; the policy of INPUT dropped {} packets",
        after - before
    ))
}

/// How many packets the policy of INPUT has dropped.
fn dropped(demo: &mut Demo) -> Result<u64> {
    let text = demo.lab.command("iptables -L INPUT -v -x -n")?.text;
    let policy = text.split_once("policy DROP ").context("INPUT has no policy DROP")?.1;
    policy
        .split(' ')
        .next()
        .and_then(|count| count.parse().ok())
        .with_context(|| format!("no counter in {text}"))
}
