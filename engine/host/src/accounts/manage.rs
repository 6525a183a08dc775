//! What the operator does with accounts, and how they are made. Each deed leaves a line in the audit table.

use rdv_proto::wire::text::ScreenName;

use super::audit::{Author, Deed, write};
use super::error::AccountsError;
use super::record::state_number;
use super::secret::{GENERATED, GENERATED_ICQ, Password};
use super::sql::{Statement, sql};
use super::store::{Fields, State};
use super::{Account, AccountId, Accounts, name, unix_s};
use crate::random::random;

/// An account that is to be made.
#[derive(Debug, Clone)]
pub struct NewAccount<'a> {
    /// Its name, as it was typed.
    pub name: &'a str,
    /// The password for normal sign-on; none: one is made.
    pub password: Option<Password>,
    /// Whether a password is made for old clients, too.
    pub legacy: bool,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether it is known for whom it is: by the operator, or by a mail that was answered.
    pub confirmed: bool,
    /// Who makes it.
    pub author: Author,
}

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

impl Accounts {
    /// Makes an account. Without a password one is made; with `legacy` another one is made for old clients.
    ///
    /// # Errors
    /// As [`Accounts::add`].
    pub async fn create(
        &self,
        name: &str,
        password: Option<Password>,
        legacy: bool,
    ) -> Result<Created, AccountsError> {
        self.add(NewAccount {
            name,
            password,
            legacy,
            email: None,
            confirmed: true,
            author: Author::Operator,
        })
        .await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`AccountsError::Name`], [`AccountsError::Password`], [`AccountsError::Exists`], or one of the database.
    pub async fn add(&self, new: NewAccount<'_>) -> Result<Created, AccountsError> {
        let name = name::check(new.name).map_err(|rule| AccountsError::Name {
            name: new.name.to_owned(),
            rule,
        })?;
        let password = chosen_or_made(new.password)?;
        let legacy_password = new
            .legacy
            .then(|| made_for_old_clients(&name))
            .transpose()?;
        let hash = self.inner.hasher.hash(&password).await?;
        let (id, now) = (new_id()?, unix_s());
        let sealed = legacy_password
            .as_ref()
            .map(|password| self.inner.seal.seal(id, &name, password))
            .transpose()?;
        let mut transaction = self.inner.pool.begin().await?;
        let inserted = transaction
            .execute(
                sql("INSERT INTO accounts \
                     (id, name, formatted, password_hash, legacy_sealed, email, confirmed, created_unix_s, \
                     feedbag_changed_unix_s) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (name) DO NOTHING")
                .bind(id)
                .bind(name.normalized())
                .bind(name.as_str())
                .bind(hash)
                .bind(sealed)
                .bind(new.email)
                .bind(i64::from(new.confirmed))
                .bind(now),
            )
            .await?;
        if inserted == 0 {
            return Err(AccountsError::Exists {
                name: name.as_str().to_owned(),
            });
        }
        let author = new.author;
        write(
            &mut transaction,
            id,
            name.normalized(),
            Deed::Created,
            author,
        )
        .await?;
        transaction.commit().await?;
        Ok(Created {
            account: Account {
                id: AccountId(id),
                name,
                legacy: new.legacy,
                state: State::Active,
                confirmed: new.confirmed,
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
        let state = if disabled {
            State::Disabled
        } else {
            State::Active
        };
        self.set_state(name, state).await
    }

    /// Says whether an account can be used. One that its owner deleted has no contacts any more, whatever it is set to.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn set_state(&self, name: &ScreenName, state: State) -> Result<(), AccountsError> {
        let deed = match state {
            State::Active => Deed::Enabled,
            State::Disabled => Deed::Disabled,
            State::Deleted => Deed::Deleted,
            State::Expired => Deed::Expired,
        };
        let statement = sql("UPDATE accounts SET state = $1 WHERE name = $2 RETURNING id, name")
            .bind(state_number(state))
            .bind(name.normalized());
        self.manage(name, statement, deed).await
    }

    /// Gives an account another e-mail address, or none, and says whether it is known to be right.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn assign_email(
        &self,
        name: &ScreenName,
        email: Option<String>,
        confirmed: bool,
    ) -> Result<(), AccountsError> {
        let statement = sql("UPDATE accounts SET email = $1, confirmed = $2, \
             email_pending = NULL, email_pending_code = NULL, email_pending_until_unix_s = NULL, \
             confirm_code = NULL, confirm_until_unix_s = NULL WHERE name = $3 RETURNING id, name")
        .bind(email)
        .bind(i64::from(confirmed))
        .bind(name.normalized());
        self.manage(name, statement, Deed::EmailChanged).await
    }

    /// Confirms an account without a mail; an address that is pending becomes the address.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn confirm_named(&self, name: &ScreenName) -> Result<(), AccountsError> {
        let statement = sql(
            "UPDATE accounts SET email = CASE WHEN email_pending_until_unix_s > $1 THEN email_pending ELSE email END, confirmed = 1, \
             email_pending = NULL, email_pending_code = NULL, email_pending_until_unix_s = NULL, \
             confirm_code = NULL, confirm_until_unix_s = NULL WHERE name = $2 RETURNING id, name",
        )
        .bind(unix_s())
        .bind(name.normalized());
        self.manage(name, statement, Deed::Confirmed).await
    }

    /// Says what the owner may not change.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn set_frozen(&self, name: &ScreenName, frozen: Fields) -> Result<(), AccountsError> {
        let statement = sql("UPDATE accounts SET frozen = $1 WHERE name = $2 RETURNING id, name")
            .bind(i64::from(frozen.bits()))
            .bind(name.normalized());
        self.manage(name, statement, Deed::Frozen).await
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
        let statement =
            sql("UPDATE accounts SET password_hash = $1 WHERE name = $2 RETURNING id, name")
                .bind(hash)
                .bind(name.normalized());
        self.manage(name, statement, Deed::PasswordReset).await?;
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
        let statement =
            sql("UPDATE accounts SET legacy_sealed = $1 WHERE id = $2 RETURNING id, name")
                .bind(sealed)
                .bind(account.id.0);
        self.manage(name, statement, Deed::LegacyReset).await?;
        Ok(password)
    }

    /// Lets old clients in no more.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn revoke_legacy_password(&self, name: &ScreenName) -> Result<(), AccountsError> {
        let statement =
            sql("UPDATE accounts SET legacy_sealed = NULL WHERE name = $1 RETURNING id, name")
                .bind(name.normalized());
        self.manage(name, statement, Deed::LegacyRevoked).await
    }

    /// Takes an account away with all that belongs to it. Its name is free then.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn remove(&self, name: &ScreenName) -> Result<(), AccountsError> {
        let statement =
            sql("DELETE FROM accounts WHERE name = $1 RETURNING id, name").bind(name.normalized());
        self.manage(name, statement, Deed::Removed).await
    }

    /// Carries out a statement that changes one account, and writes it down.
    async fn manage(
        &self,
        name: &ScreenName,
        statement: Statement,
        deed: Deed,
    ) -> Result<(), AccountsError> {
        if self.change(statement, deed, Author::Operator).await? {
            Ok(())
        } else {
            Err(unknown(name))
        }
    }
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
