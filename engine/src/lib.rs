//! Peer-to-peer rendezvous and file transfer.

pub mod transfer;
