//! Who uses how much of the relay: per address, per account, and which tokens are spent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::account::AccountUse;
use super::limits::RelayLimits;
use super::refusal::{Bound, Refusal};
use crate::pace::{Bucket, Origin};
use crate::wire::text::ScreenName;

/// How often the ledger is looked through for what need not be remembered, at most.
const SWEEP: Duration = Duration::from_secs(60);
/// The same if it is full.
const SWEEP_FULL: Duration = Duration::from_secs(1);

/// What one address has open, and what it did wrong.
#[derive(Debug)]
pub(super) struct AddressUse {
    pub(super) silent: usize,
    pub(super) waiting: usize,
    pub(super) pairs: usize,
    wrong_joins: Bucket,
    closed_until: Option<Instant>,
}

/// The counts of all addresses and accounts. Entries without anything to remember go away by themselves.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: RelayLimits,
    addresses: BTreeMap<Origin, AddressUse>,
    accounts: BTreeMap<ScreenName, AccountUse>,
    used_tokens: BTreeSet<u16>,
    resting: VecDeque<(Instant, u16)>,
    /// When the whole of it was looked through last.
    swept: Option<Instant>,
}

impl Ledger {
    pub(super) fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            addresses: BTreeMap::new(),
            accounts: BTreeMap::new(),
            used_tokens: BTreeSet::new(),
            resting: VecDeque::new(),
            swept: None,
        }
    }

    pub(super) fn address(&mut self, origin: Origin) -> &mut AddressUse {
        self.addresses.entry(origin).or_insert_with(|| AddressUse {
            silent: 0,
            waiting: 0,
            pairs: 0,
            wrong_joins: Bucket::new(self.limits.wrong_joins),
            closed_until: None,
        })
    }

    pub(super) fn account(&mut self, name: &ScreenName) -> &mut AccountUse {
        self.accounts.entry(name.clone()).or_default()
    }

    /// Makes sure that something can be remembered of the account.
    pub(super) fn make_room(&mut self, now: Instant, name: &ScreenName) -> Result<(), Refusal> {
        if self.accounts.contains_key(name) || self.accounts.len() < self.limits.accounts {
            return Ok(());
        }
        self.sweep_after(now, SWEEP_FULL);
        match self.accounts.len() < self.limits.accounts {
            true => Ok(()),
            false => Err(Refusal::TooMany(Bound::Accounts)),
        }
    }

    /// Bytes that the account may still carry today.
    pub(super) fn bytes_left(&mut self, now: Instant, name: &ScreenName) -> u64 {
        let limit = self.limits.account_bytes_per_day;
        limit.saturating_sub(self.account(name).bytes(now))
    }

    pub(super) fn is_closed(&mut self, now: Instant, origin: Origin) -> bool {
        self.address(origin)
            .closed_until
            .is_some_and(|until| until > now)
    }

    pub(super) fn wrong_join(&mut self, now: Instant, origin: Origin) {
        let closed_until = now + self.limits.closed_for;
        let address = self.address(origin);
        if !address.wrong_joins.take(now) {
            address.closed_until = Some(closed_until);
        }
    }

    /// The first of the drawn tokens that is neither in use nor resting.
    pub(super) fn take_token(&mut self, now: Instant, random: &[u8; 32]) -> Option<u16> {
        let rested = self.resting.partition_point(|(until, _)| *until <= now);
        for (_, token) in self.resting.drain(..rested) {
            self.used_tokens.remove(&token);
        }
        random
            .as_chunks()
            .0
            .iter()
            .map(|&pair| u16::from_be_bytes(pair))
            .find(|&token| self.used_tokens.insert(token))
    }

    /// The session of the token is over: it rests before it is given out again.
    pub(super) fn rest_token(&mut self, now: Instant, token: u16) {
        self.resting
            .push_back((now + self.limits.token_rest, token));
    }

    /// Forgets whoever there is nothing to remember of, at most once a minute.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.sweep_after(now, SWEEP);
    }

    fn sweep_after(&mut self, now: Instant, pause: Duration) {
        if self.swept.is_some_and(|swept| now < swept + pause) {
            return;
        }
        self.swept = Some(now);
        self.addresses.retain(|_, address| {
            address.silent + address.waiting + address.pairs > 0
                || !address.wrong_joins.is_full(now)
                || address.closed_until.is_some_and(|until| until > now)
        });
        self.accounts.retain(|_, account| account.sweep(now));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.addresses.len() + self.accounts.len()
    }
}
