//! What can go wrong with accounts.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::name::NameError;

/// What can go wrong with accounts. Those about the database pass: the next call may work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// Not `sqlite:PATH`.
    #[error("{url:?} does not name a database: write sqlite:PATH")]
    Url {
        /// What was given.
        url: String,
    },
    /// No account can have this name.
    #[error("{name:?} cannot be the name of an account: {rule}")]
    Name {
        /// As it was typed.
        name: String,
        /// What it breaks.
        rule: NameError,
    },
    /// Nobody should have this password.
    #[error("a password has 8 to 256 bytes and no control characters")]
    Password,
    /// The name is taken.
    #[error("there is an account {name:?} already")]
    Exists {
        /// As it was typed.
        name: String,
    },
    /// There is no such account.
    #[error("there is no account {name:?}")]
    Unknown {
        /// As it was asked for; empty where it was asked for by its number.
        name: String,
    },
    /// The file of the database cannot be opened or made.
    #[error("cannot use the database {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key of the passwords for old clients cannot be read or made.
    #[error("cannot use the key {path}")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key file holds something else.
    #[error("{path} is not a key: 64 hexadecimal digits")]
    KeyMalformed {
        /// Which file.
        path: PathBuf,
    },
    /// Others than its owner may read the key.
    #[error("others may read the key {path}: chmod 600 it")]
    KeyExposed {
        /// Which file.
        path: PathBuf,
    },
    /// Passwords for old clients are stored, but the key that opens them is gone.
    #[error(
        "the key {path} is gone, without which the stored passwords for old clients cannot be read"
    )]
    KeyMissing {
        /// Where it was.
        path: PathBuf,
    },
    /// A stored password for old clients was sealed with another key or for another account, or was changed.
    #[error("a stored password for old clients does not fit the key beside the database")]
    Sealed,
    /// Somebody else kept the database for too long.
    #[error("the database is locked by another program")]
    Locked,
    /// No room on the disk.
    #[error("there is no room for the database to grow")]
    Full,
    /// The database was made by a later version of this program.
    #[error("the database was made by a later version of rdv")]
    Newer,
    /// The database cannot be reached: gone, not readable, not writable.
    #[error("the database cannot be used: {reason}")]
    Unavailable {
        /// What the database says.
        reason: String,
    },
    /// What the database holds is not what this program writes.
    #[error("the database is damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// The system has no random bytes, or no memory for a password check.
    #[error("the system cannot check passwords now")]
    Resources,
}

/// Primary result codes of SQLite: <https://www.sqlite.org/rescode.html>.
mod sqlite {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

impl From<sqlx::Error> for AccountsError {
    fn from(error: sqlx::Error) -> Self {
        let reason = || error.to_string();
        match &error {
            sqlx::Error::Database(database) => {
                // The low byte of an extended result code is the primary one.
                let code = database
                    .code()
                    .and_then(|code| code.parse::<i32>().ok())
                    .map(|code| code & 0xFF);
                match code {
                    Some(sqlite::BUSY | sqlite::LOCKED) => Self::Locked,
                    Some(sqlite::FULL) => Self::Full,
                    Some(sqlite::CORRUPT | sqlite::NOT_A_DATABASE) => {
                        Self::Damaged { reason: reason() }
                    }
                    _ => Self::Unavailable { reason: reason() },
                }
            }
            sqlx::Error::PoolTimedOut => Self::Locked,
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::Damaged { reason: reason() },
            _ => Self::Unavailable { reason: reason() },
        }
    }
}

impl From<sqlx::migrate::MigrateError> for AccountsError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            MigrateError::VersionMissing(_) => Self::Newer,
            other => Self::Damaged {
                reason: other.to_string(),
            },
        }
    }
}
