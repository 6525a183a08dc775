//! The simulated network, and two endpoints in it.

mod changes;
mod network;
mod pairs;
mod prober;
mod strangers;
mod table;
mod times;
