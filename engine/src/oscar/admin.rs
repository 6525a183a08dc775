//! The owner of an account at the host that keeps it: what the host knows of the account, and changes of it.
//!
//! ```no_run
//! # async fn run(settings: rdv::oscar::AccountSettings) -> Result<(), rdv::oscar::AdminError> {
//! use rdv::oscar::AccountAdmin;
//! let mut admin = AccountAdmin::connect(&settings).await?;
//! println!("{:?}", admin.info().await?);
//! admin.set_format("A Lice").await?;
//! admin.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! The service is the foodgroup ADMIN (0x0007), which lives on a connection of its own; old hosts have it as well as ours.

mod door;
mod error;
mod fields;
mod talk;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use rdv_proto::wire::admin::{
    AdminErrorCode, ChangeRequest, ConfirmReply, ConfirmRequest, ConfirmStatus, DeleteReply,
    DeleteRequest, InfoQuery, Registration, ReplyBlock, subgroup, tag,
};
use rdv_proto::wire::text::ScreenName;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub use self::error::AdminError;
pub use self::fields::{AccountInfo, Confirmation, Field};
use self::talk::{Talk, block, refusal};
use super::account::AccountSettings;
use super::client::Client;
use super::error::OscarError;
use super::login;
use super::password::Password;
use super::presence::Presence;

/// An account as its owner manages it. Ask what there is to ask, then drop it or [`AccountAdmin::close`] it: hosts do not keep
/// idle connections of this kind for long.
///
/// One request at a time; if one fails with [`AdminError::Timeout`], [`AdminError::Closed`] or [`AdminError::Protocol`], the
/// others will, too.
pub struct AccountAdmin {
    talk: Talk,
    /// Signed on for this alone: signed off with it.
    own: bool,
    /// Where the account's password is kept for its next sign-on.
    password: Option<watch::Sender<Password>>,
}

impl AccountAdmin {
    /// Signs on and opens the service, both within the limit of the settings for a sign-on.
    ///
    /// # Errors
    /// [`AdminError::Host`], [`AdminError::NoService`] or [`AdminError::Nowhere`].
    pub async fn connect(settings: &AccountSettings) -> Result<Self, AdminError> {
        within(settings, async {
            let presence = Arc::new(Presence::new());
            let client = login::sign_on(settings, presence).await?;
            Self::at(settings, Arc::new(client), true, None).await
        })
        .await
    }

    /// Opens the service for an account that is signed on already.
    pub(super) async fn beside(
        settings: &AccountSettings,
        client: Arc<Client>,
        password: watch::Sender<Password>,
    ) -> Result<Self, AdminError> {
        within(settings, Self::at(settings, client, false, Some(password))).await
    }

    async fn at(
        settings: &AccountSettings,
        client: Arc<Client>,
        own: bool,
        password: Option<watch::Sender<Password>>,
    ) -> Result<Self, AdminError> {
        let talk = door::open(client, &settings.route, &settings.host).await?;
        Ok(Self {
            talk,
            own,
            password,
        })
    }

    /// The connection that is signed on as the account.
    pub fn client(&self) -> &Client {
        self.talk.client()
    }

