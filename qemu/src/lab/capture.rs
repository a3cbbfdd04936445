//! What passed on all segments of a lab, as one pcapng file with an interface for each card of the router.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};

/// Timestamps count 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// An open capture file.
pub struct Capture(PcapNgWriter<BufWriter<File>>);

impl Capture {
    /// A new file for a router with `interfaces` cards.
    pub fn create(path: &Path, interfaces: usize) -> Result<Capture> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut writer = PcapNgWriter::new(BufWriter::new(file))?;
        for index in 0..interfaces {
            writer.write_pcapng_block(InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(format!("eth{index}").into()),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            })?;
        }
        Ok(Capture(writer))
    }

    /// Adds a frame that was on the cable of card `interface`.
    pub fn add(&mut self, interface: usize, frame: &[u8]) -> Result<()> {
        self.0.write_pcapng_block(EnhancedPacketBlock {
            interface_id: u32::try_from(interface)?,
            timestamp: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO),
            original_len: u32::try_from(frame.len())?,
            data: Cow::Borrowed(frame),
            options: Vec::new(),
        })?;
        Ok(())
    }
}
