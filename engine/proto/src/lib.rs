//! The rendezvous protocol without I/O: no socket, clock, file, thread or random number is touched here.
//!
//! [`wire`] says what bytes mean: it decodes any input to a value or to a typed error, and encodes values canonically.
//! [`limits`] holds every bound that foreign input is held to.

pub mod limits;
pub mod wire;
