//! What owners do with their accounts over foodgroup 0x0007 (ADMIN).

mod config;

pub use config::{AdminConfig, Frozen, Registration};
