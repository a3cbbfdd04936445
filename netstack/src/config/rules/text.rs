//! A rule as `iptables -S` prints it: text that, parsed again, gives the same rule.

use super::{
    ConntrackMatch, IcmpType, InterfacePattern, Limit, LimitInterface, Log, Masked, Match, MssLimit,
    MultiportSide, NatTo, Negatable, NoTrack, PortRange, RandomPorts, RejectWith, Rule, SetMatch, Table,
    Target, names, state_bit,
};
use core::fmt::{self, Display, Formatter};
use smoltcp::wire::Ipv4Cidr;

/// The words of a rule that follow `-A CHAIN`, each with a space before it.
pub struct RuleText<'a> {
    pub(super) table: &'a Table,
    pub(super) rule: &'a Rule,
    pub(super) counters: bool,
}

impl RuleText<'_> {
    /// The same with the counters, as `iptables -S -v` prints it.
    pub fn with_counters(self) -> Self {
        Self { counters: true, ..self }
    }
}

impl Display for RuleText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rule = self.rule;
        option(f, "-s", &rule.source)?;
        option(f, "-d", &rule.destination)?;
        option(f, "-i", &rule.in_interface)?;
        option(f, "-o", &rule.out_interface)?;
        option(f, "-p", &rule.protocol.map(|it| Negatable { not: it.not, value: Protocol(it.value) }))?;
        if let Some(fragment) = rule.fragment {
            write!(f, "{} -f", not(fragment.not))?;
        }
        for found in &rule.matches {
            write!(f, "{found}")?;
        }
        if self.counters {
            let (packets, bytes) = rule.counters.get();
            write!(f, " -c {packets} {bytes}")?;
        }
        match &rule.target {
            None => Ok(()),
            Some(Target::Jump(chain)) => write!(f, " -j {}", self.table.chain(*chain).name),
            Some(Target::Goto(chain)) => write!(f, " -g {}", self.table.chain(*chain).name),
            Some(target) => write!(f, " -j {}{}", target.name(), TargetOptions(target)),
        }
    }
}

fn not(not: bool) -> &'static str {
    if not { " !" } else { "" }
}

/// ` --name value` or ` ! --name value`.
fn option<T: Display>(f: &mut Formatter<'_>, name: &str, wish: &Option<Negatable<T>>) -> fmt::Result {
    match wish {
        Some(wish) => write!(f, "{} {name} {}", not(wish.not), wish.value),
        None => Ok(()),
    }
}

struct Protocol(u8);

impl Display for Protocol {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match names::protocol_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Display for InterfacePattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.prefix { "+" } else { "" })
    }
}

