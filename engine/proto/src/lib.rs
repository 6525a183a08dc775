//! The rendezvous protocol without I/O: no socket, clock, file, thread or random number is touched here.
//!
//! [`wire`] says what bytes mean: it decodes any input to a value or to a typed error, and encodes values canonically.
//! [`trust`] is the arithmetic of identity: codes, key exchange, channel binding.
//! [`limits`] holds every bound that foreign input is held to.

pub mod limits;
pub mod rendezvous;
pub mod session;
pub mod trust;
pub mod wire;
