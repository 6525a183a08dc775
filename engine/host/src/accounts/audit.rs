//! Who changed what about accounts: a line in the audit table, written with the change or not at all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdv_proto::wire::text::ScreenName;

use super::error::AccountsError;
use super::sql::{Row, Statement, Transaction, sql};
use super::{AccountId, Accounts, stored_name, unix_s};
use crate::random::random;

/// What is written into the audit table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Created,
    Disabled,
    Enabled,
    Expired,
    Deleted,
    PasswordReset,
    PasswordChanged,
    LegacyReset,
    LegacyChanged,
    LegacyRevoked,
    FormatChanged,
    EmailChanged,
    EmailAsked,
    EmailConfirmed,
    RegistrationChanged,
    ConfirmAsked,
    Confirmed,
    MailFailed,
    Frozen,
    Removed,
}

impl Deed {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::PasswordReset => "password reset",
            Self::PasswordChanged => "password changed",
            Self::LegacyReset => "legacy password reset",
            Self::LegacyChanged => "legacy password changed",
            Self::LegacyRevoked => "legacy password revoked",
            Self::FormatChanged => "format changed",
            Self::EmailChanged => "e-mail changed",
            Self::EmailAsked => "e-mail change asked for",
            Self::EmailConfirmed => "e-mail confirmed",
            Self::RegistrationChanged => "registration status changed",
            Self::ConfirmAsked => "confirmation asked for",
            Self::Confirmed => "confirmed",
            Self::MailFailed => "confirmation mail failed",
            Self::Frozen => "frozen fields changed",
            Self::Removed => "removed",
        }
    }
}

/// Who changed something about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Author {
    /// Whoever runs the host.
    Operator,
    /// Whose account it is, or is to be.
    Owner,
}

impl Author {
    /// As it is stored.
    fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }
}

/// A line of the audit table. It outlives the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in seconds since 1970.
    pub at_unix_s: u64,
    /// The number of the account.
    pub account: AccountId,
    /// Its name in normal form.
    pub name: ScreenName,
    /// What was done, in a few words.
    pub action: String,
    /// Who did it.
    pub author: Author,
}

impl Accounts {
    /// The last changes, the latest first: to accounts of that name, or to all.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database.
    pub async fn audit(
        &self,
        name: Option<&ScreenName>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, AccountsError> {
        let limit = i64::from(limit);
        let asked = match name {
            Some(name) => sql(
                "SELECT at_unix_s, account_id, name, action, author FROM audit WHERE name = $1 \
                 ORDER BY at_unix_s DESC, id DESC LIMIT $2",
            )
            .bind(name.normalized())
            .bind(limit),
            None => sql(
                "SELECT at_unix_s, account_id, name, action, author FROM audit \
                 ORDER BY at_unix_s DESC, id DESC LIMIT $1",
            )
            .bind(limit),
        };
        self.inner
            .pool
            .rows(asked)
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// Carries out a statement that changes one account and gives back `id` and `name` of it, and writes it down. False if it
    /// changes none.
    pub(super) async fn change(
        &self,
        statement: Statement,
        deed: Deed,
        author: Author,
    ) -> Result<bool, AccountsError> {
        let mut transaction = self.inner.pool.begin().await?;
        let changed = transaction.row(statement).await?;
        let Some(row) = changed else {
            return Ok(false);
        };
        write_down(&mut transaction, &row, deed, author).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// Writes down what was done to the account with this `id` and `name`.
pub(super) async fn write_down(
    transaction: &mut Transaction,
    account: &Row,
    deed: Deed,
    author: Author,
) -> Result<(), AccountsError> {
    let (id, name): (i64, String) = (account.get("id")?, account.get("name")?);
    write(transaction, id, &name, deed, author).await
}

/// Writes down what was done to an account.
pub(super) async fn write(
    transaction: &mut Transaction,
    id: i64,
    name: &str,
    deed: Deed,
    author: Author,
) -> Result<(), AccountsError> {
    transaction
        .execute(
            sql(
                "INSERT INTO audit (id, at_unix_s, account_id, name, action, author) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(new_id()?)
            .bind(unix_s())
            .bind(id)
            .bind(name)
            .bind(deed.word())
            .bind(author.word()),
        )
        .await
        .map(drop)
}

/// Later ones are greater: microseconds since 1970, and 12 bits at random.
fn new_id() -> Result<i64, AccountsError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let drawn: [u8; 2] = random().map_err(|_| AccountsError::Resources)?;
    let first = id_at(since.unwrap_or_default());
    Ok(first | i64::from(u16::from_be_bytes(drawn) >> 4))
}

/// When a line of that number was written, since 1970.
pub(super) fn time_of(id: i64) -> Duration {
    Duration::from_micros(u64::try_from(id >> 12).unwrap_or(0))
}

/// The first number of a line that is written so long after 1970.
pub(super) fn id_at(since: Duration) -> i64 {
    let micros = i64::try_from(since.as_micros()).unwrap_or(0) & (i64::MAX >> 12);
    micros << 12
}

fn read(row: &Row) -> Result<AuditEntry, AccountsError> {
    let author: String = row.get("author")?;
    Ok(AuditEntry {
        at_unix_s: u64::try_from(row.get::<i64>("at_unix_s")?).unwrap_or(0),
        account: AccountId(row.get("account_id")?),
        name: stored_name(row.get("name")?)?,
        action: row.get("action")?,
        author: match author.as_str() {
            "owner" => Author::Owner,
            "operator" => Author::Operator,
            _ => {
                return Err(AccountsError::Damaged {
                    reason: format!("the author {author:?} of a change"),
                });
            }
        },
    })
}
