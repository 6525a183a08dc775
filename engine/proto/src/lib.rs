//! The rendezvous protocol without I/O: no socket, clock, file, thread or random number is touched here.
//!
//! [`wire`] says what bytes mean: it decodes any input to a value or to a typed error, and encodes values canonically.
//! [`rendezvous`] decides who connects to whom, and how; [`trust`] is the arithmetic of identity: codes, key exchange,
//! channel binding; [`transfer`] says which frame comes next and which names are safe.
//! [`link`] is one end of a stream over several lanes. [`direct_im`] is one end of a direct IM.
//! [`session`] is the host's half of a client's session, [`relay`] the relay's half of ARS, [`responder`] what both say to
//! those who ask how the world sees them.
//! [`limits`] holds every bound that foreign input is held to, [`pace`] how often strangers may do what.

pub mod direct_im;
pub mod limits;
pub mod link;
pub mod pace;
pub mod relay;
pub mod rendezvous;
pub mod responder;
pub mod session;
pub mod transfer;
pub mod trust;
pub mod wire;
