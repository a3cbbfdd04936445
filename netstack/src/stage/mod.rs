//! The stations on a packet's way, one file each. Stages never call each other: [`crate::pipeline`] does.

pub mod arp;
pub mod filter;
pub mod icmp;
