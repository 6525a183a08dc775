//! Scenarios, a module per subject.

mod host;
mod fuzz_smoke;
mod hostile_sender;
mod rendezvous;
mod wire;
