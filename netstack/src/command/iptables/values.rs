//! The values of options: addresses, ports, protocols, interfaces, rates; iptables(8), iptables-extensions(8).
//!
//! An error is the reason in the wording of iptables, naming the value.

use crate::{
    config::rules::{
        IcmpType, InterfacePattern, Limit, Masked, NatTo, Negatable, PortRange, TcpFlags, names,
    },
    interface::InterfaceName,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{ops::RangeInclusive, str::FromStr};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// What a parser of this command gives: the value, or the reason in words.
pub(super) type Parsed<T> = Result<T, String>;

/// A number in decimal digits without a sign and without zeros before it.
pub(in crate::command) fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text.len() == 1 || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A number as C reads it: `20`, `0x14` or `024`.
pub(super) fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let (digits, radix) = match (text.strip_prefix("0x").or(text.strip_prefix("0X")), text.strip_prefix('0'))
    {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (text, 10),
    };
    let digits = Some(digits).filter(|digits| !digits.starts_with(['+', '-']));
    u64::from_str_radix(digits?, radix).ok()?.try_into().ok()
}

/// `VALUE` or `VALUE/MASK`
pub(in crate::command) fn masked(text: &str) -> Option<Masked> {
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let mask = mask.map_or(Some(u32::MAX), number);
    number(value).zip(mask).map(|(value, mask)| Masked { value, mask })
}

/// Such a number within bounds, for an option of a match or target.
pub(super) fn bounded(extension: &str, option: &str, text: &str, bounds: RangeInclusive<u16>) -> Parsed<u16> {
    number(text).filter(|value| bounds.contains(value)).ok_or_else(|| {
        let (least, most) = (bounds.start(), bounds.end());
        format!("{extension}: bad value for option \"--{option}\", or out of range ({least}-{most}).")
    })
}

/// `-s`, `-d`: addresses with or without a mask, separated by commas. Never empty.
pub(super) fn networks(text: &str) -> Parsed<Vec<Ipv4Cidr>> {
    text.split(',').map(|one| network(one.trim_start())).collect()
}

/// `10.0.0.0/8`, `10/8`, `10.1.2.3/255.255.255.0`; the bits of the host become zero.
fn network(text: &str) -> Parsed<Ipv4Cidr> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let length = mask.map_or(Some(32), prefix_length);
    let length = length.ok_or_else(|| format!("invalid mask `{}' specified", mask.unwrap_or("")))?;
    let address = padded_address(address).ok_or_else(|| format!("host/network `{address}' not found"))?;
    Ok(Ipv4Cidr::new(Ipv4Cidr::new(address, length).network().address(), length))
}

/// An address of which the last numbers may be left out.
fn padded_address(text: &str) -> Option<Ipv4Address> {
    let mut octets = [0; 4];
    let mut places = octets.iter_mut();
    for number in text.split('.') {
        *places.next()? = decimal(number)?;
    }
    Some(octets.into())
}

/// `24` or `255.255.255.0`.
pub(super) fn prefix_length(text: &str) -> Option<u8> {
    match decimal::<u8>(text) {
        Some(length) => (length <= 32).then_some(length),
        None => {
            let mask = u32::from(full_address(text)?);
            (mask.leading_ones() == mask.count_ones()).then(|| mask.count_ones() as u8)
        }
    }
}

pub(super) fn full_address(text: &str) -> Option<Ipv4Address> {
    if text.split('.').count() == 4 { padded_address(text) } else { None }
}

/// `-p`: a name or a number; 0 is every protocol.
pub(super) fn protocol(text: &str) -> Parsed<u8> {
    let name = text.to_ascii_lowercase();
    if matches!(name.as_str(), "all" | "ip") {
        return Ok(0);
    }
    decimal(&name)
        .or_else(|| names::protocol_number(&name))
        .ok_or_else(|| format!("unknown protocol \"{text}\" specified"))
}

