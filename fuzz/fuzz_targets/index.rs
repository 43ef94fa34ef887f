//! Whatever bytes stand in an index file, opening it and looking something up ends in an answer or in a refusal.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| factum_engine::fuzz::index(bytes));
