//! Datagrams to bytes and back, exactly.

use super::{Body, Checksum, Datagram};
use smoltcp::wire::Ipv4Address;

impl Datagram {
    /// The packet's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let segment = self.body.bytes(self.source, self.destination);
        let header_length = 20 + self.options.len();
        let mut bytes = vec![0x40 | (header_length / 4) as u8, self.tos];
        bytes.extend(((header_length + segment.len()) as u16).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        let flags = (u16::from(self.dont_fragment) << 14)
            | (u16::from(self.more_fragments) << 13)
            | (self.offset / 8);
        bytes.extend(flags.to_be_bytes());
        bytes.extend([self.ttl, self.protocol(), 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        let checksum = self.header_checksum.field(sum(&bytes), false);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(segment);
        bytes
    }

    /// Reads a packet; `None` where it is no IPv4 packet or its lengths do not fit. Padding behind it is ignored.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let total = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
        Self::read_cut(bytes.get(..total)?)
    }

    /// Reads a packet that may be cut off at the end.
    pub(super) fn read_cut(bytes: &[u8]) -> Option<Self> {
        let fixed: &[u8; 20] = bytes.first_chunk()?;
        let header_length = usize::from(fixed[0] & 0xf) * 4;
        if fixed[0] >> 4 != 4 || header_length < 20 {
            return None;
        }
        let header = bytes.get(..header_length)?;
        let flags = u16::from_be_bytes([fixed[6], fixed[7]]);
        let address = |at: usize| Ipv4Address::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        let (source, destination, offset) = (address(12), address(16), (flags & 0x1fff) * 8);
        Some(Self {
            source,
            destination,
            ttl: fixed[8],
            tos: fixed[1],
            id: u16::from_be_bytes([fixed[4], fixed[5]]),
            dont_fragment: flags & 0x4000 != 0,
            more_fragments: flags & 0x2000 != 0,
            offset,
            options: header[20..].to_vec(),
            header_checksum: Checksum::judge(sum(header)),
            body: Body::read(fixed[9], offset != 0, &bytes[header_length..], source, destination),
        })
    }
}

impl Body {
    fn bytes(&self, from: Ipv4Address, to: Ipv4Address) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (at, checksum, pseudo) = match self {
            Self::Udp { source, destination, length_error, checksum, payload } => {
                let length = (8 + payload.len() as u16).wrapping_add(*length_error);
                for word in [*source, *destination, length, 0] {
                    bytes.extend(word.to_be_bytes());
                }
                bytes.extend(payload);
                (6, checksum, pseudo_header(from, to, 17, bytes.len()))
            }
            Self::Tcp {
                source,
                destination,
                sequence,
                acknowledgment,
                flags,
                window,
                urgent,
                options,
                checksum,
                payload,
            } => {
                bytes.extend(source.to_be_bytes());
                bytes.extend(destination.to_be_bytes());
                bytes.extend(sequence.to_be_bytes());
                bytes.extend(acknowledgment.to_be_bytes());
                bytes.extend([(((20 + options.len()) / 4) << 4) as u8, *flags]);
                for word in [*window, 0, *urgent] {
                    bytes.extend(word.to_be_bytes());
                }
                bytes.extend(options);
                bytes.extend(payload);
                (16, checksum, pseudo_header(from, to, 6, bytes.len()))
            }
            Self::Icmp { kind, code, word, checksum, payload } => {
                bytes.extend([*kind, *code, 0, 0]);
                bytes.extend(word.to_be_bytes());
                bytes.extend(payload);
                (2, checksum, 0)
            }
            Self::Other { payload, .. } => return payload.clone(),
        };
        let field = checksum.field(add(sum(&bytes), pseudo), matches!(self, Self::Udp { .. }));
        bytes[at..at + 2].copy_from_slice(&field.to_be_bytes());
        bytes
    }

