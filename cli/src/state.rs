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

/// The accounts, with their passwords.
pub(crate) fn accounts() -> Option<PathBuf> {
    folder().map(|folder| folder.join("accounts.json"))
}

/// Whom the user knows at which host.
pub(crate) fn contacts() -> Option<PathBuf> {
    folder().map(|folder| folder.join("contacts.json"))
}

/// Keys of peers seen before.
pub(crate) fn known_peers() -> Option<PathBuf> {
    folder().map(|folder| folder.join("known_peers"))
}

/// The key of this install.
pub(crate) fn own_key() -> Option<PathBuf> {
    folder().map(|folder| folder.join("key.pem"))
}

/// Records of the last transfers.
pub(crate) fn transfers() -> Option<PathBuf> {
    folder().map(|folder| folder.join("transfers"))
}
