//! Puts frames on the cable of one of the router's cards, at a steady rate. Read packet(7).

use crate::dice::Dice;
use pnet_datalink::{Channel, Config, DataLinkSender, channel, interfaces};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use tests::namespace::sh;

/// Frames per second: what the router can take in beside everything else, so that few are lost before they reach it.
const RATE: f64 = 20_000.0;
/// Frames sent without a look at the clock.
const BURST: u64 = 32;

/// An end of a cable, where a tap is.
pub struct Sender(Box<dyn DataLinkSender>);

impl Sender {
    /// On this tap of the namespace that it is called in.
    pub fn on(tap: &str) -> Self {
        let interface = interfaces().into_iter().find(|interface| interface.name == tap);
        let words = Config { promiscuous: false, ..Config::default() };
        match channel(&interface.expect("the tap is there"), words) {
            Ok(Channel::Ethernet(socket, _)) => Self(socket),
            Ok(_) => panic!("{tap} is no Ethernet"),
            Err(error) => panic!("{tap}: {error}"),
        }
    }

    /// Sends `count` frames; gives how many the kernel took.
    pub fn send(&mut self, dice: &mut Dice, count: u64, make: fn(&mut Dice) -> Vec<u8>) -> u64 {
        let (start, mut taken) = (Instant::now(), 0);
        for number in 0..count {
            dice.number = number;
            if self.put(&make(dice)) {
                taken += 1;
            }
            if number % BURST == 0 {
                let due = Duration::from_secs_f64(number as f64 / RATE);
                sleep(due.saturating_sub(start.elapsed()));
            }
        }
        taken
    }

    /// Sends one frame. A tap takes none that has no Ethernet header, or while its link is down.
    pub fn put(&mut self, frame: &[u8]) -> bool {
        self.0.send_to(frame, None).is_some_and(|sent| sent.is_ok())
    }

    /// Frames that were lost because the router did not take them fast enough; asked in the tap's namespace.
    pub fn lost(tap: &str) -> u64 {
        let said = sh(&format!("ip -s -j link show dev {tap}")).expect("the tap is there");
        let list: serde_json::Value = serde_json::from_str(&said).expect("ip speaks JSON");
        list[0]["stats64"]["tx"]["dropped"].as_u64().unwrap_or_else(|| panic!("{said}"))
    }
}
