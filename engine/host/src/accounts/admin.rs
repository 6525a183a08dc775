//! What owners do with their accounts.

use rdv_proto::wire::text::ScreenName;
use subtle::ConstantTimeEq as _;

use super::audit::{Author, Deed, write_down};
use super::error::AccountsError;
use super::record::{RECORD, read};
use super::sql::sql;
use super::store::{
    AdminStore, Answer, Checked, CodeHash, PASSWORD_FAILURES_MAX, PASSWORD_FAILURES_S,
    PasswordKind, Record, StoreError,
};
use super::{AccountId, Accounts, Password, stored_name, unix_s};

/// The time of which changes are counted.
const DAY_S: i64 = 24 * 3600;

impl Accounts {
    /// A change by the owner. The statement gives back `id` and `name`.
    async fn own(&self, statement: super::sql::Statement, deed: Deed) -> Result<(), AccountsError> {
        if self.change(statement, deed, Author::Owner).await? {
            Ok(())
        } else {
            Err(unknown())
        }
    }

    /// A change by the owner of what may be in the way. False if it is.
    async fn own_if(
        &self,
        id: AccountId,
        statement: super::sql::Statement,
        deed: Deed,
    ) -> Result<bool, AccountsError> {
        if self.change(statement, deed, Author::Owner).await? {
            return Ok(true);
        }
        self.record_of(id).await?.map(|_| false).ok_or_else(unknown)
    }

    async fn record_of(&self, id: AccountId) -> Result<Option<Record>, AccountsError> {
        let found = self.inner.pool.row(sql(RECORD!("id")).bind(id.0)).await?;
        found.as_ref().map(read).transpose()
    }

    /// Counts a failure first and forgets it if it is none: many at a time are no way around the limit.
    async fn own_password(
        &self,
        id: AccountId,
        kind: PasswordKind,
        password: &Password,
    ) -> Result<Checked, AccountsError> {
        let now = unix_s();
        let mut transaction = self.inner.pool.begin().await?;
        let counted = transaction
            .row(
                sql("UPDATE accounts SET \
                     password_failures = CASE WHEN password_failures_since_unix_s <= $1 THEN 1 \
                     WHEN password_failures > $2 THEN password_failures ELSE password_failures + 1 END, \
                     password_failures_since_unix_s = CASE WHEN password_failures_since_unix_s <= $1 THEN $3 \
                     ELSE password_failures_since_unix_s END \
                     WHERE id = $4 \
                     RETURNING password_failures, name, password_hash, legacy_sealed")
                .bind(now - i64::from(PASSWORD_FAILURES_S))
                .bind(i64::from(PASSWORD_FAILURES_MAX))
                .bind(now)
                .bind(id.0),
            )
            .await?
            .ok_or_else(unknown)?;
        transaction.commit().await?;
        if counted.get::<i64>("password_failures")? > i64::from(PASSWORD_FAILURES_MAX) {
            return Ok(Checked::TooMany);
        }
        let right = match kind {
            PasswordKind::Normal => {
                let hash = counted.get("password_hash")?;
                let given = password.expose().as_bytes();
                self.inner.hasher.check(given, Some(hash)).await?
            }
            PasswordKind::Legacy => match counted.get::<Option<Vec<u8>>>("legacy_sealed")? {
                Some(sealed) => {
                    let name = stored_name(counted.get("name")?)?;
                    let stored = self.inner.seal.open(id.0, &name, &sealed)?;
                    let given = password.expose().as_bytes();
                    stored.expose().as_bytes().ct_eq(given).into()
                }
                None => false,
            },
        };
        if !right {
            return Ok(Checked::Wrong);
        }
        let forget = sql("UPDATE accounts SET password_failures = 0 WHERE id = $1").bind(id.0);
        self.inner.pool.execute(forget).await?;
        Ok(Checked::Right)
    }

