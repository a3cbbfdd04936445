//! The laptop reaches the server on its own LAN by the outer address, and the server sees the outer address
//! (RFC 4787, 6; RFC 5382, 7.2).

use anyhow::{Result, ensure};

use super::{Demo, FORWARDED_PORT, LAPTOP, OUTSIDE, forward};

pub fn run(demo: &mut Demo) -> Result<String> {
    let client = forward::fetch(demo, demo.laptop)?;
    ensure!(client == OUTSIDE, "the server saw {client}");
    Ok(format!("{LAPTOP} has the server's file by {OUTSIDE}:{FORWARDED_PORT}; the server saw {client}"))
}
