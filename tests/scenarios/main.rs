//! Scenarios, a module per subject.

mod fuzz_smoke;
mod hostile_sender;
mod host;
mod oscar;
mod rendezvous;
mod wire;
