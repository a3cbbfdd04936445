//! The machine below the router.
#![no_std]
#![no_main]

boot::main!(start);

fn start(info: boot::BootInfo) -> ! {
    use core::fmt::Write;
    struct Port;
    impl Write for Port {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            for byte in s.bytes() {
                // SAFETY: the first serial port.
                unsafe { core::arch::asm!("out dx, al", in("dx") 0x3f8u16, in("al") byte) };
            }
            Ok(())
        }
    }
    let _ = writeln!(
        Port,
        "hello {:?} {} {:?} {:?} {:x?}\r",
        &*info.memory,
        info.memory_total >> 20,
        info.command_line,
        info.module,
        info.rsdp
    );
    loop {
        // SAFETY: halts.
        unsafe { core::arch::asm!("cli; hlt") };
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
