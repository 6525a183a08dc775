//! Accounts in a database: who may sign on, with which password, and with whose contacts.
//!
//! [`Accounts`] is the only way in. Passwords for normal sign-on are kept as Argon2id hashes; those for old clients are made
//! by the host for that use alone and kept sealed. Programs may share the database: the host and `rdv host user` do.

mod check;
mod database;
mod error;
mod feedbag;
mod hash;
mod manage;
mod name;
mod seal;
mod secret;
mod store;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdv_proto::wire::text::ScreenName;
use sqlx::Row as _;

pub use check::Verdict;
pub use error::AccountsError;
pub use feedbag::{
    FEEDBAG_ITEMS_MAX, FEEDBAG_NAME_MAX, FEEDBAG_TLVS_MAX, Feedbag, FeedbagChange, FeedbagItem,
    FeedbagStatus,
};
pub use manage::Created;
pub use name::NameError;
pub use secret::Password;
pub use store::{
    AdminStore, Answer, Checked, CodeHash, Fields, Kept, MESSAGES_BYTES_MAX, MESSAGES_KEPT_S,
    MESSAGES_MAX, MESSAGES_PER_SENDER_MAX, MessageId, MessageStore, PASSWORD_FAILURES_MAX,
    PASSWORD_FAILURES_S, PasswordKind, Record, State, StoreError, StoredMessage,
};

use check::Decoy;
use database::Db;
use hash::Hasher;
use seal::Seal;

/// The number of an account: random, and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(i64);

impl AccountId {
    /// The account of that number.
    pub const fn numbered(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// An account, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its name, as its owner likes to see it.
    pub name: ScreenName,
    /// Whether old clients may sign on, with the password made for them.
    pub legacy: bool,
    /// Nobody may sign on.
    pub disabled: bool,
    /// When it was made, in seconds since 1970.
    pub created_unix_s: u64,
}

/// The accounts of a host. Clones are the same accounts.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    pool: sqlx::Pool<Db>,
    seal: Seal,
    hasher: Hasher,
    decoy: Decoy,
    /// By which contact lists are changed in turn.
    edits: tokio::sync::Mutex<()>,
}

impl Accounts {
    /// Opens the database that `url` names, `sqlite:PATH`, and brings its tables up to date; a new one is made, for its owner
    /// alone. The key of the passwords for old clients is beside it, in `PATH.key`.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn open(url: &str) -> Result<Self, AccountsError> {
        Self::open_with(url, database::BUSY).await
    }

    async fn open_with(url: &str, busy: Duration) -> Result<Self, AccountsError> {
        let path = database::path_of(url)?;
        let pool = database::open(&path, busy).await?;
        let sealed: Option<i64> =
            sqlx::query_scalar("SELECT id FROM accounts WHERE legacy_sealed IS NOT NULL LIMIT 1")
                .fetch_optional(&pool)
                .await?;
        let seal = Seal::load(&seal::key_path(&path), sealed.is_some())?;
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                hasher: Hasher::new()?,
                decoy: Decoy::new(&seal)?,
                edits: tokio::sync::Mutex::new(()),
                seal,
            }),
        })
    }

    /// The account of that name.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database.
    pub async fn find(&self, name: &ScreenName) -> Result<Option<Account>, AccountsError> {
        sqlx::query(
            "SELECT id, formatted, CASE WHEN legacy_sealed IS NULL THEN 0 ELSE 1 END AS legacy, disabled, created_unix_s \
             FROM accounts WHERE name = $1",
        )
        .bind(name.normalized())
        .fetch_optional(&self.inner.pool)
        .await?
        .as_ref()
        .map(read)
        .transpose()
    }

    /// At most `limit` accounts in the order of their names in normal form, those behind `after`.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database.
    pub async fn list(
        &self,
        after: Option<&ScreenName>,
        limit: u32,
    ) -> Result<Vec<Account>, AccountsError> {
        sqlx::query(
            "SELECT id, formatted, CASE WHEN legacy_sealed IS NULL THEN 0 ELSE 1 END AS legacy, disabled, created_unix_s \
             FROM accounts WHERE name > $1 ORDER BY name LIMIT $2",
        )
        .bind(after.map_or("", ScreenName::normalized))
        .bind(i64::from(limit))
        .fetch_all(&self.inner.pool)
        .await?
        .iter()
        .map(read)
        .collect()
    }

    /// How many accounts there are.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database.
    pub async fn count(&self) -> Result<u64, AccountsError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM accounts")
            .fetch_one(&self.inner.pool)
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

fn read(row: &<Db as sqlx::Database>::Row) -> Result<Account, AccountsError> {
    let created: i64 = row.try_get("created_unix_s")?;
    let disabled: i64 = row.try_get("disabled")?;
    let legacy: i64 = row.try_get("legacy")?;
    Ok(Account {
        id: AccountId(row.try_get("id")?),
        name: stored_name(row.try_get("formatted")?)?,
        legacy: legacy != 0,
        disabled: disabled != 0,
        created_unix_s: u64::try_from(created).unwrap_or(0),
    })
}

fn stored_name(stored: String) -> Result<ScreenName, AccountsError> {
    ScreenName::new(stored).map_err(|error| AccountsError::Damaged {
        reason: format!("the name of an account: {error}"),
    })
}

/// Seconds since 1970.
fn unix_s() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}
