#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::frames_over_time(data));
