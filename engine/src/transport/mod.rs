//! Sockets: own addresses, the local network, relays. What travels over them is not known here.

pub mod ars;
pub mod connect;
pub mod gather;
pub mod lan;
pub mod tls;
