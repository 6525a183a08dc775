//! A user of a host: the way from a kept account to an engine that is signed on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdv::oscar::{Account, AccountSettings, OscarError};
use rdv::signaling::{FixedRelay, RelayDirectory, RelayInfo};
use rdv::transport::Route;
use rdv::trust::{HostTrust, Identity, KnownPeers};
use rdv::{Engine, ScreenName, Services, Share};

use crate::args::{self, Road};
use crate::exit::{Exit, Failure};
use crate::kept::{self, KeptAccount};
use crate::road::{self, refused, tell_host, with_port};
use crate::state;
use crate::ui::Ui;
use crate::ways;

/// One sign-on, both connections of an old host together.
pub(crate) const SIGN_ON_TIMEOUT: Duration = Duration::from_secs(20);

/// Signed on.
pub(crate) struct User {
    account: Arc<Account>,
    kept: KeptAccount,
    /// A relay that the user named.
    relay: Option<RelayInfo>,
}

impl User {
    /// Signs on with the account that is meant, announcing `services`.
    pub(crate) async fn open(
        typed: &args::AsUser,
        road: &Road,
        services: Services,
        ui: &Ui,
    ) -> Result<Self, Failure> {
        let host = road.host.as_deref().map(with_port).transpose()?;
        let relay = typed.relay_server.as_deref().map(with_port).transpose()?;
        // One of the user's own asks for no ticket.
        let relay = relay.map(|address| RelayInfo {
            address,
            ticket: None,
        });
        let mut kept = kept::account(typed.account.as_deref(), host.as_deref())?;
        if road.host_key.is_some() {
            kept.host_key.clone_from(&road.host_key);
        }
        let account = sign_on(&kept, ways::route(&road.ways)?, services, ui).await?;
        Ok(Self {
            account: Arc::new(account),
            kept,
            relay,
        })
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn kept(&self) -> &KeptAccount {
        &self.kept
    }

    /// An engine over this account. `plain`: with whom files may go without encryption; `share`: what is shared.
    pub(crate) async fn engine(
        &self,
        road: &Road,
        services: Services,
        plain: PlainFor,
        share: Option<Share>,
    ) -> Result<Engine, Failure> {
        let mut builder = Engine::builder(Arc::clone(&self.account))
            .identity(identity()?)
            .known_peers(known_peers(&self.kept)?)
            .plain(move |peer: &ScreenName| plain.allows(peer))
            .services(services);
        if let Some(share) = share {
            builder = builder.share(share);
        }
        let relay = match &self.relay {
            Some(relay) => {
                builder = builder.relays(FixedRelay(relay.clone()));
                Some(relay.clone())
            }
            None => {
                builder = builder.relays(Arc::clone(&self.account));
                self.account.relay().await.ok().flatten()
            }
        };
        if services == Services::NONE {
            builder = builder.only_outgoing();
        }
        let client = self.account.client();
        let builder = road::on_host(builder, &client, relay, road).await?;
        Ok(builder.build())
    }

    /// Why the account is gone, in words.
    pub(crate) fn why_gone(&self) -> Failure {
        match self.account.end() {
            Some(error) => refused(&self.kept.host, &error),
            None => Failure::new(Exit::HOST, "signed off"),
        }
    }

    pub(crate) async fn close(self) {
        self.account.close().await;
    }
}

/// Signs on with what is kept of an account.
pub(crate) async fn sign_on(
    kept: &KeptAccount,
    route: Route,
    services: Services,
    ui: &Ui,
) -> Result<Account, Failure> {
    let trust = road::trust(kept.host_key.as_deref())?;
    let settings = settings(kept, trust)
        .route(route)
        .capabilities(services.capabilities())
        .limit(SIGN_ON_TIMEOUT);
    let account = Account::connect(settings).await.map_err(|error| {
        let mut failure = refused(&kept.host, &error);
        let no_tls =
            matches!(error, OscarError::TlsFailed { .. }) && failure.exit != Exit::SECURITY;
        if no_tls && !kept.plain_host {
            failure.sentence.push_str(
                "; if it is an old host that knows no encryption, sign on with --plain-host",
            );
        }
        failure
    })?;
    tell_host(&kept.host, &account.client(), ui);
    Ok(account)
}

/// What is needed to sign on with what is kept.
pub(crate) fn settings(kept: &KeptAccount, trust: HostTrust) -> AccountSettings {
    let (name, password) = (kept.name.clone(), kept.password.clone());
    AccountSettings::new(kept.host.clone(), trust, name, password).old_host(kept.plain_host)
}

/// The key of this install, by which others know it again.
pub(crate) fn identity() -> Result<Identity, Failure> {
    let path = state::own_key().ok_or_else(no_home)?;
    Identity::load_or_make(&path).map_err(|error| Failure::new(Exit::FILES, error.to_string()))
}

/// The keys of others at the host of this account.
pub(crate) fn known_peers(kept: &KeptAccount) -> Result<KnownPeers, Failure> {
    let path = state::known_peers().ok_or_else(no_home)?;
    Ok(KnownPeers::new(path, &kept.host))
}

fn no_home() -> Failure {
    Failure::new(
        Exit::FILES,
        "there is no home folder to keep keys and accounts in",
    )
}

/// With whom files may go without encryption.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlainFor {
    /// The host's users, as said on the command line.
    pub(crate) everybody: bool,
    /// Those named.
    pub(crate) names: BTreeSet<ScreenName>,
}

impl PlainFor {
    /// The contacts for whom it is allowed.
    pub(crate) fn contacts(kept: &KeptAccount) -> Result<Self, Failure> {
        let contacts = kept::contacts(kept)?.into_iter();
        Ok(Self {
            everybody: false,
            names: contacts
                .filter(|contact| contact.allow_plain)
                .map(|contact| contact.name)
                .collect(),
        })
    }

    pub(crate) fn allows(&self, peer: &ScreenName) -> bool {
        self.everybody || self.names.contains(peer)
    }
}
