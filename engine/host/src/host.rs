//! [`Host`]: from settings to a running host.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rdv_proto::relay::{Access, TicketKey};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::info;

use crate::accounts::Accounts;
use crate::config::{HostConfig, RelaySource};
use crate::cookies::Cookies;
use crate::door;
use crate::error::HostError;
use crate::gate::{Gate, GateLimits};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::listener::{accept, addresses, listen};
use crate::metrics::Metrics;
use crate::offer::{Place, RelayOffer};
use crate::people::People;
use crate::random::random;
use crate::reception::Reception;
use crate::relay::{Desk, Meeting, Residents, Roster};
use crate::router::Router;
use crate::stun::{Missing, Stun};

/// What all connections of a host share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// Guests.
    pub(crate) router: Arc<Router>,
    /// Accounts that are signed on.
    pub(crate) people: Arc<People>,
    pub(crate) accounts: Option<Accounts>,
    /// There is one if there are accounts.
    pub(crate) reception: Option<Reception>,
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
}

/// A host that listens, but does not answer yet.
pub struct Host {
    listeners: Vec<TcpListener>,
    relay_listeners: Vec<TcpListener>,
    relay_addrs: Vec<SocketAddr>,
    stun_missing: Vec<Missing>,
    fingerprint: [u8; 32],
    shared: Arc<Shared>,
    /// The own relay and the desk of it.
    relay: Option<(Meeting, Desk)>,
}

impl Host {
    /// Opens the listeners and reads or makes the certificate. Clients that connect now are served when the host runs.
    ///
    /// # Errors
    /// [`HostError`]: nothing listens then.
    pub async fn bind(config: HostConfig) -> Result<Self, HostError> {
        if config.numbers.is_empty() || *config.numbers.start() == 0 || *config.numbers.end() > 9999
        {
            return Err(HostError::Numbers);
        }
        let identity = Identity::load(&config.identity)?;
        let listeners = listen(&config.listen)?;
        let key = TicketKey::new(match config.ticket_key {
            Some(key) => key,
            None => random()?,
        });
        let relay_listeners = match &config.relay {
            RelaySource::Listen(addresses) => listen(addresses)?,
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
        let (stun, stun_missing) = Stun::open(
            listeners.iter().chain(&relay_listeners),
            config.public_address,
            config.stun_limits,
        );
        let limits = config.limits;
        let metrics = Metrics::new();
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
            )
        });
        let gate = Gate::new(GateLimits {
            connections: limits.connections,
            per_address: limits.unsigned_per_address,
            in_all: limits.unsigned,
        });
        let same_port = config.relay == RelaySource::SamePort;
        let shared = Arc::new(Shared {
            limits,
            tls: identity.tls,
            router: Router::new(config.numbers, limits, metrics.clone()),
            people,
            reception: config
                .accounts
                .clone()
                .map(|accounts| Reception::new(accounts, limits, metrics.clone())),
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
        });
        Ok(Self {
            listeners,
            relay_listeners,
            relay_addrs,
            stun_missing,
            fingerprint: identity.fingerprint,
            shared,
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

    /// Serves until `shutdown` resolves; then tells the clients, and ends.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut loops = JoinSet::new();
        if let Some((meeting, desk)) = self.relay {
            loops.spawn(desk.run(stopped.clone()));
            for listener in self.relay_listeners {
                loops.spawn(crate::relay::serve(
                    listener,
                    meeting.clone(),
                    stopped.clone(),
                ));
            }
        }
        if let Some(Place::Elsewhere(roster)) = self.shared.relay.as_ref().map(|offer| &offer.place)
        {
            loops.spawn(Arc::clone(roster).watch(stopped.clone()));
        }
        loops.spawn(self.shared.stun.clone().serve(stopped.clone()));
        let farewell = self.shared.limits.farewell;
        for (number, listener) in self.listeners.into_iter().enumerate() {
            let (shared, stopped) = (Arc::clone(&self.shared), stopped.clone());
            loops.spawn(async move {
                accept(listener, stopped.clone(), |stream, peer, arrived| {
                    let pass = shared
                        .gate
                        .enter(arrived, peer.ip())
                        .inspect_err(|limit| shared.metrics.refused(*limit))
                        .ok()?;
                    let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                    Some(door::enter(
                        shared, stream, peer, arrived, number, pass, stopped,
                    ))
                })
                .await;
            });
        }
        info!("host is up");
        shutdown.await;
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
        HostHandle {
            local_addrs: self.local_addrs(),
            relay_addrs: self.relay_addrs(),
            fingerprint: self.fingerprint,
            stop: Some(stop),
            task: Some(tokio::spawn(self.run(async {
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
    stop: Option<oneshot::Sender<()>>,
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
