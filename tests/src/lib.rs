//! What the test programs share: packets as a test writes them, a router on a bench, a Linux router beside it.

pub mod bench;
pub mod datagram;
pub mod driver;
pub mod frame;
pub mod fuzz;
pub mod host;
pub mod linux_router;
pub mod namespace;
pub mod network;
pub mod peer;
pub mod site;
pub mod world;
