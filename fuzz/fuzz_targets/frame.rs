//! Whatever bytes stand in a segment, reading a frame out of them ends in a frame or in a refusal.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| factum_engine::fuzz::frame(bytes));
