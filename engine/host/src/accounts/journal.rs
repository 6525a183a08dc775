//! What the operator has done lately, read from the audit table.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdv_proto::wire::text::ScreenName;

use super::audit::{Deed, id_at, time_of};
use super::error::AccountsError;
use super::sql::sql;
use super::{AccountId, Accounts, stored_name};

/// A line may be seen so long after its time: its transaction took that long, or the clock of another machine is behind.
const LATE: Duration = Duration::from_secs(60);

/// How far the audit table was read.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The last look, since 1970; none before the first one.
    looked: Option<Duration>,
    /// Lines that were seen then, of the time before it.
    seen: BTreeSet<i64>,
}

/// Something that matters to who is signed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) account: AccountId,
    /// In normal form.
    pub(crate) name: ScreenName,
    pub(crate) effect: Effect,
    /// When it was done, since 1970.
    pub(crate) at: Duration,
}

/// What it means for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// They may not go on: disabled, expired, or there is another password.
    Ended,
    /// There is no such account any more.
    Deleted,
    /// The account is confirmed.
    Confirmed,
}

impl Effect {
    fn of(action: &str) -> Option<Self> {
        let ended = [
            Deed::Disabled,
            Deed::Expired,
            Deed::PasswordReset,
            Deed::LegacyReset,
            Deed::LegacyRevoked,
        ];
        let deleted = [Deed::Deleted, Deed::Removed];
        let is = |deeds: &[Deed]| deeds.iter().any(|deed| deed.word() == action);
        if is(&ended) {
            Some(Self::Ended)
        } else if is(&deleted) {
            Some(Self::Deleted)
        } else {
            is(&[Deed::Confirmed]).then_some(Self::Confirmed)
        }
    }
}

impl Accounts {
    /// What the operator has done since the last time that this was asked with the journal; nothing the first time.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database. Nothing is lost: the next time tells it.
    pub(crate) async fn news(&self, journal: &mut Journal) -> Result<Vec<News>, AccountsError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let looked = journal.looked.map_or(now, |looked| looked.min(now));
        let from = id_at(looked.saturating_sub(LATE));
        let lines = sql("SELECT id, account_id, name, action FROM audit \
             WHERE id > $1 AND author = 'operator' ORDER BY id");
        let lines = self.inner.pool.rows(lines.bind(from)).await?;
        let (mut seen, mut news) = (BTreeSet::new(), Vec::new());
        for line in &lines {
            let id: i64 = line.get("id")?;
            seen.insert(id);
            let is_new = journal.looked.is_some() && !journal.seen.contains(&id);
            let action: String = line.get("action")?;
            if let (true, Some(effect)) = (is_new, Effect::of(&action)) {
                news.push(News {
                    account: AccountId(line.get("account_id")?),
                    name: stored_name(line.get("name")?)?,
                    effect,
                    at: time_of(id),
                });
            }
        }
        (journal.looked, journal.seen) = (Some(now), seen);
        Ok(news)
    }
}
