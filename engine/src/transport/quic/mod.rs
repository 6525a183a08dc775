//! QUIC between two peers, on a UDP socket that also carries STUN.
//!
//! One [`QuicSocket`] stands on one UDP socket: it dials and is dialled, and what looks like STUN (answers of STUN servers, the
//! peer's probes) is taken out before QUIC sees it and handed to whoever holds [`Datagrams`]. The socket is opened before the
//! session is known, so each handshake brings its own TLS configuration: the same verifier as over TCP, which compares the
//! peer's key inside the handshake on both sides. [`bind`] then proves the session on the client's first stream; what comes out
//! is a [`QuicLane`], a byte stream like any other.
//!
//! quinn is known in this room only.

mod config;
mod connect;
mod datagrams;
mod lane;
mod shared;
mod socket;

pub use connect::{QuicConnection, accept, bind, dial};
pub use datagrams::{Datagram, Datagrams};
pub use lane::QuicLane;
pub use socket::{QuicIncoming, QuicSocket};

#[cfg(test)]
mod tests;
