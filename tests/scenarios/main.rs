//! Scenarios, a module per subject.

mod embed;
mod fuzz_smoke;
mod hostile_host;
mod hostile_sender;
mod host;
mod hostile_sender;
mod oscar;
mod rendezvous;
mod wire;
