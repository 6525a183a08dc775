//! What the user may type behind `rdv doctor`.

use clap::Args;

use super::Ways;

const AFTER: &str = "\
What is found is told in sentences; a network that makes direct connections hard is no failure. Nothing is asked of anybody but \
the router, the host that is named, and its relay.

Exit codes:
    0  looked at, whatever was found
    2  usage
    5  the host has another key than before
   12  the host that was named cannot be reached";

/// `rdv doctor`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Doctor {
    /// The host to ask how the world sees this machine; without it only what can be told from here is
    #[arg(long, value_name = "HOST:PORT", env = "RDV_HOST")]
    pub(crate) host: Option<String>,
    /// The fingerprint that the host must show; without it, the first one seen is remembered
    #[arg(long, value_name = "FINGERPRINT", requires = "host")]
    pub(crate) host_key: Option<String>,
    #[command(flatten)]
    pub(crate) ways: Ways,
    /// Print JSON objects on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
