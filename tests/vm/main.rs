//! The booted image in QEMU: what only the whole machine can show. Each test has a machine of its own.

mod boards;
mod cables;
mod capture;
mod cards;
mod configuration;
mod console;
mod faults;
mod gateway;
mod idle;
mod power;
mod record;
mod wire;
