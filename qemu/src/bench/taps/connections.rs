//! TCP connections per second: each is opened, brings a request and an answer of some bytes, and is closed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;

use super::Values;
use super::site::{SERVER, Site};

/// Clients at a time, each with one connection after the other, and servers.
const CLIENTS: usize = 16;
const TIME: Duration = Duration::from_secs(2);
const PORT: u16 = 8000;
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.0 204 No Content\r\n\r\n";

pub fn round(site: &Site) -> Result<Values> {
    // Each client's port is used again within the minute that a closed connection lingers.
    let ports = "sysctl -q -w net.ipv4.ip_local_port_range='1024 65000' net.ipv4.tcp_tw_reuse=1";
    site.lan.run(ports)?;
    let listener = site.wan.inside(|| Ok(TcpListener::bind((SERVER, PORT))?))?;
    let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (done, cost) = site.lan.inside(|| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| serve(&listener, &over));
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        if ask().is_ok() {
                            count.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
            let measured = site.during(|| {
                let before = count.load(Relaxed);
                std::thread::sleep(TIME);
                Ok(count.load(Relaxed) - before)
            });
            over.store(true, Relaxed);
            // A server that waits sees that it is over with its next client, which hangs up at once.
            for _ in 0..CLIENTS {
                let _ = TcpStream::connect((SERVER, PORT));
            }
            measured
        })
    })?;
    let each = |seconds: f64| seconds / done as f64 * 1e6;
    Ok(vec![
        ("TCP connections".into(), "per s", done as f64 / cost.seconds),
        ("  guest CPU per TCP connection".into(), "us", each(cost.cpu.guest)),
        ("  QEMU's own CPU per TCP connection".into(), "us", each(cost.cpu.qemu)),
    ])
}

/// Answers one client after the other.
fn serve(listener: &TcpListener, over: &AtomicBool) {
    while !over.load(Relaxed) {
        // What becomes of one client is that client's matter.
        let _ = listener.accept().and_then(|(mut stream, _)| {
            stream.read_exact(&mut [0; REQUEST.len()])?;
            stream.write_all(ANSWER)
        });
    }
}

fn ask() -> std::io::Result<()> {
    let mut stream = TcpStream::connect((SERVER, PORT))?;
    stream.set_read_timeout(Some(TIME))?;
    stream.write_all(REQUEST)?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
