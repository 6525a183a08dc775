//! The names that a host gives to guests without a number, and how they take them back.
//!
//! A name lives while its guest is connected and for a grace time after. A guest whose connection broke, because it has another
//! address for example, comes back with its token under the same name; so whom it spoke to, and the number that is bound to it,
//! still know it.

use std::collections::{BTreeMap, VecDeque};
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
    /// Who left, first the one that left first, and when its name is forgotten. Who came back and left again is in it twice.
    away: VecDeque<(Instant, ScreenName)>,
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
            away: VecDeque::new(),
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
        entry.free_at = None;
        Ok(())
    }

    /// The guest's connection ended.
    pub fn release(&mut self, now: Instant, name: &ScreenName) {
        if let Some(entry) = self.entries.get_mut(name) {
            let free_at = now + self.grace;
            entry.free_at = Some(free_at);
            self.away.push_back((free_at, name.clone()));
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((free_at, name)) = self.away.front() {
            let is_past = self
                .entries
                .get(name)
                .is_none_or(|entry| entry.free_at != Some(*free_at));
            if !is_past {
                if *free_at > now && self.away.len() <= self.away_max {
                    return;
                }
                self.entries.remove(name);
            }
            self.away.pop_front();
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
        for _ in 0..5 {
            assert_eq!(
                guests.reclaim(now, &guest, b"short"),
                Err(ReclaimError::Refused)
            );
        }
        assert_eq!(
            guests.reclaim(now, &guest, &[1; 16]),
            Ok(()),
            "five are free"
        );
        for _ in 0..6 {
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
        for one in ["guesta", "guestb", "guestc"] {
            guests.release(now, &name(one));
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
        assert!(guests.away.len() <= 5, "{}", guests.away.len());
        assert_eq!(guests.reclaim(now, &name("guestb"), &[1; 16]), Ok(()));
    }
}
