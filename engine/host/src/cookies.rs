//! What lets somebody in who proved on another connection who it is: 256 random bytes, good once and for a minute.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdv_proto::session::{Party, Sessions};
use rdv_proto::wire::text::ScreenName;
use sha2::{Digest as _, Sha256};

use crate::accounts::AccountId;
use crate::random::random;

/// Cookies of one account at a time; the oldest one goes when there is one more. So nobody takes them all.
const PER_ACCOUNT: usize = 16;

/// What a cookie opens (SO-18, A-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Presence and messages.
    Bos,
    /// What an owner does with the account.
    Admin,
}

/// Where a cookie is given out, and where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    /// Number of the listener.
    pub(crate) listener: usize,
    /// Over TLS.
    pub(crate) tls: bool,
}

impl Door {
    /// Whether a cookie that was given out here opens there: it is not carried from TLS to where anybody can read it.
    fn opens(self, there: Self) -> bool {
        self.listener == there.listener && (there.tls || !self.tls)
    }
}

/// What a cookie stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Of those who bear such a name one after the other, which one.
    pub(crate) account: AccountId,
    /// As it was typed.
    pub(crate) name: ScreenName,
    /// What was said about other sign-ons.
    pub(crate) sessions: Sessions,
    /// What it opens.
    pub(crate) service: Service,
    /// What kind of client it was given to.
    pub(crate) party: Party,
    /// When the one who got it began to show who it is, since 1970: what happened to the account since then counts.
    pub(crate) proven: Duration,
}

/// All cookies that were given out and not used yet. What is kept of one does not make it up again.
#[derive(Debug)]
pub(crate) struct Cookies {
    life: Duration,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// With the door at which it was given out, and when it ends.
    granted: HashMap<[u8; 32], (Door, Instant, Granted)>,
    /// In the order in which they end; the same cookies.
    ends: BTreeSet<(Instant, [u8; 32])>,
}

impl Cookies {
    /// Cookies that live so long, and at most so many at a time.
    pub(crate) fn new(life: Duration, most: usize) -> Self {
        Self {
            life,
            most,
            state: Mutex::default(),
        }
    }

    /// A new cookie, to be shown at this door; none if there are too many.
    pub(crate) fn issue(&self, now: Instant, door: Door, granted: Granted) -> Option<Bytes> {
        let cookie = random::<256>().ok()?;
        let digest = Sha256::digest(cookie).into();
        let mut state = self.lock();
        state.sweep(now);
        state.make_room_for(granted.account);
        if state.granted.len() >= self.most {
            return None;
        }
        let end = now + self.life;
        state.granted.insert(digest, (door, end, granted));
        state.ends.insert((end, digest));
        Some(Bytes::copy_from_slice(&cookie))
    }

    /// What the cookie stands for; it is used up by this, also at the wrong door.
    pub(crate) fn redeem(&self, now: Instant, door: Door, cookie: &[u8]) -> Option<Granted> {
        let digest: [u8; 32] = Sha256::digest(cookie).into();
        let mut state = self.lock();
        state.sweep(now);
        let (issued_at, end, granted) = state.granted.remove(&digest)?;
        state.ends.remove(&(end, digest));
        issued_at.opens(door).then_some(granted)
    }

