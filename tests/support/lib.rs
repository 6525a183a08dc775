//! What the scenarios and the tests of the binary share.

#[cfg(target_os = "linux")]
pub mod files;
#[cfg(target_os = "linux")]
pub mod netns;
#[cfg(target_os = "linux")]
pub mod process;
pub mod tap;
//! What the scenarios share.

pub mod captures;
#[path = "../fuzz/src/lib.rs"]
pub mod fuzz;
