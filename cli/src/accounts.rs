//! Where the accounts of a host are, for `rdv host` and `rdv host user` alike.

use std::path::PathBuf;

use rdv_host::accounts::{Accounts, AccountsError};

use crate::args::Store;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::state;

/// The host's folder, made if it is missing; none if there is no home folder.
pub(crate) fn folder(store: &Store) -> Result<Option<PathBuf>, Failure> {
    let kept = config::completed(store)?.state;
    let Some(folder) = kept.or_else(|| state::folder().map(|folder| folder.join("host"))) else {
        return Ok(None);
    };
    std::fs::create_dir_all(&folder).map_err(|error| {
        Failure::new(
            Exit::FILES,
            format!("cannot make \"{}\": {error}", folder.display()),
        )
    })?;
    Ok(Some(folder))
}

/// The database that was named, or the one in the host's folder.
pub(crate) fn url(store: &Store) -> Result<Option<String>, Failure> {
    if let Some(url) = config::completed(store)?.db {
        return Ok(Some(url));
    }
    let Some(folder) = folder(store)? else {
        return Ok(None);
    };
    let path = folder.join("host.db");
    let path = path.to_str().ok_or_else(|| {
        Failure::new(
            Exit::FILES,
            "the path of the host's folder is not text; name a database with --db",
        )
    })?;
    Ok(Some(format!("sqlite:{path}")))
}

/// Opens the database. The key of one on a server is in the host's folder.
pub(crate) async fn open(url: &str, store: &Store) -> Result<Accounts, Failure> {
    let opened = if url.starts_with("sqlite:") {
        Accounts::open(url).await
    } else {
        match folder(store)? {
            Some(folder) => Accounts::open_in(url, &folder).await,
            None => Accounts::open(url).await,
        }
    };
    opened.map_err(|error| failed(&error))
}

/// The number and the sentence for what went wrong with accounts.
pub(crate) fn failed(error: &AccountsError) -> Failure {
    let exit = match error {
        AccountsError::Url { .. }
        | AccountsError::KeyPlace
        | AccountsError::Name { .. }
        | AccountsError::Password => Exit::USAGE,
        AccountsError::Unknown { .. } => Exit::NOBODY,
        AccountsError::File { .. }
        | AccountsError::KeyFile { .. }
        | AccountsError::KeyMalformed { .. }
        | AccountsError::KeyExposed { .. }
        | AccountsError::KeyMissing { .. } => Exit::FILES,
        _ => Exit::HOST,
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    Failure::new(exit, format!("{error}{}", cause.unwrap_or_default()))
}
