//! Real Linux machines around the booted image: their stacks, their programs, their taps.

mod home_gateway;
mod offload;
mod programs;
mod queues;
mod soak;
mod stun;
mod uplinks;
mod web;
