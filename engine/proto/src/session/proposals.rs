//! How many rendezvous one account may have open, and how fast it may open them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::pace::{Bucket, Pace};
use crate::wire::rendezvous::Cookie;
use crate::wire::text::ScreenName;

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

/// What one account has proposed lately.
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

    /// Enters a proposal to `recipient`; false when it is one too many.
    ///
    /// A cookie that is not open is opened, whatever the sequence number says: who answers a proposal sends number 2
    /// first.
    pub fn enter(&mut self, now: Instant, recipient: &ScreenName, cookie: Cookie) -> bool {
        let key = (recipient.clone(), cookie);
        let forget_after = self.limits.forget_after;
        self.open
            .retain(|_, open| now.saturating_duration_since(open.last) < forget_after);
        if let Some(open) = self.open.get_mut(&key) {
            if open.proposals >= self.limits.proposals_per_cookie {
                return false;
            }
            open.proposals += 1;
            open.last = now;
            return true;
        }
        self.to_one.retain(|_, bucket| !bucket.is_full(now));
        if self.open.len() >= self.limits.cookies || !self.first.has(now) {
            return false;
        }
        let to_one = self
            .to_one
            .entry(recipient.clone())
            .or_insert_with(|| Bucket::new(self.limits.first_to_one));
        if !to_one.take(now) {
            return false;
        }
        self.first.take(now);
        self.open.insert(
            key,
            Open {
                last: now,
                proposals: 1,
            },
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

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
                book.enter(now, &name(n), cookie(n))
            })
            .count();
        // The cookies that are open at once are the tighter limit in the long run.
        assert_eq!(taken, 32);
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start);
        assert_eq!(
            (0..30)
                .filter(|&n| book.enter(now, &name(n), cookie(n)))
                .count(),
            10
        );
    }

    #[test]
    fn one_stranger_gets_five_in_ten_minutes() {
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start());
        assert_eq!(
            (0..9)
                .filter(|&n| book.enter(now, &name(0), cookie(n)))
                .count(),
            5
        );
        assert!(book.enter(now, &name(1), cookie(0)));
    }

    #[test]
    fn t_03_sixty_four_proposals_of_one_cookie() {
        let (mut book, now) = (ProposalBook::new(ProposalLimits::default()), start());
        assert_eq!(
            (0..100)
                .filter(|_| book.enter(now, &name(0), cookie(0)))
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
        assert!(book.enter(now, &name(0), cookie(0)));
        assert!(!book.enter(now, &name(1), cookie(1)));
        assert!(book.enter(now + Duration::from_secs(600), &name(1), cookie(1)));
    }
}