    async fn set_own_password(
        &self,
        id: AccountId,
        kind: PasswordKind,
        password: &Password,
    ) -> Result<(), AccountsError> {
        match kind {
            PasswordKind::Normal => {
                let hash = self.inner.hasher.hash(password).await?;
                let statement =
                    sql("UPDATE accounts SET password_hash = $1 WHERE id = $2 RETURNING id, name");
                self.own(statement.bind(hash).bind(id.0), Deed::PasswordChanged)
                    .await
            }
            PasswordKind::Legacy => {
                let name = self.record_of(id).await?.ok_or_else(unknown)?.name;
                let sealed = self.inner.seal.seal(id.0, &name, password)?;
                let statement = sql("UPDATE accounts SET legacy_sealed = $1 \
                     WHERE id = $2 AND legacy_sealed IS NOT NULL RETURNING id, name");
                let statement = statement.bind(sealed).bind(id.0);
                if self.own_if(id, statement, Deed::LegacyChanged).await? {
                    Ok(())
                } else {
                    Err(AccountsError::State {
                        reason: "old clients may not sign on any more".to_owned(),
                    })
                }
            }
        }
    }

    async fn confirm_by(&self, id: AccountId, code: CodeHash) -> Result<bool, AccountsError> {
        for (text, deed) in [
            (
                "UPDATE accounts SET email = email_pending, confirmed = 1, \
                 email_pending = NULL, email_pending_code = NULL, email_pending_until_unix_s = NULL, \
                 confirm_code = NULL, confirm_until_unix_s = NULL \
                 WHERE id = $1 AND email_pending_code = $2 AND email_pending_until_unix_s > $3 \
                 RETURNING id, name",
                Deed::EmailConfirmed,
            ),
            (
                "UPDATE accounts SET confirmed = 1, confirm_code = NULL, confirm_until_unix_s = NULL \
                 WHERE id = $1 AND confirm_code = $2 AND confirm_until_unix_s > $3 \
                 RETURNING id, name",
                Deed::Confirmed,
            ),
        ] {
            let statement = sql(text).bind(id.0).bind(code.to_vec()).bind(unix_s());
            if self.change(statement, deed, Author::Owner).await? {
                return Ok(true);
            }
        }
        self.record_of(id).await?.map(|_| false).ok_or_else(unknown)
    }

    async fn withdraw_code(&self, id: AccountId, code: CodeHash) -> Result<(), AccountsError> {
        for text in [
            "UPDATE accounts SET \
             email_pending = NULL, email_pending_code = NULL, email_pending_until_unix_s = NULL \
             WHERE id = $1 AND email_pending_code = $2 RETURNING id, name",
            "UPDATE accounts SET confirm_code = NULL, confirm_until_unix_s = NULL \
             WHERE id = $1 AND confirm_code = $2 RETURNING id, name",
        ] {
            let statement = sql(text).bind(id.0).bind(code.to_vec());
            self.change(statement, Deed::MailFailed, Author::Operator)
                .await?;
        }
        Ok(())
    }

    async fn mark(&self, id: AccountId) -> Result<(), AccountsError> {
        let mut transaction = self.inner.pool.begin().await?;
        let marked = transaction
            .row(
                sql("UPDATE accounts SET state = 2, feedbag_changed_unix_s = $1, email = NULL, \
                     email_pending = NULL, email_pending_code = NULL, email_pending_until_unix_s = NULL, \
                     confirm_code = NULL, confirm_until_unix_s = NULL \
                     WHERE id = $2 RETURNING id, name")
                .bind(unix_s())
                .bind(id.0),
            )
            .await?
            .ok_or_else(unknown)?;
        for text in [
            "DELETE FROM feedbag_items WHERE account_id = $1",
            "DELETE FROM messages WHERE account_id = $1",
        ] {
            transaction.execute(sql(text).bind(id.0)).await?;
        }
        write_down(&mut transaction, &marked, Deed::Deleted, Author::Owner).await?;
        transaction.commit().await
    }

    /// A number that a statement gives back as `n`.
    async fn counted(&self, statement: super::sql::Statement) -> Result<u32, AccountsError> {
        let row = self.inner.pool.row(statement).await?;
        let count = row.map_or(Ok(0), |row| row.get::<i64>("n"))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl AdminStore for Accounts {
    fn record(&self, id: AccountId) -> Answer<'_, Option<Record>> {
        Box::pin(async move { Ok(self.record_of(id).await?) })
    }

    fn set_format(&self, id: AccountId, name: ScreenName) -> Answer<'_, ()> {
        Box::pin(async move {
            let text =
                "UPDATE accounts SET formatted = $1 WHERE id = $2 AND name = $3 RETURNING id, name";
            let statement = sql(text)
                .bind(name.as_str())
                .bind(id.0)
                .bind(name.normalized());
            if self.own_if(id, statement, Deed::FormatChanged).await? {
                Ok(())
            } else {
                Err(StoreError::Unexpected)
            }
        })
    }

