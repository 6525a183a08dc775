//! Scenarios, a module per subject.

mod fuzz_smoke;
mod oscar;
mod rendezvous;
mod wire;
