//! Commands to a network device, one at a time. Read first: virtio 1.2, 5.1.6.5 "Control Virtqueue".

use crate::ring::{Addresses, Doorbell, Part, Ring};
use alloc::boxed::Box;
use heapless::Deque;
use smoltcp::wire::EthernetAddress;

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Let in all frames, or only those for the addresses that were named (5.1.6.5.1).
    Promiscuous(bool),
    /// Let in all frames for groups.
    AllMulticast(bool),
    /// Let in frames for this address as well (5.1.6.5.2).
    Address(EthernetAddress),
    /// The announcement that was asked for is made (5.1.6.5.4).
    Announced,
    /// Use so many pairs of queues (5.1.6.5.5).
    Pairs(u16),
}

/// VIRTIO_NET_OK.
const ACCEPTED: u8 = 0;
/// What stands in the place of the answer before there is one.
const UNANSWERED: u8 = 0xff;
/// Class and number, and the longest arguments: an address in its table, and an empty table.
const LONGEST: usize = 2 + 4 + 6 + 4;
/// Commands that wait.
const WAITING: usize = 8;

struct Question {
    command: Command,
    bytes: [u8; LONGEST],
    length: usize,
    answer: [u8; 1],
}

impl Question {
    fn new(command: Command) -> Self {
        let mut question = Self { command, bytes: [0; LONGEST], length: 0, answer: [UNANSWERED] };
        match command {
            Command::Promiscuous(on) => question.write(&[0, 0, on.into()]),
            Command::AllMulticast(on) => question.write(&[0, 1, on.into()]),
            Command::Address(address) => {
                question.write(&[1, 0]);
                question.write(&1u32.to_le_bytes());
                question.write(&address.0);
                question.write(&0u32.to_le_bytes());
            }
            Command::Announced => question.write(&[3, 0]),
            Command::Pairs(count) => {
                question.write(&[4, 0]);
                question.write(&count.to_le_bytes());
            }
        }
        question
    }

    fn write(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

/// The control queue of a card.
pub struct Control<D> {
    ring: Ring<Box<Question>>,
    bell: D,
    waiting: Deque<Command, WAITING>,
    under_way: bool,
    /// Whether the device has answered any.
    answered: bool,
}

impl<D: Doorbell> Control<D> {
    /// A queue with `size` descriptors.
    pub fn new(size: u16, bell: D) -> Self {
        Self { ring: Ring::new(size), bell, waiting: Deque::new(), under_way: false, answered: false }
    }

    /// Where its ring lies, and its size.
    pub fn ring(&self) -> (Addresses, u16) {
        (self.ring.addresses(), self.ring.size())
    }

    /// Answers of the device that could not be true.
    pub fn lies(&self) -> u64 {
        self.ring.lies()
    }

    /// Whether a command waits for its answer.
    pub fn is_busy(&self) -> bool {
        self.under_way || !self.waiting.is_empty()
    }

    /// How far the device has come with the commands, as [`Ring::owed`] says it.
    pub fn unanswered(&self) -> Option<u16> {
        self.ring.owed()
    }

    /// Whether the device has ever answered.
    pub fn has_answered(&self) -> bool {
        self.answered
    }

    /// Has a command given to the device. `false`: so many wait that the device seems not to answer any more.
    pub fn ask(&mut self, command: Command) -> bool {
        self.waiting.push_back(command).is_ok()
    }

    /// Gives the device the next command, and says what became of the one before: whether it was accepted.
    pub fn poll(&mut self) -> Option<(Command, bool)> {
        let answer = self.ring.pop().map(|(question, written)| {
            self.under_way = false;
            self.answered = true;
            (question.command, written == 1 && question.answer[0] == ACCEPTED)
        });
        if !self.under_way
            && let Some(command) = self.waiting.pop_front()
        {
            let mut question = Box::new(Question::new(command));
            let parts =
                [Part::readable(&question.bytes[..question.length]), Part::writable(&mut question.answer)];
            if let Some(chain) = self.ring.take(parts.into_iter()) {
                // SAFETY: the question is in a box, and stays in the ring until the device is done.
                unsafe { self.ring.push_chain(question, chain) };
                self.under_way = true;
            }
            self.ring.publish(&mut self.bell);
        }
        answer
    }

    /// Ends the queue.
    ///
    /// # Safety
    /// The device was reset and touches no memory any more.
    pub unsafe fn dissolve(self) {
        // SAFETY: the caller promises it.
        unsafe { self.ring.into_buffers() }.for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_device::{Bell, Device};

    fn bench() -> (Control<Bell>, Device) {
        let control = Control::new(4, Bell::default());
        let (addresses, size) = control.ring();
        (control, Device::at(addresses, size))
    }

    /// Gives the device a command; what it reads.
    fn bytes(command: Command) -> alloc::vec::Vec<u8> {
        let (mut control, mut device) = bench();
        assert!(control.ask(command));
        assert_eq!(control.poll(), None);
        device.take().remove(0).bytes()
    }

    #[test]
    fn commands_as_the_standard_writes_them() {
        assert_eq!(bytes(Command::Promiscuous(true)), [0, 0, 1]);
        assert_eq!(bytes(Command::AllMulticast(false)), [0, 1, 0]);
        assert_eq!(bytes(Command::Announced), [3, 0]);
        assert_eq!(bytes(Command::Pairs(0x102)), [4, 0, 2, 1]);
        let address = EthernetAddress([2, 0, 0, 0, 0, 9]);
        assert_eq!(bytes(Command::Address(address)), [1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
    }

    #[test]
    fn one_command_after_the_other() {
        let (mut control, mut device) = bench();
        control.ask(Command::Announced);
        control.ask(Command::Promiscuous(false));
        assert_eq!(control.poll(), None);
        assert_eq!(control.poll(), None);
        let [first] = &device.take()[..] else { panic!("the second one waits") };
        first.fill(&[ACCEPTED]);
        device.put(first.id, 1);
        assert_eq!(control.poll(), Some((Command::Announced, true)));
        let second = device.take().remove(0);
        second.fill(&[1]);
        device.put(second.id, 1);
        assert_eq!(control.poll(), Some((Command::Promiscuous(false), false)));
        assert!(!control.is_busy());
    }

    #[test]
    fn no_answer_is_no_consent() {
        for written in [0, 2] {
            let (mut control, mut device) = bench();
            control.ask(Command::Announced);
            control.poll();
            let offer = device.take().remove(0);
            device.put(offer.id, written);
            assert_eq!(control.poll(), Some((Command::Announced, false)));
        }
    }

    #[test]
    fn a_device_that_never_answers_makes_no_queue_of_commands() {
        let (mut control, _device) = bench();
        let asked = (0..100).filter(|_| {
            control.poll();
            control.ask(Command::Announced)
        });
        assert_eq!(asked.count(), WAITING + 1);
    }
}
