//! Scenarios, a module per subject.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod direct_im;
mod embed;
mod fuzz_smoke;
mod get_file;
mod host;
mod hostile_host;
mod hostile_sender;
mod oft;
mod old_clients;
mod oscar;
mod rendezvous;
mod replay;
mod roads;
mod simnet;
mod wire;
