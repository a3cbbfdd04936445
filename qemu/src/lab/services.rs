//! What the hosts of a lab run: a server of files whose content anyone can check, and a UDP echo.

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::{icmp, tcp, udp};

use super::host::{Host, Service};

/// A socket's buffer in each direction.
const BUFFER: usize = 32 * 1024;

/// The content of file `number` from `start` on: bytes that no other place of no other file has in this order.
pub fn content(number: u32, start: usize, buffer: &mut [u8]) {
    for (byte, at) in buffer.iter_mut().zip(start..) {
        let mixed = (at as u64 ^ u64::from(number) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        *byte = mixed.to_be_bytes()[0];
    }
}

/// A new TCP socket.
pub fn tcp_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
    tcp::Socket::new(buffer(), buffer())
}

/// A new UDP socket.
pub fn udp_socket() -> udp::Socket<'static> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 32], vec![0; BUFFER]);
    udp::Socket::new(buffer(), buffer())
}

/// A new ICMP socket, bound to what it listens for.
pub fn icmp_socket(endpoint: icmp::Endpoint) -> icmp::Socket<'static> {
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 4096]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(endpoint).expect("a new socket binds");
    socket
}

/// Answers the line `GET /NUMBER` with that file's content, and closes.
pub struct FileServer {
    port: u16,
    size: usize,
    connections: Vec<Connection>,
}

struct Connection {
    socket: SocketHandle,
    /// The file, and how much of it was sent.
    sending: Option<(u32, usize)>,
}

impl FileServer {
    /// A server of files of `size` bytes, to `connections` clients at a time.
    pub fn start(host: &mut Host, port: u16, size: usize, connections: usize) {
        let connections =
            (0..connections).map(|_| Connection { socket: host.add(tcp_socket()), sending: None }).collect();
        host.serve(FileServer { port, size, connections });
    }
}

impl Service for FileServer {
    fn poll(&mut self, sockets: &mut SocketSet<'static>) {
        for connection in &mut self.connections {
            let socket: &mut tcp::Socket<'_> = sockets.get_mut(connection.socket);
            if !socket.is_open() {
                connection.sending = None;
                // Fails only for port 0.
                socket.listen(self.port).expect("a server has a port");
            }
            if connection.sending.is_none() && socket.can_recv() {
                let request = socket.recv(|bytes| (bytes.len(), file_number(bytes)));
                connection.sending = request.ok().flatten().map(|number| (number, 0));
            }
            let Some((number, sent)) = &mut connection.sending else { continue };
            while *sent < self.size && socket.can_send() {
                let left = self.size - *sent;
                let count = socket.send(|buffer| {
                    let count = buffer.len().min(left);
                    content(*number, *sent, &mut buffer[..count]);
                    (count, count)
                });
                *sent += count.unwrap_or(left);
            }
            if *sent == self.size {
                socket.close();
            }
        }
    }
}

fn file_number(request: &[u8]) -> Option<u32> {
    std::str::from_utf8(request).ok()?.trim_end().strip_prefix("GET /")?.parse().ok()
}

/// One file on its way from a [`FileServer`].
pub struct Download {
    pub socket: SocketHandle,
    number: u32,
    received: usize,
    asked: bool,
    wrong: bool,
}

/// What became of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes are there.
    Receiving(usize),
    /// The connection is closed after so many bytes, all of them right.
    Complete(usize),
    /// The content was wrong, or the connection was reset or refused.
    Failed,
}

impl Download {
    /// Asks for file `number` at `server`.
    pub fn start(host: &mut Host, server: (std::net::Ipv4Addr, u16), number: u32) -> Download {
        let port = host.port();
        let mut socket = tcp_socket();
        socket.connect(host.iface.context(), server, port).expect("a new socket connects to a full address");
        Download { socket: host.add(socket), number, received: 0, asked: false, wrong: false }
    }

    /// Takes and checks what has come.
    pub fn poll(&mut self, host: &mut Host) -> Progress {
        let socket: &mut tcp::Socket<'_> = host.get(self.socket);
        if !self.asked && socket.can_send() {
            let request = format!("GET /{}\n", self.number);
            self.asked = socket.send_slice(request.as_bytes()).is_ok();
        }
        while socket.can_recv() {
            let (number, received) = (self.number, self.received);
            let chunk = socket.recv(|bytes| {
                let mut expected = vec![0; bytes.len()];
                content(number, received, &mut expected);
                (bytes.len(), (bytes.len(), expected == bytes))
            });
            let Ok((count, right)) = chunk else { break };
            self.received += count;
            self.wrong |= !right;
        }
        if socket.state() == tcp::State::CloseWait {
            socket.close();
        }
        match socket.state() {
            _ if self.wrong => Progress::Failed,
            tcp::State::Closed if self.received > 0 => Progress::Complete(self.received),
            tcp::State::Closed => Progress::Failed,
            _ => Progress::Receiving(self.received),
        }
    }
}

