//! Data structures that know no packets.

pub mod address_claims;
pub mod fib;
pub mod lpm;
pub mod neighbor;
mod queues;
pub mod token_bucket;
