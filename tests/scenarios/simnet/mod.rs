//! The simulated network.

mod network;
mod prober;
mod table;
