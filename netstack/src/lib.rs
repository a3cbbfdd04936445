//! The router as a pure library: frames, time and random numbers go in; frames and counters come out.
//!
//! It knows no device, no clock and no global, so the very code that ships is tested, fuzzed, replayed and
//! benchmarked on the host. Start reading at [`router`] and the pipeline: it is the map of a packet's way.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod answer;
pub mod command;
pub mod config;
pub mod counters;
mod counting;
mod dispatch;
mod egress;
pub mod exchange;
pub mod explain;
mod fastpath;
pub mod headers;
mod helper;
pub mod host;
mod ingress;
pub mod interface;
pub mod offload;
pub mod outcome;
pub mod packet;
mod pipeline;
pub mod router;
pub mod sort;
pub mod stage;
pub mod table;
pub mod tap;
#[cfg(test)]
mod test_support;
pub mod trace;
pub mod wire;
