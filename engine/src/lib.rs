//! Peer-to-peer rendezvous and file transfer.
