//! Flows that fill the router's table, and whether they are still in it.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Result;

use super::site::{SERVER, Site};

const FIRST_PORT: u16 = 20_000;
const SERVER_PORT: u16 = 9002;
/// How often a datagram is sent that may be lost on a busy host, and how long the other end waits for it.
const TRIES: usize = 5;
const PATIENCE: Duration = Duration::from_millis(200);

/// Flows of UDP from the LAN to the server.
pub struct Flows {
    server: UdpSocket,
    /// Each with the outer endpoint that the server sees.
    clients: Vec<(UdpSocket, SocketAddr)>,
}

impl Flows {
    /// Begins so many, as far as the table takes them. Each is asked and answered twice: assured.
    pub fn begin(site: &Site, count: u16) -> Result<Flows> {
        let server = site.wan.inside(|| Ok(UdpSocket::bind((SERVER, SERVER_PORT))?))?;
        server.set_read_timeout(Some(PATIENCE))?;
        let clients: Vec<UdpSocket> = site.lan.inside(|| {
            let bind = |number| -> Result<UdpSocket> {
                let socket = UdpSocket::bind(("0.0.0.0", FIRST_PORT + number))?;
                socket.connect((SERVER, SERVER_PORT))?;
                socket.set_read_timeout(Some(PATIENCE))?;
                Ok(socket)
            };
            (0..count).map(bind).collect()
        })?;
        let begun = clients.into_iter().filter_map(|client| {
            exchange(&client, &server)?;
            let outer = exchange(&client, &server)?;
            Some((client, outer))
        });
        Ok(Flows { clients: begun.collect(), server })
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// How many still lead in. The server speaks first, with which no flow could begin anew.
    pub fn alive(&self) -> usize {
        self.clients.iter().filter(|(client, outer)| self.leads_in(client, outer)).count()
    }

    fn leads_in(&self, client: &UdpSocket, outer: &SocketAddr) -> bool {
        (0..TRIES).any(|_| {
            let sent = self.server.send_to(b"there?", outer).is_ok();
            sent && client.recv(&mut [0; 16]).is_ok()
        })
    }
}

/// A question and its answer; gives where the question came from. What a full table refuses does not arrive.
fn exchange(client: &UdpSocket, server: &UdpSocket) -> Option<SocketAddr> {
    let mut bytes = [0; 16];
    client.send(b"who?").ok()?;
    let (length, from) = server.recv_from(&mut bytes).ok()?;
    server.send_to(&bytes[..length], from).ok()?;
    client.recv(&mut bytes).ok()?;
    Some(from)
}
