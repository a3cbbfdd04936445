//! Two hosts on a wire that takes 1 ms, in virtual time.

use super::*;
use crate::{
    config::PortInfo,
    stage::icmp::IcmpErrors,
    test_support::{interface_address, random},
};
use alloc::vec;
use rand_core::Rng;
use smoltcp::{
    iface::SocketHandle,
    socket::udp,
    time::Duration,
    wire::{EthernetAddress, IpEndpoint},
};

const NEAR: Ipv4Address = Ipv4Address::new(192, 168, 1, 1);
const FAR: Ipv4Address = Ipv4Address::new(192, 168, 1, 2);
const DELAY: Duration = Duration::from_millis(1);

fn config(address: Ipv4Address) -> Config {
    let mut config = Config::new(&[PortInfo::new(EthernetAddress([2, 0, 0, 0, 0, 1]), 1500)]);
    config.interfaces[1].up = true;
    config.interfaces[1].addresses.push(interface_address(&alloc::format!("{address}/24")));
    config
}

fn host(address: Ipv4Address) -> Host {
    let mut host = Host::new(&mut random(), Instant::ZERO);
    host.set_config(&config(address));
    host
}

/// Buffers of a usual length, dirty.
fn exchange() -> Exchange {
    let mut exchange = Exchange::new(256, 1514);
    let mut all: Vec<Packet> = core::iter::from_fn(|| exchange.allocate()).collect();
    for mut packet in all.drain(..) {
        packet.storage_mut().fill(0xa5);
        exchange.recycle(packet);
    }
    exchange
}

struct Wire {
    near: Host,
    far: Host,
    exchange: Exchange,
    now: Instant,
    /// Everything that was on the wire.
    seen: Vec<Vec<u8>>,
}

impl Wire {
    fn new() -> Self {
        Self { near: host(NEAR), far: host(FAR), exchange: exchange(), now: Instant::ZERO, seen: Vec::new() }
    }

    /// Carries all packets over; gives what became of each.
    fn turn(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        self.near.poll(&mut self.exchange, self.now);
        self.far.poll(&mut self.exchange, self.now);
        self.now += DELAY;
        let drain = |host: &mut Host| core::iter::from_fn(|| host.take_outgoing()).collect::<Vec<_>>();
        let (there, back) = (drain(&mut self.near), drain(&mut self.far));
        for (packets, to) in [(there, &mut self.far), (back, &mut self.near)] {
            for packet in packets {
                let headers = Headers::parse(packet.bytes(), ETHERNET_HEADER).unwrap();
                deliveries.push(to.deliver(&mut self.exchange, &packet, &headers, self.now));
                self.seen.push(packet.bytes().to_vec());
                self.exchange.recycle(packet);
            }
        }
        deliveries
    }

    /// Until nothing more happens.
    fn run(&mut self) {
        for _ in 0..10_000 {
            let due = |host: &Host, now| host.poll_at().is_some_and(|due| due <= now);
            if self.turn().is_empty() && !due(&self.near, self.now) && !due(&self.far, self.now) {
                return;
            }
        }
        panic!("it goes on and on");
    }

    fn session(&mut self, kind: ProbeKind) -> ProbeSession {
        self.near.open_probe(kind, NEAR, FAR, &mut random()).unwrap()
    }

    fn probe(&mut self, session: ProbeSession, probe: Probe) -> Result<(), DropReason> {
        self.near.send_probe(&mut self.exchange, session, probe, self.now)
    }
}

const PROBE: Probe = Probe { sequence: 1, size: 56, ttl: 64, tos: 0, dont_fragment: true };

fn tcp_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; 16_384]);
    tcp::Socket::new(buffer(), buffer())
}

fn udp_socket(port: u16) -> udp::Socket<'static> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(port).unwrap();
    socket
}

