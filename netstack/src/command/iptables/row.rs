//! One rule as a row of `iptables -L`; iptables(8).

use super::{header, marking, request::View, statistic};
use crate::{
    config::rules::{
        ConntrackMatch, Dashed, HostOrNet, IcmpType, InterfacePattern, Listed, Log, Mac, Match, MssLimit,
        MultiportSide, NatTo, Negatable, NoTrack, PortRange, RandomPorts, Rule, States, Table, Target,
        TcpFlags, names,
    },
    headers::protocol::{TCP, UDP},
};
use core::fmt::{self, Display, Formatter, Write};
use smoltcp::wire::Ipv4Cidr;

/// What stands in the columns from `target` on.
pub(super) struct Row<'a> {
    pub(super) view: &'a View,
    pub(super) table: &'a Table,
    pub(super) rule: &'a Rule,
}

impl Display for Row<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { view, rule, .. } = self;
        let target = match &rule.target {
            None => "",
            Some(Target::Jump(chain) | Target::Goto(chain)) => self.table.chain(*chain).name.as_str(),
            Some(Target::NoTrack(_)) => "CT",
            Some(target) => target.name(),
        };
        write!(f, "{target:<9} ")?;
        let protocol = rule.protocol.unwrap_or_default();
        match (names::protocol_name(protocol.value), view.numeric) {
            (_, false) if protocol.value == 0 => f.write_str(" all  ")?,
            (Some(name), false) => write!(f, "{}{name:<4} ", mark(protocol.not))?,
            _ => write!(f, "{}{:<4} ", mark(protocol.not), protocol.value)?,
        }
        f.write_str(match &rule.fragment {
            None => "-- ",
            Some(Negatable { not: false, .. }) => "-f ",
            Some(Negatable { not: true, .. }) => "!f ",
        })?;
        if view.verbose {
            f.write_char(' ')?;
            self.interface(f, &rule.in_interface)?;
            self.interface(f, &rule.out_interface)?;
        }
        self.address(f, &rule.source)?;
        self.address(f, &rule.destination)?;
        if let Some(Target::Goto(_)) = rule.target {
            f.write_str("[goto] ")?;
        }
        rule.matches.iter().try_for_each(|part| self.part(f, part))?;
        self.target(f)
    }
}

fn mark(not: bool) -> &'static str {
    if not { "!" } else { " " }
}

/// A name that the person reads, or the number where there is none.
fn service(f: &mut Formatter<'_>, port: u16, protocol: Option<u8>) -> fmt::Result {
    match protocol.and_then(|protocol| names::service_name(port, Some(protocol))) {
        Some(name) => f.write_str(name),
        None => write!(f, "{port}"),
    }
}

