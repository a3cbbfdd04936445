//! Packets per second, small and large: the highest rate that comes out, whatever rate it takes to go in (RFC 2285,
//! 3.6.2, "maximum forwarding rate"). On a small host a sender that sends all it can takes the processor away from
//! what is measured, so the rate that goes in grows step by step.

use std::net::UdpSocket;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Values;
use super::site::{Cost, SERVER, Site};

/// Lengths of frames with their check sequence, and of the payload of UDP in them.
const SIZES: [(usize, usize); 2] = [(64, 18), (1400, 1354)];
/// The first rate that goes in, per second, and how it grows.
const FIRST: f64 = 10_000.0;
const GROWTH: f64 = 1.3;
const LAST: f64 = 2_000_000.0;
/// One step of the search, and the measurement at the best rate.
const STEP: Duration = Duration::from_millis(400);
const FINAL: Duration = Duration::from_millis(1500);
/// Where so little of what went in comes out for two steps, the search is over.
const HOPELESS: f64 = 0.7;
/// The sender sleeps in between.
const NAP: Duration = Duration::from_micros(100);
const PORT: u16 = 9000;

pub fn round(site: &Site) -> Result<Values> {
    // What arrives fills this socket's buffer once, and is dropped there: nobody spends time on reading.
    let sink = site.wan.inside(|| Ok(UdpSocket::bind((SERVER, PORT))?))?;
    let source = site.lan.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((SERVER, PORT))?;
        Ok(socket)
    })?;
    let mut values = Values::new();
    for (frame, payload) in SIZES {
        let data = vec![0x5a; payload];
        let rate = best_rate(site, &source, &data)?;
        let (packets, cost) = forwarded(site, &source, &data, rate, FINAL)?;
        ensure!(packets > 0, "no packet came through");
        let each = |seconds: f64| seconds / packets as f64 * 1e6;
        values.push((format!("frames of {frame} bytes"), "packets/s", packets as f64 / cost.seconds));
        values.push((format!("  guest CPU per frame of {frame} bytes"), "us", each(cost.cpu.guest)));
        values.push((format!("  QEMU's own CPU per frame of {frame} bytes"), "us", each(cost.cpu.qemu)));
    }
    drop(sink);
    Ok(values)
}

/// The rate that has to go in so that most comes out.
fn best_rate(site: &Site, source: &UdpSocket, data: &[u8]) -> Result<f64> {
    let (mut best, mut hopeless) = ((0.0, FIRST), 0);
    let mut rate = FIRST;
    while rate < LAST && hopeless < 2 {
        let (packets, cost) = forwarded(site, source, data, rate, STEP)?;
        let out = packets as f64 / cost.seconds;
        if out > best.0 {
            best = (out, rate);
        }
        hopeless = if out < rate * HOPELESS { hopeless + 1 } else { 0 };
        rate *= GROWTH;
    }
    Ok(best.1)
}

/// Sends at `rate` for some time, and gives how many packets came out, and at what cost.
fn forwarded(site: &Site, source: &UdpSocket, data: &[u8], rate: f64, time: Duration) -> Result<(u64, Cost)> {
    let before = site.wan.counters()?.received;
    let (last, cost) = site.during(|| {
        send(source, data, rate, time)?;
        Ok(site.wan.counters()?.received)
    })?;
    Ok((last - before, cost))
}

fn send(source: &UdpSocket, data: &[u8], rate: f64, time: Duration) -> Result<()> {
    let start = Instant::now();
    let mut sent = 0_u64;
    while start.elapsed() < time {
        let due = (start.elapsed().as_secs_f64() * rate) as u64;
        while sent < due && start.elapsed() < time {
            // A full queue of the tap is a loss like another.
            let _ = source.send(data);
            sent += 1;
        }
        sleep(NAP);
    }
    Ok(())
}
