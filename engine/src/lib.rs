//! Peer-to-peer rendezvous and file transfer.

pub mod oscar;
pub mod transfer;
pub mod signaling;
pub mod transport;
pub mod trust;
