//! The numbers that a host gives to those who show a code: who owns which, and who may speak to it.
//!
//! A number lives while its owner is connected and for a grace time after, in which the owner reclaims it with a
//! token. It belongs to the first (peer, cookie) that proposes to it; for everyone else it is as if it were not there.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;

use crate::wire::rendezvous::Cookie;
use crate::wire::text::ScreenName;

/// What a guest shows to take its number or its name back.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub [u8; 16]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Why a number or a name was not given back to whom asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimError {
    /// Nobody has it, or not this token.
    Refused,
    /// Too many wrong tokens for it; it is not looked at for a while.
    TooOften,
}

/// Wrong tokens before tries are delayed.
const FAILURES_FREE: u32 = 5;
/// The longest such delay.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// All numbers of a host.
#[derive(Debug)]
pub struct Numbers {
    range: RangeInclusive<u16>,
    grace: Duration,
    entries: BTreeMap<u16, Entry>,
}

#[derive(Debug)]
struct Entry {
    token: Token,
    /// Nobody new may propose from here on.
    expires: Instant,
    /// When the number is free again; none while its owner is connected.
    free_at: Option<Instant>,
    bound: Option<(ScreenName, Cookie)>,
    failures: Failures,
}

/// Wrong tokens: after some of them nobody is listened to for a while.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: u32,
    closed_until: Option<Instant>,
}

impl Failures {
    /// Takes note of one try.
    pub(super) fn judge(&mut self, now: Instant, is_right: bool) -> Result<(), ReclaimError> {
        if self.closed_until.is_some_and(|until| until > now) {
            return Err(ReclaimError::TooOften);
        }
        if is_right {
            *self = Self::default();
            return Ok(());
        }
        self.count = self.count.saturating_add(1);
        if let Some(extra) = self.count.checked_sub(FAILURES_FREE) {
            let delay = Duration::from_secs(1u64 << extra.min(6));
            self.closed_until = Some(now + delay.min(DELAY_MAX));
        }
        Err(ReclaimError::Refused)
    }
}

impl Numbers {
    /// Numbers from `range`, each kept for `grace` after its owner left.
    pub fn new(range: RangeInclusive<u16>, grace: Duration) -> Self {
        Self {
            range,
            grace,
            entries: BTreeMap::new(),
        }
    }

    /// Gives out one of the shortest free numbers, chosen by `random`; none when all are taken.
    pub fn allocate(
        &mut self,
        now: Instant,
        life: Duration,
        random: u64,
        token: Token,
    ) -> Option<u16> {
        self.entries
            .retain(|_, entry| entry.free_at.is_none_or(|at| at > now));
        let number = [1..=9, 10..=99, 100..=999, 1000..=9999, 10_000..=u16::MAX]
            .into_iter()
            .find_map(|digits| self.pick(&digits, random))?;
        self.entries.insert(
            number,
            Entry {
                token,
                expires: now + life,
                free_at: None,
                bound: None,
                failures: Failures::default(),
            },
        );
        Some(number)
    }

    /// The owner came back. Its earlier connection, if there still is one, is the caller's to end.
    ///
    /// # Errors
    /// [`ReclaimError`]; a number that nobody has and a wrong token look alike.
    pub fn reclaim(&mut self, now: Instant, number: u16, token: &[u8]) -> Result<(), ReclaimError> {
        let entry = self
            .entries
            .get_mut(&number)
            .filter(|entry| entry.free_at.is_none_or(|at| at > now))
            .ok_or(ReclaimError::Refused)?;
        let is_right = bool::from(entry.token.0[..].ct_eq(token));
        entry.failures.judge(now, is_right)?;
        entry.free_at = None;
        Ok(())
    }