/// Sends each datagram back to where it came from.
pub struct UdpEcho(SocketHandle);

impl UdpEcho {
    pub fn start(host: &mut Host, port: u16) {
        let mut socket = udp_socket();
        socket.bind(port).expect("a new socket binds to any port");
        let echo = UdpEcho(host.add(socket));
        host.serve(echo);
    }
}

impl Service for UdpEcho {
    fn poll(&mut self, sockets: &mut SocketSet<'static>) {
        let socket: &mut udp::Socket<'_> = sockets.get_mut(self.0);
        while socket.can_send() {
            let Ok((bytes, from)) = socket.recv() else { break };
            let bytes = bytes.to_vec();
            // The answer comes from the address that was asked. A full queue loses a datagram, as networks do.
            let _ = socket.send_slice(&bytes, from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::capture::Capture;
    use crate::lab::link::Link;
    use crate::lab::segment::Segment;
    use smoltcp::time::Instant;
    use smoltcp::wire::EthernetAddress;
    use std::path::Path;

    /// Two hosts at the ends of one cable, the second with a server.
    struct Pair(Segment, Segment, Capture);

    fn good() -> Pair {
        let (link, other) = Link::pair().unwrap();
        let host = |name, last| {
            let address = format!("192.0.2.{last}/24").parse().unwrap();
            Host::new(name, [2, 0, 0, 0, 0, last], &[address], Instant::ZERO)
        };
        let segment = |index, link| Segment::new(index, link, EthernetAddress([2, 0, 0, 0, 1, 1]));
        let (mut client, mut server) = (segment(0, link), segment(1, Link::over(other).unwrap()));
        client.hosts.push(host("client", 1));
        server.hosts.push(host("server", 2));
        FileServer::start(&mut server.hosts[0], 80, 100_000, 1);
        UdpEcho::start(&mut server.hosts[0], 7);
        Pair(client, server, Capture::create(Path::new("/dev/null"), 2).unwrap())
    }

    impl Pair {
        /// One round of both ends, at a time that moves on.
        fn round(&mut self, millis: i64) {
            for segment in [&mut self.0, &mut self.1] {
                segment.settle(Instant::from_millis(millis), &mut self.2).unwrap();
            }
            for segment in [&mut self.0, &mut self.1] {
                segment.receive(&mut self.2).unwrap();
            }
        }

        fn download(&mut self, port: u16) -> Progress {
            let mut download = Download::start(&mut self.0.hosts[0], ([192, 0, 2, 2].into(), port), 3);
            for millis in 0..10_000 {
                self.round(millis);
                match download.poll(&mut self.0.hosts[0]) {
                    Progress::Receiving(_) => {}
                    end => return end,
                }
            }
            panic!("no end");
        }
    }

    #[test]
    fn a_file_arrives_whole_and_right() {
        assert_eq!(good().download(80), Progress::Complete(100_000));
    }

    #[test]
    fn a_closed_port_fails() {
        assert_eq!(good().download(81), Progress::Failed);
    }

    #[test]
    fn content_differs_between_files_and_places() {
        let bytes = |number, start| {
            let mut bytes = [0; 64];
            content(number, start, &mut bytes);
            bytes
        };
        assert_eq!(bytes(1, 10)[5..], bytes(1, 15)[..59]);
        assert_ne!(bytes(1, 0), bytes(2, 0));
        assert_ne!(bytes(1, 0), bytes(1, 1460));
    }

    #[test]
    fn a_datagram_comes_back() {
        let mut pair = good();
        let client = &mut pair.0.hosts[0];
        let handle = client.add(udp_socket());
        client.get::<udp::Socket<'_>>(handle).bind(5000).unwrap();
        let server = (std::net::Ipv4Addr::new(192, 0, 2, 2), 7);
        client.get::<udp::Socket<'_>>(handle).send_slice(b"hello", server).unwrap();
        let back = (0..100).find_map(|millis| {
            pair.round(millis);
            pair.0.hosts[0].get::<udp::Socket<'_>>(handle).recv().ok().map(|(bytes, _)| bytes.to_vec())
        });
        assert_eq!(back.unwrap(), b"hello");
    }
}
