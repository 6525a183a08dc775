//! Messages for those who are away.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::debug;

use super::error::AccountsError;
use super::sql::{Row, sql};
use super::store::{
    Answer, Kept, MESSAGES_BYTES_MAX, MESSAGES_KEPT_S, MESSAGES_MAX, MESSAGES_PER_SENDER_MAX,
    MessageId, MessageStore, StoredMessage,
};
use super::{AccountId, Accounts, stored_name, unix_s};

/// How often those are thrown away that nobody came for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// When messages were last swept.
#[derive(Debug, Default)]
pub(super) struct Sweep(Mutex<Option<Instant>>);

impl Sweep {
    /// Whether it is time again; true once.
    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

impl Accounts {
    async fn keep_message(
        &self,
        to: AccountId,
        message: StoredMessage,
    ) -> Result<Kept, AccountsError> {
        if self.inner.sweep.is_due() {
            let swept = sql("DELETE FROM messages WHERE at_unix_s <= $1").bind(kept_since());
            if let Err(error) = self.inner.pool.execute(swept).await {
                debug!(%error, "old messages are not swept");
            }
        }
        let mut transaction = self.inner.pool.begin().await?;
        // The row of the account is ours until the end: what is counted stays true.
        let numbered = sql(
            "UPDATE accounts SET messages_made = messages_made + 1 WHERE id = $1 RETURNING messages_made",
        );
        let numbered = transaction.row(numbered.bind(to.0)).await?;
        let number: i64 = numbered.ok_or_else(unknown)?.get("messages_made")?;
        let outdated = sql("DELETE FROM messages WHERE account_id = $1 AND at_unix_s <= $2");
        let outdated = outdated.bind(to.0).bind(kept_since());
        transaction.execute(outdated).await?;
        let stored = transaction
            .row(
                sql("SELECT COUNT(*) AS n, CAST(COALESCE(SUM(LENGTH(content)), 0) AS BIGINT) AS bytes, \
                     COUNT(CASE WHEN sender = $2 THEN 1 END) AS of_sender \
                     FROM messages WHERE account_id = $1")
                .bind(to.0)
                .bind(message.from.normalized()),
            )
            .await?
            .ok_or_else(unknown)?;
        let bytes = usize::try_from(stored.get::<i64>("bytes")?).unwrap_or(usize::MAX);
        if stored.get::<i64>("n")? >= i64::from(MESSAGES_MAX)
            || stored.get::<i64>("of_sender")? >= i64::from(MESSAGES_PER_SENDER_MAX)
            || bytes.saturating_add(message.content.len()) > MESSAGES_BYTES_MAX
        {
            transaction.commit().await?;
            return Ok(Kept::Full);
        }
        transaction
            .execute(
                sql("INSERT INTO messages \
                     (account_id, number, sender, sender_formatted, at_unix_s, channel, content) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(to.0)
                .bind(number)
                .bind(message.from.normalized())
                .bind(message.from.as_str())
                .bind(i64::try_from(message.at_unix_s).unwrap_or(i64::MAX))
                .bind(i64::from(message.channel))
                .bind(Vec::from(message.content)),
            )
            .await?;
        transaction.commit().await?;
        Ok(Kept::Yes)
    }

    async fn messages_for(
        &self,
        to: AccountId,
    ) -> Result<Vec<(MessageId, StoredMessage)>, AccountsError> {
        let stored = sql(
            "SELECT number, sender_formatted, at_unix_s, channel, content FROM messages \
             WHERE account_id = $1 AND at_unix_s > $2 ORDER BY number",
        );
        let stored = stored.bind(to.0).bind(kept_since());
        self.inner
            .pool
            .rows(stored)
            .await?
            .iter()
            .map(read)
            .collect()
    }

    async fn forget_messages(
        &self,
        to: AccountId,
        messages: Vec<MessageId>,
    ) -> Result<(), AccountsError> {
        let mut transaction = self.inner.pool.begin().await?;
        for MessageId(number) in messages {
            let forget = sql("DELETE FROM messages WHERE account_id = $1 AND number = $2");
            transaction.execute(forget.bind(to.0).bind(number)).await?;
        }
        transaction.commit().await
    }
}

impl MessageStore for Accounts {
    fn keep(&self, to: AccountId, message: StoredMessage) -> Answer<'_, Kept> {
        Box::pin(async move { Ok(self.keep_message(to, message).await?) })
    }

    fn take(&self, to: AccountId) -> Answer<'_, Vec<(MessageId, StoredMessage)>> {
        Box::pin(async move { Ok(self.messages_for(to).await?) })
    }

    fn done(&self, to: AccountId, messages: Vec<MessageId>) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.forget_messages(to, messages).await?) })
    }
}

/// What was stored until then is over.
fn kept_since() -> i64 {
    unix_s() - i64::from(MESSAGES_KEPT_S)
}

fn read(row: &Row) -> Result<(MessageId, StoredMessage), AccountsError> {
    let channel: i64 = row.get("channel")?;
    let message = StoredMessage {
        from: stored_name(row.get("sender_formatted")?)?,
        at_unix_s: u64::try_from(row.get::<i64>("at_unix_s")?).unwrap_or(0),
        channel: u16::try_from(channel).map_err(|_| AccountsError::Damaged {
            reason: format!("the channel {channel} of a message"),
        })?,
        content: row.get::<Vec<u8>>("content")?.into(),
    };
    Ok((MessageId(row.get("number")?), message))
}

fn unknown() -> AccountsError {
    AccountsError::Unknown {
        name: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_swept_once_an_hour() {
        let sweep = Sweep::default();
        assert!(sweep.is_due());
        assert!(!sweep.is_due());
        *sweep.0.lock().unwrap() = Instant::now().checked_sub(SWEEP_EVERY);
        assert!(sweep.is_due());
    }
}
