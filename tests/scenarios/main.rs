//! Scenarios, a module per subject.

mod fuzz_smoke;
mod wire;
