//! From the boot code to the event loop.

use crate::{
    BURST, Kernel, MOST_CARDS, apic,
    card::{self, Card},
    clock, devices, discovery, entropy, heap,
    interrupt::Vector,
    logger, panic,
    platform::Machine,
    power, serial, tables,
    virtio::Device,
};
use alloc::vec::Vec;
use boot::BootInfo;
use core::fmt::{self, Write};
use kernel::{acpi, options::Options, sizes};
use log::{error, info, warn};
use netstack::{
    command::{self, Console},
    exchange::Exchange,
    interface::mac_text,
    packet::Packet,
    router::{Limits, Router},
    table::connections::Connections,
};
use rand_core::Rng;
use smoltcp::{
    time::{Duration, Instant},
    wire::EthernetAddress,
};
use virtio_drivers::transport::DeviceType;

/// Starts everything and runs.
pub fn start(info: BootInfo) -> ! {
    let boot_tsc = clock::tsc();
    serial::CONSOLE.init();
    serial::CAPTURE.init();
    // SAFETY: the only call.
    unsafe { tables::init() };
    let options = Options::parse(info.command_line);
    logger::init(options.debug);
    panic::set_switch_off(options.panic_off);

    devices::init(info.address_space);
    let acpi = info.rsdp.map(|rsdp| acpi::read(&mut devices::FirmwareTables, rsdp)).unwrap_or_default();
    // SAFETY: the only call; the boot code says that these ranges are free, and the firmware's tables, which may lie in
    // them, were read.
    unsafe { heap::init(&info.memory) };
    power::init(&acpi);
    apic::silence_pic();
    apic::init().expect("the registers of the local APIC");
    let rates = clock::init(&acpi, boot_tsc, apic::timer_count);
    apic::start_timer(rates.apic);
    for port in [&serial::CONSOLE, &serial::CAPTURE].into_iter().filter(|port| port.is_present()) {
        apic::route(port.irq, Vector::SERIAL);
        port.enable_interrupts(false);
    }

    let (mut sources, network): (Vec<Device>, Vec<Device>) = discovery::find(&options)
        .into_iter()
        .filter(|device| matches!(device.kind(), DeviceType::Network | DeviceType::EntropySource))
        .partition(|device| device.kind() == DeviceType::EntropySource);
    let (mut random, source) = entropy::generator(&mut sources);
    match source {
        Some(source) => info!("random numbers from {source}"),
        None => warn!("no source of random numbers: what should be secret can be guessed"),
    }

    let cards = open_cards(network, &mut random);
    let ring_entries = cards.iter().map(Card::ring_entries).sum();
    let sizes = sizes::divide(heap::free(), ring_entries, Connections::BYTES_PER_FLOW, options.flows);
    info!("room for {} flows, {} neighbours and {} frames", sizes.flows, sizes.neighbors, sizes.buffers);
    let frame_room = sizes.buffer - Packet::HEADROOM;
    let exchange = Exchange::new(sizes.buffers, frame_room);
    let ports: Vec<_> = cards.iter().map(|card| card.port_info(frame_room)).collect();
    let limits = Limits { flows: sizes.flows, neighbors: sizes.neighbors, routes: sizes.routes };
    let mut router = Router::new(&ports, &limits, &mut random);

    print_banner(info.memory_total, &ports);
    configure(&mut router, &options, info.module);
    logger::show_directly();
    logger::set_console_level(logger::CONSOLE_LEVEL);
    Kernel {
        console: Console::new(&router),
        machine: Machine::new(info.memory_total),
        awaiting_room: [false; 2],
        next_looks: [Instant::ZERO; 2],
        turns_held: 0,
        timer: None,
        spin: Duration::from_micros(options.spin_micros.into()),
        next_chores: Instant::ZERO,
        next_flush: Instant::ZERO,
        router,
        exchange,
        cards,
        burst: Vec::with_capacity(BURST),
        random,
    }
    .run()
}

fn open_cards(devices: Vec<Device>, random: &mut impl Rng) -> Vec<Card> {
    let free = heap::free();
    let limits = card::Limits {
        ring: sizes::ring_limit(free),
        further_ring: sizes::FURTHER_RING_LIMIT,
        queues: sizes::queues_limit(free),
    };
    let mut cards = Vec::new();
    for device in devices {
        let number = cards.len();
        if number == MOST_CARDS {
            warn!("more than {MOST_CARDS} network cards; the others are left alone");
            break;
        }
        let mut mac = [0; 6];
        random.fill_bytes(&mut mac);
        mac[0] = mac[0] & 0xfc | 0x02; // locally administered, no group
        match Card::open(device, number, limits, EthernetAddress(mac)) {
            Ok(card) => cards.push(card),
            Err(error) => error!("network card {number}: {error}"),
        }
    }
    cards
}

fn print_banner(memory: u64, ports: &[netstack::config::PortInfo]) {
    let print = |out: &mut serial::Direct| -> fmt::Result {
        write!(out, "rutter {}, {} MiB of memory", env!("CARGO_PKG_VERSION"), memory.div_ceil(1 << 20))?;
        if ports.is_empty() {
            write!(out, ", no network card")?;
        }
        for (number, port) in ports.iter().enumerate() {
            write!(out, ", eth{number} {}", mac_text(port.mac))?;
        }
        writeln!(out, ", started in {} ms", clock::now().total_millis())
    };
    let _ = print(&mut serial::Direct);
}

/// Loads the configuration: the operator's, or the built-in one. With a bad one the router stays closed.
fn configure(router: &mut Router, options: &Options<'_>, module: Option<&[u8]>) {
    let built_in;
    let text = match module {
        Some(module) => core::str::from_utf8(module),
        None if options.no_configuration => return,
        None => {
            built_in = command::default_configuration(router.config().interfaces.len() - 1);
            Ok(built_in.as_str())
        }
    };
    match text.map(|text| command::load(router, text)) {
        Ok(Ok(())) => {}
        Ok(Err(refused)) => error!("configuration refused: line {}: {}", refused.line, refused.message),
        Err(_) => error!("configuration refused: it is no text"),
    }
}