/// `80` or `80:90`.
impl Display for PortRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}:{last}"),
        }
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { source, destination, flags } => {
                f.write_str(" -m tcp")?;
                option(f, "--sport", source)?;
                option(f, "--dport", destination)?;
                let words = |(mask, wanted)| TcpFlagPair { mask, wanted };
                option(f, "--tcp-flags", &flags.map(|it| Negatable { not: it.not, value: words(it.value) }))
            }
            Self::Udp { source, destination } => {
                f.write_str(" -m udp")?;
                option(f, "--sport", source)?;
                option(f, "--dport", destination)
            }
            Self::Icmp(kind) => write!(f, " -m icmp{} --icmp-type {}", not(kind.not), kind.value),
            Self::Multiport { which, ports } => {
                let name = match which {
                    MultiportSide::Source => "--sports",
                    MultiportSide::Destination => "--dports",
                    MultiportSide::Either => "--ports",
                };
                write!(f, " -m multiport{} {name} ", not(ports.not))?;
                list(f, ports.value.iter())
            }
            Self::Conntrack(conntrack) => write!(f, "{conntrack}"),
            Self::Comment(text) => write!(f, " -m comment --comment {}", Quoted(text)),
            Self::Mac(mac) => write!(f, " -m mac{} --mac-source {}", not(mac.not), Mac(mac.value.0)),
            Self::Set(wish) => write!(f, " -m set{} --match-set {}", not(wish.not), wish.value),
            Self::Mark(wish) => write!(f, " -m mark{} --mark {}", not(wish.not), wish.value),
            Self::Ttl(wish) => write!(f, " -m ttl{wish}"),
            Self::Dscp(wish) => write!(f, " -m dscp{} --dscp 0x{:02x}", not(wish.not), wish.value),
            Self::Tos(wish) => write!(f, " -m tos{} --tos {}", not(wish.not), wish.value),
            Self::Length(wish) => write!(f, " -m length{} --length {}", not(wish.not), wish.value),
            Self::AddressRange { source, destination } => {
                f.write_str(" -m iprange")?;
                option(f, "--src-range", source)?;
                option(f, "--dst-range", destination)
            }
            Self::AddressType(wish) => {
                f.write_str(" -m addrtype")?;
                option(f, "--src-type", &wish.source)?;
                option(f, "--dst-type", &wish.destination)?;
                f.write_str(match wish.limit {
                    None => "",
                    Some(LimitInterface::In) => " --limit-iface-in",
                    Some(LimitInterface::Out) => " --limit-iface-out",
                })
            }
            Self::Statistic(statistic) => write!(f, " -m statistic{statistic}"),
            Self::PacketType(wish) => write!(f, " -m pkttype{} --pkt-type {}", not(wish.not), wish.value),
            Self::ConnMark(wish) => write!(f, " -m connmark{} --mark {}", not(wish.not), wish.value),
            Self::Limiting(limiting) => write!(f, "{limiting}"),
            Self::Limit(limit) => {
                write!(f, " -m limit --limit {}", limit.text())?;
                match limit.burst() {
                    Limit::DEFAULT_BURST => Ok(()),
                    burst => write!(f, " --limit-burst {burst}"),
                }
            }
        }
    }
}

/// `NAME src,dst`
impl Display for SetMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        list(f, self.sources.iter().map(|&source| if source { "src" } else { "dst" }))
    }
}

/// `any`, `3`, `3/4` or, where Linux forgets the second, `3/4:5`.
impl Display for IcmpType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self { kind: None, .. } => f.write_str("any"),
            Self { kind: Some(kind), .. } if self.any_code() => write!(f, "{kind}"),
            Self { kind: Some(kind), first_code: a, last_code: b } if a == b => write!(f, "{kind}/{a}"),
            Self { kind: Some(kind), first_code, last_code } => write!(f, "{kind}/{first_code}:{last_code}"),
        }
    }
}

impl Display for ConntrackMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let states = self.states.map(|it| Negatable { not: it.not, value: States(it.value) });
        if self.legacy {
            f.write_str(" -m state")?;
            return option(f, "--state", &states);
        }
        f.write_str(" -m conntrack")?;
        option(f, "--ctstate", &states)?;
        option(f, "--ctproto", &self.protocol)?;
        let host = |wish: &Option<Negatable<Ipv4Cidr>>| {
            wish.map(|it| Negatable { not: it.not, value: HostOrNet(it.value) })
        };
        option(f, "--ctorigsrc", &host(&self.original_source))?;
        option(f, "--ctorigdst", &host(&self.original_destination))?;
        option(f, "--ctreplsrc", &host(&self.reply_source))?;
        option(f, "--ctrepldst", &host(&self.reply_destination))?;
        option(f, "--ctorigsrcport", &self.original_source_port)?;
        option(f, "--ctorigdstport", &self.original_destination_port)?;
        option(f, "--ctreplsrcport", &self.reply_source_port)?;
        option(f, "--ctrepldstport", &self.reply_destination_port)?;
        match self.direction_original {
            None => Ok(()),
            Some(true) => f.write_str(" --ctdir ORIGINAL"),
            Some(false) => f.write_str(" --ctdir REPLY"),
        }
    }
}

