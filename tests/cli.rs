//! The binary `rdv`, as its users and its enemies meet it: real processes, real sockets, real files.
//!
//! `RDV_TESTS_BIG=1` takes a whole GiB where a smaller file does otherwise.

#![cfg(target_os = "linux")]

#[path = "cli/desk.rs"]
mod desk;

#[path = "cli/accounts.rs"]
mod accounts;
#[path = "cli/accounts_service.rs"]
mod accounts_service;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/first_use.rs"]
mod first_use;
#[path = "cli/hosts.rs"]
mod hosts;
#[path = "cli/killed.rs"]
mod killed;
#[path = "cli/large.rs"]
mod large;
#[path = "cli/load.rs"]
mod load;
#[path = "cli/names.rs"]
mod names;
#[path = "cli/networks.rs"]
mod networks;
#[path = "cli/old_peers.rs"]
mod old_peers;
#[path = "cli/ops.rs"]
mod ops;
#[path = "cli/programs.rs"]
mod programs;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "cli/relays.rs"]
mod relays;
#[path = "cli/reports.rs"]
mod reports;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/shared.rs"]
mod shared;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/strangers.rs"]
mod strangers;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/users.rs"]
mod users;