/// `-i`, `-o`: a name, or with `+` the beginning of one.
pub(super) fn interface(text: &str) -> Parsed<InterfacePattern> {
    if text.is_empty() {
        return Err("Empty interface is likely to be undesired".to_string());
    }
    let (name, prefix) = text.strip_suffix('+').map_or((text, false), |name| (name, true));
    let awkward = |letter: char| !letter.is_ascii_graphic() || "/\"'\\;#".contains(letter);
    if name.contains(awkward) {
        return Err(format!("weird character in interface `{text}'"));
    }
    match InterfaceName::try_from(name) {
        Ok(name) if text.len() <= name.capacity() => Ok(InterfacePattern { text: name, prefix }),
        _ => Err(format!("interface name `{text}' must be shorter than IFNAMSIZ (15)")),
    }
}

/// A number or the name of a service.
pub(super) fn port(text: &str) -> Parsed<u16> {
    decimal(text)
        .or_else(|| names::service_port(text))
        .ok_or_else(|| format!("invalid port/service `{text}' specified"))
}

/// `80`, `80:90`, `80:` or `:90`.
pub(super) fn port_range(text: &str) -> Parsed<PortRange> {
    let Some((first, last)) = text.split_once(':') else { return port(text).map(PortRange::single) };
    let range = PortRange {
        first: if first.is_empty() { 0 } else { port(first)? },
        last: if last.is_empty() { u16::MAX } else { port(last)? },
    };
    if range.first > range.last {
        return Err("invalid portrange (min > max)".to_string());
    }
    Ok(range)
}

/// A wish for ports; every port is no wish.
pub(super) fn port_wish(text: &str, not: bool) -> Parsed<Option<Negatable<PortRange>>> {
    let value = port_range(text)?;
    Ok((not || value != PortRange::ALL).then_some(Negatable { not, value }))
}

/// `multiport`: at most 15 ports with commas between them, where a range counts twice.
pub(super) fn port_list(text: &str) -> Parsed<Vec<PortRange>> {
    let mut places = 15_usize;
    text.split(',')
        .map(|one| {
            let (range, size) = match one.split_once(':') {
                None => (PortRange::single(port(one)?), 1),
                Some((first, last)) => (PortRange { first: port(first)?, last: port(last)? }, 2),
            };
            if size == 2 && range.first >= range.last {
                return Err("invalid portrange specified".to_string());
            }
            places = places.checked_sub(size).ok_or("too many ports specified")?;
            Ok(range)
        })
        .collect()
}

/// A list of TCP flags, `ALL` or `NONE`.
pub(super) fn tcp_flags(text: &str) -> Parsed<u8> {
    text.split(',').filter(|word| !word.is_empty()).try_fold(0, |flags, word| {
        let named = TcpFlags::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        match named {
            Some((_, bit)) => Ok(flags | bit),
            None if word.eq_ignore_ascii_case("ALL") => Ok(0x3f),
            None if word.eq_ignore_ascii_case("NONE") => Ok(0),
            None => Err(format!("Unknown TCP flag `{word}'")),
        }
    })
}

/// `--icmp-type`: the beginning of a name, `TYPE`, `TYPE/CODE` or `TYPE/CODE:CODE`.
pub(in crate::command) fn icmp_type(text: &str) -> Parsed<IcmpType> {
    let mut named = names::icmp_types(text);
    match (named.next(), named.next()) {
        (Some((_, message)), None) => return Ok(message),
        (Some((one, _)), Some((other, _))) => {
            return Err(format!("Ambiguous ICMP type `{text}': `{one}' or `{other}'?"));
        }
        (None, _) => {}
    }
    let (kind, codes) = text.split_once('/').map_or((text, None), |(kind, codes)| (kind, Some(codes)));
    let kind = decimal(kind).ok_or_else(|| format!("Unknown ICMP type `{text}'"))?;
    if kind == u8::MAX {
        return Ok(IcmpType::ANY);
    }
    let Some(codes) = codes else { return Ok(IcmpType::of(kind)) };
    let (first, last) = codes.split_once(':').unwrap_or((codes, codes));
    match (decimal(first), decimal(last)) {
        (Some(first_code), Some(last_code)) if first_code <= last_code => {
            Ok(IcmpType { kind: Some(kind), first_code, last_code })
        }
        _ => Err(format!("Unknown ICMP code `{text}'")),
    }
}

