//! Scenarios, a module per subject.

mod fuzz_smoke;
mod rendezvous;
mod wire;