impl Row<'_> {
    fn interface(&self, f: &mut Formatter<'_>, wish: &Option<Negatable<InterfacePattern>>) -> fmt::Result {
        let mut text = heapless::String::<17>::new();
        match wish {
            None => text.write_str(if self.view.numeric { "*" } else { "any" })?,
            Some(wish) => write!(text, "{}{}", if wish.not { "!" } else { "" }, wish.value)?,
        }
        write!(f, "{text:<6} ")
    }

    fn address(&self, f: &mut Formatter<'_>, wish: &Option<Negatable<Ipv4Cidr>>) -> fmt::Result {
        let mut text = heapless::String::<18>::new();
        match wish {
            None if self.view.numeric => text.write_str("0.0.0.0/0")?,
            None => text.write_str("anywhere")?,
            Some(wish) => write!(text, "{}", HostOrNet(wish.value))?,
        }
        write!(f, "{}{text:<19} ", mark(wish.is_some_and(|wish| wish.not)))
    }

    /// A range with names of services, unless numbers are wanted.
    fn range(&self, f: &mut Formatter<'_>, range: PortRange, protocol: u8) -> fmt::Result {
        let protocol = Some(protocol).filter(|_| !self.view.numeric);
        service(f, range.first, protocol)?;
        if range.first != range.last {
            f.write_char(':')?;
            service(f, range.last, protocol)?;
        }
        Ok(())
    }

    /// ` dpt:80`, ` dpts:!1:2`
    fn ports(
        &self,
        f: &mut Formatter<'_>,
        name: &str,
        wish: &Option<Negatable<PortRange>>,
        protocol: u8,
    ) -> fmt::Result {
        let Some(Negatable { not, value }) = wish else { return Ok(()) };
        let plural = if value.first == value.last { "" } else { "s" };
        write!(f, " {name}{plural}:{}", if *not { "!" } else { "" })?;
        self.range(f, *value, protocol)
    }

    fn part(&self, f: &mut Formatter<'_>, part: &Match) -> fmt::Result {
        let numeric = self.view.numeric;
        match part {
            Match::Tcp { source, destination, flags } => {
                f.write_str(" tcp")?;
                self.ports(f, "spt", source, TCP)?;
                self.ports(f, "dpt", destination, TCP)?;
                let Some(Negatable { not, value: (mask, set) }) = *flags else { return Ok(()) };
                write!(f, " flags:{}", if not { "!" } else { "" })?;
                match numeric {
                    true => write!(f, "0x{mask:02X}/0x{set:02X}"),
                    false => write!(f, "{}/{}", TcpFlags(mask), TcpFlags(set)),
                }
            }
            Match::Udp { source, destination } => {
                f.write_str(" udp")?;
                self.ports(f, "spt", source, UDP)?;
                self.ports(f, "dpt", destination, UDP)
            }
            Match::Icmp(wish) => icmp(f, wish, numeric),
            Match::Multiport { which, ports } => {
                f.write_str(match which {
                    MultiportSide::Source => " multiport sports ",
                    MultiportSide::Destination => " multiport dports ",
                    MultiportSide::Either => " multiport ports ",
                })?;
                f.write_str(if ports.not { " !" } else { "" })?;
                let protocol = self.rule.only_protocol().unwrap_or(TCP);
                ports.value.iter().enumerate().try_for_each(|(place, &range)| {
                    f.write_str(if place > 0 { "," } else { "" })?;
                    self.range(f, range, protocol)
                })
            }
            Match::Conntrack(part) => conntrack(f, part, numeric),
            Match::Comment(text) => write!(f, " /* {text} */"),
            Match::Mac(wish) => write!(f, " MAC{} {}", if wish.not { " !" } else { "" }, Mac(wish.value.0)),
            Match::Set(wish) => write!(f, "{} match-set {}", if wish.not { " !" } else { "" }, wish.value),
            Match::Mark(_) | Match::ConnMark(_) => marking::list_match(f, part),
            Match::Statistic(part) => statistic::list(f, part),
            Match::Ttl(_)
            | Match::Dscp(_)
            | Match::Tos(_)
            | Match::Length(_)
            | Match::AddressRange { .. }
            | Match::AddressType(_)
            | Match::PacketType(_) => header::list_match(f, part, numeric),
            Match::Limiting(limiting) => write!(f, "{}", Listed(limiting)),
            Match::Limit(limit) => write!(f, " limit: avg {} burst {}", limit.text(), limit.burst()),
        }
    }

    fn target(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.rule.target {
            Some(Target::Reject(with)) => write!(f, " reject-with {with}"),
            Some(Target::Log(target)) => log(f, target, self.view.numeric),
            Some(Target::Masquerade { ports, random }) => translation(f, " masq ports: ", *ports, *random),
            Some(Target::Redirect { ports, random }) => translation(f, " redir ports ", *ports, *random),
            Some(Target::Snat(to) | Target::Dnat(to)) => nat(f, to),
            Some(Target::TcpMss(MssLimit::Bytes(mss))) => write!(f, " TCPMSS set {mss}"),
            Some(Target::TcpMss(MssLimit::PathMtu)) => f.write_str(" TCPMSS clamp to PMTU"),
            Some(Target::Mark(change)) => marking::list_mark(f, *change),
            Some(Target::ConnMark(change)) => marking::list_connmark(f, *change),
            Some(Target::NoTrack(NoTrack::Short)) => f.write_str(" NOTRACK"),
            Some(Target::NoTrack(NoTrack::Ct)) => f.write_str(" CT notrack"),
            Some(target) => header::list_target(f, target, self.view.numeric),
            None => Ok(()),
        }
    }
}

