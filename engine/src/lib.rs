//! Peer-to-peer rendezvous and file transfer.

pub mod signaling;
pub mod transfer;
pub mod transport;
