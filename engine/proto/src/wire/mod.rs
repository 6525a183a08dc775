//! What bytes mean; stateless.
//!
//! Outermost first: [`flap`] frames carry a [`snac`], whose body is one of [`signon`] or [`icbm`]; an ICBM of channel 2
//! carries a [`rendezvous`] message with its [`service`] data, [`address`]es and [`security`] block. [`signal`] is the
//! same message free of the host's envelope, [`ars`] speaks to the relay, and [`link`] frames the finished connection.
//!
//! Decoding is total: any bytes give a value or a [`error::DecodeError`]. What a decoder does not know survives: unknown types,
//! tags, reasons, flags and trailing bytes are kept, and a decoded value encodes to the bytes that it came from.

pub mod address;
pub mod ars;
pub mod codec;
pub mod error;
pub mod flap;
pub mod icbm;
pub mod link;
pub mod rendezvous;
pub mod security;
pub mod service;
pub mod signal;
pub mod signon;
pub mod snac;
pub mod text;
pub mod tlv;

pub mod bulk;