/// A frame with a right checksum in every layer, from `FAR` to `NEAR`.
fn frame(protocol: IpProtocol, segment: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = vec![0xa5; ETHERNET_HEADER + 20 + segment.len()];
    let header = crate::wire::ipv4::OwnHeader {
        source: FAR,
        destination: NEAR,
        protocol,
        tos: 0,
        ttl: 64,
        identification: 1,
        dont_fragment: false,
    };
    header.write_frame(&mut frame).copy_from_slice(segment);
    change(&mut frame[ETHERNET_HEADER..]);
    frame[24..26].fill(0);
    let sum = !checksum::sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let at = match protocol {
        IpProtocol::Tcp => 16,
        IpProtocol::Udp => 6,
        IpProtocol::Icmp => 2,
        _ => return frame,
    };
    frame[34 + at..36 + at].fill(0);
    let length = segment.len() as u16;
    let mut covered = frame[34..].to_vec();
    if protocol != IpProtocol::Icmp {
        covered.extend_from_slice(&frame[26..34]);
        covered.extend_from_slice(&[0, protocol.into()]);
        covered.extend_from_slice(&length.to_be_bytes());
    }
    let sum = !checksum::sum(&covered);
    frame[34 + at..36 + at].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn deliver(host: &mut Host, frame: &[u8]) -> Delivery {
    let headers = Headers::parse(frame, ETHERNET_HEADER).unwrap();
    host.deliver(&mut exchange(), &Packet::from_frame(frame), &headers, Instant::from_secs(1))
}

const ECHO_REQUEST: [u8; 12] = [8, 0, 0, 0, 0x12, 0x34, 0, 1, b'p', b'i', b'n', b'g'];
/// From port 40000 to port 53.
const DATAGRAM: [u8; 12] = [0x9c, 0x40, 0, 53, 0, 12, 0, 0, b'd', b'a', b't', b'a'];
/// A SYN from port 40000 to port 80.
const SYN: [u8; 20] = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x10, 0, 0, 0, 0, 0];

#[test]
fn a_ping_is_answered_and_timed() {
    let mut wire = Wire::new();
    let session = wire.session(ProbeKind::Echo);
    wire.probe(session, PROBE).unwrap();
    wire.run();
    assert_eq!(
        wire.near.take_answer(session),
        Some(ProbeAnswer {
            sequence: 1,
            from: FAR,
            ttl: 64,
            length: 64,
            round_trip: Some(DELAY * 2),
            kind: AnswerKind::Reply,
        })
    );
    assert_eq!(wire.near.take_answer(session), None);
}

#[test]
fn the_request_on_the_wire_is_as_it_was_asked_for() {
    let mut wire = Wire::new();
    let session = wire.session(ProbeKind::Echo);
    wire.probe(session, Probe { ttl: 3, tos: 0x10, ..PROBE }).unwrap();
    wire.run();
    let request = Headers::parse(&wire.seen[0], ETHERNET_HEADER).unwrap();
    assert_eq!((request.source, request.destination), (NEAR, FAR));
    assert_eq!((request.ttl, request.tos, request.dont_fragment, request.total_length), (3, 0x10, true, 84));
    let reply = Headers::parse(&wire.seen[1], ETHERNET_HEADER).unwrap();
    assert!(!reply.dont_fragment, "nobody would learn of a smaller MTU on its way");
    assert_eq!(wire.seen[0][42..], wire.seen[1][42..], "the reply carries the data");
}

#[test]
fn pings_longer_than_a_buffer_go_and_come_in_fragments() {
    for size in [1472, 1473, 3000, 65_507] {
        let mut wire = Wire::new();
        let session = wire.session(ProbeKind::Echo);
        wire.probe(session, Probe { size, dont_fragment: false, ..PROBE }).unwrap();
        wire.run();
        let answer = wire.near.take_answer(session).unwrap();
        assert_eq!((answer.length, answer.kind), (size + 8, AnswerKind::Reply));
    }
    let mut wire = Wire::new();
    let session = wire.session(ProbeKind::Echo);
    for (size, dont_fragment) in [(1473, true), (65_508, false)] {
        let refused = wire.probe(session, Probe { size, dont_fragment, ..PROBE });
        assert_eq!(refused, Err(DropReason::FragmentationNeeded));
    }
}

