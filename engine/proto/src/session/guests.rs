//! The names that a host gives to guests without a number, and how they take them back.
//!
//! A name lives while its guest is connected and for a grace time after. A guest whose connection broke, because it has another
//! address for example, comes back with its token under the same name; so whom it spoke to, and the number that is bound to it,
//! still know it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;

use super::numbers::{Failures, ReclaimError, Token};
use crate::wire::text::ScreenName;

/// All guests of a host that have no number.
#[derive(Debug)]
pub struct Guests {
    grace: Duration,
    away_max: usize,
    entries: BTreeMap<ScreenName, Entry>,
    /// When the names of those who left are forgotten.
    away: BTreeSet<(Instant, ScreenName)>,
}

#[derive(Debug)]
struct Entry {
    token: Token,
    /// When the name is forgotten; none while the guest is connected.
    free_at: Option<Instant>,
    failures: Failures,
}

impl Guests {
    /// Each name is kept for `grace` after its guest left, and at most `away_max` names at a time: then whoever left first is
    /// forgotten.
    pub fn new(grace: Duration, away_max: usize) -> Self {
        Self {
            grace,
            away_max,
            entries: BTreeMap::new(),
            away: BTreeSet::new(),
        }
    }

    /// A guest came under a new `name`; false if somebody has that.
    pub fn enter(&mut self, now: Instant, name: &ScreenName, token: Token) -> bool {
        self.forget(now);
        if self.entries.contains_key(name) {
            return false;
        }
        let entry = Entry {
            token,
            free_at: None,
            failures: Failures::default(),
        };
        self.entries.insert(name.clone(), entry);
        true
    }

    /// The guest came back. Its earlier connection, if there still is one, is the caller's to end.
    ///
    /// # Errors
    /// [`ReclaimError`]; a name that nobody has and a wrong token look alike.
    pub fn reclaim(
        &mut self,
        now: Instant,
        name: &ScreenName,
        token: &[u8],
    ) -> Result<(), ReclaimError> {
        self.forget(now);
        let entry = self.entries.get_mut(name).ok_or(ReclaimError::Refused)?;
        let is_right = bool::from(entry.token.0[..].ct_eq(token));
        entry.failures.judge(now, is_right)?;
        if let Some(free_at) = entry.free_at.take() {
            self.away.remove(&(free_at, name.clone()));
        }
        Ok(())
    }

    /// The guest's connection ended.
    pub fn release(&mut self, now: Instant, name: &ScreenName) {
        if let Some(entry) = self.entries.get_mut(name) {
            let free_at = now + self.grace;
            if let Some(before) = entry.free_at.replace(free_at) {
                self.away.remove(&(before, name.clone()));
            }
            self.away.insert((free_at, name.clone()));
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((free_at, _)) = self.away.first() {
            if *free_at > now && self.away.len() <= self.away_max {
                return;
            }
            if let Some((_, name)) = self.away.pop_first() {
                self.entries.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(600);

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn name(name: &str) -> ScreenName {
        ScreenName::new(name).unwrap()
    }

    fn with(names: &[&str], away_max: usize) -> (Guests, Instant) {
        let (mut guests, now) = (Guests::new(GRACE, away_max), start());
        for one in names {
            assert!(guests.enter(now, &name(one), Token([1; 16])));
        }
        (guests, now)
    }

    #[test]
    fn a_guest_takes_its_name_back_within_the_grace_time_and_not_after() {
        let (mut guests, now) = with(&["guesta"], 10);
        let guest = name("guesta");
        assert!(
            !guests.enter(now, &guest, Token([2; 16])),
            "a name is given once"
        );
        guests.release(now, &guest);
        let later = now + GRACE / 2;
        assert_eq!(guests.reclaim(later, &guest, &[1; 16]), Ok(()));
        // While it is connected no time counts, and afterwards it counts anew.
        guests.release(later + 2 * GRACE, &guest);
        let last = later + 3 * GRACE;
        assert_eq!(
            guests.reclaim(last - Duration::from_secs(1), &guest, &[1; 16]),
            Ok(())
        );
        guests.release(last, &guest);
        assert_eq!(
            guests.reclaim(last + GRACE, &guest, &[1; 16]),
            Err(ReclaimError::Refused)
        );
        assert!(guests.entries.is_empty() && guests.away.is_empty());
    }

    #[test]
    fn a_wrong_token_and_an_unknown_name_look_alike_and_failures_delay() {
        let (mut guests, now) = with(&["guesta"], 10);
        let guest = name("guesta");
        assert_eq!(
            guests.reclaim(now, &name("guestb"), &[1; 16]),
            Err(ReclaimError::Refused)
        );
        for _ in 0..4 {
            assert_eq!(
                guests.reclaim(now, &guest, b"short"),
                Err(ReclaimError::Refused)
            );
        }
        assert_eq!(
            guests.reclaim(now, &guest, &[1; 16]),
            Ok(()),
            "the first few are free"
        );
        for _ in 0..5 {
            assert_eq!(
                guests.reclaim(now, &guest, &[2; 16]),
                Err(ReclaimError::Refused)
            );
        }
        assert_eq!(
            guests.reclaim(now, &guest, &[1; 16]),
            Err(ReclaimError::TooOften)
        );
    }

    #[test]
    fn whoever_left_first_is_forgotten_first_and_whoever_is_here_never() {
        let (mut guests, now) = with(&["guesta", "guestb", "guestc", "guestd"], 2);
        for (at, one) in ["guesta", "guestb", "guestc"].iter().enumerate() {
            guests.release(now + Duration::from_secs(at as u64), &name(one));
        }
        assert_eq!(
            guests.reclaim(now, &name("guesta"), &[1; 16]),
            Err(ReclaimError::Refused)
        );
        for here in ["guestb", "guestc", "guestd"] {
            assert_eq!(guests.reclaim(now, &name(here), &[1; 16]), Ok(()), "{here}");
        }
    }

    #[test]
    fn leaving_and_coming_back_without_end_takes_no_room() {
        let (mut guests, now) = with(&["guesta", "guestb"], 4);
        guests.release(now, &name("guestb"));
        for _ in 0..100 {
            guests.release(now, &name("guesta"));
            assert_eq!(guests.reclaim(now, &name("guesta"), &[1; 16]), Ok(()));
        }
        assert_eq!(guests.away.len(), 1);
        assert_eq!(guests.reclaim(now, &name("guestb"), &[1; 16]), Ok(()));
    }
}
