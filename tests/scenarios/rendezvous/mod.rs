//! Two endpoints over a simulated road.

mod legacy;
mod native;
