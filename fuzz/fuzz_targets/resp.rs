//! Whatever bytes a client sends, reading requests out of them ends in requests or in a refusal, however they are cut.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| factum_server::fuzz::resp(bytes));
