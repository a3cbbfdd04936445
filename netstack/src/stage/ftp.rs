//! What the control connection of FTP says of the data connections to come (RFC 959 4.1.2 and 4.2, RFC 2428).
//!
//! A client that waits says so by `PORT` or `EPRT`, a server that waits by the answers 227 and 229. They are understood where
//! a segment begins with them and holds the whole of their line.

use crate::table::{flow::Direction, mapping::Endpoint};
use core::{fmt, ops::Range};
use smoltcp::wire::Ipv4Address;

/// The port of the control connection.
pub const PORT: u16 = 21;
/// A data connection goes to no well-known port: whoever says so wants to be somebody else's client (RFC 2577 3).
const LEAST_PORT: u16 = 1024;

/// "I wait here for a connection."
#[derive(Clone, PartialEq, Debug)]
pub struct Announcement {
    /// The address, as its sender knows it; `None`: that which he speaks from.
    pub address: Option<Ipv4Address>,
    /// The port.
    pub port: u16,
    /// The part of the text that names both.
    pub place: Range<usize>,
    form: Form,
}

/// How an endpoint is written.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    /// `192,168,1,2,7,208`
    Numbers,
    /// `|1|192.168.1.2|2000|`
    Extended(u8),
    /// `|||2000|`
    PortOnly(u8),
}

impl Announcement {
    /// What a segment of this direction announces.
    pub fn parse(text: &[u8], from: Direction) -> Option<Self> {
        let line = &text[..text.iter().position(|&byte| byte == b'\r' || byte == b'\n')?];
        let found = match from {
            Direction::Original if begins(line, b"PORT ") => numbers(line, 5),
            Direction::Original if begins(line, b"EPRT ") => extended(line, 5),
            Direction::Reply if begins(line, b"227 ") => {
                let first = line[4..].iter().position(u8::is_ascii_digit)?;
                numbers(line, 4 + first)
            }
            Direction::Reply if begins(line, b"229 ") => {
                port_only(line, line.iter().position(|&byte| byte == b'(')? + 1)
            }
            _ => None,
        };
        found.filter(|it| it.port >= LEAST_PORT)
    }

    /// The same announcement with another endpoint, as it is written in its place.
    pub fn at(&self, endpoint: Endpoint) -> impl fmt::Display {
        let form = self.form;
        fmt::from_fn(move |f| {
            let Endpoint { address, port } = endpoint;
            match form {
                Form::Numbers => {
                    let ([a, b, c, d], [high, low]) = (address.octets(), port.to_be_bytes());
                    write!(f, "{a},{b},{c},{d},{high},{low}")
                }
                Form::Extended(bar) => {
                    let bar = char::from(bar);
                    write!(f, "{bar}1{bar}{address}{bar}{port}{bar}")
                }
                Form::PortOnly(bar) => {
                    let bar = char::from(bar);
                    write!(f, "{bar}{bar}{bar}{port}{bar}")
                }
            }
        })
    }
}

