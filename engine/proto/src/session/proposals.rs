//! How many rendezvous one account may have open, and how fast it may open them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::excess::ProposalExcess;
use crate::pace::{Bucket, Pace};
use crate::wire::rendezvous::Cookie;
use crate::wire::text::ScreenName;

/// So many times the open cookies are remembered, those that are settled included.
const REMEMBERED: usize = 4;

/// The limits of a [`ProposalBook`].
#[derive(Clone, Copy, Debug)]
pub struct ProposalLimits {
    /// First proposals of an account.
    pub first: Pace,
    /// First proposals of an account to one and the same recipient.
    pub first_to_one: Pace,
    /// Open cookies per account.
    pub cookies: usize,
    /// After how long without a proposal a cookie is forgotten.
    pub forget_after: Duration,
    /// Proposals with one cookie (rule T-03).
    pub proposals_per_cookie: u32,
}

impl Default for ProposalLimits {
    fn default() -> Self {
        Self {
            first: Pace {
                burst: 10,
                per: Duration::from_secs(20),
            },
            first_to_one: Pace::new(5, Duration::from_secs(600)),
            cookies: 32,
            forget_after: Duration::from_secs(600),
            proposals_per_cookie: 64,
        }
    }
}

/// A proposal, as far as the book is concerned with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which sign-on of the account makes it.
    pub by: u64,
    /// It is the first one of a rendezvous.
    pub begins: bool,
    /// The recipient never had to do with the account.
    pub stranger: bool,
}

/// What one account has proposed lately, and who of the recipient's sign-ons took it up.
#[derive(Debug)]
pub struct ProposalBook {
    limits: ProposalLimits,
    first: Bucket,
    to_one: BTreeMap<ScreenName, Bucket>,
    open: BTreeMap<(ScreenName, Cookie), Open>,
}

#[derive(Debug)]
struct Open {
    last: Instant,
    proposals: u32,
    by: u64,
    taken_by: Option<u64>,
    settled: bool,
}

impl ProposalBook {
    /// An empty book.
    pub fn new(limits: ProposalLimits) -> Self {
        Self {
            first: Bucket::new(limits.first),
            limits,
            to_one: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// Enters a proposal to `recipient`.
    ///
    /// A cookie that is not open is opened, whatever the sequence number says: who answers a proposal sends number 2
    /// first. A first proposal with a cookie that is known begins anew: old clients use theirs again.
    ///
    /// # Errors
    /// The limit for which it is one too many.
    pub fn enter(
        &mut self,
        now: Instant,
        recipient: &ScreenName,
        cookie: Cookie,
        entry: Entry,
    ) -> Result<(), ProposalExcess> {
        let key = (recipient.clone(), cookie);
        let forget_after = self.limits.forget_after;
        self.open.retain(|known, open| {
            now.saturating_duration_since(open.last) < forget_after
                && !(entry.begins && open.settled && *known == key)
        });
        if let Some(open) = self.open.get_mut(&key) {
            if open.proposals >= self.limits.proposals_per_cookie {
                return Err(ProposalExcess::PerCookie);
            }
            open.proposals += 1;
            open.last = now;
            if entry.begins {
                (open.by, open.taken_by) = (entry.by, None);
            }
            return Ok(());
        }
        self.to_one.retain(|_, bucket| !bucket.is_full(now));
        let unsettled = self.open.values().filter(|open| !open.settled).count();
        if unsettled >= self.limits.cookies {
            return Err(ProposalExcess::Open);
        }
        if !self.first.has(now) {
            return Err(ProposalExcess::First);
        }
        let to_one = self
            .to_one
            .entry(recipient.clone())
            .or_insert_with(|| Bucket::new(self.limits.first_to_one));
        if entry.stranger && !to_one.take(now) {
            return Err(ProposalExcess::ToOne);
        }
        self.first.take(now);
        if self.open.len() >= self.limits.cookies * REMEMBERED {
            self.forget_oldest();
        }
        let open = Open {
            last: now,
            proposals: 1,
            by: entry.by,
            taken_by: None,
            settled: false,
        };
        self.open.insert(key, open);
        Ok(())
    }

    /// The sign-on that proposed, if the cookie is known.
    pub fn proposer(&self, recipient: &ScreenName, cookie: Cookie) -> Option<u64> {
        Some(self.find(recipient, cookie)?.by)
    }

    /// The sign-on of the recipient that took the proposal up.
    pub fn taker(&self, recipient: &ScreenName, cookie: Cookie) -> Option<u64> {
        self.find(recipient, cookie)?.taken_by
    }

    /// A sign-on of the recipient takes the proposal up; whether it is the first to do so.
    pub fn take(&mut self, recipient: &ScreenName, cookie: Cookie, by: u64) -> bool {
        match self.open.get_mut(&(recipient.clone(), cookie)) {
            Some(open) if open.taken_by.is_none() => {
                open.taken_by = Some(by);
                true
            }
            _ => false,
        }
    }

    /// The two agreed, or gave up: the cookie does not count as open any more, but is still known.
    pub fn settle(&mut self, recipient: &ScreenName, cookie: Cookie) {
        if let Some(open) = self.open.get_mut(&(recipient.clone(), cookie)) {
            open.settled = true;
        }
    }

    fn find(&self, recipient: &ScreenName, cookie: Cookie) -> Option<&Open> {
        self.open.get(&(recipient.clone(), cookie))
    }

    /// Drops the settled cookie that was last heard of longest ago.
    fn forget_oldest(&mut self) {
        let settled = self.open.iter().filter(|(_, open)| open.settled);
        let oldest = settled.min_by_key(|(_, open)| open.last);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.open.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enters(
        book: &mut ProposalBook,
        now: Instant,
        to: &ScreenName,
        cookie: Cookie,
        entry: Entry,
    ) -> bool {
        book.enter(now, to, cookie, entry).is_ok()
    }

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    const STRANGER: Entry = Entry {
        by: 1,
        begins: true,
        stranger: true,
    };

    fn name(n: usize) -> ScreenName {
        ScreenName::new(format!("bob{n}")).unwrap()
    }

    fn cookie(n: usize) -> Cookie {
        Cookie((n as u64).to_be_bytes())
    }

    #[test]
    fn ten_first_proposals_at_once_and_thirty_a_minute() {
        let (mut book, start) = (ProposalBook::new(ProposalLimits::default()), start());
        let taken = (0..1000)
            .filter(|&n| {
                let now = start + Duration::from_millis(60) * u32::try_from(n).unwrap();
                enters(&mut book, now, &name(n), cookie(n), STRANGER)
            })
            .count();
        // The cookies that are open at once are the tighter limit in the long run.
        assert_eq!(taken, 32);
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start);
        assert_eq!(
            (0..30)
                .filter(|&n| enters(&mut book, now, &name(n), cookie(n), STRANGER))
                .count(),
            10
        );
    }

    #[test]
    fn one_stranger_gets_five_in_ten_minutes() {
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start());
        assert_eq!(
            (0..9)
                .filter(|&n| enters(&mut book, now, &name(0), cookie(n), STRANGER))
                .count(),
            5
        );
        assert!(enters(&mut book, now, &name(1), cookie(0), STRANGER));
    }

    #[test]
    fn t_03_sixty_four_proposals_of_one_cookie() {
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start());
        assert_eq!(
            (0..100)
                .filter(|_| enters(&mut book, now, &name(0), cookie(0), STRANGER))
                .count(),
            64
        );
    }

