//! Scenarios, a module per subject.

mod fuzz_smoke;
mod hostile_sender;
mod rendezvous;
mod wire;