fn icmp(f: &mut Formatter<'_>, wish: &Negatable<IcmpType>, numeric: bool) -> fmt::Result {
    let Negatable { not, value } = *wish;
    let (space, bang) = if not { (" ", "!") } else { ("", "") };
    if let (Some(name), false) = (names::icmp_name(value), numeric) {
        return write!(f, " icmp {bang}{name}");
    }
    write!(f, " icmp{space}{bang}type {}", value.kind.unwrap_or(u8::MAX))?;
    match value {
        _ if value.any_code() => Ok(()),
        IcmpType { first_code: a, last_code: b, .. } if a == b => write!(f, " code {a}"),
        IcmpType { first_code, last_code, .. } => write!(f, " codes {first_code}-{last_code}"),
    }
}

fn conntrack(f: &mut Formatter<'_>, part: &ConntrackMatch, numeric: bool) -> fmt::Result {
    fn shown<T: Copy, V: Display>(
        f: &mut Formatter<'_>,
        name: &str,
        wish: &Option<Negatable<T>>,
        value: impl FnOnce(T) -> V,
    ) -> fmt::Result {
        match wish {
            None => Ok(()),
            Some(wish) => write!(f, "{} {name} {}", if wish.not { " !" } else { "" }, value(wish.value)),
        }
    }
    let net = |net: Ipv4Cidr| Anywhere { net, numeric };
    shown(f, if part.legacy { "state" } else { "ctstate" }, &part.states, States)?;
    shown(f, "ctproto", &part.protocol, |protocol| protocol)?;
    shown(f, "ctorigsrc", &part.original_source, net)?;
    shown(f, "ctorigdst", &part.original_destination, net)?;
    shown(f, "ctreplsrc", &part.reply_source, net)?;
    shown(f, "ctrepldst", &part.reply_destination, net)?;
    shown(f, "ctorigsrcport", &part.original_source_port, |range| range)?;
    shown(f, "ctorigdstport", &part.original_destination_port, |range| range)?;
    shown(f, "ctreplsrcport", &part.reply_source_port, |range| range)?;
    shown(f, "ctrepldstport", &part.reply_destination_port, |range| range)?;
    match part.direction_original {
        None => Ok(()),
        Some(true) => f.write_str(" ctdir ORIGINAL"),
        Some(false) => f.write_str(" ctdir REPLY"),
    }
}

/// An address; every address has a name, unless numbers are wanted.
struct Anywhere {
    net: Ipv4Cidr,
    numeric: bool,
}

impl Display for Anywhere {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.net.prefix_len() {
            0 if !self.numeric => f.write_str("anywhere"),
            _ => write!(f, "{}", HostOrNet(self.net)),
        }
    }
}

fn log(f: &mut Formatter<'_>, log: &Log, numeric: bool) -> fmt::Result {
    const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
    let flags = [
        (log.tcp_sequence, 1, " tcp-sequence"),
        (log.tcp_options, 2, " tcp-options"),
        (log.ip_options, 4, " ip-options"),
        (log.uid, 8, " uid"),
        (log.mac_decode, 32, " macdecode"),
    ];
    let mut set = flags.into_iter().filter(|(set, ..)| *set);
    if numeric {
        write!(f, " LOG flags {} level {}", set.map(|(_, bit, _)| bit).sum::<u8>(), log.level)?;
    } else {
        write!(f, " LOG level {}", LEVELS.get(usize::from(log.level)).unwrap_or(&"debug"))?;
        set.try_for_each(|(_, _, word)| f.write_str(word))?;
    }
    if log.prefix.is_empty() { Ok(()) } else { write!(f, " prefix \"{}\"", log.prefix) }
}

fn translation(
    f: &mut Formatter<'_>,
    name: &str,
    ports: Option<PortRange>,
    random: Option<RandomPorts>,
) -> fmt::Result {
    if let Some(ports) = ports {
        write!(f, "{name}{}", Dashed(ports))?;
    }
    randomness(f, random)
}

fn nat(f: &mut Formatter<'_>, to: &NatTo) -> fmt::Result {
    write!(f, " to:{to}")?;
    randomness(f, to.random)?;
    f.write_str(if to.persistent { " persistent" } else { "" })
}

fn randomness(f: &mut Formatter<'_>, random: Option<RandomPorts>) -> fmt::Result {
    f.write_str(match random {
        None => "",
        Some(RandomPorts::Random) => " random",
        Some(RandomPorts::RandomFully) => " random-fully",
    })
}
