//! What the user may type behind `rdv transfers`.

use clap::{Args, Subcommand};

/// `rdv transfers`, alone or with a verb.
#[derive(Debug, Args)]
pub(crate) struct Transfers {
    /// Print one JSON object per line on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Option<TransfersVerb>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TransfersVerb {
    /// Show everything that was tried to reach the other side, and why the bytes went the way they did
    Show {
        /// The number of the transfer, as `rdv transfers` lists it
        id: String,
    },
}
