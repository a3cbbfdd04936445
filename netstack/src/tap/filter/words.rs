//! The words of a filter expression: where they end, and which numbers and addresses they stand for.

use super::parse::{Parsed, syntax_error};
use crate::config::rules::names;
use alloc::{format, vec::Vec};

/// Cuts an expression into words and signs.
pub fn tokens(expression: &str) -> Vec<&str> {
    const LONG_SIGNS: [&str; 6] = ["&&", "||", "!=", "<=", ">=", "=="];
    let is_sign = |c: char| "()!&|=<>[]:".contains(c);
    let mut tokens = Vec::new();
    let mut rest = expression.trim_ascii();
    while let Some(first) = rest.chars().next() {
        let length = if let Some(sign) = LONG_SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            sign.len()
        } else if is_sign(first) {
            1
        } else {
            // The colons of a MAC address belong to it.
            let mac = rest.bytes().take_while(|byte| byte.is_ascii_hexdigit() || *byte == b':').count();
            let colons = rest[..mac].bytes().filter(|byte| *byte == b':').count();
            let word = || rest.find(|c: char| c.is_ascii_whitespace() || is_sign(c)).unwrap_or(rest.len());
            if colons == 5 { mac } else { word() }
        };
        let (token, left) = rest.split_at(length);
        tokens.push(token);
        rest = left.trim_ascii_start();
    }
    tokens
}

/// A number in decimal or hexadecimal.
pub fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16).ok()
        }
        None if word.bytes().all(|byte| byte.is_ascii_digit()) => word.parse().ok(),
        _ => None,
    }
}

/// Up to four numbers with dots, from the left, and how many there are.
pub fn dotted(word: &str) -> Option<(u32, u32)> {
    let (mut address, mut count) = (0, 0);
    for part in word.split('.') {
        let part = number(part).filter(|part| *part < 256)?;
        address = (address << 8) | part;
        count += 1;
        if count > 4 {
            return None;
        }
    }
    Some((address << (8 * (4 - count)), count))
}

/// The address of a host.
pub fn host(word: &str) -> Parsed<u32> {
    let is_address = |word: &str| {
        word.split('.').count() == 4 && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    match dotted(word) {
        Some((address, 4)) => Ok(address),
        _ if is_address(word) => Err(format!("invalid IPv4 address '{word}'")),
        _ => Err(format!("unknown host '{word}'")),
    }
}

/// A port by number or name.
pub fn port(word: &str) -> Parsed<u16> {
    match number(word) {
        Some(port) => u16::try_from(port).map_err(|_| format!("illegal port number {port} > 65535")),
        None => names::service_port(word).ok_or_else(|| format!("unknown port '{word}'")),
    }
}

/// A MAC address.
pub fn mac(word: &str) -> Option<[u8; 6]> {
    let mut parts = word.split(':');
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// A number, or a name that libpcap has for one.
pub fn value(word: &str) -> Parsed<u32> {
    const NAMES: &[(&str, u32)] = &[
        ("tcpflags", 13),
        ("tcp-fin", 0x01),
        ("tcp-syn", 0x02),
        ("tcp-rst", 0x04),
        ("tcp-push", 0x08),
        ("tcp-ack", 0x10),
        ("tcp-urg", 0x20),
        ("tcp-ece", 0x40),
        ("tcp-cwr", 0x80),
        ("icmptype", 0),
        ("icmpcode", 1),
        ("icmp-echoreply", 0),
        ("icmp-unreach", 3),
        ("icmp-redirect", 5),
        ("icmp-echo", 8),
        ("icmp-timxceed", 11),
        ("icmp-paramprob", 12),
    ];
    let named = NAMES.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    named.or_else(|| number(word)).map_or_else(syntax_error, Ok)
}