    /// Takes those of an account back that were earned up to `at`.
    pub(crate) fn take_back(&self, account: AccountId, at: Duration) {
        let mut state = self.lock();
        let State { granted, ends } = &mut *state;
        granted.retain(|digest, (_, end, granted)| {
            let stays = granted.account != account || granted.proven > at;
            if !stays {
                ends.remove(&(*end, *digest));
            }
            stays
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the oldest cookie of an account that has as many as it may have.
    fn make_room_for(&mut self, account: AccountId) {
        let is_own = |(_, digest): &&(Instant, [u8; 32])| {
            let granted = self.granted.get(digest);
            granted.is_some_and(|(_, _, granted)| granted.account == account)
        };
        let mut own = self.ends.iter().filter(is_own);
        let oldest = own.next().copied();
        if let Some((end, digest)) = oldest
            && own.count() + 1 >= PER_ACCOUNT
        {
            self.ends.remove(&(end, digest));
            self.granted.remove(&digest);
        }
    }

    fn sweep(&mut self, now: Instant) {
        while let Some(&(end, digest)) = self.ends.first()
            && end <= now
        {
            self.ends.pop_first();
            self.granted.remove(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Door = Door {
        listener: 0,
        tls: false,
    };
    const MINUTE: Duration = Duration::from_secs(60);

    fn granted() -> Granted {
        of_account(1)
    }

    fn of_account(number: i64) -> Granted {
        Granted {
            account: AccountId::numbered(number),
            name: ScreenName::new("Alice").unwrap(),
            sessions: Sessions::Several,
            service: Service::Bos,
            party: Party::Old,
            proven: Duration::from_secs(number.unsigned_abs()),
        }
    }

    #[test]
    fn cookies_of_an_account_are_taken_back_if_they_are_older_than_what_happened_to_it() {
        let (cookies, now) = (Cookies::new(MINUTE, 9), Instant::now());
        let issue = |number| cookies.issue(now, HERE, of_account(number)).unwrap();
        let (mine, others) = (issue(3), issue(4));
        cookies.take_back(AccountId::numbered(3), Duration::from_secs(2));
        assert_eq!(cookies.lock().granted.len(), 2);
        cookies.take_back(AccountId::numbered(3), Duration::from_secs(3));
        assert!(cookies.redeem(now, HERE, &mine).is_none());
        assert!(cookies.redeem(now, HERE, &others).is_some());
        let state = cookies.lock();
        assert_eq!((state.granted.len(), state.ends.len()), (0, 0));
    }

    #[test]
    fn so_08_a_cookie_has_256_bytes_is_good_once_and_for_a_minute() {
        let (cookies, now) = (Cookies::new(MINUTE, 10), Instant::now());
        let cookie = cookies.issue(now, HERE, granted()).unwrap();
        assert_eq!(cookie.len(), 256);
        let late = now + Duration::from_secs(59);
        assert_eq!(cookies.redeem(late, HERE, &cookie), Some(granted()));
        assert_eq!(cookies.redeem(late, HERE, &cookie), None);
        let cookie = cookies.issue(now, HERE, granted()).unwrap();
        assert_eq!(cookies.redeem(now + MINUTE, HERE, &cookie), None);
    }

    #[test]
    fn so_08_a_cookie_of_another_listener_is_used_up_by_being_shown() {
        let (cookies, now) = (Cookies::new(MINUTE, 10), Instant::now());
        let cookie = cookies.issue(now, HERE, granted()).unwrap();
        let there = Door {
            listener: 1,
            tls: false,
        };
        assert_eq!(cookies.redeem(now, there, &cookie), None);
        assert_eq!(cookies.redeem(now, HERE, &cookie), None);
    }

    #[test]
    fn no_more_cookies_are_kept_than_there_is_room_for() {
        let (cookies, now) = (Cookies::new(MINUTE, 3), Instant::now());
        assert!((0..3).all(|_| cookies.issue(now, HERE, granted()).is_some()));
        assert_eq!(cookies.issue(now, HERE, granted()), None);
        let later = now + MINUTE;
        assert!(cookies.issue(later, HERE, granted()).is_some());
        assert_eq!(cookies.lock().granted.len(), 1);
    }

    #[test]
    fn s_35_one_account_does_not_take_all_cookies() {
        let (cookies, now) = (Cookies::new(MINUTE, PER_ACCOUNT + 1), Instant::now());
        let mut issue = |number| {
            let later = now + Duration::from_millis(1);
            cookies.issue(if number == 0 { now } else { later }, HERE, of_account(1))
        };
        let all: Vec<Bytes> = (0..100).filter_map(&mut issue).collect();
        assert_eq!(all.len(), 100);
        let other = cookies.issue(now, HERE, of_account(2)).unwrap();
        assert!(cookies.redeem(now, HERE, &all[0]).is_none());
        assert!(cookies.redeem(now, HERE, &other).is_some());
        let left = all
            .iter()
            .filter(|cookie| cookies.redeem(now, HERE, cookie).is_some());
        assert_eq!(left.count(), PER_ACCOUNT);
    }

    #[test]
    fn cookies_that_were_used_take_no_room() {
        let (cookies, now) = (Cookies::new(MINUTE, 3), Instant::now());
        for _ in 0..10 {
            let cookie = cookies.issue(now, HERE, granted()).unwrap();
            assert!(cookies.redeem(now, HERE, &cookie).is_some());
        }
        let state = cookies.lock();
        assert_eq!((state.granted.len(), state.ends.len()), (0, 0));
    }

    #[test]
    fn a_cookie_that_was_got_over_tls_opens_over_tls_only() {
        let (cookies, now) = (Cookies::new(MINUTE, 10), Instant::now());
        let secure = Door { tls: true, ..HERE };
        for (got, shown, opens) in [
            (secure, secure, true),
            (secure, HERE, false),
            (HERE, secure, true),
            (HERE, HERE, true),
        ] {
            let cookie = cookies.issue(now, got, granted()).unwrap();
            let redeemed = cookies.redeem(now, shown, &cookie);
            assert_eq!(redeemed.is_some(), opens, "{got:?} {shown:?}");
            assert_eq!(cookies.redeem(now, secure, &cookie), None);
        }
    }
}
