//! Real Linux machines around the booted image: their stacks, their programs, their taps.

mod home_gateway;
mod offload;
mod peer;
mod programs;
mod site;
mod soak;
mod web;
