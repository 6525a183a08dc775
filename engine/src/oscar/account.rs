//! A user of a host, who stays signed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use uuid::Uuid;

use super::keeper::{Keeper, Return, Standing};
use super::login;
use super::password::Password;
use super::presence::{Presence, PresenceEvent};
use super::session::Found;
use super::{AccountAdmin, AdminError, Client, OscarError};
use crate::signaling::{BoxFuture, Incoming, RelayDirectory, RelayInfo, Signaling, SignalingError};
use crate::transport::Route;
use crate::trust::HostTrust;

/// The users of a host that was killed come back over this time: to check a password takes a host its while.
const SPREAD: Duration = Duration::from_secs(4);
/// Longest pause before coming back: a host that is there again sees all of its users within 10 s.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How long one sign-on may take unless said otherwise.
const SIGN_ON_LIMIT: Duration = Duration::from_secs(20);

/// Who signs on, where, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AccountSettings {
    /// `HOST:PORT`.
    pub host: String,
    /// The way to it.
    pub route: Route,
    /// Which key the host must have.
    pub trust: HostTrust,
    /// The account.
    pub name: ScreenName,
    /// Its password.
    pub password: Password,
    /// The host is somebody else's and old: the MD5 sign-on is allowed, and no TLS if the host has none. The user must have said so for
    /// this host, and must be told each time (`security.md` 4).
    pub old_host: bool,
    /// What is announced, so that others offer it: services by their UUIDs.
    pub capabilities: Vec<Uuid>,
    /// How long one sign-on may take.
    pub limit: Duration,
}

impl AccountSettings {
    /// An account at a host of our kind that announces nothing.
    pub fn new(
        host: impl Into<String>,
        trust: HostTrust,
        name: ScreenName,
        password: Password,
    ) -> Self {
        Self {
            host: host.into(),
            route: Route::default(),
            trust,
            name,
            password,
            old_host: false,
            capabilities: Vec::new(),
            limit: SIGN_ON_LIMIT,
        }
    }

    /// Allows the old sign-on, see [`AccountSettings::old_host`].
    #[must_use]
    pub fn old_host(mut self, yes: bool) -> Self {
        self.old_host = yes;
        self
    }

    /// Takes this way to the host instead of the system's own.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Announces these services.
    #[must_use]
    pub fn capabilities(mut self, capabilities: impl IntoIterator<Item = Uuid>) -> Self {
        self.capabilities = capabilities.into_iter().collect();
        self
    }

    /// Bounds each sign-on.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// An account that is signed on to a host, and signs on again when the connection breaks. Signs off when dropped;
/// [`Account::close`] waits for it.
///
/// Other sessions of the account may exist beside it; a host then sends what comes in to all of them.
#[derive(Debug)]
pub struct Account {
    keeper: Keeper<Client>,
    presence: Arc<Presence>,
    watched: watch::Sender<Vec<ScreenName>>,
    settings: AccountSettings,
    /// The one in the settings, or a newer one.
    password: watch::Sender<Password>,
}

impl Account {
    /// Signs on.
    ///
    /// # Errors
    /// [`OscarError`] of the first sign-on; later ones are tried again unless the host says no for good.
    pub async fn connect(settings: AccountSettings) -> Result<Self, OscarError> {
        let presence = Arc::new(Presence::new());
        let first = sign_on(&settings, &presence).await?;
        Ok(Self::keep(first, settings, presence))
    }

    /// Makes the account at a host of our kind, with a mail address if one is given, and signs on to it.
    ///
    /// # Errors
    /// [`OscarError::Refused`] if the host makes no accounts for strangers, or not this one; [`OscarError::NoAccountsMade`] if it
    /// is none of our kind; and those of [`Account::connect`].
    pub async fn create(
        settings: AccountSettings,
        email: Option<&str>,
    ) -> Result<Self, OscarError> {
        let presence = Arc::new(Presence::new());
        let email = email.unwrap_or_default();
        let made = login::create(&settings, email, presence.clone());
        let first = timeout(settings.limit, made)
            .await
            .map_err(|_| OscarError::Timeout)??;
        Ok(Self::keep(first, settings, presence))
    }

    fn keep(first: Client, settings: AccountSettings, presence: Arc<Presence>) -> Self {
        let watched = watch::Sender::new(Vec::new());
        let password = watch::Sender::new(settings.password.clone());
        let back = SignOnAgain {
            settings: settings.clone(),
            password: password.subscribe(),
            presence: presence.clone(),
            watched: watched.subscribe(),
        };
        Self {
            keeper: Keeper::new(first, back),
            presence,
            watched,
            settings,
            password,
        }
    }

    /// Opens the service that manages the account itself, beside the connection that we have. A password that is changed there
    /// is the one with which we come back.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn admin(&self) -> Result<AccountAdmin, AdminError> {
        AccountAdmin::beside(&self.settings, self.client(), self.password.clone()).await
    }

    /// The connection that we have, or had last: for what is known about the host.
    pub fn client(&self) -> Arc<Client> {
        self.keeper.connection()
    }

