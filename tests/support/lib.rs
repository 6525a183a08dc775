//! What the scenarios share.

pub mod captures;
#[path = "../fuzz/src/lib.rs"]
pub mod fuzz;
pub mod pair;
pub mod road;
pub mod solo;
