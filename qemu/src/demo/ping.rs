//! Echo requests from the laptop to the web server, and the answers (RFC 792).

use anyhow::{Result, ensure};

use super::{Demo, OUTSIDE, WAN, WEB};

const COUNT: u16 = 5;

pub fn run(demo: &mut Demo) -> Result<String> {
    let mut times = Vec::new();
    for _ in 0..COUNT {
        times.push(demo.lab.ping(demo.laptop, WEB)?);
    }
    times.sort();
    let sources = demo.lab.segments[WAN].seen.iter().filter(|sighting| sighting.from_router);
    let masqueraded = sources.filter(|sighting| sighting.frame[26..30] == OUTSIDE.octets()).count();
    ensure!(masqueraded >= COUNT.into(), "only {masqueraded} requests came from {OUTSIDE}");
    Ok(format!(
        "{COUNT} of {COUNT} answers from {WEB}, which saw {OUTSIDE}; median {:.1?}",
        times[times.len() / 2]
    ))
}