    /// What the host knows of the account.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn info(&mut self) -> Result<AccountInfo, AdminError> {
        // One question each: a known host answers the first of several only.
        let name = self.query(tag::FORMAT).await?;
        let email = self.query(tag::EMAIL).await?;
        let registration = self.query(tag::REGISTRATION).await?;
        Ok(AccountInfo {
            name: Field::new(&name, fields::name_in(&name)?),
            email: Field::new(&email, fields::email_in(&email)),
            registration: Field::new(&registration, fields::registration_in(&registration)?),
        })
    }

    /// Writes the name in another way: case and single spaces. Gives the form that the host took.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_format(&mut self, format: &str) -> Result<ScreenName, AdminError> {
        let wish = ChangeRequest::field(tag::FORMAT, format.as_bytes().to_vec());
        fields::name_in(&self.change(tag::FORMAT, wish).await?)
    }

    /// Gives the account another mail address. A host that confirms addresses goes on with the old one until its owner has
    /// proven the new one ([`AccountAdmin::confirm_with`]); [`AccountAdmin::info`] tells which one it has.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_email(&mut self, email: &str) -> Result<(), AdminError> {
        let wish = ChangeRequest::field(tag::EMAIL, email.as_bytes().to_vec());
        self.change(tag::EMAIL, wish).await.map(drop)
    }

    /// Says what those who know the mail address may find out.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_registration(
        &mut self,
        status: Registration,
    ) -> Result<Registration, AdminError> {
        let wish = ChangeRequest::registration(status);
        fields::registration_in(&self.change(tag::REGISTRATION, wish).await?)
    }

    /// Gives the account another password. Whoever is signed on stays so; an [`super::Account`] that this was opened from comes
    /// back with the new one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_password(&mut self, new: &Password, old: &Password) -> Result<(), AdminError> {
        let wish = ChangeRequest::password(new.reveal().as_bytes(), old.reveal().as_bytes());
        self.change(tag::PASSWORD, wish).await?;
        if let Some(kept) = &self.password {
            kept.send_replace(new.clone());
        }
        Ok(())
    }

    /// Asks for a mail with a code.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn confirm(&mut self) -> Result<Confirmation, AdminError> {
        self.confirmed(ConfirmRequest::default()).await
    }

    /// Confirms with the code of the mail. False: there was nothing to confirm. Hosts of ours alone know this; others are
    /// confirmed by a page that the mail names.
    ///
    /// # Errors
    /// [`AdminError`]; a code that is wrong or too old is [`AdminErrorCode::ALL_OTHER_ERRORS`].
    pub async fn confirm_with(&mut self, code: &str) -> Result<bool, AdminError> {
        let code = code.trim().as_bytes().to_vec();
        let confirmed = self.confirmed(ConfirmRequest::with_code(code)).await?;
        Ok(confirmed != Confirmation::Already)
    }

    /// Deletes the account, with all that the host keeps of it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete(&mut self, password: &Password) -> Result<(), AdminError> {
        let wish = DeleteRequest::of(password.reveal().as_bytes()).encode();
        let asked = subgroup::ACCT_DELETE_REQUEST;
        let answered = self
            .talk
            .ask(asked, wish, subgroup::ACCT_DELETE_REPLY)
            .await?;
        let reply = DeleteReply::decode(&answered)?;
        match reply.error() {
            Some(code) => Err(refusal(code, &reply.tlvs)),
            None => Ok(()),
        }
    }

    /// Says goodbye; signs off if it was signed on for this.
    pub async fn close(self) {
        let client = self.talk.client().clone();
        self.talk.close().await;
        if self.own {
            client.close().await;
        }
    }

    async fn query(&mut self, field: u16) -> Result<ReplyBlock, AdminError> {
        let wish = InfoQuery::of(&[field]).encode();
        let answered = self
            .talk
            .ask(subgroup::INFO_QUERY, wish, subgroup::INFO_REPLY)
            .await?;
        block(&answered, field)
    }

    async fn change(&mut self, field: u16, wish: ChangeRequest) -> Result<ReplyBlock, AdminError> {
        let answered = self.talk.ask(
            subgroup::INFO_CHANGE_REQUEST,
            wish.encode(),
            subgroup::INFO_CHANGE_REPLY,
        );
        block(&answered.await?, field)
    }

    async fn confirmed(&mut self, wish: ConfirmRequest) -> Result<Confirmation, AdminError> {
        let asked = subgroup::ACCT_CONFIRM_REQUEST;
        let answered = self
            .talk
            .ask(asked, wish.encode(), subgroup::ACCT_CONFIRM_REPLY)
            .await?;
        let reply = ConfirmReply::decode(&answered)?;
        if let Some(code) = reply.error() {
            return Err(refusal(code, &reply.tlvs));
        }
        match reply.status {
            ConfirmStatus::DONE => Ok(Confirmation::MailSent),
            ConfirmStatus::ALREADY => Ok(Confirmation::Already),
            // The statuses are of the same list as the codes.
            ConfirmStatus(other) => Err(refusal(AdminErrorCode(other), &reply.tlvs)),
        }
    }
}

impl fmt::Debug for AccountAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountAdmin").finish_non_exhaustive()
    }
}

/// Within the time that a sign-on may take.
async fn within<T>(
    settings: &AccountSettings,
    work: impl Future<Output = Result<T, AdminError>>,
) -> Result<T, AdminError> {
    let deadline = Instant::now() + settings.limit;
    let done = timeout_at(deadline, work).await;
    done.map_err(|_| AdminError::Host(OscarError::Timeout))?
}
