//! What owners do with their accounts over foodgroup 0x0007 (ADMIN), and how they make them.
//!
//! The session machine of `rdv-proto` has read the request and judged what the bytes alone tell. Here it is decided in this
//! order: whether anything is answered now, the account, whether the field may be changed, what the machine found, the
//! password, what the operator allows; then the store is asked to do it, and others are told.

mod config;
mod connections;
mod desk;
mod email;
mod policy;
mod postage;
mod registrar;
#[cfg(test)]
mod tests;

pub use config::{AdminConfig, Registration};
pub(crate) use connections::{AdminSeat, Connections};
pub(crate) use desk::{Asker, Desk, Then};
pub(crate) use registrar::{NotRegistered, Registrar};
