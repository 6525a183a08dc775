//! Who may sign on to an account: passwords and digests checked, guessing made slow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdv_proto::pace::{Bucket, Origin};
use rdv_proto::session::{AccountSignOn, Proof};
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::text::ScreenName;
use tracing::{debug, warn};

use crate::accounts::{Account, Accounts, AccountsError, State as AccountState, Verdict};
use crate::limits::Limits;
use crate::metrics::{Limit, Metrics};

/// Names and addresses of which failures are remembered, each.
const REMEMBERED: usize = 10_000;
/// After so long without a failure, those of a name are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// Wrong answers for a name before the next ones take longer.
const FAILURES_FREE: u32 = 5;
/// The longest that an answer takes.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct Reception {
    accounts: Accounts,
    limits: Limits,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    origins: HashMap<Origin, Bucket>,
    failures: HashMap<ScreenName, (u32, Instant)>,
}

impl Reception {
    pub(crate) fn new(accounts: Accounts, limits: Limits, metrics: Metrics) -> Self {
        Self {
            accounts,
            limits,
            metrics,
            state: Mutex::default(),
        }
    }

    /// Whose sign-on it is. A refusal takes a time that says nothing but how often it was refused before: a delay, not a
    /// lock, for a lock could be used against the owner.
    pub(crate) async fn check(
        &self,
        sign_on: &AccountSignOn,
        address: IpAddr,
    ) -> Result<Account, LoginErrorCode> {
        let began = Instant::now();
        let origin = Origin::of(address);
        if !self.lock().bucket(origin, &self.limits, began).has(began) {
            self.metrics.refused(Limit::SignOnsPerAddress);
            return Err(LoginErrorCode::ADDRESS_RATE_LIMITED);
        }
        let checked = self.verify(sign_on).await;
        let delay = match (&checked, &sign_on.name) {
            (Ok(_), Some(name)) => {
                self.lock().failures.remove(name);
                return checked;
            }
            (Err(LoginErrorCode::UNAVAILABLE), _) => Duration::ZERO,
            (_, name) => {
                let mut state = self.lock();
                // Those that were let in at the same time count all.
                state.bucket(origin, &self.limits, began).owe(began);
                let delay = state.failed(name.as_ref(), began);
                if !delay.is_zero() {
                    self.metrics.refused(Limit::SignOnFailures);
                }
                delay
            }
        };
        // The next full step, so that the work behind it does not show.
        let step = self.limits.refusal_delay.max(Duration::from_millis(1));
        let steps = began.elapsed().as_nanos() / step.as_nanos() + 1;
        let until = began + step * u32::try_from(steps).unwrap_or(u32::MAX) + delay;
        tokio::time::sleep_until(until.into()).await;
        checked
    }

    /// The account of somebody who was checked before.
    pub(crate) async fn find(&self, name: &ScreenName) -> Result<Account, LoginErrorCode> {
        let found = self
            .accounts
            .find(name)
            .await
            .map_err(|error| self.unavailable(error))?;
        match found {
            Some(account) if account.state == AccountState::Active => Ok(account),
            _ => Err(LoginErrorCode::BAD_COOKIE),
        }
    }

    async fn verify(&self, sign_on: &AccountSignOn) -> Result<Account, LoginErrorCode> {
        // A name that nobody can have is looked up like any other that nobody has.
        let nobody = ScreenName::new("-").map_err(|_| LoginErrorCode::UNAVAILABLE)?;
        let name = sign_on.name.as_ref().unwrap_or(&nobody);
        if let Proof::Password(password) = &sign_on.proof {
            let verdict = self.accounts.check_password(name, password).await;
            return match verdict.map_err(|error| self.unavailable(error))? {
                Verdict::Right { account, .. } => Ok(account),
                Verdict::Disabled => Err(LoginErrorCode::SUSPENDED),
                Verdict::Deleted => Err(LoginErrorCode::DELETED),
                Verdict::Expired => Err(LoginErrorCode::EXPIRED),
                Verdict::Wrong => Err(LoginErrorCode::WRONG_PASSWORD),
            };
        }
        let password = self.accounts.legacy_password(name).await;
        let password = password.map_err(|error| self.unavailable(error))?;
        let known = match &password {
            Some(password) => sign_on.proof.knows(password.expose().as_bytes()),
            None => {
                std::hint::black_box(sign_on.proof.knows(b"0000000000000000"));
                false
            }
        };
        // Asked for in any case: it takes as long for all.
        let account = self
            .accounts
            .find(name)
            .await
            .map_err(|error| self.unavailable(error))?;
        match account.filter(|_| known) {
            Some(account) => match account.state {
                AccountState::Active => Ok(account),
                AccountState::Disabled => Err(LoginErrorCode::SUSPENDED),
                AccountState::Deleted => Err(LoginErrorCode::DELETED),
                AccountState::Expired => Err(LoginErrorCode::EXPIRED),
            },
            None => Err(LoginErrorCode::WRONG_PASSWORD),
        }
    }

    fn unavailable(&self, error: AccountsError) -> LoginErrorCode {
        match error {
            AccountsError::Resources => {
                self.metrics.refused(Limit::PasswordChecks);
                debug!("too many passwords to check at a time");
            }
            error => {
                self.metrics.database_error("sign_on");
                warn!(%error, "the accounts cannot be read");
            }
        }
        LoginErrorCode::UNAVAILABLE
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bucket(&mut self, origin: Origin, limits: &Limits, now: Instant) -> &mut Bucket {
        if self.origins.len() >= REMEMBERED {
            self.origins.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = || Bucket::new(limits.attempts);
        self.origins.entry(origin).or_insert_with(bucket)
    }

    /// Counts a failure; how much longer the answer takes for it.
    fn failed(&mut self, name: Option<&ScreenName>, now: Instant) -> Duration {
        let Some(name) = name else {
            return Duration::ZERO;
        };
        if self.failures.len() >= REMEMBERED {
            let is_fresh = |at: Instant| now.saturating_duration_since(at) < FORGET_AFTER;
            self.failures.retain(|_, &mut (_, at)| is_fresh(at));
            if self.failures.len() >= REMEMBERED {
                return Duration::ZERO;
            }
        }
        let (failures, at) = self.failures.entry(name.clone()).or_insert((0, now));
        if now.saturating_duration_since(*at) >= FORGET_AFTER {
            *failures = 0;
        }
        *at = now;
        *failures = failures.saturating_add(1);
        match failures.checked_sub(FAILURES_FREE) {
            Some(more @ 1..) => Duration::from_secs(1 << (more - 1).min(6)).min(DELAY_MAX),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_five_failures_each_answer_takes_longer_up_to_a_minute() {
        let (mut state, now) = (State::default(), Instant::now());
        let name = ScreenName::new("alice").unwrap();
        let delays: Vec<u64> = (0..13)
            .map(|_| state.failed(Some(&name), now).as_secs())
            .collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        let other = ScreenName::new("bob").unwrap();
        assert_eq!(state.failed(Some(&other), now), Duration::ZERO);
        let later = now + FORGET_AFTER;
        assert_eq!(state.failed(Some(&name), later), Duration::ZERO);
    }

    #[test]
    fn failures_are_not_remembered_without_end() {
        let (mut state, now) = (State::default(), Instant::now());
        for n in 0..REMEMBERED + 10 {
            state.failed(Some(&ScreenName::new(format!("u{n}")).unwrap()), now);
        }
        assert_eq!(state.failures.len(), REMEMBERED);
    }
}
