//! The rendezvous protocol without I/O.

pub mod session;
