//! What can go wrong with accounts.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tracing::warn;

use super::name::NameError;
use super::store::StoreError;

/// What can go wrong with accounts. Those about the database pass: the next call may work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// Neither `sqlite:PATH` nor `postgres://…`.
    #[error("{url:?} does not name a database: write sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Url {
        /// What was given, without its password.
        url: String,
    },
    /// A database on a server has no place of its own for the key of the passwords for old clients.
    #[error("a database on a server needs a folder for its key: name it with --state")]
    KeyPlace,
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
    /// Nothing can be written: the database, its disk or its server is read-only.
    #[error("the database is read-only")]
    ReadOnly,
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
    /// What was asked for does not go with what is stored.
    #[error("the account is in an unexpected state: {reason}")]
    State {
        /// What does not go.
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
    pub(super) const READ_ONLY: i32 = 8;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

fn of_sqlite(code: Option<i32>, reason: String) -> AccountsError {
    // The low byte of an extended result code is the primary one.
    match code.map(|code| code & 0xFF) {
        Some(sqlite::BUSY | sqlite::LOCKED) => AccountsError::Locked,
        Some(sqlite::READ_ONLY) => AccountsError::ReadOnly,
        Some(sqlite::FULL) => AccountsError::Full,
        Some(sqlite::CORRUPT | sqlite::CONSTRAINT | sqlite::NOT_A_DATABASE) => {
            AccountsError::Damaged { reason }
        }
        _ => AccountsError::Unavailable { reason },
    }
}

/// By SQLSTATE: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn of_postgres(code: &str, reason: String) -> AccountsError {
    match code {
        // lock_not_available, deadlock_detected, serialization_failure, query_canceled, too_many_connections
        "55P03" | "40P01" | "40001" | "57014" | "53300" => AccountsError::Locked,
        // read_only_sql_transaction
        "25006" => AccountsError::ReadOnly,
        // disk_full
        "53100" => AccountsError::Full,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => AccountsError::Damaged { reason },
        // Integrity constraints; syntax and tables: not those that were made.
        code if code.starts_with("23") || code.starts_with("42") && code != "42501" => {
            AccountsError::Damaged { reason }
        }
        _ => AccountsError::Unavailable { reason },
    }
}

impl From<sqlx::Error> for AccountsError {
    fn from(error: sqlx::Error) -> Self {
        let reason = || error.to_string();
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if database
                    .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                    .is_some()
                {
                    of_postgres(&code, reason())
                } else {
                    of_sqlite(code.parse().ok(), reason())
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

/// What is behind it is logged here: those who ask a store get no more than its kind.
impl From<AccountsError> for StoreError {
    fn from(error: AccountsError) -> Self {
        let kind = match &error {
            AccountsError::Unknown { .. } => return Self::Unknown,
            AccountsError::Locked => Self::Busy,
            AccountsError::Full => Self::Full,
            AccountsError::ReadOnly => Self::ReadOnly,
            AccountsError::Unavailable { .. } | AccountsError::File { .. } => Self::Unreachable,
            AccountsError::Damaged { .. } | AccountsError::Sealed => Self::Damaged,
            AccountsError::State { .. } | AccountsError::Newer => Self::Unexpected,
            _ => Self::Internal,
        };
        warn!(%error, "the accounts cannot be used");
        kind
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
