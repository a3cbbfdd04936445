//! `capture`: frames of the router that runs, into a file.

use std::fs::File;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use qemu::capture::{Capture, default_socket, request};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[derive(clap::Args)]
pub struct Options {
    /// Frames of this interface; `any` takes all
    #[arg(short, value_name = "DEVICE", default_value = "any")]
    interface: String,
    /// Ends after so many frames [default: with Ctrl-C]
    #[arg(short, value_name = "COUNT")]
    count: Option<u64>,
    /// Keeps so many bytes of each frame
    #[arg(short, value_name = "BYTES")]
    snapshot: Option<u32>,
    /// The file; `-` is the standard output, for example to `wireshark -k -i -`
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The second serial port of the router [default: that of this user's `run`]
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// Print what does the same without this program
    #[arg(long)]
    print: bool,
    /// Which frames, as pcap-filter(7) has it [default: all]
    #[arg(value_name = "EXPRESSION")]
    filter: Vec<String>,
}

pub fn run(options: Options) -> Result<()> {
    let mut words = vec!["-i".into(), options.interface];
    let with_value = |letter: &str, value: Option<String>| value.map(|value| [letter.to_owned(), value]);
    words.extend(with_value("-c", options.count.map(|count| count.to_string())).into_iter().flatten());
    words.extend(with_value("-s", options.snapshot.map(|bytes| bytes.to_string())).into_iter().flatten());
    words.extend(options.filter);
    let socket = options.socket.unwrap_or_else(default_socket);
    if options.print {
        let line = request(&words);
        println!("(printf '\\003%s\\n' '{}'; cat) \\", line.trim_end().replace('\'', r"'\''"));
        println!("    | socat - UNIX-CONNECT:{} > {}", socket.display(), options.out.display());
        return Ok(());
    }
    let out: Box<dyn Write> = match options.out.to_str() {
        Some("-") => Box::new(stdout().lock()),
        _ => Box::new(File::create(&options.out).with_context(|| options.out.display().to_string())?),
    };
    let capture = Capture::begin(&socket, &words)?;
    let stop = capture.stop()?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals")?;
    thread::spawn(move || {
        // Where the router is gone, so is what waits for it.
        signals.forever().for_each(|_| drop(stop.stop()));
    });
    eprintln!("rutter: Ctrl-C ends the capture");
    let frames = capture.copy(out)?;
    eprintln!("rutter: {frames} frame{}", if frames == 1 { "" } else { "s" });
    Ok(())
}
