//! What one account has open, what it carried today, and which of its tickets were used.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::refusal::{Bound, Refusal};
use super::ticket::TicketId;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// One account.
#[derive(Debug, Default)]
pub(super) struct AccountUse {
    pub(super) waiting: usize,
    pub(super) pairs: usize,
    bytes: u64,
    day_ends: Option<Instant>,
    /// Until they expire.
    tickets: BTreeMap<TicketId, TicketUse>,
}

/// A ticket that was shown.
#[derive(Clone, Copy, Debug)]
struct TicketUse {
    until: Instant,
    /// Its pair carried all that it was allowed to.
    over_budget: bool,
}

impl AccountUse {
    /// Bytes of a day that began when the first of them was carried.
    pub(super) fn bytes(&mut self, now: Instant) -> u64 {
        if self.day_ends.is_none_or(|end| end <= now) {
            self.bytes = 0;
            self.day_ends = Some(now + DAY);
        }
        self.bytes
    }

    pub(super) fn carried(&mut self, now: Instant, bytes: u64) {
        self.bytes = self.bytes(now).saturating_add(bytes);
    }

    /// Whether the ticket may have a session.
    pub(super) fn is_fresh(&self, ticket: TicketId) -> Result<(), Refusal> {
        match self.tickets.get(&ticket) {
            None => Ok(()),
            Some(known) if known.over_budget => Err(Refusal::PairBytes),
            Some(_) => Err(Refusal::Spent),
        }
    }

    /// The ticket has a session, or a pair.
    pub(super) fn use_ticket(
        &mut self,
        ticket: TicketId,
        until: Instant,
        max: usize,
    ) -> Result<(), Refusal> {
        self.is_fresh(ticket)?;
        if self.tickets.len() >= max {
            return Err(Refusal::TooMany(Bound::TicketsPerAccount));
        }
        let over_budget = false;
        let known = TicketUse { until, over_budget };
        self.tickets.insert(ticket, known);
        Ok(())
    }

    /// The session of the ticket came to nothing: it may have another one.
    pub(super) fn give_back(&mut self, ticket: TicketId) {
        self.tickets.remove(&ticket);
    }

    /// The pair of the ticket carried all that it was allowed to.
    pub(super) fn exhaust(&mut self, ticket: TicketId) {
        if let Some(known) = self.tickets.get_mut(&ticket) {
            known.over_budget = true;
        }
    }

    /// Forgets expired tickets; says whether there is anything left to remember.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        self.tickets.retain(|_, known| known.until > now);
        self.waiting + self.pairs > 0 || self.bytes(now) > 0 || !self.tickets.is_empty()
    }
}
