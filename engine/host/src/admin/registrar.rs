//! Accounts that people make for themselves, at sign-on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdv_proto::pace::{Bucket, Origin, Pace};
use rdv_proto::session::NewAccount as Wanted;
use rdv_proto::wire::admin::AdminErrorCode;
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::text::ScreenName;
use tracing::{debug, warn};

use super::desk::{Desk, text};
use super::{AdminConfig, Registration};
use crate::accounts::{Account, Accounts, AccountsError, Author, NewAccount};
use crate::limits::Limits;
use crate::metrics::Limit;

/// Addresses that are remembered.
const REMEMBERED: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Registrar {
    accounts: Accounts,
    desk: Desk,
    made: Pace,
    tries: Pace,
    origins: Mutex<HashMap<Origin, Use>>,
}

#[derive(Debug)]
struct Use {
    made: Bucket,
    tries: Bucket,
}

/// Why an account is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRegistered {
    /// The host makes none, or not now, or not for this address.
    Refused(LoginErrorCode),
    /// Not this one.
    Not(AdminErrorCode),
}

impl From<AdminErrorCode> for NotRegistered {
    fn from(code: AdminErrorCode) -> Self {
        Self::Not(code)
    }
}

impl Registrar {
    pub(crate) fn new(accounts: Accounts, desk: Desk, limits: &Limits) -> Self {
        Self {
            accounts,
            made: Pace::new(desk.config.accounts_per_hour, Duration::from_secs(3600)),
            tries: limits.attempts,
            desk,
            origins: Mutex::default(),
        }
    }

    /// Makes an account, and sends a mail to its address if there are both.
    pub(crate) async fn register(
        self: &Arc<Self>,
        wanted: Result<Wanted, AdminErrorCode>,
        from: IpAddr,
    ) -> Result<Account, NotRegistered> {
        if self.desk.config.registration == Registration::Closed {
            return Err(NotRegistered::Refused(LoginErrorCode::NO_REGISTRATION));
        }
        let (origin, now) = (Origin::of(from), Instant::now());
        if !self.may_try(origin, now) {
            self.desk.metrics.refused(Limit::Registrations);
            return Err(NotRegistered::Refused(LoginErrorCode::ADDRESS_RATE_LIMITED));
        }
        let wanted = wanted?;
        if is_reserved(&self.desk.config, &wanted.name) {
            return Err(AdminErrorCode::VALIDATE_NICKNAME.into());
        }
        if let Some(email) = &wanted.email {
            self.desk.may_be_taken(email).await?;
        }
        // With a mailer the address is the account's when it was confirmed.
        let (at_once, later) = match self.desk.mailer {
            Some(_) => (None, wanted.email),
            None => (wanted.email, None),
        };
        let new = NewAccount {
            name: wanted.name.as_str(),
            password: Some(text(&wanted.password)),
            legacy: false,
            email: at_once,
            confirmed: false,
            author: Author::Owner,
        };
        let account = match self.accounts.add(new).await {
            Ok(created) => created.account,
            Err(AccountsError::Exists { .. }) => {
                return Err(AdminErrorCode::VALIDATE_NICKNAME.into());
            }
            Err(AccountsError::Name { .. }) => return Err(AdminErrorCode::INVALID_NICKNAME.into()),
            Err(AccountsError::Password) => return Err(AdminErrorCode::INVALID_PASSWORD.into()),
            Err(error) => {
                warn!(%error, "an account cannot be made");
                return Err(NotRegistered::Refused(LoginErrorCode::UNAVAILABLE));
            }
        };
        self.count(origin, now);
        if let Some(email) = later {
            let (registrar, account) = (Arc::clone(self), account.id);
            // Nobody waits for it: it may be asked for again.
            tokio::spawn(async move {
                let begun = registrar.desk.begin_with(account, email).await;
                if let Err(code) = begun {
                    debug!(?code, "no mail to the address of a new account");
                }
            });
        }
        Ok(account)
    }

    fn may_try(&self, origin: Origin, now: Instant) -> bool {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.len() >= REMEMBERED {
            origins.retain(|_, used| !used.made.is_full(now) || !used.tries.is_full(now));
            if origins.len() >= REMEMBERED {
                return false;
            }
        }
        let used = origins.entry(origin).or_insert_with(|| Use {
            made: Bucket::new(self.made),
            tries: Bucket::new(self.tries),
        });
        used.made.has(now) && used.tries.take(now)
    }

    fn count(&self, origin: Origin, now: Instant) {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = origins.get_mut(&origin) {
            // Those that were let in at the same time count all.
            used.made.owe(now);
        }
    }
}

fn is_reserved(config: &AdminConfig, name: &ScreenName) -> bool {
    let reserved = config.reserved_names.iter();
    reserved
        .filter_map(|reserved| ScreenName::new(reserved.as_str()).ok())
        .any(|reserved| reserved == *name)
}
