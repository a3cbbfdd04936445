//! The words of a command, taken one by one, and the errors of iproute2 about them.

use crate::{
    config::{Config, ConfigError, interface::Scope, policy::TableId},
    interface::InterfaceId,
};
use alloc::{format, string::String};
use core::{fmt, str::FromStr};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// Why a command ended without success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What is printed; empty: nothing.
    pub text: String,
    /// What `$?` will be.
    pub status: u8,
}

impl Failure {
    /// With this status and text.
    pub fn new(status: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), status }
    }

    /// `Command line is not complete. ..`
    pub fn incomplete() -> Self {
        Self::new(255, "Command line is not complete. Try option \"help\"")
    }

    /// A value that cannot be: `Error: argument "x" is wrong: ..`
    pub fn wrong(word: &str, why: impl fmt::Display) -> Self {
        Self::new(255, format!("Error: argument \"{word}\" is wrong: {why}"))
    }

    /// A word that nothing starts with: it is taken for a second value of `key`.
    pub fn garbage(key: &str, word: &str) -> Self {
        Self::new(255, format!("Error: either \"{key}\" is duplicate, or \"{word}\" is a garbage."))
    }

    /// The second value of something that has one.
    pub fn duplicate(key: &str, value: &str) -> Self {
        Self::new(255, format!("Error: duplicate \"{key}\": \"{value}\" is the second value."))
    }

    /// `Cannot find device "x"`
    pub fn no_device(name: &str) -> Self {
        Self::new(1, format!("Cannot find device \"{name}\""))
    }

    /// A word that Linux knows and rutter does not.
    pub fn unsupported(word: &str) -> Self {
        Self::new(255, format!("Error: \"{word}\" is not supported."))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(2, error.0)
    }
}

/// The words that are left.
#[derive(Clone)]
pub struct Arguments<'a> {
    rest: core::slice::Iter<'a, String>,
}

impl<'a> Arguments<'a> {
    /// All of `words`.
    pub fn new(words: &'a [String]) -> Self {
        Self { rest: words.iter() }
    }

    /// The next word, which stays.
    pub fn peek(&self) -> Option<&'a str> {
        self.rest.as_slice().first().map(String::as_str)
    }

    /// The next word, which must be there.
    pub fn value(&mut self) -> Result<&'a str, Failure> {
        self.next().ok_or_else(Failure::incomplete)
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.rest.next().map(String::as_str)
    }
}

/// Whether `word` abbreviates `full`, as iproute2 lets one write `ip a` for `ip address`.
pub fn abbreviates(word: &str, full: &str) -> bool {
    !word.is_empty() && full.starts_with(word)
}

/// An interface that must exist.
pub fn device(name: &str, config: &Config) -> Result<InterfaceId, Failure> {
    config.find_interface(name).ok_or_else(|| Failure::no_device(name))
}

/// An IPv4 address.
pub fn address(word: &str) -> Result<Ipv4Address, Failure> {
    Ipv4Address::from_str(word)
        .map_err(|_| Failure::new(1, format!("Error: inet address is expected rather than \"{word}\".")))
}

/// `ADDRESS`, `ADDRESS/LENGTH`, `default`, or with fewer than four numbers as in `10/8`.
pub fn prefix(word: &str) -> Result<Ipv4Cidr, Failure> {
    parse_prefix(word).ok_or_else(|| {
        Failure::new(1, format!("Error: any valid prefix is expected rather than \"{word}\"."))
    })
}

fn parse_prefix(word: &str) -> Option<Ipv4Cidr> {
    if matches!(word, "default" | "any" | "all") {
        return Some(Ipv4Cidr::new(Ipv4Address::UNSPECIFIED, 0));
    }
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word, None),
    };
    let mut octets = [0; 4];
    let mut count = 0;
    for part in address.split('.') {
        *octets.get_mut(count)? = decimal(part)?;
        count += 1;
    }
    let length = match length {
        // 10.1 is 10.1.0.0/16 only where a length says so; alone it is a host.
        None if count == 4 => 32,
        None => return None,
        Some(text) => match decimal::<u8>(text) {
            Some(length) if length <= 32 => length,
            Some(_) => return None,
            None => netmask(Ipv4Address::from_str(text).ok()?)?,
        },
    };
    Some(Ipv4Cidr::new(Ipv4Address::from_octets(octets), length))
}

/// The length of a netmask such as 255.255.255.0.
fn netmask(mask: Ipv4Address) -> Option<u8> {
    let bits = mask.to_bits();
    (bits.count_zeros() == bits.trailing_zeros()).then(|| bits.count_ones() as u8)
}

/// A number without a sign, written in digits only.
pub fn decimal<T: FromStr>(word: &str) -> Option<T> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

/// A number as C reads it: decimal or 0x..
pub fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u32::from_str_radix(hex, 16).ok(),
        _ => decimal(word),
    }
}

/// A routing table by its name or number.
pub fn table(word: &str) -> Option<TableId> {
    TableId::named(word).or_else(|| number(word).map(TableId))
}

/// A MAC address.
pub fn mac(word: &str) -> Result<EthernetAddress, Failure> {
    let mut bytes = [0; 6];
    let mut count = 0;
    for part in word.split(':') {
        let valid = matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(byte) = bytes.get_mut(count) {
            *byte = match u8::from_str_radix(part, 16) {
                Ok(value) if valid => value,
                _ if count == 0 && !word.contains(':') => {
                    count = 1;
                    break;
                }
                _ => return Err(Failure::new(1, format!("\"{part}\" is invalid lladdr."))),
            };
        }
        count += 1;
    }
    match count {
        6 => Ok(EthernetAddress(bytes)),
        _ => Err(Failure::new(1, format!("Invalid address length {count} - must be 6 bytes"))),
    }
}

/// A scope by name or number.
pub fn scope(word: &str) -> Option<Scope> {
    match word {
        "global" | "universe" | "0" => Some(Scope::Global),
        "link" | "253" => Some(Scope::Link),
        "host" | "254" => Some(Scope::Host),
        _ => None,
    }
}

/// The name of a scope.
pub fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Global => "global",
        Scope::Link => "link",
        Scope::Host => "host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let shown = |word| parse_prefix(word).map(|cidr| format!("{cidr}"));
        assert_eq!(shown("10/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(shown("10.15/16").as_deref(), Some("10.15.0.0/16"));
        assert_eq!(shown("192.168.1.1").as_deref(), Some("192.168.1.1/32"));
        assert_eq!(shown("192.168.1.1/255.255.255.0").as_deref(), Some("192.168.1.1/24"));
        assert_eq!(shown("default").as_deref(), Some("0.0.0.0/0"));
        for bad in [
            "",
            "/",
            "1.2.3",
            "1.2.3.4.5/8",
            "1.2.3.256",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/255.0.255.0",
            "+1.2.3.4",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn mac_addresses_and_linux_words_about_them() {
        assert_eq!(mac("52:54:0:12:34:56"), Ok(EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56])));
        let refused = |word| mac(word).unwrap_err().text;
        assert_eq!(refused("52:54:00:12:34"), "Invalid address length 5 - must be 6 bytes");
        assert_eq!(refused("52:54:00:12:34:zz"), "\"zz\" is invalid lladdr.");
        assert_eq!(refused("1:2:3:4:5:6:7"), "Invalid address length 7 - must be 6 bytes");
    }
}
