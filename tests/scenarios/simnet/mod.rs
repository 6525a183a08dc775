//! The simulated network, and two endpoints in it.

mod prober;
mod table;