    fn read(protocol: u8, later_fragment: bool, bytes: &[u8], from: Ipv4Address, to: Ipv4Address) -> Self {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let long = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
        let judge = || Checksum::judge(add(sum(bytes), pseudo_header(from, to, protocol, bytes.len())));
        match protocol {
            17 if !later_fragment && bytes.len() >= 8 => Self::Udp {
                source: word(0),
                destination: word(2),
                length_error: word(4).wrapping_sub(bytes.len() as u16),
                checksum: if word(6) == 0 { Checksum::Absent } else { judge() },
                payload: bytes[8..].to_vec(),
            },
            6 if !later_fragment && bytes.len() >= 20 && header_length_of_tcp(bytes).is_some() => {
                let header_length = header_length_of_tcp(bytes).unwrap_or(20);
                Self::Tcp {
                    source: word(0),
                    destination: word(2),
                    sequence: long(4),
                    acknowledgment: long(8),
                    flags: bytes[13],
                    window: word(14),
                    urgent: word(18),
                    options: bytes[20..header_length].to_vec(),
                    checksum: judge(),
                    payload: bytes[header_length..].to_vec(),
                }
            }
            1 if !later_fragment && bytes.len() >= 8 => Self::Icmp {
                kind: bytes[0],
                code: bytes[1],
                word: long(4),
                checksum: Checksum::judge(sum(bytes)),
                payload: bytes[8..].to_vec(),
            },
            _ => Self::Other { protocol, payload: bytes.to_vec() },
        }
    }
}

/// `None` where the data offset does not fit what is there, or reserved bits are set (which nothing here writes).
fn header_length_of_tcp(bytes: &[u8]) -> Option<usize> {
    let length = usize::from(bytes[12] >> 4) * 4;
    (bytes[12] & 0xf == 0 && (20..=bytes.len()).contains(&length)).then_some(length)
}

impl Checksum {
    /// What the field holds, where everything else sums to `rest`.
    fn field(self, rest: u16, udp: bool) -> u16 {
        let right = !rest;
        match self {
            Self::Absent => 0,
            Self::Right if udp && right == 0 => 0xffff,
            Self::Right => right,
            Self::Wrong(error) => add(right, error),
        }
    }

    /// Judges by the sum of everything, the field included.
    fn judge(total: u16) -> Self {
        if total == 0xffff { Self::Right } else { Self::Wrong(total) }
    }
}

fn pseudo_header(from: Ipv4Address, to: Ipv4Address, protocol: u8, length: usize) -> u16 {
    if protocol == 1 {
        return 0;
    }
    let addresses = add(sum(&from.octets()), sum(&to.octets()));
    add(addresses, add(u16::from(protocol), length as u16))
}

/// The ones' complement sum of all 16-bit words (RFC 1071).
pub fn sum(bytes: &[u8]) -> u16 {
    bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])).fold(0, add)
}

fn add(a: u16, b: u16) -> u16 {
    let (total, carry) = a.overflowing_add(b);
    total + u16::from(carry)
}

#[cfg(test)]
mod tests {
    use super::super::*;

    const A: Endpoint = (Ipv4Address::new(192, 168, 1, 10), 40000);
    const B: Endpoint = (Ipv4Address::new(198, 51, 100, 7), 53);

    #[test]
    fn reading_gives_back_what_was_written() {
        let query = udp(A, B).payload(b"odd");
        let packets = [
            query.clone(),
            query.clone().checksum(Checksum::Absent),
            query.clone().checksum(Checksum::Wrong(0x1234)),
            query.clone().but(|p| p.header_checksum = Checksum::Wrong(1)),
            query.clone().but(|p| (p.offset, p.more_fragments) = (0, true)),
            tcp(A, B, flag::SYN | flag::ACK).but(|p| p.options = vec![7, 4, 4, 0]),
            echo(A, B.0).dont_fragment(),
            icmp_error(B.0, 3, 4, &query),
            other(A.0, B.0, 47, b"gre"),
        ];
        for packet in packets {
            assert_eq!(Datagram::read(&packet.bytes()), Some(packet));
        }
    }

    #[test]
    fn a_known_packet_has_its_known_bytes() {
        let bytes = echo(A, B.0).but(|p| p.id = 0xbeef).payload(b"").bytes();
        let expected = [
            0x45, 0, 0, 28, 0xbe, 0xef, 0, 0, 64, 1, 0xd0, 0x04, 192, 168, 1, 10, 198, 51, 100, 7, 8, 0,
            0x5b, 0xbe, 0x9c, 0x40, 0, 1,
        ];
        assert_eq!(bytes, expected);
    }
}
