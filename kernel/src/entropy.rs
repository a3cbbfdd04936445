//! Random numbers that nobody outside can guess: a ChaCha generator, seeded from every source that the machine has.
//! Read first: Intel "Digital Random Number Generator" guide, 4.2; virtio 1.2, 5.4 "Entropy Device".

use crate::{
    clock,
    virtio::{Bell, Device},
};
use alloc::{boxed::Box, string::String};
use chacha20::ChaCha20Rng;
use core::{
    arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step},
    hint, mem,
};
use kernel::{
    features::Features,
    ring::{Part, Ring},
};
use rand_core::SeedableRng;

type Seed = [u8; 32];

/// The instructions may find their source exhausted for a while.
const TRIES: usize = 100;
const DEVICE_QUEUE: u16 = 0;
const DEVICE_PATIENCE_MICROS: i64 = 100_000;

/// The generator, and what it was seeded from; `None`: from nothing that is secret.
pub fn generator(devices: &mut [Device]) -> (ChaCha20Rng, Option<String>) {
    // Where there is no source, two starts at least differ.
    let mut seed = jitter();
    let mut sources = String::new();
    let mut add = |name, source: Option<Seed>| {
        if let Some(source) = source {
            mix(&mut seed, &source);
            if !sources.is_empty() {
                sources.push_str(", ");
            }
            sources.push_str(name);
        }
    };
    add("RDSEED", rdseed());
    add("RDRAND", rdrand());
    for device in devices {
        add("virtio-rng", from_device(device));
    }
    (ChaCha20Rng::from_seed(seed), Some(sources).filter(|sources| !sources.is_empty()))
}

/// Sources that know nothing of each other may simply be added: the sum is as good as the best of them.
fn mix(seed: &mut Seed, source: &Seed) {
    for (byte, other) in seed.iter_mut().zip(source) {
        *byte ^= other;
    }
}

fn jitter() -> Seed {
    let mut seed = Seed::default();
    for _ in 0..32 {
        for byte in &mut seed {
            *byte = byte.rotate_left(1) ^ clock::tsc() as u8;
        }
    }
    seed
}

fn collect(mut word: impl FnMut() -> Option<u64>) -> Option<Seed> {
    let mut seed = Seed::default();
    for chunk in seed.chunks_exact_mut(8) {
        let value = (0..TRIES).find_map(|_| {
            let value = word();
            if value.is_none() {
                hint::spin_loop();
            }
            value
        });
        chunk.copy_from_slice(&value?.to_le_bytes());
    }
    Some(seed)
}

fn rdseed() -> Option<Seed> {
    const RDSEED: u32 = 1 << 18;
    if __cpuid(0).eax < 7 || __cpuid_count(7, 0).ebx & RDSEED == 0 {
        return None;
    }
    let mut value = 0;
    // SAFETY: the processor has the instruction.
    collect(|| (unsafe { _rdseed64_step(&mut value) } == 1).then_some(value))
}

fn rdrand() -> Option<Seed> {
    const RDRAND: u32 = 1 << 30;
    if __cpuid(1).ecx & RDRAND == 0 {
        return None;
    }
    let mut value = 0;
    // SAFETY: the processor has the instruction.
    collect(|| (unsafe { _rdrand64_step(&mut value) } == 1).then_some(value))
}

/// Asks an entropy device once. It is stopped afterwards, so that it shares no memory any more.
fn from_device(device: &mut Device) -> Option<Seed> {
    device.negotiate(|offered| offered & (Features::VERSION_1 | Features::ANY_LAYOUT)).ok()?;
    let size = device.queue_size(DEVICE_QUEUE, 1)?;
    let mut ring = Ring::new(size);
    device.attach(DEVICE_QUEUE, ring.addresses(), size);
    let mut bell: Bell = device.bell(DEVICE_QUEUE);
    device.start();

    let mut buffer = Box::new(Seed::default());
    let part = Part::writable(&mut buffer[..]);
    // SAFETY: the buffer is on the heap, and stays in the ring until the device is done or stopped.
    let pushed = unsafe { ring.push(buffer, part) };
    debug_assert!(pushed.is_ok(), "the ring is empty");
    ring.publish(&mut bell);
    let end = clock::now().total_micros() + DEVICE_PATIENCE_MICROS;
    while !ring.has_used() && clock::now().total_micros() < end {
        hint::spin_loop();
    }
    let answer = ring.pop();
    if device.reset().is_err() {
        mem::forget(ring); // it may still write to the buffer
        return None;
    }
    let (buffer, written) = answer?;
    (written as usize == size_of::<Seed>()).then_some(*buffer)
}
