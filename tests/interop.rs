//! Files to and from a real OSCAR client: libpurple, signed on to `rdv host`. `tests/interop` says what it needs and what it is.

#![cfg(target_os = "linux")]

#[path = "interop/lab.rs"]
mod lab;

#[path = "interop/account.rs"]
mod account;
#[path = "interop/direct_im.rs"]
mod direct_im;
#[path = "interop/limits.rs"]
mod limits;
#[path = "interop/matrix.rs"]
mod matrix;
#[path = "interop/resume.rs"]
mod resume;
#[path = "interop/roads.rs"]
mod roads;
#[path = "interop/sign_on.rs"]
mod sign_on;
#[path = "interop/stops.rs"]
mod stops;
