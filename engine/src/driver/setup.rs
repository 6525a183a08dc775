//! What an engine was built with.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rdv_proto::rendezvous::RelayPolicy;
use rdv_proto::wire::text::ScreenName;

use crate::direct_im::DirectIms;
use crate::security::PlainPolicy;
use crate::service::Services;
use crate::share::Share;
use crate::signaling::{RelayDirectory, Signaling};
use crate::transport::SocksProxy;
use crate::trust::{Identity, KnownPeers};

/// What the engine was built with.
pub(crate) struct Setup {
    pub(crate) signaling: Arc<dyn Signaling>,
    pub(crate) relays: Option<Arc<dyn RelayDirectory>>,
    pub(crate) relay_policy: RelayPolicy,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) host_on_this_machine: bool,
    pub(crate) seen_as: Option<Ipv4Addr>,
    pub(crate) never_dial: BTreeSet<SocketAddr>,
    pub(crate) codes_only: bool,
    pub(crate) only_outgoing: bool,
    pub(crate) services: Services,
    pub(crate) plain: Arc<dyn PlainPolicy>,
    pub(crate) known_peers: Option<KnownPeers>,
    pub(crate) direct_ims: DirectIms,
    pub(crate) share: Option<Share>,
    pub(crate) roads: Roads,
}

impl Setup {
    pub(crate) fn new(signaling: Arc<dyn Signaling>) -> Self {
        let direct_ims = DirectIms::new(signaling.local_name());
        Self {
            signaling,
            relays: None,
            relay_policy: RelayPolicy::Auto,
            identity: None,
            host_on_this_machine: false,
            seen_as: None,
            never_dial: BTreeSet::new(),
            codes_only: false,
            only_outgoing: false,
            services: Services::default(),
            plain: Arc::new(|_: &ScreenName| false),
            known_peers: None,
            direct_ims,
            share: None,
            roads: Roads::default(),
        }
    }
}

/// What the user said of the roads to peers.
#[derive(Clone, Debug)]
pub(crate) struct Roads {
    pub(crate) bind: Option<IpAddr>,
    pub(crate) ports: Option<RangeInclusive<u16>>,
    pub(crate) external: Option<(IpAddr, Option<u16>)>,
    pub(crate) port_mapping: bool,
    pub(crate) udp: bool,
    /// With our own kind.
    pub(crate) tcp: bool,
    pub(crate) socks: Option<SocksProxy>,
    /// `None`: host and relay.
    pub(crate) stun: Option<Vec<SocketAddr>>,
}

impl Default for Roads {
    fn default() -> Self {
        Self {
            bind: None,
            ports: None,
            external: None,
            port_mapping: true,
            udp: true,
            tcp: true,
            socks: None,
            stun: None,
        }
    }
}
