//! Who answers the requests of an ADMIN connection.

use std::sync::Arc;

use bytes::Bytes;
use rdv_proto::session::Party;
use rdv_proto::session::admin::{AdminAnswer, AdminRequest, Change, FieldAnswer, Secret};
use rdv_proto::wire::admin::{AdminErrorCode, ConfirmStatus, Permissions, tag};
use rdv_proto::wire::text::ScreenName;
use tracing::{debug, error};

use super::AdminConfig;
use super::policy::{is_worthless, permission_error, permissions, state_error, store_error};
use super::postage::Postage;
use crate::accounts::{AccountId, AdminStore, Checked, Password, PasswordKind, Record};
use crate::mail::Mailer;
use crate::metrics::{Limit, Metrics};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) account: AccountId,
    /// Old clients change their own password alone, ours the other one.
    pub(crate) party: Party,
}

/// What has to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// The name is written otherwise.
    Renamed(ScreenName),
    /// The account of that name was confirmed, or is no longer.
    Confirmed(ScreenName, bool),
    /// Too many wrong passwords: the connection ends.
    LockedOut,
    /// The account of that name is deleted: all its connections end.
    Deleted(ScreenName),
}

/// See the module. Clones are the same.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(super) store: Arc<dyn AdminStore>,
    pub(super) mailer: Option<Arc<dyn Mailer>>,
    pub(super) config: Arc<AdminConfig>,
    pub(super) postage: Arc<Postage>,
    pub(super) metrics: Metrics,
}

/// Why a request is refused; what has to follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: AdminErrorCode,
    then: Then,
}

impl From<AdminErrorCode> for Refusal {
    fn from(code: AdminErrorCode) -> Self {
        Self {
            code,
            then: Then::Nothing,
        }
    }
}

/// A change that was made: the value as it is now, and what follows.
pub(super) type Made = (Bytes, Then);