    #[test]
    fn an_old_cookie_is_forgotten() {
        let limits = ProposalLimits {
            cookies: 1,
            ..ProposalLimits::default()
        };
        let (mut book, now) = (ProposalBook::new(limits), start());
        assert!(enters(&mut book, now, &name(0), cookie(0), STRANGER));
        assert!(!enters(&mut book, now, &name(1), cookie(1), STRANGER));
        assert!(enters(
            &mut book,
            now + Duration::from_secs(600),
            &name(1),
            cookie(1),
            STRANGER
        ));
    }

    #[test]
    fn who_is_known_may_propose_more_than_a_stranger() {
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start());
        assert!((0..10).all(|n| enters(
            &mut book,
            now,
            &name(0),
            cookie(n),
            Entry {
                stranger: false,
                ..STRANGER
            }
        )));
    }

    #[test]
    fn h_20_the_first_to_take_a_proposal_up_is_remembered() {
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start());
        assert!(!book.take(&name(0), cookie(0), 5), "nothing was proposed");
        enters(&mut book, now, &name(0), cookie(0), STRANGER);
        assert!(book.take(&name(0), cookie(0), 5));
        assert!(!book.take(&name(0), cookie(0), 6) && !book.take(&name(0), cookie(0), 5));
        assert_eq!(
            (
                book.proposer(&name(0), cookie(0)),
                book.taker(&name(0), cookie(0))
            ),
            (Some(1), Some(5))
        );
        assert_eq!(
            book.proposer(&name(1), cookie(0)),
            None,
            "cookies are per peer"
        );
    }

    #[test]
    fn settled_cookies_make_room_and_are_not_remembered_without_end() {
        let limits = ProposalLimits {
            cookies: 2,
            first: Pace::new(1000, Duration::from_secs(1)),
            ..ProposalLimits::default()
        };
        let (mut book, now) = (ProposalBook::new(limits), start());
        for n in 0..100 {
            assert!(enters(&mut book, now, &name(n), cookie(n), STRANGER));
            book.settle(&name(n), cookie(n));
        }
        assert_eq!(book.open.len(), 2 * REMEMBERED);
        assert!(enters(&mut book, now, &name(200), cookie(0), STRANGER));
        assert!(enters(&mut book, now, &name(201), cookie(0), STRANGER));
        assert!(!enters(&mut book, now, &name(202), cookie(0), STRANGER));
    }

    #[test]
    fn a_cookie_that_is_used_again_begins_anew() {
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start());
        enters(&mut book, now, &name(0), cookie(0), STRANGER);
        book.take(&name(0), cookie(0), 5);
        let later = Entry {
            begins: false,
            by: 2,
            ..STRANGER
        };
        enters(&mut book, now, &name(0), cookie(0), later);
        assert_eq!(book.proposer(&name(0), cookie(0)), Some(1));
        assert_eq!(book.taker(&name(0), cookie(0)), Some(5));
        for settled in [false, true] {
            if settled {
                book.settle(&name(0), cookie(0));
            }
            let again = Entry { by: 3, ..STRANGER };
            assert!(enters(&mut book, now, &name(0), cookie(0), again));
            assert_eq!(book.proposer(&name(0), cookie(0)), Some(3));
            assert_eq!(book.taker(&name(0), cookie(0)), None);
            book.take(&name(0), cookie(0), 6);
        }
    }
}
