//! Scenarios, a module per subject.

mod fuzz_smoke;
mod host;
mod rendezvous;
mod wire;