#[test]
fn several_pings_run_side_by_side_and_a_second_answer_is_told_apart() {
    let mut wire = Wire::new();
    let sessions = [wire.session(ProbeKind::Echo), wire.session(ProbeKind::Echo)];
    assert_ne!(sessions[0], sessions[1]);
    for (sequence, session) in sessions.into_iter().enumerate() {
        wire.probe(session, Probe { sequence: sequence as u16, ..PROBE }).unwrap();
    }
    wire.run();
    let reply = wire.seen.last().unwrap().clone();
    assert_eq!(deliver(&mut wire.near, &reply), Delivery::Accepted);
    let answers = |wire: &mut Wire, session| -> Vec<(u16, bool)> {
        core::iter::from_fn(|| wire.near.take_answer(session))
            .map(|answer| (answer.sequence, answer.round_trip.is_some()))
            .collect()
    };
    assert_eq!(answers(&mut wire, sessions[0]), [(0, true)]);
    assert_eq!(answers(&mut wire, sessions[1]), [(1, true), (1, false)]);
    wire.near.close_probe(sessions[0]);
    assert_eq!(wire.probe(sessions[0], PROBE), Err(DropReason::NoListener));
}

#[test]
fn sessions_are_bounded() {
    let mut wire = Wire::new();
    let opened =
        (0..100).map_while(|_| wire.near.open_probe(ProbeKind::Echo, NEAR, FAR, &mut random())).count();
    assert!((8..100).contains(&opened), "{opened}");
}

/// Sends a probe, and answers it with an ICMP error that quotes only so much of it.
fn provoke(kind: ProbeKind, error: IcmpError, quoted: usize) -> Option<ProbeAnswer> {
    let mut wire = Wire::new();
    let session = wire.session(kind);
    wire.probe(session, Probe { sequence: 33_434, ..PROBE }).unwrap();
    let mut probe = wire.near.take_outgoing().unwrap();
    let headers = Headers::parse(probe.bytes(), ETHERNET_HEADER).unwrap();
    probe.truncate(ETHERNET_HEADER + 20 + quoted);
    let headers = Headers { total_length: 20 + quoted as u16, ..headers };
    let hop = Ipv4Address::new(10, 0, 0, 1);
    let error = IcmpErrors::new(1).build(&mut wire.exchange, probe.bytes(), &headers, error, hop).unwrap();
    let headers = Headers::parse(error.bytes(), ETHERNET_HEADER).unwrap();
    wire.near.deliver(&mut wire.exchange, &error, &headers, wire.now + DELAY);
    wire.near.take_answer(session)
}

#[test]
fn an_error_about_a_probe_is_told_even_with_the_shortest_quote() {
    for kind in [ProbeKind::Echo, ProbeKind::Udp] {
        let answer = provoke(kind, IcmpError::TtlExceeded, 8).unwrap();
        assert_eq!((answer.sequence, answer.from), (33_434, Ipv4Address::new(10, 0, 0, 1)));
        assert_eq!(answer.round_trip, Some(DELAY));
        assert_eq!(answer.kind, AnswerKind::Error { kind: 11, code: 0, mtu: 0 });
    }
    let answer = provoke(ProbeKind::Echo, IcmpError::FragmentationNeeded { mtu: 1400 }, 64).unwrap();
    assert_eq!(answer.kind, AnswerKind::Error { kind: 3, code: 4, mtu: 1400 });
    assert_eq!(provoke(ProbeKind::Udp, IcmpError::TtlExceeded, 7), None, "no whole port");
}

#[test]
fn a_traceroute_ends_at_a_closed_port() {
    let mut wire = Wire::new();
    let session = wire.session(ProbeKind::Udp);
    wire.probe(session, Probe { sequence: 33_434, ..PROBE }).unwrap();
    assert_eq!(wire.turn(), [Delivery::Error(IcmpError::PortUnreachable)]);
    let ports: Vec<_> = wire.near.local_ports().collect();
    assert_eq!(ports, [(protocol::UDP, session.identifier)]);
}

