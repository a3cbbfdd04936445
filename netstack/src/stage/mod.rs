//! The stations on a packet's way, one file each. Stages never call each other: the pipeline does.

pub mod arp;
pub mod ethernet;
pub mod filter;
pub mod fragment;
pub mod ftp;
pub mod icmp;
pub mod ipv4;
pub mod log;
pub mod mss;
pub mod nat;
pub mod overload;
pub mod segment;
pub mod splice;
pub mod tcp;
pub mod tftp;
pub mod track;
pub mod translate;
pub mod window;
