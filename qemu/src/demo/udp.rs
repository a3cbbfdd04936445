//! Datagrams to an echo server and back.

use anyhow::{Result, ensure};
use qemu::lab::services::udp_socket;
use smoltcp::socket::udp;

use super::{Demo, OUTSIDE, WEB};

pub const PORT: u16 = 7;
const COUNT: usize = 10;

pub fn run(demo: &mut Demo) -> Result<String> {
    let laptop = demo.laptop;
    let host = demo.lab.get(laptop);
    let mut socket = udp_socket();
    socket.bind(host.port())?;
    let handle = host.add(socket);
    for number in 0..COUNT {
        let sent = format!("datagram {number}");
        demo.lab.get(laptop).get::<udp::Socket<'_>>(handle).send_slice(sent.as_bytes(), (WEB, PORT))?;
        let received = demo.lab.until("the echo of a datagram", |lab| {
            let (bytes, from) = lab.get(laptop).get::<udp::Socket<'_>>(handle).recv().ok()?;
            Some((bytes.to_vec(), from.endpoint))
        })?;
        ensure!(received == (sent.into_bytes(), (WEB, PORT).into()), "what came back is {received:?}");
    }
    Ok(format!("{COUNT} of {COUNT} datagrams came back from {WEB}:{PORT}, which saw {OUTSIDE}"))
}
