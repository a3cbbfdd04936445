//! Processor time of a machine, that of the guest apart from QEMU's own. Read "schedstat" in Linux's
//! Documentation/scheduler/sched-stats.rst.

use std::ops::{Add, Sub};

use anyhow::{Context, Result};

/// Seconds of processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// The thread that runs the guest.
    pub guest: f64,
    /// All others: the main loop, which copies packets between the taps and the guest's memory.
    pub qemu: f64,
}

impl Cpu {
    /// What the machine that is process `pid` has used so far. Its threads have QEMU's names for them.
    pub fn of(pid: u32) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        let tasks = format!("/proc/{pid}/task");
        for task in std::fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            let task = task?.path();
            // A thread may end while we look.
            let Ok(name) = std::fs::read_to_string(task.join("comm")) else { continue };
            let Ok(stat) = std::fs::read_to_string(task.join("schedstat")) else { continue };
            let nanoseconds = stat.split(' ').next().and_then(|word| word.parse::<u64>().ok());
            let seconds = nanoseconds.context("schedstat")? as f64 / 1e9;
            if name.starts_with("CPU ") {
                cpu.guest += seconds;
            } else {
                cpu.qemu += seconds;
            }
        }
        Ok(cpu)
    }
}

impl Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu { guest: self.guest + other.guest, qemu: self.qemu + other.qemu }
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu { guest: self.guest - before.guest, qemu: self.qemu - before.qemu }
    }
}
