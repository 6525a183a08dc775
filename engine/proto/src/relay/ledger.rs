//! Who uses how much of the relay: per address, per account, and which tokens are spent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::limits::RelayLimits;
use crate::pace::{Bucket, Origin};
use crate::wire::text::ScreenName;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What one address has open, and what it did wrong.
#[derive(Debug)]
pub(super) struct AddressUse {
    pub(super) silent: usize,
    pub(super) waiting: usize,
    pub(super) pairs: usize,
    wrong_joins: Bucket,
    closed_until: Option<Instant>,
}

/// What one account has open, and what it carried today.
#[derive(Debug, Default)]
pub(super) struct AccountUse {
    pub(super) waiting: usize,
    pub(super) pairs: usize,
    bytes: u64,
    day_ends: Option<Instant>,
}

/// The counts of all addresses and accounts. Entries without anything to remember go away by themselves.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: RelayLimits,
    addresses: BTreeMap<Origin, AddressUse>,
    accounts: BTreeMap<ScreenName, AccountUse>,
    used_tokens: BTreeSet<u16>,
    resting: VecDeque<(Instant, u16)>,
    /// When the whole of it is looked through next.
    sweep_at: Option<Instant>,
}

impl Ledger {
    pub(super) fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            addresses: BTreeMap::new(),
            accounts: BTreeMap::new(),
            used_tokens: BTreeSet::new(),
            resting: VecDeque::new(),
            sweep_at: None,
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

    /// Bytes that the account may still carry today.
    pub(super) fn bytes_left(&mut self, now: Instant, name: &ScreenName) -> u64 {
        let limit = self.limits.account_bytes_per_day;
        let account = self.account(name);
        account.turn_day(now);
        limit.saturating_sub(account.bytes)
    }

    pub(super) fn carried(&mut self, now: Instant, name: &ScreenName, bytes: u64) {
        let account = self.account(name);
        account.turn_day(now);
        account.bytes = account.bytes.saturating_add(bytes);
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
        if self.sweep_at.is_some_and(|at| at > now) {
            return;
        }
        self.sweep_at = Some(now + Duration::from_secs(60));
        self.addresses.retain(|_, address| {
            address.silent + address.waiting + address.pairs > 0
                || !address.wrong_joins.is_full(now)
                || address.closed_until.is_some_and(|until| until > now)
        });
        self.accounts.retain(|_, account| {
            account.turn_day(now);
            account.waiting + account.pairs > 0 || account.bytes > 0
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.addresses.len() + self.accounts.len()
    }
}

impl AccountUse {
    fn turn_day(&mut self, now: Instant) {
        if self.day_ends.is_none_or(|end| end <= now) {
            self.bytes = 0;
            self.day_ends = Some(now + DAY);
        }
    }
}
