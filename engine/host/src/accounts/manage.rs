//! What the operator does with accounts. Each deed leaves a line in the audit table.

use rdv_proto::wire::text::ScreenName;

use super::database::Db;
use super::error::AccountsError;
use super::secret::{GENERATED, GENERATED_ICQ, Password};
use super::{Account, AccountId, Accounts, name, unix_s};
use crate::random::random;

/// A new account, and its passwords, which are not to be had again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The account.
    pub account: Account,
    /// For normal sign-on: the one given, or one that was made.
    pub password: Password,
    /// For old clients, if they may sign on.
    pub legacy_password: Option<Password>,
}

/// What is written into the audit table.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Created,
    Disabled,
    Enabled,
    PasswordReset,
    LegacyReset,
    LegacyRevoked,
    Removed,
}

impl Deed {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::PasswordReset => "password reset",
            Self::LegacyReset => "legacy password reset",
            Self::LegacyRevoked => "legacy password revoked",
            Self::Removed => "removed",
        }
    }
}

impl Accounts {
    /// Makes an account. Without a password one is made; with `legacy` another one is made for old clients.
    ///
    /// # Errors
    /// [`AccountsError::Name`], [`AccountsError::Password`], [`AccountsError::Exists`], or one of the database.
    pub async fn create(
        &self,
        name: &str,
        password: Option<Password>,
        legacy: bool,
    ) -> Result<Created, AccountsError> {
        let name = name::check(name).map_err(|rule| AccountsError::Name {
            name: name.to_owned(),
            rule,
        })?;
        let password = chosen_or_made(password)?;
        let legacy_password = legacy.then(|| made_for_old_clients(&name)).transpose()?;
        let hash = self.inner.hasher.hash(&password).await?;
        let (id, now) = (new_id()?, unix_s());
        let sealed = legacy_password
            .as_ref()
            .map(|password| self.inner.seal.seal(id, &name, password))
            .transpose()?;
        let mut transaction = self.inner.pool.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO accounts \
             (id, name, formatted, password_hash, legacy_sealed, created_unix_s, feedbag_changed_unix_s) \
             VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (name) DO NOTHING",
        )
        .bind(id)
        .bind(name.normalized())
        .bind(name.as_str())
        .bind(hash)
        .bind(sealed)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(AccountsError::Exists {
                name: name.as_str().to_owned(),
            });
        }
        record(&mut transaction, id, &name, Deed::Created).await?;
        transaction.commit().await?;
        Ok(Created {
            account: Account {
                id: AccountId(id),
                name,
                legacy,
                disabled: false,
                created_unix_s: u64::try_from(now).unwrap_or(0),
            },
            password,
            legacy_password,
        })
    }

    /// Lets nobody sign on to an account any more, or lets them again. Who is signed on stays so.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn set_disabled(
        &self,
        name: &ScreenName,
        disabled: bool,
    ) -> Result<(), AccountsError> {
        let statement = sqlx::query("UPDATE accounts SET disabled = $1 WHERE name = $2")
            .bind(i64::from(disabled))
            .bind(name.normalized().to_owned());
        let deed = if disabled {
            Deed::Disabled
        } else {
            Deed::Enabled
        };
        self.change(name, statement, deed).await
    }

    /// Gives an account another password for normal sign-on; one that is made if none is given.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], [`AccountsError::Password`], or one of the database.
    pub async fn reset_password(
        &self,
        name: &ScreenName,
        password: Option<Password>,
    ) -> Result<Password, AccountsError> {
        let password = chosen_or_made(password)?;
        let hash = self.inner.hasher.hash(&password).await?;
        let statement = sqlx::query("UPDATE accounts SET password_hash = $1 WHERE name = $2")
            .bind(hash)
            .bind(name.normalized().to_owned());
        self.change(name, statement, Deed::PasswordReset).await?;
        Ok(password)
    }

    /// Makes another password for old clients, or a first one, which lets them in.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn reset_legacy_password(
        &self,
        name: &ScreenName,
    ) -> Result<Password, AccountsError> {
        let account = self.find(name).await?.ok_or_else(|| unknown(name))?;
        let password = made_for_old_clients(&account.name)?;
        let sealed = self
            .inner
            .seal
            .seal(account.id.0, &account.name, &password)?;
        // By its number: what is sealed for this account is of no use to a later one of the same name.
        let statement = sqlx::query("UPDATE accounts SET legacy_sealed = $1 WHERE id = $2")
            .bind(sealed)
            .bind(account.id.0);
        self.change(name, statement, Deed::LegacyReset).await?;
        Ok(password)
    }

    /// Lets old clients in no more.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn revoke_legacy_password(&self, name: &ScreenName) -> Result<(), AccountsError> {
        let statement = sqlx::query("UPDATE accounts SET legacy_sealed = NULL WHERE name = $1")
            .bind(name.normalized().to_owned());
        self.change(name, statement, Deed::LegacyRevoked).await
    }

    /// Takes an account away with all that belongs to it. Its name is free then.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn remove(&self, name: &ScreenName) -> Result<(), AccountsError> {
        let mut transaction = self.inner.pool.begin().await?;
        let id: Option<i64> =
            sqlx::query_scalar("DELETE FROM accounts WHERE name = $1 RETURNING id")
                .bind(name.normalized())
                .fetch_optional(&mut *transaction)
                .await?;
        let id = id.ok_or_else(|| unknown(name))?;
        record(&mut transaction, id, name, Deed::Removed).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Carries out a statement that changes one account, and writes it down.
    async fn change(
        &self,
        name: &ScreenName,
        statement: sqlx::query::Query<'_, Db, <Db as sqlx::Database>::Arguments>,
        deed: Deed,
    ) -> Result<(), AccountsError> {
        let mut transaction = self.inner.pool.begin().await?;
        let changed = statement.execute(&mut *transaction).await?;
        if changed.rows_affected() == 0 {
            return Err(unknown(name));
        }
        let id: i64 = sqlx::query_scalar("SELECT id FROM accounts WHERE name = $1")
            .bind(name.normalized())
            .fetch_one(&mut *transaction)
            .await?;
        record(&mut transaction, id, name, deed).await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn record(
    transaction: &mut sqlx::Transaction<'_, Db>,
    account: i64,
    name: &ScreenName,
    deed: Deed,
) -> Result<(), AccountsError> {
    sqlx::query(
        "INSERT INTO audit (id, at_unix_s, account_id, name, action) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(new_id()?)
    .bind(unix_s())
    .bind(account)
    .bind(name.normalized())
    .bind(deed.word())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn chosen_or_made(password: Option<Password>) -> Result<Password, AccountsError> {
    match password {
        Some(chosen) if chosen.is_acceptable() => Ok(chosen),
        Some(_) => Err(AccountsError::Password),
        None => Password::generate(GENERATED).ok_or(AccountsError::Resources),
    }
}

fn made_for_old_clients(name: &ScreenName) -> Result<Password, AccountsError> {
    let characters = if name::is_number(name.normalized()) {
        GENERATED_ICQ
    } else {
        GENERATED
    };
    Password::generate(characters).ok_or(AccountsError::Resources)
}

/// Not negative, and not 0, which is nobody's.
fn new_id() -> Result<i64, AccountsError> {
    let drawn: [u8; 8] = random().map_err(|_| AccountsError::Resources)?;
    Ok((i64::from_be_bytes(drawn) & i64::MAX).max(1))
}

fn unknown(name: &ScreenName) -> AccountsError {
    AccountsError::Unknown {
        name: name.as_str().to_owned(),
    }
}
