//! Scenarios, a module per subject.

mod fuzz_smoke;
mod host;
mod hostile_sender;
mod oscar;
mod rendezvous;
mod wire;
