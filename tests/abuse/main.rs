//! What the router survives: the catalogue of abuse, on the booted image at its smallest memory. Read first: RFC 4732,
//! 2 "Denial-of-Service Attacks".
//!
//! Under every attack a transfer through the masquerade has to go on, the console has to answer within a second, every
//! frame has to be accounted for (in = out + dropped for a reason), and memory has to be back afterwards.
//!
//! `RUTTER_ABUSE=long` sends [`arena::LONGER`] times as many frames of each kind.
//!
//! Elsewhere: a device that lies in its used ring (`kernel/src/queues/hostile.rs`, ten million lies). Not applicable yet,
//! because there is nothing to attack: a bridge loop (no bridge), a rogue VRRP master (no VRRP; its packets are sent all
//! the same), DHCP starvation (no DHCP; likewise), a torn write of the saved configuration (nothing is saved).

mod arena;
mod books;
mod clock;
mod console;
mod dice;
mod floods;
mod forged;
mod fragments;
mod full;
mod headers;
mod loops;
mod machine;
mod neighbors;
mod scans;
mod sender;
mod strangers;
mod transfer;