/// Six bytes in hexadecimal with colons.
pub(super) fn mac(text: &str) -> Parsed<EthernetAddress> {
    let invalid = || "Invalid MAC address specified.".to_string();
    let mut bytes = [0; 6];
    let mut places = bytes.iter_mut();
    for part in text.split(':') {
        let hexadecimal = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = u8::from_str_radix(part, 16).ok().filter(|_| hexadecimal);
        *places.next().ok_or_else(invalid)? = byte.ok_or_else(invalid)?;
    }
    if places.next().is_none() { Ok(EthernetAddress(bytes)) } else { Err(invalid()) }
}

/// `5`, `5/s`, `5/min`, ..
pub(super) fn rate(text: &str) -> Parsed<Limit> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "second"));
    let units = [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];
    let lower = unit.to_ascii_lowercase();
    let per = units.iter().find(|(name, _)| !lower.is_empty() && name.starts_with(&lower));
    match (decimal::<u32>(number.trim_end()), per) {
        (None | Some(0), _) | (_, None) => Err(format!("bad rate \"{text}\"")),
        (Some(number), Some(&(_, per))) => {
            Limit::new(number, per, Limit::DEFAULT_BURST).ok_or_else(|| format!("Rate too fast \"{text}\""))
        }
    }
}

/// An address that a packet may be translated to.
fn nat_address(text: &str) -> Parsed<Ipv4Address> {
    let address = full_address(text).filter(|address| !address.is_unspecified());
    address.ok_or_else(|| format!("Bad IP address \"{text}\""))
}

/// `A`, `A-B`, `A:P`, `A-B:P-Q` or `:P-Q`.
pub(super) fn nat_to(text: &str) -> Parsed<NatTo> {
    let (addresses, ports) = match text.rsplit_once(':') {
        Some((addresses, ports)) => (addresses, Some(nat_ports(ports)?)),
        None => (text, None),
    };
    let addresses = match addresses.split_once('-') {
        _ if addresses.is_empty() && ports.is_some() => None,
        None => Some(nat_address(addresses).map(|one| (one, one))?),
        Some((first, last)) => Some((nat_address(first)?, nat_address(last)?)),
    };
    if addresses.is_some_and(|(first, last)| first > last) {
        return Err(format!("Bad IP address \"{text}\""));
    }
    Ok(NatTo { addresses, ports, ..NatTo::default() })
}

