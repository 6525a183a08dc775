//! What the machine has to know about the place it runs in.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use uuid::Uuid;

use super::LegacySecurity;
use super::candidate::Judge;
use crate::wire::service::NATIVE;
use crate::wire::text::ScreenName;

/// What the machine has to know about the place it runs in. May be replaced while conversations
/// run (`Endpoint::config_mut`): addresses are judged when they arrive.
///
/// The default refuses everything that has to be allowed: no service of old clients, no loopback
/// or inner addresses, no plain connections, no relay.
#[derive(Clone, Debug)]
pub struct Config {
    /// Services whose incoming proposals are put before the user. The native service belongs here
    /// only if proposals without a code are welcome; codes work without. Others get NAK 0x00.
    pub services: BTreeSet<Uuid>,
    /// First proposals of others get no answer of any kind: another session of the same user listens, and answers them.
    pub only_outgoing: bool,
    /// We are known only as the owner of the number of a code, which the host has bound to whoever spoke to it first: any
    /// first proposal is the one guess that the code allows, whatever it is like (S-06).
    pub first_word_decides: bool,
    /// Services that follow the native policy. All others are legacy ones.
    pub native_services: BTreeSet<Uuid>,
    /// Least security of incoming legacy proposals. Those below get NAK 0x0A at once (S-03).
    pub legacy_security: LegacySecurity,
    /// Own interfaces: address and prefix. An address in one of these subnets is never refused
    /// for its class.
    pub interfaces: Vec<Subnet>,
    /// Our own address as the host sees it. A peer with the same one is behind the same router.
    pub verified: Option<Ipv4Addr>,
    /// Whether our connection to the host ends on this machine; then loopback addresses are
    /// meant, and needed.
    pub host_is_local: bool,
    /// Listening addresses of host and relay. Never dialled as a peer.
    pub infrastructure: Vec<SocketAddr>,
    /// The user allows loopback addresses.
    pub allow_loopback: bool,
    /// The user allows private addresses outside our own subnets.
    pub allow_private: bool,
    /// Whether a relay is known on which a session can be created.
    pub relay_known: bool,
    /// Peers the user knows. When too many proposals are open, those of others go first.
    pub contacts: BTreeSet<ScreenName>,
    /// Peers that get no answer of any kind.
    pub ignored: BTreeSet<ScreenName>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            services: BTreeSet::new(),
            only_outgoing: false,
            first_word_decides: false,
            native_services: BTreeSet::from([NATIVE]),
            legacy_security: LegacySecurity::Required,
            interfaces: Vec::new(),
            verified: None,
            host_is_local: false,
            infrastructure: Vec::new(),
            allow_loopback: false,
            allow_private: false,
            relay_known: false,
            contacts: BTreeSet::new(),
            ignored: BTreeSet::new(),
        }
    }
}

impl Config {
    /// Whether a relay that a peer names may be connected to: our own always, others by the rules
    /// for foreign addresses. For those who resolve the name of a relay: judge each result.
    #[must_use]
    pub fn relay_allowed(&self, address: SocketAddr) -> bool {
        Judge {
            config: self,
            peer_verified: None,
            own: &[],
        }
        .admit_relay(address)
    }
}

impl Config {
    /// Where we reach the relay that a peer names. A host that carries a relay on its own port has many addresses, and the
    /// peer, who may sit on the same machine, knows another one than we: then it is where we reach the host.
    pub(super) fn relay_reached_at(&self, named: SocketAddr) -> Option<SocketAddr> {
        if self.relay_allowed(named) {
            return Some(named);
        }
        let mut known = self.infrastructure.iter();
        known.find(|host| host.port() == named.port()).copied()
    }
}

/// An address of one of our interfaces and the length of its network prefix in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Our address on that interface.
    pub address: IpAddr,
    /// 0..=32 for IPv4, 0..=128 for IPv6. Larger values count as the largest.
    pub prefix_bits: u8,
}

impl Subnet {
    /// Whether `other` lies in this subnet.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let host_bits = 32 - u32::from(self.prefix_bits.min(32));
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let host_bits = 128 - u32::from(self.prefix_bits.min(128));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                u128::from(own) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }
}
