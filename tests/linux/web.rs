//! A web server in a few lines, for what it tells: whom it sees. (The files come from python's.)

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    thread,
};
use tests::peer::Peer;

/// Serves `NAME sees ADDRESS` at `address` for ever.
pub fn who_are_you(peer: &Peer, name: &'static str, address: &str) {
    let address: SocketAddr = address.parse().expect("an address and a port");
    let listener = peer.run(move || TcpListener::bind(address).expect("the address is the peer's"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(client) = stream.peer_addr() else { continue };
            let request = BufReader::new(&stream).lines().map_while(Result::ok);
            request.take_while(|line| !line.is_empty()).for_each(drop);
            // A client that has gone is no matter of ours.
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{name} sees {}\n", client.ip());
        }
    });
}
