//! All that is stored of an account, without its secrets.

use rdv_proto::wire::text::ScreenName;

use super::error::AccountsError;
use super::sql::{Row, sql};
use super::store::{Fields, Record, State};
use super::{AccountId, Accounts, stored_name, unix_s};

/// The statement that asks for a record by a column that is bound to it.
macro_rules! RECORD {
    ($column:literal) => {
        concat!(
            "SELECT id, formatted, email, email_pending, email_pending_until_unix_s, confirm_until_unix_s, confirmed, \
             registration, frozen, state, CAST(CASE WHEN legacy_sealed IS NULL THEN 0 ELSE 1 END AS BIGINT) AS legacy, \
             created_unix_s FROM accounts WHERE ",
            $column,
            " = $1"
        )
    };
}
pub(super) use RECORD;

impl Accounts {
    /// All that is stored of the account of that name, without its secrets.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database.
    pub async fn record_named(&self, name: &ScreenName) -> Result<Option<Record>, AccountsError> {
        let asked = sql(RECORD!("name")).bind(name.normalized());
        let found = self.inner.pool.row(asked).await?;
        found.as_ref().map(read).transpose()
    }
}

/// What is over is not told.
pub(super) fn read(row: &Row) -> Result<Record, AccountsError> {
    let now = unix_s();
    let pending = |until: Option<i64>| {
        until
            .filter(|&until| until > now)
            .and_then(|until| u64::try_from(until).ok())
    };
    let pending_until = pending(row.get("email_pending_until_unix_s")?);
    let address: Option<String> = row.get("email_pending")?;
    Ok(Record {
        id: AccountId(row.get("id")?),
        name: stored_name(row.get("formatted")?)?,
        email: row.get("email")?,
        email_pending: address.zip(pending_until),
        confirm_outstanding: pending(row.get("confirm_until_unix_s")?),
        confirmed: row.get::<i64>("confirmed")? != 0,
        registration: registration(row.get("registration")?)?,
        frozen: frozen(row.get("frozen")?)?,
        state: state(row.get("state")?)?,
        legacy: row.get::<i64>("legacy")? != 0,
        created_unix_s: u64::try_from(row.get::<i64>("created_unix_s")?).unwrap_or(0),
    })
}

pub(super) fn state(stored: i64) -> Result<State, AccountsError> {
    match stored {
        0 => Ok(State::Active),
        1 => Ok(State::Disabled),
        2 => Ok(State::Deleted),
        3 => Ok(State::Expired),
        other => Err(AccountsError::State {
            reason: format!("state {other}"),
        }),
    }
}

/// As it is stored.
pub(super) fn state_number(state: State) -> i64 {
    match state {
        State::Active => 0,
        State::Disabled => 1,
        State::Deleted => 2,
        State::Expired => 3,
    }
}

fn registration(stored: i64) -> Result<u8, AccountsError> {
    match u8::try_from(stored) {
        Ok(status @ 1..=3) => Ok(status),
        _ => Err(AccountsError::Damaged {
            reason: format!("the registration status {stored} of an account"),
        }),
    }
}

fn frozen(stored: i64) -> Result<Fields, AccountsError> {
    u8::try_from(stored)
        .ok()
        .and_then(Fields::from_bits)
        .ok_or_else(|| AccountsError::Damaged {
            reason: format!("the frozen fields {stored} of an account"),
        })
}
