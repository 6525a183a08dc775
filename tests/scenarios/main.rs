//! Scenarios, a module per subject.

mod host;
mod fuzz_smoke;
mod wire;
mod rendezvous;
