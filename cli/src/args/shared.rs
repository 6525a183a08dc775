//! What the user may type about shared folders.

use std::path::PathBuf;

use clap::Args;
use rdv::ScreenName;

use super::{AsUser, IfExists, Road};

/// What a listener shares.
#[derive(Debug, Args)]
pub(crate) struct Sharing {
    /// Let those named with --share-with look into this folder and fetch files from it; nothing is ever written there
    #[arg(long, value_name = "DIR", requires_all = ["listen", "share_with"])]
    pub(crate) share: Option<PathBuf>,
    /// With whom the folder is shared; for everybody else there is none
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "share")]
    pub(crate) share_with: Vec<ScreenName>,
}

#[derive(Debug, Args)]
pub(crate) struct Shared {
    /// Whose files; they must be signed on to the host that you are signed on to
    #[arg(value_name = "NAME")]
    pub(crate) name: ScreenName,
    /// Files to fetch, as they are listed; a folder, with / at its end, is listed. Without any the shared folder itself is
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// The folder to write into; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) user: AsUser,
    /// What to do if a name is taken
    #[arg(long, value_enum, default_value_t = IfExists::Rename, value_name = "WHAT")]
    pub(crate) if_exists: IfExists,
    #[command(flatten)]
    pub(crate) road: Road,
}
