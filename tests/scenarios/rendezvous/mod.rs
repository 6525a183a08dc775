//! Two endpoints over a simulated road.

mod native;