    /// How we stand with the host, now and as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.keeper.standing()
    }

    /// Why we are [`Standing::Gone`]; none while we are not, or if we closed it ourselves.
    pub fn end(&self) -> Option<Arc<OscarError>> {
        self.keeper.end()
    }

    /// Wants to hear of these users in [`Account::presence`] from now on, over all reconnections; those of earlier calls stay.
    ///
    /// # Errors
    /// [`SignalingError::Closed`] once the account is gone for good.
    pub async fn watch(&self, names: &[ScreenName]) -> Result<(), SignalingError> {
        self.watched.send_modify(|watched| {
            let new = names.iter().filter(|name| !watched.contains(name));
            let new: Vec<_> = new.cloned().collect();
            watched.extend(new);
        });
        self.keeper
            .with(|connection| async move { connection.watch(names.to_vec()).await })
            .await
    }

    /// Who comes and goes, of those whom the host tells us about.
    pub fn presence(&self) -> broadcast::Receiver<PresenceEvent> {
        self.presence.events()
    }

    /// Signs off, and does not come back.
    pub async fn close(&self) {
        self.keeper.close().await;
    }
}

impl Signaling for Account {
    fn local_name(&self) -> ScreenName {
        self.keeper.name().clone()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(self.keeper.send(to, body, host_ack))
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(self.keeper.recv())
    }

    fn doubt(&self) {
        self.keeper.doubt();
    }

    /// What the clients of `peer` can do together, as the host says it, or said it a moment ago.
    fn capabilities(
        &self,
        peer: &ScreenName,
    ) -> BoxFuture<'_, Result<Option<Vec<Uuid>>, SignalingError>> {
        let peer = peer.clone();
        Box::pin(async move {
            if let Some(capabilities) = self.presence.capabilities(&peer) {
                return Ok(Some(capabilities));
            }
            let found = self.keeper.with(|connection| {
                let peer = peer.clone();
                async move { connection.find(&peer).await }
            });
            match found.await? {
                Found::Online(capabilities) => Ok(Some(capabilities)),
                Found::Offline => Err(SignalingError::PeerOffline),
                Found::Untold => Ok(None),
            }
        })
    }
}

impl RelayDirectory for Account {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(
            self.keeper
                .with(|connection| async move { connection.relay().await }),
        )
    }

    fn relay_for(
        &self,
        cookie: Cookie,
        avoid: Vec<String>,
    ) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(self.keeper.with(move |connection| {
            let avoid = avoid.clone();
            async move { connection.relay_for(cookie, avoid).await }
        }))
    }
}

async fn sign_on(
    settings: &AccountSettings,
    presence: &Arc<Presence>,
) -> Result<Client, OscarError> {
    timeout(settings.limit, login::sign_on(settings, presence.clone()))
        .await
        .map_err(|_| OscarError::Timeout)?
}

/// The way back.
struct SignOnAgain {
    settings: AccountSettings,
    password: watch::Receiver<Password>,
    presence: Arc<Presence>,
    watched: watch::Receiver<Vec<ScreenName>>,
}

impl Return for SignOnAgain {
    type Connection = Client;

    fn dial(&mut self) -> BoxFuture<'_, Result<Client, OscarError>> {
        Box::pin(async {
            self.presence.forget();
            self.settings.password = self.password.borrow().clone();
            let client = sign_on(&self.settings, &self.presence).await?;
            let watched = self.watched.borrow().clone();
            if !watched.is_empty() {
                // A connection that broke already is found out elsewhere.
                let _ = client.watch(watched).await;
            }
            Ok(client)
        })
    }

    fn is_final(&self, error: &OscarError) -> bool {
        match error {
            OscarError::Refused { code } => is_for_good(*code),
            OscarError::OldSignOnOnly
            | OscarError::SignedOnElsewhere
            | OscarError::AccountDeleted => true,
            other => other.is_about_the_host_key(),
        }
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    fn spread(&self) -> Option<Duration> {
        Some(SPREAD)
    }

    fn longest_pause(&self, _away: Duration) -> Duration {
        PAUSE_MAX
    }
}

/// Whether the host would say the same tomorrow. The others are about load, or about sessions of ours that it has not given up yet.
fn is_for_good(code: LoginErrorCode) -> bool {
    const NO_SUCH_NAME: LoginErrorCode = LoginErrorCode(0x01);
    const NO_MATCH: LoginErrorCode = LoginErrorCode(0x04);
    const INVALID_ACCOUNT: LoginErrorCode = LoginErrorCode(0x07);
    matches!(
        code,
        NO_SUCH_NAME
            | NO_MATCH
            | INVALID_ACCOUNT
            | LoginErrorCode::WRONG_PASSWORD
            | LoginErrorCode::BAD_INPUT
            | LoginErrorCode::DELETED
            | LoginErrorCode::EXPIRED
            | LoginErrorCode::SUSPENDED
    )
}

#[cfg(test)]
mod tests;