#[test]
fn an_echo_reply_has_the_type_of_service_of_its_request() {
    let request = frame(IpProtocol::Icmp, &ECHO_REQUEST, |ip| ip[1] = 0xb8);
    let mut host = host(NEAR);
    assert_eq!(deliver(&mut host, &request), Delivery::Accepted);
    assert_eq!(host.take_outgoing().unwrap().bytes()[ETHERNET_HEADER + 1], 0xb8);
}

#[test]
fn echo_to_a_group_is_ignored_and_so_is_all_echo_where_the_sysctl_says_so() {
    for destination in [[192, 168, 1, 255], [255; 4], [224, 0, 0, 1]] {
        let request = frame(IpProtocol::Icmp, &ECHO_REQUEST, |ip| ip[16..20].copy_from_slice(&destination));
        assert_eq!(deliver(&mut host(NEAR), &request), Delivery::Dropped(DropReason::EchoIgnored));
    }
    let request = frame(IpProtocol::Icmp, &ECHO_REQUEST, |_| {});
    assert_eq!(deliver(&mut host(NEAR), &request), Delivery::Accepted);
    let mut silent = config(NEAR);
    silent.sysctl.icmp_echo_ignore_all = true;
    let mut host = host(NEAR);
    host.set_config(&silent);
    assert_eq!(deliver(&mut host, &request), Delivery::Dropped(DropReason::EchoIgnored));
}

#[test]
fn a_wrong_checksum_of_any_protocol_is_dropped() {
    for (protocol, segment) in
        [(IpProtocol::Icmp, &ECHO_REQUEST[..]), (IpProtocol::Udp, &DATAGRAM), (IpProtocol::Tcp, &SYN)]
    {
        let mut bad = frame(protocol, segment, |_| {});
        *bad.last_mut().unwrap() ^= 1;
        assert_eq!(deliver(&mut host(NEAR), &bad), Delivery::Dropped(DropReason::TransportChecksum));
    }
}

