//! Two endpoints over a simulated road, and one endpoint with a scripted peer.

mod chance;
mod legacy;
mod native;
mod rules_l;
mod rules_r;
mod rules_s;
mod rules_t;
mod times;
