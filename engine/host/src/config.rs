//! What a host and a relay are told at start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rdv_proto::relay::RelayLimits;
use rdv_proto::responder::ResponderLimits;

use crate::accounts::{Accounts, AdminStore, MessageStore};
use crate::admin::AdminConfig;
use crate::discreet::LogPolicy;
use crate::identity::IdentitySource;
use crate::limits::Limits;
use crate::mail::Mailer;

/// Settings of a [`Host`](crate::Host).
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where clients connect to. Port 0: the system picks one, see [`Host::local_addrs`](crate::Host::local_addrs).
    pub listen: Vec<SocketAddr>,
    /// The relay that clients are sent to.
    pub relay: RelaySource,
    /// Numbers that are given out, the shortest first, from 1 to 9999; `7..=7` gives out that one only.
    pub numbers: RangeInclusive<u16>,
    /// The certificate.
    pub identity: IdentitySource,
    /// The address under which the world sees this machine, if not the one that clients connected to.
    pub public_address: Option<IpAddr>,
    /// Where clients are told that the host's own relay is, as `host:port`, if not where it listens.
    pub relay_public: Option<String>,
    /// Key of the relay tickets, see [`keep_relay_key`](crate::keep_relay_key). None: a random one, which suffices unless the
    /// relay is elsewhere.
    pub ticket_key: Option<[u8; 32]>,
    /// Who may sign on with a password. None: guests alone are served.
    pub accounts: Option<Accounts>,
    /// Where messages for accounts that are away are kept. None: in the database of the accounts.
    pub message_store: Option<Arc<dyn MessageStore>>,
    /// What owners may do with their accounts.
    pub admin: AdminConfig,
    /// Where owners change their accounts, if not in [`HostConfig::accounts`] itself. It must hold the same accounts.
    pub admin_store: Option<Arc<dyn AdminStore>>,
    /// Who carries confirmation mails. None: addresses are taken as they are told.
    pub mailer: Option<Arc<dyn Mailer>>,
    /// Let clients from before MD5 sign-on in. Anybody on the way can read their passwords, so these should be good for nothing else.
    pub museum: bool,
    /// What the log may hold of clients.
    pub log: LogPolicy,
    /// What the host bears.
    pub limits: Limits,
    /// What its own relay bears.
    pub relay_limits: RelayLimits,
    /// What its STUN responder bears.
    pub stun_limits: ResponderLimits,
}

impl Default for HostConfig {
    /// One loopback port, a relay on the same port, all numbers, a certificate for this run only.
    fn default() -> Self {
        Self {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            relay: RelaySource::SamePort,
            numbers: 1..=9999,
            identity: IdentitySource::Ephemeral,
            public_address: None,
            relay_public: None,
            ticket_key: None,
            accounts: None,
            message_store: None,
            admin: AdminConfig::default(),
            admin_store: None,
            mailer: None,
            museum: false,
            log: LogPolicy::default(),
            limits: Limits::default(),
            relay_limits: RelayLimits::default(),
            stun_limits: ResponderLimits::default(),
        }
    }
}

/// Which relay a host hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelaySource {
    /// None: clients connect directly or not at all.
    None,
    /// Its own, on the host's port.
    SamePort,
    /// Its own, on these addresses.
    Listen(Vec<SocketAddr>),
    /// Others, each at its `host:port`, which take tickets made with [`HostConfig::ticket_key`] or are open. Those that answer are
    /// handed out in turn.
    Foreign(Vec<String>),
}

/// Settings of a [`Relay`](crate::Relay) without a host around it.
#[derive(Clone)]
pub struct RelayConfig {
    /// Where clients connect to.
    pub listen: Vec<SocketAddr>,
    /// Serve anybody, with or without a ticket.
    pub open: bool,
    /// Key of the hosts whose tickets are taken.
    pub ticket_key: Option<[u8; 32]>,
    /// The address that old clients are told to join at, if not the one that they connected to.
    pub public_address: Option<Ipv4Addr>,
    /// What the relay bears.
    pub limits: RelayLimits,
    /// What its STUN responder bears.
    pub stun_limits: ResponderLimits,
}

impl Default for RelayConfig {
    /// One loopback port, for tickets only; a key must still be given.
    fn default() -> Self {
        Self {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            open: false,
            ticket_key: None,
            public_address: None,
            limits: RelayLimits::default(),
            stun_limits: ResponderLimits::default(),
        }
    }
}

impl std::fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayConfig")
            .field("listen", &self.listen)
            .field("open", &self.open)
            .field("ticket_key", &self.ticket_key.map(|_| "***"))
            .field("public_address", &self.public_address)
            .field("limits", &self.limits)
            .field("stun_limits", &self.stun_limits)
            .finish()
    }
}