#[test]
fn a_datagram_without_a_checksum_and_one_with_trailing_bytes_are_heard() {
    for change in [(|ip: &mut [u8]| ip[26..28].fill(0)) as fn(&mut [u8]), |ip| ip[25] = 10] {
        let mut host = host(NEAR);
        let handle = host.with_sockets(|_, sockets| sockets.add(udp_socket(53)));
        let mut datagram = frame(IpProtocol::Udp, &DATAGRAM, |_| {});
        change(&mut datagram[ETHERNET_HEADER..]);
        datagram[40..42].fill(0);
        assert_eq!(deliver(&mut host, &datagram), Delivery::Accepted);
        assert!(host.with_sockets(|_, sockets| sockets.get::<udp::Socket<'_>>(handle).can_recv()));
    }
}

#[test]
fn where_nobody_listens_the_sender_is_told() {
    let mut host = host(NEAR);
    let udp = frame(IpProtocol::Udp, &DATAGRAM, |_| {});
    assert_eq!(deliver(&mut host, &udp), Delivery::Error(IcmpError::PortUnreachable));
    let tcp = frame(IpProtocol::Tcp, &SYN, |_| {});
    assert_eq!(deliver(&mut host, &tcp), Delivery::Reset);
    let gre = frame(IpProtocol::from(47), &[0; 8], |_| {});
    assert_eq!(deliver(&mut host, &gre), Delivery::Error(IcmpError::ProtocolUnreachable));
    host.with_sockets(|_, sockets| sockets.add(udp_socket(53)));
    assert_eq!(deliver(&mut host, &udp), Delivery::Accepted);
}

#[test]
fn tcp_to_a_group_gets_no_answer() {
    let syn = frame(IpProtocol::Tcp, &SYN, |ip| ip[16..20].copy_from_slice(&[192, 168, 1, 255]));
    assert_eq!(deliver(&mut host(NEAR), &syn), Delivery::Dropped(DropReason::DirectedBroadcast));
}

#[test]
fn a_sender_without_an_address_gets_no_answer() {
    for (protocol, segment) in [(IpProtocol::Icmp, &ECHO_REQUEST[..]), (IpProtocol::Tcp, &SYN)] {
        let unspecified = frame(protocol, segment, |ip| ip[12..16].fill(0));
        assert_eq!(deliver(&mut host(NEAR), &unspecified), Delivery::Dropped(DropReason::MartianSource));
    }
}

/// A connection from near to port 80 of far.
fn connect(wire: &mut Wire) -> (SocketHandle, SocketHandle) {
    let server = wire.far.with_sockets(|_, sockets| {
        let mut socket = tcp_socket();
        socket.listen(80).unwrap();
        sockets.add(socket)
    });
    let client = wire.near.with_sockets(|context, sockets| {
        let mut socket = tcp_socket();
        let remote = IpEndpoint::new(IpAddress::Ipv4(FAR), 80);
        socket.connect(context, remote, (IpAddress::Ipv4(NEAR), 40_000)).unwrap();
        sockets.add(socket)
    });
    (client, server)
}

#[test]
fn a_connection_carries_data_whole_in_segments_that_fit() {
    let mut wire = Wire::new();
    let (client, server) = connect(&mut wire);
    let data: Vec<u8> = (0..100_000u32).map(|byte| (byte * 7 / 8) as u8).collect();
    let (mut sent, mut received) = (0, Vec::new());
    for _ in 0..10_000 {
        wire.turn();
        sent += wire.near.with_sockets(|_, sockets| {
            sockets.get_mut::<tcp::Socket<'_>>(client).send_slice(&data[sent..]).unwrap_or(0)
        });
        wire.far.with_sockets(|_, sockets| {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(server);
            let _ = socket.recv(|bytes| (bytes.len(), received.extend_from_slice(bytes)));
        });
        if received.len() == data.len() {
            break;
        }
    }
    assert!(received == data, "{} of {}", received.len(), data.len());
    let longest = wire.seen.iter().map(Vec::len).max();
    assert_eq!(longest, Some(1514), "the MSS of the SYN was what the interface takes");
    let ports: Vec<_> = wire.near.local_ports().collect();
    assert_eq!(ports, [(protocol::TCP, 40_000)]);
}

#[test]
fn a_wrong_port_of_a_connection_is_reset_and_the_right_one_is_not() {
    let mut wire = Wire::new();
    connect(&mut wire);
    wire.run();
    let segment = wire.seen.last().unwrap().clone();
    assert_eq!(deliver(&mut wire.far, &segment), Delivery::Accepted);
    let other = frame(IpProtocol::Tcp, &SYN, |ip| {
        ip[16..20].copy_from_slice(&FAR.octets());
        ip[33] = 0x10; // an ACK out of nowhere
    });
    assert_eq!(deliver(&mut wire.far, &other), Delivery::Reset);
}

#[test]
fn a_flood_fills_the_queue_and_no_more() {
    let mut host = host(NEAR);
    let mut exchange = exchange();
    let request = frame(IpProtocol::Icmp, &ECHO_REQUEST, |_| {});
    let headers = Headers::parse(&request, ETHERNET_HEADER).unwrap();
    let full = (0..1000)
        .filter(|_| {
            let delivery =
                host.deliver(&mut exchange, &Packet::from_frame(&request), &headers, Instant::ZERO);
            delivery == Delivery::Dropped(DropReason::HostQueueFull)
        })
        .count();
    assert_eq!(full, 1000 - Host::QUEUE);
    assert_eq!(exchange.available(), 256 - Host::QUEUE);
}

#[test]
fn without_buffers_nothing_is_lost_silently() {
    let mut host = host(NEAR);
    let request = frame(IpProtocol::Icmp, &ECHO_REQUEST, |_| {});
    let headers = Headers::parse(&request, ETHERNET_HEADER).unwrap();
    let delivery =
        host.deliver(&mut Exchange::new(0, 1514), &Packet::from_frame(&request), &headers, Instant::ZERO);
    assert_eq!(delivery, Delivery::Dropped(DropReason::NoBuffer));
}

#[test]
fn an_idle_host_asks_for_nothing() {
    let mut wire = Wire::new();
    assert_eq!(wire.near.poll_at(), None);
    let session = wire.session(ProbeKind::Echo);
    wire.probe(session, PROBE).unwrap();
    wire.run();
    assert_eq!((wire.near.poll_at(), wire.far.poll_at()), (None, None));
}

/// Whatever a stranger sends, also in the middle of connections, nothing panics and the queues stay bounded.
#[test]
fn hostile_packets_harm_nobody() {
    let mut random = random();
    let mut wire = Wire::new();
    wire.near.with_sockets(|_, sockets| sockets.add(udp_socket(53)));
    wire.session(ProbeKind::Udp);
    wire.session(ProbeKind::Echo);
    let mut connection = None;
    let mut corpus = Vec::new();
    let mut accepted = 0;
    for round in 0..200_000u32 {
        if round % 1000 == 0 {
            // A fresh connection with data under way in both directions, and its packets to be forged.
            if let Some((client, server)) = connection {
                wire.near.with_sockets(|_, sockets| drop(sockets.remove(client)));
                wire.far.with_sockets(|_, sockets| drop(sockets.remove(server)));
            }
            let (client, server) = connect(&mut wire);
            connection = Some((client, server));
            wire.seen.clear();
            for _ in 0..3 {
                wire.turn();
            }
            for (host, handle) in [(&mut wire.near, client), (&mut wire.far, server)] {
                host.with_sockets(|_, sockets| {
                    let _ = sockets.get_mut::<tcp::Socket<'_>>(handle).send_slice(&[7; 9000]);
                });
            }
            wire.turn();
            corpus = wire.seen.clone();
            corpus.push(frame(IpProtocol::Tcp, &SYN, |_| {}));
            corpus.push(frame(IpProtocol::Udp, &DATAGRAM, |_| {}));
            corpus.push(frame(IpProtocol::Icmp, &ECHO_REQUEST, |_| {}));
        }
        let model = &corpus[random.next_u32() as usize % corpus.len()];
        let mut segment = model[34..].to_vec();
        for _ in 0..random.next_u32() % 4 {
            let at = random.next_u32() as usize % segment.len();
            segment[at] = random.next_u32() as u8;
        }
        if random.next_u32().is_multiple_of(8) {
            segment.truncate(random.next_u32() as usize % segment.len());
        }
        let bits = random.next_u32();
        if segment.len() < 18 {
            segment.resize(18, 0);
        }
        let protocol = IpProtocol::from(model[23]);
        let hostile = frame(protocol, &segment, |ip| {
            ip[12..20].copy_from_slice(&model[26..34]);
            if bits.is_multiple_of(64) {
                ip[12..16].copy_from_slice(&random.next_u32().to_be_bytes());
            }
            if bits >> 6 & 31 == 0 {
                ip[6..8].copy_from_slice(&(bits as u16 & 0x2003).to_be_bytes());
            }
        });
        if let Ok(headers) = Headers::parse(&hostile, ETHERNET_HEADER) {
            let target = if headers.destination == FAR { &mut wire.far } else { &mut wire.near };
            let delivery =
                target.deliver(&mut wire.exchange, &Packet::from_frame(&hostile), &headers, wire.now);
            accepted += usize::from(delivery == Delivery::Accepted);
        }
        if round % 7 == 0 {
            wire.now += Duration::from_millis(u64::from(bits >> 16));
            for host in [&mut wire.near, &mut wire.far] {
                host.poll(&mut wire.exchange, wire.now);
                for packet in core::iter::from_fn(|| host.take_outgoing()).collect::<Vec<_>>() {
                    Headers::parse(packet.bytes(), ETHERNET_HEADER).expect("what we send is well formed");
                    wire.exchange.recycle(packet);
                }
            }
        }
    }
    assert!(accepted > 10_000, "{accepted}");
    for host in [&mut wire.near, &mut wire.far] {
        while let Some(packet) = host.take_outgoing() {
            wire.exchange.recycle(packet);
        }
    }
    assert_eq!(wire.exchange.available(), 256, "every buffer came back");
}
