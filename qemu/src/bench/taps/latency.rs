//! Round trips of a datagram, while nothing else passes, and beside a TCP stream.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Values;
use super::site::{SERVER, Site};
use super::tcp::iperf;

const PORT: u16 = 9001;
/// Between two datagrams: the machine sleeps again.
const PAUSE: Duration = Duration::from_millis(3);
/// How many datagrams while nothing else passes, and for how many seconds beside TCP.
const COUNT: usize = 500;
const SECONDS: u32 = 3;
/// A datagram that is not back by then counts as one that took so long.
const PATIENCE: Duration = Duration::from_secs(1);

pub fn round(site: &Site) -> Result<Values> {
    let echo = site.wan.inside(|| Ok(UdpSocket::bind((SERVER, PORT))?))?;
    echo.set_read_timeout(Some(Duration::from_millis(50)))?;
    let client = site.lan.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((SERVER, PORT))?;
        Ok(socket)
    })?;
    client.set_read_timeout(Some(PATIENCE))?;
    let over = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| answer(&echo, &over));
        let result = trips(site, &client);
        over.store(true, Relaxed);
        result
    });
    let (idle, loaded) = result?;
    let mut values = Values::new();
    for (name, times) in [("idle", idle), ("beside TCP up", loaded)] {
        values.push((format!("round trip, {name}, median"), "ms", quantile(&times, 0.5)?));
        values.push((format!("round trip, {name}, 99 of 100 within"), "ms", quantile(&times, 0.99)?));
    }
    Ok(values)
}

/// The times of round trips, sorted, in milliseconds: while nothing else passes, and beside TCP.
fn trips(site: &Site, client: &UdpSocket) -> Result<(Vec<f64>, Vec<f64>)> {
    let idle = (0..COUNT as u32).map(|number| trip(client, number)).collect();
    let over = AtomicBool::new(false);
    let loaded = std::thread::scope(|scope| -> Result<Vec<f64>> {
        let load = scope.spawn(|| {
            let result = iperf(site, &format!("-t {SECONDS}"));
            over.store(true, Relaxed);
            result
        });
        let numbers = (COUNT as u32..).take_while(|_| !over.load(Relaxed));
        let times = numbers.map(|number| trip(client, number)).collect();
        load.join().expect("iperf3's thread does not panic")?;
        Ok(times)
    })?;
    let sorted = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times
    };
    Ok((sorted(idle), sorted(loaded)))
}

fn trip(client: &UdpSocket, number: u32) -> f64 {
    std::thread::sleep(PAUSE);
    let start = Instant::now();
    let mut bytes = [0; 64];
    // The answer to an earlier one that was late is passed over.
    let _ = client.send(&number.to_be_bytes());
    while start.elapsed() < PATIENCE {
        match client.recv(&mut bytes) {
            Ok(4) if bytes[..4] == number.to_be_bytes() => break,
            _ => {}
        }
    }
    start.elapsed().as_secs_f64() * 1e3
}

fn answer(echo: &UdpSocket, over: &AtomicBool) {
    let mut bytes = [0; 64];
    while !over.load(Relaxed) {
        // Nothing came yet, or nobody listens any more: the client counts what is lost.
        if let Ok((length, from)) = echo.recv_from(&mut bytes) {
            let _ = echo.send_to(&bytes[..length], from);
        }
    }
}

fn quantile(sorted: &[f64], part: f64) -> Result<f64> {
    let last = sorted.len().checked_sub(1).context("no round trips")?;
    Ok(sorted[(last as f64 * part).round() as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within() {
        let times: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&times, 0.5).unwrap(), 50.0);
        assert_eq!(quantile(&times, 0.99).unwrap(), 99.0);
        assert_eq!(quantile(&[7.0], 0.99).unwrap(), 7.0);
        quantile(&[], 0.5).unwrap_err();
    }
}
