//! Data structures that know no packets.

pub mod address_claims;
mod chained;
pub mod connections;
pub mod expectations;
pub mod fib;
pub mod flow;
pub mod fragments;
pub mod groups;
pub mod lpm;
pub mod mapping;
mod multilinear;
pub mod neighbor;
pub mod path;
pub mod ports;
mod queues;
pub mod rates;
pub mod shifts;
pub mod shortcut;
pub mod sources;
pub mod tick;
pub mod token_bucket;
pub mod visitors;
