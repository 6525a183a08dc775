//! [`Host`]: from settings to a running host.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use rdv_proto::relay::{Access, TicketKey};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::info;

use crate::accounts::{Accounts, MessageStore};
use crate::admin::Administration;
use crate::config::{HostConfig, RelaySource};
use crate::cookies::Cookies;
use crate::discreet::Discreet;
use crate::door;
use crate::drain::{Drain, DrainConfig};
use crate::edits::Edits;
use crate::error::HostError;
use crate::gate::{Gate, GateLimits};
use crate::health::Health;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::listener::{Sockets, accept, addresses, open_or_adopt};
use crate::metrics::Metrics;
use crate::offer::{Place, RelayOffer};
use crate::operator::watch_accounts;
use crate::people::People;
use crate::random::random;
use crate::reception::Reception;
use crate::relay::{Desk, Meeting, Residents, Roster};
use crate::router::Router;
use crate::routing::{InProcess, Routes};
use crate::stored::Stored;
use crate::stun::{Missing, Stun};

/// What all connections of a host share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// Who is signed on, guests and accounts.
    pub(crate) routes: Routes,
    pub(crate) accounts: Option<Accounts>,
    /// By which lists of accounts are looked at in turn.
    pub(crate) edits: Edits,
    /// Messages for accounts that are away.
    pub(crate) stored: Option<Stored>,
    /// There is one if there are accounts.
    pub(crate) reception: Option<Reception>,
    /// What owners do with their accounts, likewise.
    pub(crate) admin: Option<Administration>,
    /// Where errors of that are explained.
    pub(crate) error_url: Bytes,
    pub(crate) cookies: Cookies,
    pub(crate) museum: bool,
    /// The address handed out instead of the one that a client reached.
    pub(crate) public_address: Option<IpAddr>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) relay: Option<RelayOffer>,
    /// The own relay, if it is reached on the host's port.
    pub(crate) meeting: Option<Meeting>,
    pub(crate) stun: Stun,
    pub(crate) metrics: Metrics,
    pub(crate) drain: Drain,
    pub(crate) log: Discreet,
}

/// A host that listens, but does not answer yet.
pub struct Host {
    listeners: Vec<TcpListener>,
    relay_listeners: Vec<TcpListener>,
    relay_addrs: Vec<SocketAddr>,
    stun_missing: Vec<Missing>,
    fingerprint: [u8; 32],
    shared: Arc<Shared>,
    /// The sockets are somebody else's, and stay open when the host ends.
    sockets_stay: bool,
    /// The own relay and the desk of it.
    relay: Option<(Meeting, Desk)>,
}

impl Host {
    /// Opens the listeners and reads or makes the certificate. Clients that connect now are served when the host runs.
    ///
    /// # Errors
    /// [`HostError`]: nothing listens then.
    pub async fn bind(config: HostConfig) -> Result<Self, HostError> {
        Self::bind_to(config, Sockets::default()).await
    }

