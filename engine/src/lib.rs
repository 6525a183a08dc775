//! Peer-to-peer rendezvous and file transfer.

pub mod oscar;
pub mod signaling;
pub mod transport;
