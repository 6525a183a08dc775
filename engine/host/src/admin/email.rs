//! E-mail addresses: changed at once, or when a mail to them was answered.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rdv_proto::session::admin::{AdminAnswer, Secret};
use rdv_proto::wire::admin::{AdminErrorCode, ConfirmStatus};
use tracing::warn;

use super::desk::{Desk, Made, Refusal, Then};
use super::policy::{is_blocked, mail_error, store_error};
use crate::accounts::{AccountId, CodeHash, Record};
use crate::mail::{ConfirmCode, Confirmation, Mailer};
use crate::metrics::Limit;

impl Desk {
    /// Another address; with a mailer it counts when it was confirmed, and until then the old one does.
    pub(super) async fn change_email(
        &self,
        record: &Record,
        email: String,
    ) -> Result<Made, Refusal> {
        if record.email_pending.is_some() {
            return Err(AdminErrorCode::PENDING_REQUEST.into());
        }
        let same = record.email.as_ref();
        if !same.is_some_and(|same| same.eq_ignore_ascii_case(&email)) {
            self.may_be_taken(&email).await?;
        }
        self.may_change(record.id).await?;
        let value = Bytes::copy_from_slice(email.as_bytes());
        let Some(mailer) = &self.mailer else {
            let stored = self.store.set_email(record.id, email).await;
            stored.map_err(store_error)?;
            // Nobody has shown that it is theirs.
            let then = match record.confirmed {
                true => Then::Confirmed(record.name.clone(), false),
                false => Then::Nothing,
            };
            return Ok((value, then));
        };
        let (code, until) = self.draw()?;
        let pending = (email.clone(), code.digest());
        let pending = self
            .store
            .set_email_pending(record.id, pending.0, pending.1, until);
        if !pending.await.map_err(store_error)? {
            return Err(AdminErrorCode::PENDING_REQUEST.into());
        }
        self.send(mailer.as_ref(), record, email, code).await?;
        Ok((value, Then::Nothing))
    }

    /// The first address of a new account, which a mail is sent to.
    pub(super) async fn begin_with(
        &self,
        account: AccountId,
        email: String,
    ) -> Result<(), AdminErrorCode> {
        let record = self.record(account).await?;
        let changed = self.change_email(&record, email).await;
        changed.map(|_| ()).map_err(|refusal| refusal.code)
    }

    /// Whether an account may have this address.
    pub(super) async fn may_be_taken(&self, email: &str) -> Result<(), AdminErrorCode> {
        if is_blocked(&self.config.blocked_domains, email) {
            return Err(AdminErrorCode::VALIDATE_EMAIL);
        }
        let names = self.store.emails_like(email.to_owned()).await;
        if names.map_err(store_error)? < self.config.names_per_email {
            return Ok(());
        }
        self.metrics.refused(Limit::NamesPerEmail);
        Err(AdminErrorCode::OVER_LIMIT)
    }

    /// Sends a mail by which the account is confirmed.
    pub(super) async fn ask_to_confirm(
        &self,
        record: &Record,
    ) -> Result<(AdminAnswer, Then), Refusal> {
        // A mail to the address that is to be is one that waits for an answer, too.
        if record.email_pending.is_some() {
            return Err(AdminErrorCode::OUTSTANDING_CONFIRM.into());
        }
        let email = record.email.clone();
        let email = email.ok_or(AdminErrorCode::NO_EMAIL_ADDRESS)?;
        if record.confirmed {
            return Ok((ALREADY, Then::Nothing));
        }
        if record.confirm_outstanding.is_some() {
            return Err(AdminErrorCode::OUTSTANDING_CONFIRM.into());
        }
        let mailer = self.mailer.as_ref();
        let mailer = mailer.ok_or(AdminErrorCode::ALL_OTHER_ERRORS)?;
        self.may_change(record.id).await?;
        let (code, until) = self.draw()?;
        let started = self.store.start_confirm(record.id, code.digest(), until);
        if !started.await.map_err(store_error)? {
            return Err(AdminErrorCode::OUTSTANDING_CONFIRM.into());
        }
        self.send(mailer.as_ref(), record, email, code).await?;
        Ok((DONE, Then::Nothing))
    }

    /// Takes the code of a mail.
    pub(super) async fn confirm(
        &self,
        record: &Record,
        typed: &Secret,
    ) -> Result<(AdminAnswer, Then), Refusal> {
        let nothing_waits = record.email_pending.is_none() && record.confirm_outstanding.is_none();
        if record.confirmed && nothing_waits {
            return Ok((ALREADY, Then::Nothing));
        }
        let typed = std::str::from_utf8(typed.expose());
        let code: Option<ConfirmCode> = typed.ok().and_then(|typed| typed.parse().ok());
        let code = code.ok_or(AdminErrorCode::ALL_OTHER_ERRORS)?;
        let confirmed = self.store.confirm(record.id, code.digest()).await;
        match confirmed.map_err(store_error)? {
            true => Ok((DONE, Then::Confirmed(record.name.clone(), true))),
            false => Err(AdminErrorCode::ALL_OTHER_ERRORS.into()),
        }
    }

    /// A new code, and until when it is good, in seconds since 1970.
    fn draw(&self) -> Result<(ConfirmCode, u64), AdminErrorCode> {
        let code = ConfirmCode::generate().map_err(|_| AdminErrorCode::INTERNAL_ERROR)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let until = now
            .unwrap_or_default()
            .saturating_add(self.config.confirm_life);
        Ok((code, until.as_secs()))
    }

    /// Sends a code. What was to be confirmed by one that did not leave is forgotten again.
    async fn send(
        &self,
        mailer: &dyn Mailer,
        record: &Record,
        to: String,
        code: ConfirmCode,
    ) -> Result<(), AdminErrorCode> {
        let hash = code.digest();
        let sent = match self.postage.pay(Instant::now(), &to) {
            false => {
                self.metrics.refused(Limit::Mails);
                Err(AdminErrorCode::OVER_LIMIT)
            }
            true => {
                let confirmation = Confirmation {
                    to,
                    name: record.name.clone(),
                    code,
                    life: self.config.confirm_life,
                };
                let sent = mailer.confirm(confirmation).await;
                self.metrics.mail(sent.is_ok());
                sent.map_err(mail_error)
            }
        };
        if sent.is_err() {
            self.withdraw(record, hash).await;
        }
        sent
    }

    async fn withdraw(&self, record: &Record, code: CodeHash) {
        if let Err(error) = self.store.withdraw(record.id, code).await {
            // It ends by itself.
            warn!(%error, "a code whose mail did not leave is still stored");
        }
    }
}

const DONE: AdminAnswer = AdminAnswer::Confirm {
    status: ConfirmStatus::DONE,
    code: None,
};
const ALREADY: AdminAnswer = AdminAnswer::Confirm {
    status: ConfirmStatus::ALREADY,
    code: None,
};