    /// As [`Host::bind`], with sockets that listen already where there are some.
    ///
    /// # Errors
    /// As [`Host::bind`].
    pub async fn bind_to(config: HostConfig, sockets: Sockets) -> Result<Self, HostError> {
        let sockets_stay = !sockets.host.is_empty();
        if config.numbers.is_empty() || *config.numbers.start() == 0 || *config.numbers.end() > 9999
        {
            return Err(HostError::Numbers);
        }
        let identity = Identity::load(&config.identity)?;
        let listeners = open_or_adopt(sockets.host, &config.listen)?;
        let key = TicketKey::new(match config.ticket_key {
            Some(key) => key,
            None => random()?,
        });
        let relay_listeners = match &config.relay {
            RelaySource::Listen(addresses) => open_or_adopt(sockets.relay, addresses)?,
            _ => Vec::new(),
        };
        let (place, relay_addrs) = match &config.relay {
            RelaySource::None => (None, Vec::new()),
            RelaySource::SamePort => (Some(Place::SamePort), addresses(&listeners)),
            RelaySource::Listen(_) => {
                let addresses = addresses(&relay_listeners);
                (Some(Place::Ports(addresses.clone())), addresses)
            }
            RelaySource::Foreign(addresses) => {
                let roster = Arc::new(Roster::new(addresses.clone()));
                (Some(Place::Elsewhere(roster)), Vec::new())
            }
        };
        let place = place.map(|place| match (place, &config.relay_public) {
            (place @ Place::Elsewhere(_), _) | (place, None) => place,
            (_, Some(public)) => Place::Named(public.clone()),
        });
        let public_v4 = config.public_address.and_then(|address| match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        let metrics = Metrics::new();
        let (stun, stun_missing) = Stun::open(
            listeners.iter().chain(&relay_listeners),
            config.public_address,
            config.stun_limits,
            metrics.clone(),
        );
        let limits = config.limits;
        let people = People::new(limits, metrics.clone());
        let residents: Arc<dyn Residents> = people.clone();
        let relay = (!relay_addrs.is_empty()).then(|| {
            let access = Access::Tickets(key.clone());
            Meeting::new(
                access,
                config.relay_limits,
                public_v4,
                Some(residents.clone()),
                stun.clone(),
                metrics.clone(),
            )
        });
        let admin = config
            .accounts
            .as_ref()
            .map(|accounts| Administration::new(accounts, &config, metrics.clone()));
        let gate = Gate::new(GateLimits {
            connections: limits.connections,
            per_address: limits.unsigned_per_address,
            in_all: limits.unsigned,
        });
        let same_port = config.relay == RelaySource::SamePort;
        let shared = Arc::new(Shared {
            limits,
            tls: identity.tls,
            routes: Routes::new(Arc::new(InProcess {
                guests: Router::new(config.numbers, limits, metrics.clone()),
                people,
            })),
            edits: Edits::default(),
            stored: config.accounts.clone().map(|accounts| {
                let own = || Arc::new(accounts.clone()) as Arc<dyn MessageStore>;
                let messages = config.message_store.clone().unwrap_or_else(own);
                Stored::new(accounts, messages)
            }),
            reception: config
                .accounts
                .clone()
                .map(|accounts| Reception::new(accounts, limits, metrics.clone())),
            admin,
            error_url: Bytes::from(config.admin.error_url),
            accounts: config.accounts,
            cookies: Cookies::new(limits.cookie_life, limits.cookies),
            museum: config.museum,
            public_address: config.public_address,
            gate,
            relay: place.map(|place| RelayOffer {
                place,
                public_address: config.public_address,
                key,
                ticket_life: limits.ticket_life,
                ticket_budget: config.relay_limits.pair_bytes,
            }),
            meeting: relay
                .as_ref()
                .filter(|_| same_port)
                .map(|(meeting, _)| meeting.clone()),
            stun,
            metrics,
            drain: Drain::new(),
            log: Discreet::new(config.log),
        });
        Ok(Self {
            listeners,
            relay_listeners,
            relay_addrs,
            stun_missing,
            fingerprint: identity.fingerprint,
            shared,
            sockets_stay,
            relay,
        })
    }

    /// Where clients connect to, with the ports that the system picked.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners)
    }

    /// Where the host's own relay listens; empty if it has none.
    pub fn relay_addrs(&self) -> Vec<SocketAddr> {
        self.relay_addrs.clone()
    }

    /// Where STUN is answered over UDP: the port numbers of host and relay that were free, and a further one where these are one.
    pub fn stun_addrs(&self) -> Vec<SocketAddr> {
        self.shared.stun.local_addrs()
    }

    /// Port numbers of host and relay that are somebody else's over UDP, and what the system says: STUN is not answered there.
    pub fn stun_missing(&self) -> &[(SocketAddr, std::io::Error)] {
        &self.stun_missing
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo, which clients pin.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// What the host counts about itself, its relay included.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics.clone()
    }

    /// For whoever wants to know whether the host can do its work.
    pub fn health(&self) -> Health {
        Health::new(Arc::clone(&self.shared))
    }