impl Desk {
    pub(crate) fn new(
        store: Arc<dyn AdminStore>,
        mailer: Option<Arc<dyn Mailer>>,
        config: Arc<AdminConfig>,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            mailer,
            config,
            postage: Arc::default(),
            metrics,
        }
    }

    /// The answer to a request, and what has to follow. What was begun is brought to its end, also for a client that is gone
    /// before; a bug in what is asked for it is an answer, too.
    pub(crate) async fn answer(
        &self,
        asker: Asker,
        request: AdminRequest,
        is_draining: bool,
    ) -> (AdminAnswer, Then) {
        let (kind, subject) = (kind(&request), Subject::of(&request));
        let desk = self.clone();
        let deciding = tokio::spawn(async move {
            match is_draining {
                true => Err(AdminErrorCode::MIGRATION_CANCEL.into()),
                false => desk.decide(asker, request).await,
            }
        });
        let decided = deciding.await.unwrap_or_else(|bug| {
            // What a panic says may hold what came from the client.
            error!(
                panicked = bug.is_panic(),
                "a request of ADMIN failed by a bug"
            );
            Err(AdminErrorCode::INTERNAL_ERROR.into())
        });
        let (answer, then) = decided.unwrap_or_else(|refusal: Refusal| {
            let then = refusal.then;
            (subject.refused(refusal.code), then)
        });
        let result = result(&answer);
        debug!(kind, result, "ADMIN");
        self.metrics.admin(kind, result);
        (answer, then)
    }

    async fn decide(
        &self,
        asker: Asker,
        request: AdminRequest,
    ) -> Result<(AdminAnswer, Then), Refusal> {
        if matches!(request, AdminRequest::Delete { .. }) && !self.config.delete {
            return Err(AdminErrorCode::SERVICE_TEMP_UNAVAILABLE.into());
        }
        let record = self.record(asker.account).await?;
        match request {
            AdminRequest::Query(tags) => {
                let told = tags.into_iter().map(|tag| self.tell(&record, tag));
                Ok((AdminAnswer::Info(told.collect()), Then::Nothing))
            }
            AdminRequest::Change(change) => Ok(self.change(asker, &record, change).await),
            AdminRequest::Confirm { code: None } => self.ask_to_confirm(&record).await,
            AdminRequest::Confirm { code: Some(code) } => self.confirm(&record, &code).await,
            AdminRequest::Delete { password } => {
                self.check_password(asker, password?).await?;
                let deleted = self.store.mark_deleted(record.id).await;
                deleted.map_err(store_error)?;
                Ok((AdminAnswer::Deleted(Ok(())), Then::Deleted(record.name)))
            }
        }
    }

    /// What is stored of an account that can be used.
    pub(super) async fn record(&self, account: AccountId) -> Result<Record, AdminErrorCode> {
        let record = self.store.record(account).await.map_err(store_error)?;
        let record = record.ok_or(AdminErrorCode::INVALID_ACCOUNT)?;
        match state_error(record.state) {
            Some(code) => Err(code),
            None => Ok(record),
        }
    }

    fn tell(&self, record: &Record, tag: u16) -> FieldAnswer {
        let permissions = permissions(&self.config, record, tag);
        let value = match tag {
            tag::FORMAT => record.name.as_str().as_bytes().to_vec(),
            tag::EMAIL => record.email.clone().unwrap_or_default().into_bytes(),
            tag::REGISTRATION => u16::from(record.registration).to_be_bytes().to_vec(),
            _ => return FieldAnswer::refused(tag, permissions, AdminErrorCode::UNSUPPORTED_TYPE),
        };
        FieldAnswer::value(tag, permissions, value)
    }

    async fn change(&self, asker: Asker, record: &Record, change: Change) -> (AdminAnswer, Then) {
        let tag = change.tag();
        let permissions = permissions(&self.config, record, tag);
        let changed = match permission_error(permissions) {
            Some(code) => Err(code.into()),
            None => self.make(asker, record, change).await,
        };
        let (answer, then) = match changed {
            Ok((value, then)) => (FieldAnswer::value(tag, permissions, value), then),
            Err(Refusal { code, then }) => (FieldAnswer::refused(tag, permissions, code), then),
        };
        (AdminAnswer::Changed(answer), then)
    }

    async fn make(&self, asker: Asker, record: &Record, change: Change) -> Result<Made, Refusal> {
        match change {
            Change::Format(name) => {
                let name = name?;
                self.may_change(record.id).await?;
                let stored = self.store.set_format(record.id, name.clone()).await;
                stored.map_err(store_error)?;
                let value = Bytes::copy_from_slice(name.as_str().as_bytes());
                Ok((value, Then::Renamed(name)))
            }
            Change::Email(email) => self.change_email(record, email?).await,
            Change::Registration(status) => {
                let status = status?;
                let stored = u8::try_from(status.0);
                let stored = stored.map_err(|_| AdminErrorCode::INVALID_REGISTRATION_PREFERENCE)?;
                self.may_change(record.id).await?;
                let stored = self.store.set_registration(record.id, stored).await;
                stored.map_err(store_error)?;
                Ok((
                    Bytes::copy_from_slice(&status.0.to_be_bytes()),
                    Then::Nothing,
                ))
            }
            Change::Password { old, new } => {
                let old = self.check_password(asker, old?).await?;
                let new = new?;
                if is_worthless(new.expose(), old.expose()) {
                    return Err(AdminErrorCode::VALIDATE_PASSWORD.into());
                }
                self.may_change(record.id).await?;
                let (kind, new) = (kind_of(asker.party), text(&new));
                let stored = self.store.set_password(record.id, kind, new).await;
                stored.map_err(store_error)?;
                Ok((Bytes::new(), Then::Nothing))
            }
        }
    }

    /// Whether the owner has a change left today.
    pub(super) async fn may_change(&self, account: AccountId) -> Result<(), AdminErrorCode> {
        let changes = self.store.changes_today(account).await;
        if changes.map_err(store_error)? < self.config.changes_per_day {
            return Ok(());
        }
        self.metrics.refused(Limit::AdminChanges);
        Err(AdminErrorCode::OVER_LIMIT)
    }

    /// Gives a password back that is right.
    async fn check_password(&self, asker: Asker, password: Secret) -> Result<Secret, Refusal> {
        let (kind, text) = (kind_of(asker.party), text(&password));
        let checked = self.store.check_password(asker.account, kind, text).await;
        match checked.map_err(store_error)? {
            Checked::Right => Ok(password),
            Checked::Wrong => Err(AdminErrorCode::INVALID_OLD_PASSWORD.into()),
            Checked::TooMany => {
                self.metrics.refused(Limit::AdminPasswords);
                Err(Refusal {
                    code: AdminErrorCode::OVER_LIMIT,
                    then: Then::LockedOut,
                })
            }
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// What a refusal is about.
enum Subject {
    Fields(Vec<u16>),
    Change(u16),
    Confirm,
    Delete,
}

impl Subject {
    fn of(request: &AdminRequest) -> Self {
        match request {
            AdminRequest::Query(tags) => Self::Fields(tags.clone()),
            AdminRequest::Change(change) => Self::Change(change.tag()),
            AdminRequest::Confirm { .. } => Self::Confirm,
            AdminRequest::Delete { .. } => Self::Delete,
        }
    }

    fn refused(self, code: AdminErrorCode) -> AdminAnswer {
        // What is not known of the account, does not say whether the field can be changed some time.
        let field = |tag| FieldAnswer::refused(tag, Permissions::LOCKED, code);
        match self {
            Self::Fields(tags) => AdminAnswer::Info(tags.into_iter().map(field).collect()),
            Self::Change(tag) => AdminAnswer::Changed(field(tag)),
            Self::Confirm => AdminAnswer::Confirm {
                status: ConfirmStatus::CANNOT,
                code: Some(code),
            },
            Self::Delete => AdminAnswer::Deleted(Err(code)),
        }
    }
}

/// What the client signs on with.
fn kind_of(party: Party) -> PasswordKind {
    match party {
        Party::Old => PasswordKind::Legacy,
        Party::Ours | Party::Guest => PasswordKind::Normal,
    }
}

/// A password as text. What is none is never the right one.
pub(super) fn text(secret: &Secret) -> Password {
    Password::new(String::from_utf8_lossy(secret.expose()))
}

/// The name of a request, for the metrics.
fn kind(request: &AdminRequest) -> &'static str {
    match request {
        AdminRequest::Query(_) => "query",
        AdminRequest::Change(Change::Format(_)) => "change_format",
        AdminRequest::Change(Change::Email(_)) => "change_email",
        AdminRequest::Change(Change::Registration(_)) => "change_registration",
        AdminRequest::Change(Change::Password { .. }) => "change_password",
        AdminRequest::Confirm { code: None } => "confirm",
        AdminRequest::Confirm { code: Some(_) } => "confirm_code",
        AdminRequest::Delete { .. } => "delete",
    }
}

/// `ok`, or the name of the first error.
fn result(answer: &AdminAnswer) -> &'static str {
    let code = match answer {
        AdminAnswer::Info(answers) => answers.iter().find_map(|answer| answer.value.clone().err()),
        AdminAnswer::Changed(answer) => answer.value.clone().err(),
        AdminAnswer::Confirm { status, code } => {
            code.or((*status == ConfirmStatus::ALREADY).then_some(AdminErrorCode::NOT_DT_STATUS))
        }
        AdminAnswer::Deleted(deleted) => deleted.err(),
    };
    code.map_or("ok", |code| code.name().unwrap_or("other"))
}
