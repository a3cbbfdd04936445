//! Wire formats and arithmetic that smoltcp lacks or does slower than a router can bear.

pub mod checksum;
pub mod ipv4;
pub mod tcp_options;
pub mod word;