/// Words with commas between them.
fn list<T: Display>(f: &mut Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    for (place, item) in items.enumerate() {
        write!(f, "{}{item}", if place == 0 { "" } else { "," })?;
    }
    Ok(())
}

/// A set of [`state_bit`]s by name.
pub(crate) struct States(pub u8);

impl States {
    /// Each state's name and bit, in the order in which Linux prints them.
    pub(crate) const NAMES: [(&'static str, u8); 7] = [
        ("INVALID", state_bit::INVALID),
        ("NEW", state_bit::NEW),
        ("RELATED", state_bit::RELATED),
        ("ESTABLISHED", state_bit::ESTABLISHED),
        ("UNTRACKED", state_bit::UNTRACKED),
        ("SNAT", state_bit::SNAT),
        ("DNAT", state_bit::DNAT),
    ];
}

impl Display for States {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, Self::NAMES.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(name, _)| name))
    }
}

/// TCP flags by name.
pub(crate) struct TcpFlags(pub u8);

impl TcpFlags {
    /// Each flag's name and bit, in the order in which Linux prints them.
    pub(crate) const NAMES: [(&'static str, u8); 6] =
        [("FIN", 0x01), ("SYN", 0x02), ("RST", 0x04), ("PSH", 0x08), ("ACK", 0x10), ("URG", 0x20)];
}

impl Display for TcpFlags {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("NONE"),
            flags => list(f, Self::NAMES.iter().filter(|(_, bit)| flags & bit != 0).map(|(name, _)| name)),
        }
    }
}

struct TcpFlagPair {
    mask: u8,
    wanted: u8,
}

impl Display for TcpFlagPair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", TcpFlags(self.mask), TcpFlags(self.wanted))
    }
}

/// An address, with its prefix length only where that is not 32.
pub(crate) struct HostOrNet(pub Ipv4Cidr);

impl Display for HostOrNet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() {
            32 => write!(f, "{}", self.0.address()),
            _ => write!(f, "{}", self.0),
        }
    }
}

/// A MAC address in lower case with colons.
pub(crate) struct Mac(pub [u8; 6]);

impl Display for Mac {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text in the quotes that it needs, as iptables-save writes it.
pub(crate) struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for letter in self.0.chars() {
            let escape = if matches!(letter, '"' | '\\' | '\'') { "\\" } else { "" };
            write!(f, "{escape}{letter}")?;
        }
        f.write_str("\"")
    }
}

impl Limit {
    /// `5/min`.
    pub(crate) fn text(&self) -> impl Display + use<> {
        let unit = match self.per() {
            1 => "sec",
            60 => "min",
            3_600 => "hour",
            _ => "day",
        };
        Rate { rate: self.rate(), unit }
    }
}

struct Rate {
    rate: u32,
    unit: &'static str,
}

impl Display for Rate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.rate, self.unit)
    }
}

impl Target {
    /// The word after `-j`; empty for a chain, whose name only its table knows.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Reject(_) => "REJECT",
            Self::Return => "RETURN",
            Self::Log(_) => "LOG",
            Self::Jump(_) | Self::Goto(_) => "",
            Self::Masquerade { .. } => "MASQUERADE",
            Self::Snat(_) => "SNAT",
            Self::Dnat(_) => "DNAT",
            Self::Redirect { .. } => "REDIRECT",
            Self::TcpMss(_) => "TCPMSS",
            Self::Mark(_) => "MARK",
            Self::ConnMark(_) => "CONNMARK",
            Self::NoTrack(NoTrack::Short) => "NOTRACK",
            Self::NoTrack(NoTrack::Ct) => "CT",
            Self::Ttl(_) => "TTL",
            Self::Dscp(_) => "DSCP",
            Self::Tos(_) => "TOS",
        }
    }
}

/// What follows the name of a target.
struct TargetOptions<'a>(&'a Target);

