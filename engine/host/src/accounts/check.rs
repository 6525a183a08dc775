//! Whether a password is right.

use rdv_proto::wire::text::ScreenName;
use subtle::ConstantTimeEq as _;

use super::error::AccountsError;
use super::seal::Seal;
use super::secret::{GENERATED, Password};
use super::sql::sql;
use super::store::State;
use super::{Account, Accounts, read};

/// What is to be said of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is right.
    Right {
        /// Whose it is.
        account: Account,
        /// It is the one that was made for old clients.
        legacy: bool,
    },
    /// It is right, but nobody may sign on to this account.
    Disabled,
    /// It is right, but the owner deleted this account.
    Deleted,
    /// It is right, but this account is expired.
    Expired,
    /// It is wrong, or there is no such account: not to be told apart (S-32).
    Wrong,
}

/// A sealed password of nobody, opened for names that have none.
pub(super) struct Decoy {
    name: ScreenName,
    sealed: Vec<u8>,
}

impl Decoy {
    pub(super) fn new(seal: &Seal) -> Result<Self, AccountsError> {
        let name = ScreenName::new("-").map_err(|_| AccountsError::Resources)?;
        let password = Password::generate(GENERATED).ok_or(AccountsError::Resources)?;
        Ok(Self {
            sealed: seal.seal(0, &name, &password)?,
            name,
        })
    }
}

impl Accounts {
    /// Checks a password: the normal one, or the one made for old clients. What is done does not depend on whether the account
    /// exists, is disabled, or lets old clients in.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database; nothing is known of the password then.
    pub async fn check_password(
        &self,
        name: &ScreenName,
        password: &[u8],
    ) -> Result<Verdict, AccountsError> {
        let asked = sql(
            "SELECT id, formatted, CAST(CASE WHEN legacy_sealed IS NULL THEN 0 ELSE 1 END AS BIGINT) AS legacy, state, confirmed, \
             created_unix_s, password_hash, legacy_sealed FROM accounts WHERE name = $1",
        );
        let row = self.inner.pool.row(asked.bind(name.normalized())).await?;
        let (mut account, mut hash, mut sealed) = (None, None, None);
        if let Some(row) = &row {
            account = Some(read(row)?);
            hash = Some(row.get("password_hash")?);
            sealed = row.get::<Option<Vec<u8>>>("legacy_sealed")?;
        }
        let legacy = match (&account, &sealed) {
            (Some(account), Some(sealed)) => {
                // An account whose sealed password is lost can still be used with the other one.
                let opened = self.inner.seal.open(account.id.0, &account.name, sealed);
                opened.is_ok_and(|right| is_equal(&right, password))
            }
            _ => {
                let decoy = &self.inner.decoy;
                let opened = self.inner.seal.open(0, &decoy.name, &decoy.sealed)?;
                std::hint::black_box(is_equal(&opened, password));
                false
            }
        };
        let normal = self.inner.hasher.check(password, hash).await?;
        Ok(match account {
            Some(account) if normal || legacy => {
                let legacy = !normal;
                match account.state {
                    State::Active => Verdict::Right { account, legacy },
                    State::Disabled => Verdict::Disabled,
                    State::Deleted => Verdict::Deleted,
                    State::Expired => Verdict::Expired,
                }
            }
            _ => Verdict::Wrong,
        })
    }

    /// The password that was made for old clients, for the digests of MD5 sign-on; none if there is no such account, or if
    /// old clients may not sign on to it. Whether it can be used, [`Accounts::find`] says.
    ///
    /// # Errors
    /// [`AccountsError::Sealed`], or one of the database.
    pub async fn legacy_password(
        &self,
        name: &ScreenName,
    ) -> Result<Option<Password>, AccountsError> {
        let asked = sql("SELECT id, legacy_sealed FROM accounts WHERE name = $1");
        let row = self.inner.pool.row(asked.bind(name.normalized())).await?;
        let Some(row) = row else { return Ok(None) };
        let sealed: Option<Vec<u8>> = row.get("legacy_sealed")?;
        let id: i64 = row.get("id")?;
        sealed
            .map(|sealed| self.inner.seal.open(id, name, &sealed))
            .transpose()
    }
}

fn is_equal(right: &Password, password: &[u8]) -> bool {
    right.expose().as_bytes().ct_eq(password).into()
}
