//! The connection that has to go on: blocks from the laptop to a server outside and back, each compared as it returns.

use std::{
    io::{self, Read, Write},
    net::{SocketAddrV4, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tests::site::Site;

const SERVER: &str = "198.51.100.7:9000";
const BLOCK: usize = 16 << 10;
/// Between two blocks, so that some of the processor is left for the attack.
const PAUSE: Duration = Duration::from_millis(5);
/// A connection that brings nothing for so long has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// The transfer.
pub struct Transfer {
    /// The client's end.
    pub client: SocketAddrV4,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    blocks: AtomicU64,
    over: AtomicBool,
    fault: Mutex<Option<String>>,
}

impl Transfer {
    pub fn start(site: &Site) -> Self {
        let listener = site.internet.run(|| TcpListener::bind(SERVER)).expect("the address is the peer's");
        let address: SocketAddrV4 = SERVER.parse().expect("an address and a port");
        let stream = site.laptop.run(move || TcpStream::connect(address)).expect("the router forwards");
        let client = match stream.local_addr().expect("it is connected") {
            std::net::SocketAddr::V4(client) => client,
            other => panic!("{other} is no IPv4 address"),
        };
        let (mut far, _) = listener.accept().expect("the client has come");
        thread::spawn(move || {
            let mut near = far.try_clone().expect("one descriptor more");
            io::copy(&mut near, &mut far)
        });
        let state = Arc::<State>::default();
        let worker = state.clone();
        thread::spawn(move || {
            if let Err(error) = carry(stream, &worker) {
                *worker.fault.lock().expect("nobody panics with it") = Some(error.to_string());
            }
        });
        Self { client, state }
    }

    /// Blocks that came back so far.
    pub fn blocks(&self) -> u64 {
        self.state.blocks.load(Relaxed)
    }

    /// Waits until another block comes back that has not been sent yet; gives how long that took.
    ///
    /// # Errors
    /// Why there is none.
    pub fn goes_on(&self) -> Result<Duration, String> {
        let (start, wanted) = (Instant::now(), self.blocks() + 2);
        while self.blocks() < wanted {
            if let Some(fault) = self.state.fault.lock().expect("nobody panics with it").clone() {
                return Err(fault);
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("nothing came back for {PATIENCE:?}"));
            }
            thread::sleep(PAUSE);
        }
        Ok(start.elapsed())
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.state.over.store(true, Relaxed);
    }
}

fn carry(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut returned = vec![0; BLOCK];
    for number in 0_u32.. {
        if state.over.load(Relaxed) {
            break;
        }
        let block: Vec<u8> = (0..BLOCK as u32).map(|at| (at ^ at >> 8 ^ number) as u8).collect();
        stream.write_all(&block)?;
        stream.read_exact(&mut returned)?;
        if returned != block {
            return Err(io::Error::other(format!("block {number} came back as another")));
        }
        state.blocks.fetch_add(1, Relaxed);
        thread::sleep(PAUSE);
    }
    Ok(())
}
