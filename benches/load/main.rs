//! The host and the relay under load: what a client costs, and how many sign-ons, messages and bytes two cores carry.
//!
//! `cargo bench -p rdv-benches --bench load` runs all; words behind `--` name those to run: `idle`, `idle-tls`, `sign-ons`,
//! `guests`, `messages`, `relay`, `ping`, `churn`. Host and relay are processes of their own beside this one, so that both share
//! the machine's cores. Clients come from many addresses in 127.0.0.0/8, and limits are raised by configuration: what the
//! limits themselves do has tests of its own. Nothing asserts on time: each line shows its goal, people judge.
//!
//! The accounts (a second of work for forty of them) are made once and kept in the folder of cargo's target directory, or in
//! the one that `RDV_LOAD_ACCOUNTS` names.

mod accounts;
mod carriage;
mod churn;
mod client;
mod messages;
mod presence;
mod served;
mod splice;
mod table;

use std::time::Duration;

use rdv_benches::{Failure, quick, tool};

use table::Table;

fn main() -> Result<(), Failure> {
    served::raise_descriptors()?;
    if splice::play_role()? {
        return Ok(());
    }
    let sizes = if quick() { Sizes::QUICK } else { Sizes::WHOLE };
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let stage = Stage {
        rdv: tool::rdv()?,
        sizes,
    };
    let mut table = Table::new();
    let all: [(&str, Run); 8] = [
        ("idle", presence::idle),
        ("idle-tls", presence::idle_tls),
        ("sign-ons", presence::sign_ons),
        ("guests", presence::guests),
        ("messages", messages::run),
        ("relay", carriage::throughput),
        ("ping", carriage::ping),
        ("churn", churn::run),
    ];
    if let Some(unknown) = wanted
        .iter()
        .find(|word| all.iter().all(|(name, _)| name != word))
    {
        return Err(format!("there is no load called {unknown}").into());
    }
    for (name, run) in all {
        if is_wanted(name) {
            run(&stage, &mut table)?;
        }
    }
    table.print();
    Ok(())
}

type Run = fn(&Stage, &mut Table) -> Result<(), Failure>;

/// What every load has in common.
pub(crate) struct Stage {
    pub(crate) rdv: std::path::PathBuf,
    pub(crate) sizes: Sizes,
}

/// How much of everything.
pub(crate) struct Sizes {
    /// Clients that are signed on and say nothing.
    pub(crate) idle: usize,
    /// The same over TLS.
    pub(crate) idle_tls: usize,
    /// Clients that are on while messages pass.
    pub(crate) on: usize,
    /// How long rates are measured.
    pub(crate) measured: Duration,
    /// Pairs at the relay.
    pub(crate) pairs: &'static [usize],
    /// Rounds of relay and splice in turns.
    pub(crate) rounds: u32,
    /// Pings in all.
    pub(crate) pings: usize,
    /// Connections per second.
    pub(crate) churn_per_s: u32,
    /// How long they come.
    pub(crate) churn: Duration,
}

impl Sizes {
    const WHOLE: Self = Self {
        idle: 10_000,
        idle_tls: 2_000,
        on: 5_000,
        measured: Duration::from_secs(10),
        pairs: &[1, 10, 100],
        rounds: 3,
        pings: 10_000,
        churn_per_s: 2_000,
        churn: Duration::from_secs(60),
    };
    const QUICK: Self = Self {
        idle: 40,
        idle_tls: 20,
        on: 20,
        measured: Duration::from_millis(300),
        pairs: &[1, 3],
        rounds: 1,
        pings: 200,
        churn_per_s: 100,
        churn: Duration::from_secs(1),
    };
}
