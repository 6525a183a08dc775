//! Scenarios, a module per subject.

mod host;
mod fuzz_smoke;
mod rendezvous;
mod wire;
