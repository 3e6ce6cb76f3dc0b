#![no_main]
//! See the module of the same name in the library.

libfuzzer_sys::fuzz_target!(|data: &[u8]| (fuzz::filter::TARGET.run)(data));
