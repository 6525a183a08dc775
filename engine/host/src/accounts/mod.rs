//! Accounts in a database: who may sign on, with which password, and with whose contacts.
//!
//! [`Accounts`] is the only way in. Passwords for normal sign-on are kept as Argon2id hashes; those for old clients are made
//! by the host for that use alone and kept sealed. Programs may share the database, a file of SQLite or one on a server of
//! PostgreSQL: the host and `rdv host user` do.

mod admin;
mod audit;
mod check;
mod database;
mod error;
mod feedbag;
mod hash;
mod journal;
mod manage;
mod messages;
mod name;
mod record;
mod seal;
mod secret;
mod sql;
mod store;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rdv_proto::wire::text::ScreenName;

pub use audit::{AuditEntry, Author};
pub use check::Verdict;
pub use error::AccountsError;
pub use feedbag::{
    FEEDBAG_ITEMS_MAX, FEEDBAG_NAME_MAX, FEEDBAG_TLVS_MAX, Feedbag, FeedbagChange, FeedbagItem,
    FeedbagStatus,
};
pub(crate) use journal::{Effect, Journal};
pub use manage::{Created, NewAccount};
pub use name::NameError;
pub use secret::Password;
pub use store::{
    AdminStore, Answer, Checked, CodeHash, Fields, Kept, MESSAGES_BYTES_MAX, MESSAGES_KEPT_S,
    MESSAGES_MAX, MESSAGES_PER_SENDER_MAX, MessageId, MessageStore, PASSWORD_FAILURES_MAX,
    PASSWORD_FAILURES_S, PasswordKind, Record, State, StoreError, StoredMessage,
};

use check::Decoy;
use database::{Place, Waits};
use hash::Hasher;
use messages::Sweep;
use seal::Seal;
use sql::{Pool, Row, sql};

/// The key of the passwords for old clients, where the database is on a server.
const KEY_FILE: &str = "host.key";

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
    /// Whether it can be used.
    pub state: State,
    /// Whether it was confirmed.
    pub confirmed: bool,
    /// When it was made, in seconds since 1970.
    pub created_unix_s: u64,
}

/// The accounts of a host. Clones are the same accounts.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    seal: Seal,
    hasher: Hasher,
    decoy: Decoy,
    /// By which contact lists are changed in turn.
    edits: tokio::sync::Mutex<()>,
    sweep: Sweep,
}

impl Accounts {
    /// Opens the database that `url` names and brings its tables up to date: `sqlite:PATH`, a file, which is made for its
    /// owner alone if it is missing. The key of the passwords for old clients is beside it, in `PATH.key`.
    ///
    /// # Errors
    /// [`AccountsError`]; [`AccountsError::KeyPlace`] for a database on a server, which [`Accounts::open_in`] opens.
    pub async fn open(url: &str) -> Result<Self, AccountsError> {
        Self::open_with(url, None, Waits::default()).await
    }

    /// As [`Accounts::open`], or a database of PostgreSQL: `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE`, with the key in
    /// `folder`, as `host.key`. Hosts that share a database share the key.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn open_in(url: &str, folder: &Path) -> Result<Self, AccountsError> {
        Self::open_with(url, Some(folder), Waits::default()).await
    }

    async fn open_with(
        url: &str,
        folder: Option<&Path>,
        waits: Waits,
    ) -> Result<Self, AccountsError> {
        let place = Place::of(url)?;
        let key = match (&place, folder) {
            (Place::File(path), _) => seal::key_path(path),
            (Place::Server(_), Some(folder)) => folder.join(KEY_FILE),
            (Place::Server(_), None) => return Err(AccountsError::KeyPlace),
        };
        let pool = place.open(waits).await?;
        let sealed = sql("SELECT id FROM accounts WHERE legacy_sealed IS NOT NULL LIMIT 1");
        let sealed = pool.row(sealed).await?;
        let seal = Seal::load(&key, sealed.is_some())?;
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                hasher: Hasher::new()?,
                decoy: Decoy::new(&seal)?,
                edits: tokio::sync::Mutex::new(()),
                sweep: Sweep::default(),
                seal,
            }),
        })
    }

    /// Such a URL as it may be shown: without the password in it.
    pub fn shown(url: &str) -> String {
        database::shown(url)
    }

    /// The account of that name.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database.
    pub async fn find(&self, name: &ScreenName) -> Result<Option<Account>, AccountsError> {
        let asked = sql(
            "SELECT id, formatted, CAST(CASE WHEN legacy_sealed IS NULL THEN 0 ELSE 1 END AS BIGINT) AS legacy, state, confirmed, \
             created_unix_s FROM accounts WHERE name = $1",
        );
        let found = self.inner.pool.row(asked.bind(name.normalized())).await?;
        found.as_ref().map(read).transpose()
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
        let asked = sql(
            "SELECT id, formatted, CAST(CASE WHEN legacy_sealed IS NULL THEN 0 ELSE 1 END AS BIGINT) AS legacy, state, confirmed, \
             created_unix_s FROM accounts WHERE name > $1 ORDER BY name LIMIT $2",
        )
        .bind(after.map_or("", ScreenName::normalized))
        .bind(i64::from(limit));
        self.inner
            .pool
            .rows(asked)
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
        let counted = self
            .inner
            .pool
            .row(sql("SELECT COUNT(*) AS n FROM accounts"));
        let count = counted.await?.map_or(Ok(0), |row| row.get::<i64>("n"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

fn read(row: &Row) -> Result<Account, AccountsError> {
    Ok(Account {
        id: AccountId(row.get("id")?),
        name: stored_name(row.get("formatted")?)?,
        legacy: row.get::<i64>("legacy")? != 0,
        state: record::state(row.get("state")?)?,
        confirmed: row.get::<i64>("confirmed")? != 0,
        created_unix_s: u64::try_from(row.get::<i64>("created_unix_s")?).unwrap_or(0),
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
