//! The rendezvous protocol without I/O: no socket, clock, file, thread or random number is touched here.
//!
//! [`wire`] says what bytes mean: it decodes any input to a value or to a typed error, and encodes values canonically.
//! [`trust`] is the arithmetic of identity: codes, key exchange, channel binding.
//! [`limits`] holds every bound that foreign input is held to, [`pace`] how often strangers may do what.
//! [`session`] is the host's half of a client's session, [`relay`] the relay's half of ARS.

pub mod limits;
pub mod pace;
pub mod relay;
pub mod rendezvous;
pub mod session;
pub mod trust;
//! The rendezvous protocol without I/O.

pub mod transfer;
pub mod wire;