    /// Serves until `shutdown` resolves; then tells the clients, and ends.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        self.run_draining(std::future::pending(), shutdown).await;
    }

    /// Serves until `drain` resolves, then goes down as it says; or until `end` resolves, then at once.
    ///
    /// While it drains, nobody signs on any more and no session of the relay is begun, pairs of the relay go on, and then the clients
    /// leave. Sockets that were handed over are closed here at once: who connects now waits for the next host.
    pub async fn run_draining(
        self,
        drain: impl Future<Output = DrainConfig>,
        end: impl Future<Output = ()>,
    ) {
        let (stop, stopped) = watch::channel(false);
        let (close, closed) = watch::channel(false);
        let shared = Arc::clone(&self.shared);
        let own_relay = self.relay.as_ref().map(|(meeting, _)| meeting.clone());
        let mut loops = JoinSet::new();
        if let Some((meeting, desk)) = self.relay {
            loops.spawn(desk.run(stopped.clone()));
            for listener in self.relay_listeners {
                loops.spawn(crate::relay::serve(
                    listener,
                    meeting.clone(),
                    closed.clone(),
                ));
            }
        }
        if let Some(Place::Elsewhere(roster)) = self.shared.relay.as_ref().map(|offer| &offer.place)
        {
            loops.spawn(Arc::clone(roster).watch(stopped.clone()));
        }
        if let Some(accounts) = self.shared.accounts.clone() {
            let shared = Arc::clone(&self.shared);
            loops.spawn(watch_accounts(accounts, shared, stopped.clone()));
        }
        loops.spawn(self.shared.stun.clone().serve(stopped.clone()));
        let farewell = self.shared.limits.farewell;
        for (number, listener) in self.listeners.into_iter().enumerate() {
            let (shared, closed) = (Arc::clone(&self.shared), closed.clone());
            loops.spawn(async move {
                accept(listener, closed, |stream, peer, arrived| {
                    let pass = shared
                        .gate
                        .enter(arrived, peer.ip())
                        .inspect_err(|limit| shared.metrics.refused(*limit))
                        .ok()?;
                    let (shared, leave) = (Arc::clone(&shared), shared.drain.leave());
                    Some(door::enter(
                        shared, stream, peer, arrived, number, pass, leave,
                    ))
                })
                .await;
            });
        }
        info!("host is up");
        let down = async {
            let config = drain.await;
            info!("host begins nothing new");
            shared.metrics.draining();
            shared.drain.begin();
            if self.sockets_stay {
                close.send_replace(true);
            }
            if let Some(meeting) = own_relay {
                meeting.drain().await;
                timeout(config.relay_time, meeting.idle()).await.ok();
            }
            shared
                .drain
                .sign_off(config.sign_off_spread, config.sign_off_each);
            let leaving = config.sign_off_spread.saturating_add(farewell);
            timeout(leaving, shared.drain.is_empty()).await.ok();
        };
        tokio::select! {
            () = down => {}
            () = end => {}
        }
        shared.drain.down();
        close.send_replace(true);
        stop.send_replace(true);
        timeout(farewell, async {
            while loops.join_next().await.is_some() {}
        })
        .await
        .ok();
        info!("host is down");
    }

    /// Runs in a task of its own.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(self) -> HostHandle {
        let (stop, stopped) = oneshot::channel();
        let (drain, drained) = oneshot::channel();
        let drained = async {
            match drained.await {
                Ok(config) => config,
                // The handle was dropped, or stopped the host at once.
                Err(_) => std::future::pending().await,
            }
        };
        HostHandle {
            local_addrs: self.local_addrs(),
            relay_addrs: self.relay_addrs(),
            fingerprint: self.fingerprint,
            metrics: self.metrics(),
            health: self.health(),
            stop: Some(stop),
            drain: Some(drain),
            task: Some(tokio::spawn(self.run_draining(drained, async {
                // A handle that is gone is a call to stop as well.
                let _: Result<(), _> = stopped.await;
            }))),
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("local_addrs", &self.local_addrs())
            .field("relay_addrs", &self.relay_addrs)
            .finish_non_exhaustive()
    }
}

/// A running host. Dropped, it stops by itself.
#[derive(Debug)]
pub struct HostHandle {
    local_addrs: Vec<SocketAddr>,
    relay_addrs: Vec<SocketAddr>,
    fingerprint: [u8; 32],
    metrics: Metrics,
    health: Health,
    stop: Option<oneshot::Sender<()>>,
    drain: Option<oneshot::Sender<DrainConfig>>,
    task: Option<JoinHandle<()>>,
}

impl HostHandle {
    /// As [`Host::local_addrs`].
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// As [`Host::relay_addrs`].
    pub fn relay_addrs(&self) -> &[SocketAddr] {
        &self.relay_addrs
    }

    /// As [`Host::fingerprint`].
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// As [`Host::metrics`].
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// As [`Host::health`].
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Begins to go down; the host serves those that are on until it has.
    pub fn begin_drain(&mut self, config: DrainConfig) {
        if let Some(drain) = self.drain.take() {
            drain.send(config).ok();
        }
    }

    /// Goes down, and returns when all is.
    pub async fn drain(mut self, config: DrainConfig) {
        self.begin_drain(config);
        if let Some(task) = self.task.take() {
            task.await.ok();
        }
    }

    /// Tells the clients, and returns when all is down.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        if let Some(task) = self.task.take() {
            task.await.ok();
        }
    }
}
