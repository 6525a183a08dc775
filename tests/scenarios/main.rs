//! Scenarios, a module per subject.

mod embed;
mod fuzz_smoke;
mod hostile_host;
mod hostile_sender;
mod host;
mod rendezvous;
mod wire;
