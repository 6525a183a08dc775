//! The binary `rdv` behind routers and firewalls of every kind: real processes in the laboratory of `tests/netlab`, which needs root.
//!
//! `RDV_TRUTH_RUNS=20` runs the whole table that often, `RDV_TRUTH_ONLY=eim,symmetric` the cells of these kinds alone,
//! `RDV_TRUTH_LABS=6` sets how many laboratories stand at a time.

#![cfg(target_os = "linux")]

mod cells;
mod change;
mod forbidden;
mod mapped;
mod moves;
mod quiet;
mod roads;
mod strangers;
mod truth;
mod world;

/// The program under test.
fn binary() -> std::path::PathBuf {
    env!("CARGO_BIN_EXE_rdv").into()
}
