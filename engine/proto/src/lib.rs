//! The rendezvous protocol without I/O.

pub mod transfer;
pub mod wire;