fn begins(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Reads from a line, byte by byte.
struct Reader<'a> {
    line: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// A decimal number of one to five digits.
    fn number(&mut self) -> Option<u16> {
        let rest = self.line.get(self.at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = core::str::from_utf8(rest.get(..digits)?).ok()?;
        self.at += digits;
        text.parse().ok().filter(|_| digits <= 5)
    }

    fn octet(&mut self) -> Option<u8> {
        self.number()?.try_into().ok()
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        let found = self.line.get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found.then_some(())
    }

    fn octets<const N: usize>(&mut self, between: u8) -> Option<[u8; N]> {
        let mut octets = [0; N];
        for (place, octet) in octets.iter_mut().enumerate() {
            if place > 0 {
                self.byte(between)?;
            }
            *octet = self.octet()?;
        }
        Some(octets)
    }
}

fn numbers(line: &[u8], start: usize) -> Option<Announcement> {
    let mut reader = Reader { line, at: start };
    let [a, b, c, d, high, low] = reader.octets(b',')?;
    Some(Announcement {
        address: Some(Ipv4Address::new(a, b, c, d)),
        port: u16::from_be_bytes([high, low]),
        place: start..reader.at,
        form: Form::Numbers,
    })
}

/// The sign between the parts may be any that is printed and no digit (RFC 2428 2).
fn bar(line: &[u8], at: usize) -> Option<u8> {
    line.get(at).copied().filter(|byte| byte.is_ascii_graphic() && !byte.is_ascii_digit())
}

fn extended(line: &[u8], start: usize) -> Option<Announcement> {
    let bar = bar(line, start)?;
    let mut reader = Reader { line, at: start };
    reader.byte(bar)?;
    if reader.number()? != 1 {
        return None; // not IPv4
    }
    reader.byte(bar)?;
    let address = reader.octets::<4>(b'.')?;
    reader.byte(bar)?;
    let port = reader.number()?;
    reader.byte(bar)?;
    Some(Announcement {
        address: Some(address.into()),
        port,
        place: start..reader.at,
        form: Form::Extended(bar),
    })
}

fn port_only(line: &[u8], start: usize) -> Option<Announcement> {
    let bar = bar(line, start)?;
    let mut reader = Reader { line, at: start };
    for _ in 0..3 {
        reader.byte(bar)?;
    }
    let port = reader.number()?;
    reader.byte(bar)?;
    Some(Announcement { address: None, port, place: start..reader.at, form: Form::PortOnly(bar) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};
    use alloc::string::ToString;
    use proptest::prelude::*;

    const CLIENT: Ipv4Address = Ipv4Address::new(192, 168, 1, 2);

    /// Address and port, and the text with another endpoint.
    fn read(text: &str, from: Direction) -> Option<(Option<Ipv4Address>, u16, alloc::string::String)> {
        let found = Announcement::parse(text.as_bytes(), from)?;
        let endpoint = Endpoint { address: Ipv4Address::new(203, 0, 113, 2), port: 40000 };
        let mut other = text.to_string();
        other.replace_range(found.place.clone(), &found.at(endpoint).to_string());
        Some((found.address, found.port, other))
    }

    #[test]
    fn a_client_that_waits_is_understood() {
        let words = [
            ("PORT 192,168,1,2,7,208\r\n", "PORT 203,0,113,2,156,64\r\n"),
            ("port 192,168,1,2,7,208\r\nNOOP\r\n", "port 203,0,113,2,156,64\r\nNOOP\r\n"),
            ("EPRT |1|192.168.1.2|2000|\r\n", "EPRT |1|203.0.113.2|40000|\r\n"),
            ("EPRT !1!192.168.1.2!2000!\n", "EPRT !1!203.0.113.2!40000!\n"),
        ];
        for (before, after) in words {
            assert_eq!(read(before, Original), Some((Some(CLIENT), 2000, after.into())), "{before}");
            assert_eq!(read(before, Reply), None, "a server says no such thing");
        }
    }

    #[test]
    fn a_server_that_waits_is_understood() {
        for (before, after) in [
            (
                "227 Entering Passive Mode (192,168,1,2,7,208).\r\n",
                "227 Entering Passive Mode (203,0,113,2,156,64).\r\n",
            ),
            ("227 =192,168,1,2,7,208\r\n", "227 =203,0,113,2,156,64\r\n"),
        ] {
            assert_eq!(read(before, Reply), Some((Some(CLIENT), 2000, after.into())), "{before}");
            assert_eq!(read(before, Original), None, "a client says no such thing");
        }
        let after = "229 Entering Extended Passive Mode (|||40000|)\r\n";
        let read = read("229 Entering Extended Passive Mode (|||2000|)\r\n", Reply);
        assert_eq!(read, Some((None, 2000, after.into())));
    }

    #[test]
    fn what_is_not_whole_or_not_possible_says_nothing() {
        for text in [
            "PORT 192,168,1,2,7,208",
            "PORT 192,168,1,2,7\r\n",
            "PORT 192,168,1,256,7,208\r\n",
            "PORT 192,168,1,2,7,2080\r\n",
            "PORT 192.168.1.2.7.208\r\n",
            "PORT ,,,,,\r\n",
            "PORT 192,168,1,2,0,25\r\n",
            "PORT\r\n192,168,1,2,7,208\r\n",
            " PORT 192,168,1,2,7,208\r\n",
            "EPRT |2|2001:db8::1|2000|\r\n",
            "EPRT |1|192.168.1.2|70000|\r\n",
            "EPRT |1|192.168.1.2|2000\r\n",
            "EPRT |1|192.168.1.2|1023|\r\n",
            "EPRT 111192.168.1.212000\r\n",
            "EPRT \r\n",
            "NOOP\r\n",
            "\r\n",
            "",
        ] {
            assert_eq!(read(text, Original), None, "{text:?}");
        }
        for text in
            ["227 \r\n", "227-192,168,1,2,7,208\r\n", "229 (|||2000\r\n", "229 (\r\n", "229 |||2000|\r\n"]
        {
            assert_eq!(read(text, Reply), None, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(crate::test_support::property())]

        #[test]
        fn whatever_is_said_the_place_lies_in_it(
            start in prop::sample::select(&["PORT ", "EPRT |", "227 (", "229 (|", ""][..]),
            rest in "[0-9,.|()\r\n]{0,40}",
            back in any::<bool>(),
        ) {
            let text = alloc::format!("{start}{rest}");
            if let Some(found) = Announcement::parse(text.as_bytes(), if back { Reply } else { Original }) {
                prop_assert!(found.place.end <= text.len() && found.port >= LEAST_PORT);
            }
        }
    }
}