    fn set_email_pending(
        &self,
        id: AccountId,
        email: String,
        code: CodeHash,
        expires_unix_s: u64,
    ) -> Answer<'_, bool> {
        Box::pin(async move {
            let statement = sql("UPDATE accounts SET \
                 email_pending = $1, email_pending_code = $2, email_pending_until_unix_s = $3 \
                 WHERE id = $4 AND (email_pending IS NULL OR email_pending_until_unix_s <= $5) \
                 RETURNING id, name")
            .bind(email)
            .bind(code.to_vec())
            .bind(stored_time(expires_unix_s))
            .bind(id.0)
            .bind(unix_s());
            Ok(self.own_if(id, statement, Deed::EmailAsked).await?)
        })
    }

    fn set_email(&self, id: AccountId, email: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let statement = sql("UPDATE accounts SET email = $1, confirmed = 0, \
                 email_pending = NULL, email_pending_code = NULL, email_pending_until_unix_s = NULL, \
                 confirm_code = NULL, confirm_until_unix_s = NULL \
                 WHERE id = $2 RETURNING id, name")
            .bind(email)
            .bind(id.0);
            Ok(self.own(statement, Deed::EmailChanged).await?)
        })
    }

    fn set_registration(&self, id: AccountId, registration: u8) -> Answer<'_, ()> {
        Box::pin(async move {
            let text = "UPDATE accounts SET registration = $1 WHERE id = $2 RETURNING id, name";
            let statement = sql(text).bind(i64::from(registration)).bind(id.0);
            Ok(self.own(statement, Deed::RegistrationChanged).await?)
        })
    }

    fn check_password(
        &self,
        id: AccountId,
        kind: PasswordKind,
        password: Password,
    ) -> Answer<'_, Checked> {
        Box::pin(async move { Ok(self.own_password(id, kind, &password).await?) })
    }

    fn set_password(
        &self,
        id: AccountId,
        kind: PasswordKind,
        password: Password,
    ) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.set_own_password(id, kind, &password).await?) })
    }

    fn start_confirm(
        &self,
        id: AccountId,
        code: CodeHash,
        expires_unix_s: u64,
    ) -> Answer<'_, bool> {
        Box::pin(async move {
            let statement = sql(
                "UPDATE accounts SET confirm_code = $1, confirm_until_unix_s = $2 \
                 WHERE id = $3 AND (confirm_code IS NULL OR confirm_until_unix_s <= $4) \
                 RETURNING id, name",
            )
            .bind(code.to_vec())
            .bind(stored_time(expires_unix_s))
            .bind(id.0)
            .bind(unix_s());
            Ok(self.own_if(id, statement, Deed::ConfirmAsked).await?)
        })
    }

    fn confirm(&self, id: AccountId, code: CodeHash) -> Answer<'_, bool> {
        Box::pin(async move { Ok(self.confirm_by(id, code).await?) })
    }

    fn withdraw(&self, id: AccountId, code: CodeHash) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.withdraw_code(id, code).await?) })
    }

    fn mark_deleted(&self, id: AccountId) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.mark(id).await?) })
    }

    fn emails_like(&self, email: String) -> Answer<'_, u32> {
        Box::pin(async move {
            let statement = sql(
                "SELECT COUNT(*) AS n FROM accounts WHERE lower(email) = lower($1) \
                 OR lower(email_pending) = lower($1) AND email_pending_until_unix_s > $2",
            )
            .bind(email)
            .bind(unix_s());
            Ok(self.counted(statement).await?)
        })
    }

    fn changes_today(&self, id: AccountId) -> Answer<'_, u32> {
        Box::pin(async move {
            let statement = sql("SELECT COUNT(*) AS n FROM audit \
                 WHERE account_id = $1 AND at_unix_s > $2 AND author = 'owner' AND action <> 'created'")
            .bind(id.0)
            .bind(unix_s() - DAY_S);
            Ok(self.counted(statement).await?)
        })
    }
}

fn stored_time(unix_s: u64) -> i64 {
    i64::try_from(unix_s).unwrap_or(i64::MAX)
}

fn unknown() -> AccountsError {
    AccountsError::Unknown {
        name: String::new(),
    }
}
