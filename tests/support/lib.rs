//! What the scenarios share.

pub mod pair;
pub mod road;