impl Display for TargetOptions<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Target::Accept
            | Target::Drop
            | Target::Return
            | Target::Jump(_)
            | Target::Goto(_)
            | Target::NoTrack(NoTrack::Short) => Ok(()),
            Target::NoTrack(NoTrack::Ct) => f.write_str(" --notrack"),
            Target::Reject(with) => write!(f, " --reject-with {with}"),
            Target::Log(log) => write!(f, "{log}"),
            Target::TcpMss(MssLimit::Bytes(mss)) => write!(f, " --set-mss {mss}"),
            Target::TcpMss(MssLimit::PathMtu) => f.write_str(" --clamp-mss-to-pmtu"),
            Target::Mark(Masked { value, mask }) => write!(f, " --set-xmark 0x{value:x}/0x{mask:x}"),
            Target::ConnMark(change) => write!(f, "{change}"),
            Target::Ttl(change) => write!(f, "{change}"),
            Target::Dscp(code_point) => write!(f, " --set-dscp 0x{code_point:02x}"),
            Target::Tos(change) => write!(f, " --set-tos {change}"),
            Target::Masquerade { ports, random } | Target::Redirect { ports, random } => {
                if let Some(ports) = ports {
                    write!(f, " --to-ports {}", Dashed(*ports))?;
                }
                randomness(f, *random)
            }
            Target::Snat(to) => write!(f, " --to-source {to}").and_then(|()| to.flags(f)),
            Target::Dnat(to) => write!(f, " --to-destination {to}").and_then(|()| to.flags(f)),
        }
    }
}

fn randomness(f: &mut Formatter<'_>, random: Option<RandomPorts>) -> fmt::Result {
    match random {
        None => Ok(()),
        Some(RandomPorts::Random) => f.write_str(" --random"),
        Some(RandomPorts::RandomFully) => f.write_str(" --random-fully"),
    }
}

/// Ports as the nat targets write them: `80` or `80-90`.
pub(crate) struct Dashed(pub PortRange);

impl Display for Dashed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            PortRange { first, last } if first == last => write!(f, "{first}"),
            PortRange { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// `A[-B][:P[-Q]]`.
impl Display for NatTo {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.addresses {
            None => {}
            Some((first, last)) if first == last => write!(f, "{first}")?,
            Some((first, last)) => write!(f, "{first}-{last}")?,
        }
        match self.ports {
            None => Ok(()),
            Some(ports) => write!(f, ":{}", Dashed(ports)),
        }
    }
}

impl NatTo {
    fn flags(&self, f: &mut Formatter<'_>) -> fmt::Result {
        randomness(f, self.random)?;
        if self.persistent { f.write_str(" --persistent") } else { Ok(()) }
    }
}

impl RejectWith {
    /// Every way with its name.
    pub(crate) const NAMES: [(&'static str, Self); 8] = [
        ("icmp-net-unreachable", Self::NetUnreachable),
        ("icmp-host-unreachable", Self::HostUnreachable),
        ("icmp-proto-unreachable", Self::ProtocolUnreachable),
        ("icmp-port-unreachable", Self::PortUnreachable),
        ("icmp-net-prohibited", Self::NetProhibited),
        ("icmp-host-prohibited", Self::HostProhibited),
        ("icmp-admin-prohibited", Self::AdminProhibited),
        ("tcp-reset", Self::TcpReset),
    ];
}

impl Display for RejectWith {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Self::NAMES.iter().filter(|(_, way)| way == self).try_for_each(|(name, _)| f.write_str(name))
    }
}

impl Display for Log {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.prefix.is_empty() {
            write!(f, " --log-prefix {}", Quoted(&self.prefix))?;
        }
        if self.level != Self::DEFAULT_LEVEL {
            write!(f, " --log-level {}", self.level)?;
        }
        let flags = [
            (self.tcp_sequence, " --log-tcp-sequence"),
            (self.tcp_options, " --log-tcp-options"),
            (self.ip_options, " --log-ip-options"),
            (self.uid, " --log-uid"),
            (self.mac_decode, " --log-macdecode"),
        ];
        flags.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| f.write_str(word))
    }
}
