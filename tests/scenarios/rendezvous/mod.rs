//! Two endpoints over a simulated road.

mod chance;
mod legacy;
mod native;