/// `80` or `80-90`, names of services too. Port 0 is none.
pub(super) fn nat_ports(text: &str) -> Parsed<PortRange> {
    let valid = |text: &str| {
        port(text).ok().filter(|&port| port > 0).ok_or_else(|| format!("Port `{text}' not valid"))
    };
    if text.contains(':') {
        return Err("Invalid port:port syntax - use dash".to_string());
    }
    // The name of a service may have a dash itself.
    if let Ok(one) = valid(text) {
        return Ok(PortRange::single(one));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = PortRange { first: valid(first)?, last: valid(last)? };
    if range.first > range.last { Err(format!("Port range `{last}' funky")) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: core::fmt::Debug>(parsed: Parsed<T>) -> String {
        parsed.unwrap_err()
    }

    #[test]
    fn networks_with_all_kinds_of_masks() {
        let shown =
            |text: &str| networks(text).unwrap().iter().map(|net| net.to_string()).collect::<Vec<_>>();
        assert_eq!(shown("10.1.2.3"), ["10.1.2.3/32"]);
        assert_eq!(shown("10/8"), ["10.0.0.0/8"]);
        assert_eq!(shown("10.1.2.3/255.255.255.0, 1.2.3.4/0"), ["10.1.2.0/24", "0.0.0.0/0"]);
        assert_eq!(refused(networks("example.org")), "host/network `example.org' not found");
        assert_eq!(refused(networks("1.2.3.4,")), "host/network `' not found");
        assert_eq!(refused(networks("010.0.0.1")), "host/network `010.0.0.1' not found");
        assert_eq!(refused(networks("1.2.3.4/33")), "invalid mask `33' specified");
        assert_eq!(refused(networks("1.2.3.4/255.0.255.0")), "invalid mask `255.0.255.0' specified");
        assert_eq!(refused(networks("1.2.3.4/")), "invalid mask `' specified");
    }

    #[test]
    fn ports_and_their_ranges() {
        assert_eq!(port_range("ssh:http"), Ok(PortRange { first: 22, last: 80 }));
        assert_eq!(port_range(":90"), Ok(PortRange { first: 0, last: 90 }));
        assert_eq!(refused(port_range("90:80")), "invalid portrange (min > max)");
        assert_eq!(refused(port_range("65536")), "invalid port/service `65536' specified");
        assert_eq!(port_list("1:2,3:4,5:6,7:8,9:10,11:12,13:14,15").unwrap().len(), 8);
        assert_eq!(refused(port_list("1:2,3:4,5:6,7:8,9:10,11:12,13:14,15:16")), "too many ports specified");
        assert_eq!(refused(port_list("7:7")), "invalid portrange specified");
        assert_eq!(nat_ports("ftp-data"), Ok(PortRange::single(20)));
        assert_eq!(nat_ports("80-90"), Ok(PortRange { first: 80, last: 90 }));
        assert_eq!(refused(nat_ports("90-80")), "Port range `80' funky");
        assert_eq!(refused(nat_ports("80-")), "Port `' not valid");
        assert_eq!(refused(nat_ports("80:90")), "Invalid port:port syntax - use dash");
    }

    #[test]
    fn icmp_types_by_number_and_by_the_beginning_of_a_name() {
        assert_eq!(icmp_type("8"), Ok(IcmpType::of(8)));
        assert_eq!(icmp_type("3/4"), Ok(IcmpType::with_code(3, 4)));
        assert_eq!(icmp_type("Echo-Req"), Ok(IcmpType::of(8)));
        assert_eq!(icmp_type("255"), Ok(IcmpType::ANY));
        assert_eq!(
            refused(icmp_type("echo-")),
            "Ambiguous ICMP type `echo-': `echo-reply' or `echo-request'?"
        );
        assert_eq!(refused(icmp_type("3/256")), "Unknown ICMP code `3/256'");
        assert_eq!(refused(icmp_type("3/4:2")), "Unknown ICMP code `3/4:2'");
        assert_eq!(refused(icmp_type("bogus")), "Unknown ICMP type `bogus'");
    }

    #[test]
    fn rates_are_kept_as_linux_keeps_them() {
        let shown = |text: &str| rate(text).map(|limit| limit.text().to_string());
        for (given, kept) in [
            ("1", "1/sec"),
            ("60/min", "1/sec"),
            ("61/min", "61/min"),
            ("24/day", "1/hour"),
            ("25/day", "25/day"),
            ("1000000/day", "694/min"),
            ("3333/s", "3333/sec"),
            ("3/HOUR", "3/hour"),
        ] {
            assert_eq!(shown(given).as_deref(), Ok(kept), "{given}");
        }
        assert_eq!(refused(rate("10001/s")), "Rate too fast \"10001/s\"");
        for bad in ["0/s", "1/", "1/days", "1/x", "-1/s", "5/s/s", "", "1000000000000/day"] {
            assert_eq!(refused(rate(bad)), format!("bad rate \"{bad}\""));
        }
    }

    #[test]
    fn a_rate_that_was_printed_is_the_same_again() {
        for gap in 1..=200_000_u32 {
            let first = Limit::new(86_400 * Limit::MAX / gap, 86_400, 5).unwrap();
            let again = Limit::new(first.rate(), first.per(), 5).unwrap();
            assert_eq!((first.rate(), first.per()), (again.rate(), again.per()), "gap {gap}");
        }
    }

    #[test]
    fn translations() {
        let shown = |text: &str| nat_to(text).map(|to| to.to_string());
        for text in ["1.2.3.4", "1.2.3.4:80", "1.2.3.4-1.2.3.8:80-90", ":8080"] {
            assert_eq!(shown(text).as_deref(), Ok(text));
        }
        assert_eq!(refused(nat_to("1.2.3")), "Bad IP address \"1.2.3\"");
        assert_eq!(refused(nat_to("1.2.3.4-1.2.3.1")), "Bad IP address \"1.2.3.4-1.2.3.1\"");
        assert_eq!(refused(nat_to("0.0.0.0")), "Bad IP address \"0.0.0.0\"");
        assert_eq!(refused(nat_to("1.2.3.4:0")), "Port `0' not valid");
        assert_eq!(refused(nat_to("")), "Bad IP address \"\"");
    }
}
