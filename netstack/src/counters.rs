//! What is counted of packets beside the reasons of drops and what goes through interfaces, under the names of Linux
//! (net/ipv4/proc.c; RFC 4293 first). Nothing on the short way counts here: see `command/nstat.rs` for what follows from other
//! counters.

macro_rules! counters {
    ($($shown:ident)* ; $($(#[$doc:meta])* $hidden:ident)*) => {
        /// A counter.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Counter {
            $($shown,)*
            $($(#[$doc])* $hidden,)*
        }

        impl Counter {
            /// Those that `nstat` shows, with their names, in the order of Linux.
            pub const SHOWN: &'static [(Self, &'static str)] = &[$((Self::$shown, stringify!($shown)),)*];
            const COUNT: usize = [$(stringify!($shown),)* $(stringify!($hidden),)*].len();
        }
    };
}

counters! {
    IpInReceives IpInHdrErrors IpInAddrErrors IpForwDatagrams IpInUnknownProtos IpInDiscards IpInDelivers IpOutRequests
    IpOutDiscards IpOutNoRoutes IpReasmTimeout IpReasmReqds IpReasmOKs IpReasmFails IpFragOKs IpFragFails IpFragCreates
    IpOutTransmits

    IcmpInMsgs IcmpInErrors IcmpInCsumErrors IcmpInDestUnreachs IcmpInTimeExcds IcmpInParmProbs IcmpInSrcQuenchs
    IcmpInRedirects IcmpInEchos IcmpInEchoReps IcmpInTimestamps IcmpInTimestampReps IcmpInAddrMasks IcmpInAddrMaskReps
    IcmpOutMsgs IcmpOutDestUnreachs IcmpOutTimeExcds IcmpOutEchos IcmpOutEchoReps

    TcpInSegs TcpOutSegs TcpInErrs TcpOutRsts TcpInCsumErrors

    UdpInDatagrams UdpNoPorts UdpInErrors UdpOutDatagrams UdpInCsumErrors UdpIgnoredMulti

    TcpExtIPReversePathFilter

    IpExtInNoRoutes IpExtInTruncatedPkts IpExtInMcastPkts IpExtInBcastPkts IpExtInOctets IpExtOutOctets IpExtInCsumErrors
    ;
    /// Frames that came in and were none of IPv4 for this station.
    OtherFrames
    /// Their bytes.
    OtherOctets
    /// ARP frames that were sent.
    ArpSent
    /// Resets that a rule had sent, and no TCP of the router's own.
    FilterResets
}

impl Counter {
    /// What counts the ICMP messages of a type that are received.
    pub fn icmp_in(kind: u8) -> Option<Self> {
        Some(match kind {
            0 => Self::IcmpInEchoReps,
            3 => Self::IcmpInDestUnreachs,
            4 => Self::IcmpInSrcQuenchs,
            5 => Self::IcmpInRedirects,
            8 => Self::IcmpInEchos,
            11 => Self::IcmpInTimeExcds,
            12 => Self::IcmpInParmProbs,
            13 => Self::IcmpInTimestamps,
            14 => Self::IcmpInTimestampReps,
            17 => Self::IcmpInAddrMasks,
            18 => Self::IcmpInAddrMaskReps,
            _ => return None,
        })
    }

    /// What counts the ICMP messages of a type that the router sends.
    pub fn icmp_out(kind: u8) -> Option<Self> {
        Some(match kind {
            0 => Self::IcmpOutEchoReps,
            3 => Self::IcmpOutDestUnreachs,
            8 => Self::IcmpOutEchos,
            11 => Self::IcmpOutTimeExcds,
            _ => return None,
        })
    }
}

/// How far each counter has come.
#[derive(Clone)]
pub struct Counters([u64; Counter::COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Counter::COUNT])
    }
}

impl Counters {
    /// Counts one more.
    pub fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts so many more.
    pub fn add(&mut self, counter: Counter, more: u64) {
        self.0[counter as usize] += more;
    }

    /// How many there were.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}
