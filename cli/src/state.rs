//! Where things are kept between runs.

use std::path::PathBuf;

use etcetera::BaseStrategy;

/// The folder for what rdv remembers by itself: `rdv` under the user's state folder.
pub(crate) fn folder() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(
        base.state_dir()
            .unwrap_or_else(|| base.data_dir())
            .join("rdv"),
    )
}

/// The file of host keys seen before.
pub(crate) fn known_hosts() -> Option<PathBuf> {
    folder().map(|folder| folder.join("known_hosts"))
}
