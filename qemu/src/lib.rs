//! The host side of rutter: set-up, image, machine, and the networks around it. The tests use the same parts.

pub mod capture;
pub mod image;
pub mod lab;
pub mod machine;
pub mod nic;
pub mod replay;
pub mod setup;
pub mod tap;
pub mod workspace;
