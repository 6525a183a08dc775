//! Scenarios, a module per subject.

mod embed;
mod fuzz_smoke;
mod host;
mod host;
mod hostile_host;
mod hostile_sender;
mod hostile_sender;
mod oscar;
mod rendezvous;
mod wire;