    /// The owner's connection ended.
    pub fn release(&mut self, now: Instant, number: u16) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.free_at = Some(now + self.grace);
        }
    }

    /// Whether `from` may send something with `cookie` to `number`: it is the one that the number is bound to, or
    /// the number is still free for a proposal.
    pub fn admits(
        &self,
        now: Instant,
        number: u16,
        from: &ScreenName,
        cookie: Cookie,
        proposes: bool,
    ) -> bool {
        self.entries
            .get(&number)
            .is_some_and(|entry| match &entry.bound {
                Some((peer, bound)) => peer == from && *bound == cookie,
                None => proposes && entry.expires > now,
            })
    }

    /// A proposal of `from` was admitted and delivered: from now on the number is theirs alone.
    pub fn bind(&mut self, number: u16, from: &ScreenName, cookie: Cookie) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.bound.get_or_insert_with(|| (from.clone(), cookie));
        }
    }

    fn pick(&self, digits: &RangeInclusive<u16>, random: u64) -> Option<u16> {
        let first = *digits.start().max(self.range.start());
        let last = *digits.end().min(self.range.end());
        let free = || (first..=last).filter(|number| !self.entries.contains_key(number));
        let count = free().count();
        let place = random.checked_rem(u64::try_from(count).ok()?)?;
        free().nth(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const GRACE: Duration = Duration::from_secs(600);
    const COOKIE: Cookie = Cookie([1; 8]);

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn numbers() -> Numbers {
        Numbers::new(1..=9999, GRACE)
    }

    fn token(n: u8) -> Token {
        Token([n; 16])
    }

    fn name(name: &str) -> ScreenName {
        ScreenName::new(name).unwrap()
    }

    #[test]
    fn the_shortest_free_number_is_given_and_none_twice() {
        let (mut numbers, now) = (numbers(), start());
        let given: Vec<u16> = (0..12)
            .map(|n| numbers.allocate(now, HOUR, n * 7, token(1)).unwrap())
            .collect();
        let mut short = given[..9].to_vec();
        short.sort_unstable();
        assert_eq!(short, (1..=9).collect::<Vec<_>>());
        assert!(given[9..].iter().all(|n| (10..=99).contains(n)));
    }

    #[test]
    fn a_given_number_is_given_once() {
        let (mut numbers, now) = (Numbers::new(4711..=4711, GRACE), start());
        assert_eq!(numbers.allocate(now, HOUR, 5, token(1)), Some(4711));
        assert_eq!(numbers.allocate(now, HOUR, 5, token(1)), None);
    }

    #[test]
    fn a_number_is_free_again_ten_minutes_after_its_owner_left() {
        let (mut numbers, now) = (Numbers::new(7..=7, GRACE), start());
        numbers.allocate(now, HOUR, 0, token(1)).unwrap();
        numbers.release(now, 7);
        assert_eq!(
            numbers.allocate(now + GRACE / 2, HOUR, 0, token(2)),
            None,
            "its owner may still come back"
        );
        assert_eq!(numbers.reclaim(now + GRACE / 2, 7, &[1; 16]), Ok(()));
        numbers.release(now + GRACE / 2, 7);
        assert_eq!(
            numbers.reclaim(now + 2 * GRACE, 7, &[1; 16]),
            Err(ReclaimError::Refused)
        );
        assert_eq!(
            numbers.allocate(now + 2 * GRACE, HOUR, 0, token(2)),
            Some(7)
        );
    }

    #[test]
    fn a_wrong_token_and_an_unknown_number_look_alike_and_failures_count_on_the_number() {
        let (mut numbers, now) = (numbers(), start());
        let number = numbers.allocate(now, HOUR, 0, token(1)).unwrap();
        assert_eq!(
            numbers.reclaim(now, 5000, &[1; 16]),
            Err(ReclaimError::Refused)
        );
        for _ in 0..FAILURES_FREE {
            assert_eq!(
                numbers.reclaim(now, number, b"short"),
                Err(ReclaimError::Refused)
            );
        }
        assert_eq!(
            numbers.reclaim(now, number, &[1; 16]),
            Err(ReclaimError::TooOften)
        );
        assert_eq!(
            numbers.reclaim(now + Duration::from_secs(1), number, &[1; 16]),
            Ok(()),
            "a delay, not a lock"
        );
    }

    #[test]
    fn the_first_to_propose_is_the_only_one() {
        let (mut numbers, now) = (numbers(), start());
        let number = numbers.allocate(now, HOUR, 0, token(1)).unwrap();
        let (bob, eve) = (name("guestbob"), name("guesteve"));
        assert!(!numbers.admits(now, number, &bob, COOKIE, false));
        assert!(numbers.admits(now, number, &bob, COOKIE, true));
        numbers.bind(number, &bob, COOKIE);
        numbers.bind(number, &eve, COOKIE);
        assert!(numbers.admits(now, number, &bob, COOKIE, false));
        assert!(!numbers.admits(now, number, &eve, COOKIE, true));
        assert!(!numbers.admits(now, number, &bob, Cookie([2; 8]), true));
    }

    #[test]
    fn an_expired_number_takes_nobody_new_but_keeps_whom_it_has() {
        let (mut numbers, now) = (numbers(), start());
        let bob = name("guestbob");
        let unused = numbers.allocate(now, HOUR, 0, token(1)).unwrap();
        let used = numbers.allocate(now, HOUR, 0, token(1)).unwrap();
        numbers.bind(used, &bob, COOKIE);
        assert!(!numbers.admits(now + HOUR, unused, &bob, COOKIE, true));
        assert!(numbers.admits(now + HOUR, used, &bob, COOKIE, false));
    }
}
