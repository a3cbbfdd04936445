//! The options of matches and targets; iptables-extensions(8).

use super::{
    header, limiting, marking, statistic,
    values::{
        Parsed, bounded, decimal, icmp_type, mac, nat_ports, nat_to, networks, port_list, port_range,
        port_wish, protocol, rate, tcp_flags,
    },
};
use crate::{
    config::rules::{
        ConntrackMatch, IcmpType, Limit, Log, Match, MssLimit, MultiportSide, NatTo, Negatable, NoTrack,
        RandomPorts, RejectWith, SetMatch, States, Target,
    },
    headers::tcp_flag::{ACK, FIN, RST, SYN},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use smoltcp::wire::{EthernetAddress, Ipv4Cidr};

/// An option of a match or a target.
pub(super) struct OptionSpec {
    /// Its name, without the dashes.
    pub(super) name: &'static str,
    /// Another name, or the same.
    pub(super) alias: &'static str,
    /// How many words follow it.
    pub(super) values: usize,
    /// Whether `!` may stand before it.
    pub(super) negatable: bool,
    /// Whether it cannot be left out.
    pub(super) required: bool,
    /// Of two options with a bit of this in common only one may be given.
    apart: u8,
}

pub(super) const fn option(name: &'static str, values: usize) -> OptionSpec {
    OptionSpec { name, alias: name, values, negatable: false, required: false, apart: 0 }
}

impl OptionSpec {
    pub(super) const fn or(self, alias: &'static str) -> Self {
        Self { alias, ..self }
    }

    pub(super) const fn negatable(self) -> Self {
        Self { negatable: true, ..self }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn apart_from_others_of(self, apart: u8) -> Self {
        Self { apart, ..self }
    }
}

const PORTS: [OptionSpec; 2] =
    [option("source-port", 1).or("sport").negatable(), option("destination-port", 1).or("dport").negatable()];

static UDP: &[OptionSpec] = &PORTS;

static TCP: &[OptionSpec] = &{
    let [source, destination] = PORTS;
    [source, destination, option("syn", 0).negatable(), option("tcp-flags", 2).negatable()]
};

static ICMP: &[OptionSpec] = &[option("icmp-type", 1).negatable().required()];

static MULTIPORT: &[OptionSpec] = &[
    option("source-ports", 1).or("sports").negatable(),
    option("destination-ports", 1).or("dports").negatable(),
    option("ports", 1).negatable(),
];

static CONNTRACK: &[OptionSpec] = &[
    option("ctstate", 1).negatable(),
    option("ctproto", 1).negatable(),
    option("ctorigsrc", 1).negatable(),
    option("ctorigdst", 1).negatable(),
    option("ctreplsrc", 1).negatable(),
    option("ctrepldst", 1).negatable(),
    option("ctorigsrcport", 1).negatable(),
    option("ctorigdstport", 1).negatable(),
    option("ctreplsrcport", 1).negatable(),
    option("ctrepldstport", 1).negatable(),
    option("ctdir", 1),
];

static STATE: &[OptionSpec] = &[option("state", 1).negatable().required()];
static COMMENT: &[OptionSpec] = &[option("comment", 1).required()];
static MAC: &[OptionSpec] = &[option("mac-source", 1).negatable().required()];
static LIMIT: &[OptionSpec] = &[option("limit", 1), option("limit-burst", 1)];
static SET: &[OptionSpec] = &[option("match-set", 2).negatable()];
static REJECT: &[OptionSpec] = &[option("reject-with", 1)];

static LOG: &[OptionSpec] = &[
    option("log-level", 1),
    option("log-prefix", 1),
    option("log-tcp-sequence", 0),
    option("log-tcp-options", 0),
    option("log-ip-options", 0),
    option("log-uid", 0),
    option("log-macdecode", 0),
];

static MASQUERADE: &[OptionSpec] = &[option("to-ports", 1), option("random", 0), option("random-fully", 0)];

static SNAT: &[OptionSpec] = &[
    option("to-source", 1).required(),
    option("random", 0),
    option("random-fully", 0),
    option("persistent", 0),
];

static DNAT: &[OptionSpec] =
    &[option("to-destination", 1).required(), option("random", 0), option("persistent", 0)];

static REDIRECT: &[OptionSpec] = &[option("to-ports", 1), option("random", 0)];
static CT: &[OptionSpec] = &[
    option("notrack", 0),
    option("helper", 1),
    option("zone", 1),
    option("ctevents", 1),
    option("timeout", 1),
];
static TCPMSS: &[OptionSpec] = &[option("set-mss", 1), option("clamp-mss-to-pmtu", 0)];

/// What an extension adds to the rule.
pub(super) enum Part {
    /// A match.
    Match(Match),
    /// A target.
    Target(Target),
}

/// A match or target of the rule that is being read.
pub(super) struct Extension {
    pub(super) name: &'static str,
    pub(super) options: &'static [OptionSpec],
    pub(super) part: Part,
    /// One bit for each option that was given.
    given: u16,
}

impl Extension {
    /// The match of that name.
    pub(super) fn new_match(name: &str) -> Option<Self> {
        let ports = (None, None);
        let (name, options, part) = match name {
            "tcp" => ("tcp", TCP, Match::Tcp { source: ports.0, destination: ports.1, flags: None }),
            "udp" => ("udp", UDP, Match::Udp { source: ports.0, destination: ports.1 }),
            "icmp" => ("icmp", ICMP, Match::Icmp(IcmpType::ANY.into())),
            "multiport" => {
                let part = Match::Multiport { which: MultiportSide::Either, ports: Vec::new().into() };
                ("multiport", MULTIPORT, part)
            }
            "conntrack" => ("conntrack", CONNTRACK, Match::Conntrack(ConntrackMatch::default())),
            "state" => {
                let part = ConntrackMatch { legacy: true, ..ConntrackMatch::default() };
                ("state", STATE, Match::Conntrack(part))
            }
            "comment" => ("comment", COMMENT, Match::Comment(String::new())),
            "mac" => ("mac", MAC, Match::Mac(EthernetAddress::default().into())),
            "limit" => {
                let (rate, per) = Limit::DEFAULT_RATE;
                ("limit", LIMIT, Match::Limit(Limit::new(rate, per, Limit::DEFAULT_BURST)?))
            }
            "set" => ("set", SET, Match::Set(SetMatch::default().into())),
            "statistic" => ("statistic", statistic::OPTIONS, Match::Statistic(statistic::new())),
            _ => marking::new_match(name)
                .or_else(|| header::new_match(name))
                .or_else(|| limiting::new_match(name))?,
        };
        Some(Self { name, options, part: Part::Match(part), given: 0 })
    }

    /// The target of that name; a chain is none.
    pub(super) fn new_target(name: &str) -> Option<Self> {
        let (options, part): (&'static [OptionSpec], _) = match name {
            "ACCEPT" => (&[], Target::Accept),
            "DROP" => (&[], Target::Drop),
            "RETURN" => (&[], Target::Return),
            "REJECT" => (REJECT, Target::Reject(RejectWith::PortUnreachable)),
            "LOG" => (LOG, Target::Log(Log::default())),
            "MASQUERADE" => (MASQUERADE, Target::Masquerade { ports: None, random: None }),
            "SNAT" => (SNAT, Target::Snat(NatTo::default())),
            "DNAT" => (DNAT, Target::Dnat(NatTo::default())),
            "REDIRECT" => (REDIRECT, Target::Redirect { ports: None, random: None }),
            "TCPMSS" => (TCPMSS, Target::TcpMss(MssLimit::PathMtu)),
            "NOTRACK" => (&[], Target::NoTrack(NoTrack::Short)),
            "CT" => (CT, Target::NoTrack(NoTrack::Ct)),
            _ => marking::new_target(name).or_else(|| header::new_target(name))?,
        };
        Some(Self { name: part.name(), options, part: Part::Target(part), given: 0 })
    }

    /// Takes the option at `place` of [`Extension::options`] with its words.
    pub(super) fn set(&mut self, place: usize, not: bool, values: &[&str]) -> Parsed<()> {
        let (extension, option) = (self.name, &self.options[place]);
        let name = option.name;
        if not && !option.negatable {
            return Err(format!("{extension}: option \"--{name}\" cannot be inverted."));
        }
        if self.given & 1 << place != 0 && extension == "set" {
            return Err(format!("--{name} can be specified only once"));
        }
        if self.given & 1 << place != 0 {
            return Err(format!("{extension}: option \"--{name}\" can only be used once."));
        }
        if extension == "multiport"
            && let Some(other) = self.first_given()
        {
            return Err(format!(
                "multiport: option \"--{name}\" cannot be used together with \"--{other}\"."
            ));
        }
        self.given |= 1 << place;
        let value = values.first().copied().unwrap_or("");
        match &mut self.part {
            Part::Match(Match::Statistic(part)) => statistic::set(part, self.given, name, not, value)?,
            Part::Match(Match::Limit(limit)) => *limit = limit_option(limit, name, value)?,
            Part::Match(part) => match_option(part, name, not, value, values)?,
            Part::Target(part) => target_option(part, name, value)?,
        }
        Ok(())
    }

    fn first_given(&self) -> Option<&'static str> {
        self.options.get(self.given.trailing_zeros() as usize).map(|option| option.name)
    }

    /// Whether everything that is required was given.
    pub(super) fn finish(&self) -> Parsed<()> {
        let missing =
            |(place, option): &(usize, &OptionSpec)| option.required && self.given & 1 << place == 0;
        if let Some((_, option)) = self.options.iter().enumerate().find(missing) {
            return Err(format!("{}: option \"--{}\" must be specified", self.name, option.name));
        }
        let given = |(place, _): &(usize, &OptionSpec)| self.given & 1 << place != 0;
        let mut pairs = self.options.iter().enumerate().filter(given);
        while let Some((_, one)) = pairs.next() {
            if let Some((_, other)) = pairs.clone().find(|(_, other)| one.apart & other.apart != 0) {
                let (name, one, other) = (self.name, one.name, other.name);
                return Err(format!(
                    "{name}: option \"--{one}\" cannot be used together with \"--{other}\"."
                ));
            }
        }
        if let Part::Match(Match::Statistic(part)) = &self.part {
            return statistic::check(part, self.given);
        }
        match (self.name, self.given) {
            ("multiport", 0) => Err("multiport expection an option".to_string()),
            ("set", 0) => Err("You must specify `--match-set' with proper arguments".to_string()),
            ("CT", 0) => Err("CT: rutter knows --notrack alone, which must be specified".to_string()),
            ("TCPMSS", 0) => Err("TCPMSS target: At least one parameter is required".to_string()),
            ("conntrack", 0) => Err("conntrack: At least one option is required".to_string()),
            (name, given) => {
                if let Part::Match(Match::Limiting(part)) = &self.part {
                    limiting::check(part, given)?;
                }
                marking::check_target(name, given).and_then(|()| header::check(name, given))
            }
        }
    }
}

fn match_option(part: &mut Match, name: &str, not: bool, value: &str, values: &[&str]) -> Parsed<()> {
    match part {
        Match::Tcp { source, .. } | Match::Udp { source, .. } if name == "source-port" => {
            *source = port_wish(value, not)?;
        }
        Match::Tcp { destination, .. } | Match::Udp { destination, .. } if name == "destination-port" => {
            *destination = port_wish(value, not)?;
        }
        Match::Tcp { flags, .. } => {
            if flags.is_some() {
                return Err("Only one of `--syn' or `--tcp-flags'  allowed".to_string());
            }
            let value = match values {
                [mask, set] => (tcp_flags(mask)?, tcp_flags(set)?),
                _ => (FIN | SYN | RST | ACK, SYN),
            };
            *flags = (not || value.0 != 0).then_some(Negatable { not, value });
        }
        Match::Icmp(kind) => *kind = Negatable { not, value: icmp_type(value)? },
        Match::Multiport { which, ports } => {
            *which = match name {
                "source-ports" => MultiportSide::Source,
                "destination-ports" => MultiportSide::Destination,
                _ => MultiportSide::Either,
            };
            *ports = Negatable { not, value: port_list(value)? };
        }
        Match::Conntrack(part) => conntrack_option(part, name, not, value)?,
        Match::Comment(text) => {
            if value.len() > 255 {
                return Err("comment: option \"--comment\" is longer than 255 bytes".to_string());
            }
            *text = printable(value, "--comment")?;
        }
        Match::Set(wish) => {
            let value = SetMatch { name: value.to_string(), sources: sides(values.get(1).copied())? };
            *wish = Negatable { not, value };
        }
        Match::Mac(address) => *address = Negatable { not, value: mac(value)? },
        Match::Udp { .. } | Match::Limit(_) | Match::Statistic(_) => {}
        Match::Limiting(part) => limiting::match_option(part, name, not, value)?,
        Match::Mark(_) | Match::ConnMark(_) => marking::match_option(part, name, not, value)?,
        Match::Ttl(_)
        | Match::Dscp(_)
        | Match::Tos(_)
        | Match::Length(_)
        | Match::AddressRange { .. }
        | Match::AddressType(_)
        | Match::PacketType(_) => header::match_option(part, name, not, value)?,
    }
    Ok(())
}

/// `src,dst`
fn sides(text: Option<&str>) -> Parsed<heapless::Vec<bool, { SetMatch::MAX_SIDES }>> {
    let mut sides = heapless::Vec::new();
    for side in text.unwrap_or("").split(',') {
        let source = match side {
            "src" => true,
            "dst" => false,
            _ => return Err("You must spefify (the comma separated list of) 'src' or 'dst'.".to_string()),
        };
        let most = SetMatch::MAX_SIDES;
        sides.push(source).map_err(|_| format!("Can't be more src/dst options than {most}."))?;
    }
    Ok(sides)
}

/// A text that can be printed on one line.
fn printable(text: &str, option: &str) -> Parsed<String> {
    if text.contains('\n') {
        return Err(format!("Newlines not allowed in {option}"));
    }
    if text.contains(char::is_control) {
        return Err(format!("Control characters not allowed in {option}"));
    }
    Ok(text.to_string())
}

fn limit_option(limit: &Limit, name: &str, value: &str) -> Parsed<Limit> {
    if name == "limit" {
        return Ok(rate(value)?.with_burst(limit.burst()));
    }
    let burst = decimal(value).filter(|&burst| burst <= Limit::MAX).ok_or_else(|| {
        format!("limit: bad value for option \"--limit-burst\", or out of range (0-{}).", Limit::MAX)
    })?;
    Ok(limit.clone().with_burst(if burst == 0 { Limit::DEFAULT_BURST } else { burst }))
}

fn states(text: &str, legacy: bool) -> Parsed<u8> {
    let known = if legacy { &States::NAMES[..5] } else { &States::NAMES[..] };
    text.split(',').try_fold(0, |states, word| {
        let upper = word.to_ascii_uppercase();
        let named = known.iter().find(|(name, _)| !word.is_empty() && name.starts_with(&upper));
        let option = if legacy { "state" } else { "ctstate" };
        named.map(|(_, bit)| states | bit).ok_or_else(|| format!("Bad {option} \"{word}\""))
    })
}

fn conntrack_option(part: &mut ConntrackMatch, name: &str, not: bool, value: &str) -> Parsed<()> {
    fn one_network(text: &str) -> Parsed<Ipv4Cidr> {
        match networks(text)?.as_slice() {
            [one] => Ok(*one),
            _ => Err(format!("Bad IP address \"{text}\"")),
        }
    }
    let port = || port_range(value).map(|value| Some(Negatable { not, value }));
    let net = || one_network(value).map(|value| Some(Negatable { not, value }));
    match name {
        "ctstate" | "state" => part.states = Some(Negatable { not, value: states(value, part.legacy)? }),
        "ctproto" => part.protocol = Some(Negatable { not, value: protocol(value)? }),
        "ctorigsrc" => part.original_source = net()?,
        "ctorigdst" => part.original_destination = net()?,
        "ctreplsrc" => part.reply_source = net()?,
        "ctrepldst" => part.reply_destination = net()?,
        "ctorigsrcport" => part.original_source_port = port()?,
        "ctorigdstport" => part.original_destination_port = port()?,
        "ctreplsrcport" => part.reply_source_port = port()?,
        "ctrepldstport" => part.reply_destination_port = port()?,
        _ => {
            part.direction_original = Some(match value.to_ascii_uppercase().as_str() {
                "ORIGINAL" => true,
                "REPLY" => false,
                _ => return Err(format!("conntrack: Bad value for \"--ctdir\" option: \"{value}\"")),
            });
        }
    }
    Ok(())
}

fn target_option(part: &mut Target, name: &str, value: &str) -> Parsed<()> {
    match part {
        Target::Reject(with) => *with = reject_with(value)?,
        Target::TcpMss(limit) if name == "set-mss" => {
            *limit = MssLimit::Bytes(bounded("TCPMSS", name, value, 0..=65_515)?)
        }
        Target::TcpMss(limit) => *limit = MssLimit::PathMtu,
        Target::Log(log) => log_option(log, name, value)?,
        Target::Masquerade { ports, random } | Target::Redirect { ports, random } => match name {
            "to-ports" => *ports = Some(nat_ports(value)?),
            _ => *random = randomness(name).max(*random),
        },
        Target::Snat(to) | Target::Dnat(to) => match name {
            "to-source" | "to-destination" => {
                *to = NatTo { random: to.random, persistent: to.persistent, ..nat_to(value)? };
            }
            "persistent" => to.persistent = true,
            _ => to.random = randomness(name).max(to.random),
        },
        Target::NoTrack(_) if name == "helper" => {
            let reason = "net.netfilter.nf_conntrack_helper switches on all helpers";
            return Err(format!("CT: option \"--helper\" is not supported: {reason}"));
        }
        Target::NoTrack(_) if name != "notrack" => {
            return Err(format!("CT: option \"--{name}\" is not supported"));
        }
        Target::NoTrack(_) => {}
        Target::Mark(_) | Target::ConnMark(_) => marking::target_option(part, name, value)?,
        Target::Ttl(_) | Target::Dscp(_) | Target::Tos(_) => header::target_option(part, name, value)?,
        Target::Accept | Target::Drop | Target::Return | Target::Jump(_) | Target::Goto(_) => {}
    }
    Ok(())
}

fn randomness(name: &str) -> Option<RandomPorts> {
    Some(if name == "random" { RandomPorts::Random } else { RandomPorts::RandomFully })
}

/// The beginning of a long name, or a short one.
fn reject_with(text: &str) -> Parsed<RejectWith> {
    let short = match text {
        "net-unreach" => Some(RejectWith::NetUnreachable),
        "host-unreach" => Some(RejectWith::HostUnreachable),
        "proto-unreach" => Some(RejectWith::ProtocolUnreachable),
        "port-unreach" => Some(RejectWith::PortUnreachable),
        "net-prohib" => Some(RejectWith::NetProhibited),
        "host-prohib" => Some(RejectWith::HostProhibited),
        "admin-prohib" => Some(RejectWith::AdminProhibited),
        "tcp-rst" => Some(RejectWith::TcpReset),
        _ => None,
    };
    let long = || RejectWith::NAMES.iter().find(|(name, _)| !text.is_empty() && name.starts_with(text));
    short.or_else(|| long().map(|(_, way)| *way)).ok_or_else(|| format!("unknown reject type \"{text}\""))
}

fn log_option(log: &mut Log, name: &str, value: &str) -> Parsed<()> {
    const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"];
    match name {
        "log-level" => {
            let named = LEVELS.iter().position(|level| *level == value).map(|level| level as u8);
            let level = decimal(value).filter(|&level| level < 8).or(named);
            let level = level.or((value == "panic").then_some(0));
            log.level = level.ok_or_else(|| format!("log level \"{value}\" unknown"))?;
        }
        "log-prefix" => {
            if value.is_empty() {
                return Err("Argument must have a minimum length of 1 characters".to_string());
            }
            log.prefix = printable(value, "--log-prefix")?;
            // As Linux does: what is too long is cut.
            let end = (0..=Log::MAX_PREFIX).rev().find(|&end| log.prefix.is_char_boundary(end));
            log.prefix.truncate(end.unwrap_or(0));
        }
        "log-tcp-sequence" => log.tcp_sequence = true,
        "log-tcp-options" => log.tcp_options = true,
        "log-ip-options" => log.ip_options = true,
        "log-uid" => log.uid = true,
        _ => log.mac_decode = true,
    }
    Ok(())
}
