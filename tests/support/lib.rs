//! What the scenarios and the tests of the binary share.

pub mod captures;
pub mod channel;
pub mod crowd;
#[cfg(target_os = "linux")]
pub mod disk;
#[cfg(target_os = "linux")]
pub mod files;
#[path = "../fuzz/src/lib.rs"]
pub mod fuzz;
pub mod gate;
pub mod hostile_host;
#[cfg(target_os = "linux")]
pub mod netlab;
#[cfg(target_os = "linux")]
pub mod netns;
pub mod netpair;
pub mod old_client;
pub mod old_peer;
pub mod pair;
#[cfg(target_os = "linux")]
pub mod ports;
pub mod post;
#[cfg(unix)]
pub mod postgres;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
pub mod purple;
pub mod road;
pub mod simnet;
pub mod smtp;
pub mod socks;
pub mod solo;
pub mod tap;
#[cfg(target_os = "linux")]
pub mod wall;

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
