//! Peer-to-peer rendezvous and file transfer.

pub mod transfer;
pub mod signaling;
pub mod transport;
pub mod trust;
