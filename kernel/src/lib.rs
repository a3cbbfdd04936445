//! The parts of the kernel that know no hardware, so that they are tested on the host.
#![no_std]
