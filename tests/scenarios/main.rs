//! Scenarios, a module per subject.

mod fuzz_smoke;
mod hostile_sender;
mod host;
mod rendezvous;
mod wire;
