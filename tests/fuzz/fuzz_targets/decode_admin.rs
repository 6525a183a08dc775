#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rdv_fuzz::decode_admin(data));
