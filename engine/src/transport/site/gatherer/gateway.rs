//! The mapping that the gateway is asked for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;

use super::super::found::Ports;
use super::Gatherer;
use crate::transport::network;
use crate::transport::portmap::{self, Mapped, PortMap};

impl Gatherer {
    /// Asks the gateway, if there is one that translates.
    pub(super) fn start_mapping(&self) -> Option<PortMap> {
        let options = &self.options;
        let ports = |addresses: Vec<SocketAddr>| Ports::of(addresses.into_iter()).v4;
        let udp = self.exits.udp.iter();
        let udp = ports(udp.filter_map(|one| one.local_addr().ok()).collect());
        let tcp = ports(self.exits.listeners.clone());
        // Host and relay on this machine: whoever reaches them reaches us through them, or is on this machine, too.
        let at_home = !options.stun.is_empty()
            && options.stun.iter().all(|server| server.ip().is_loopback())
            || options.verified.is_some_and(|ip| ip.is_loopback());
        if !options.port_mapping
            || !options.addresses
            || at_home
            || (udp.is_none() && tcp.is_none())
        {
            return None;
        }
        let gateway = network::gateway();
        let own = match options.bind {
            Some(IpAddr::V4(own)) if !own.is_unspecified() => own,
            Some(IpAddr::V6(_)) => return None,
            _ => own_address_towards(gateway)?,
        };
        if own.is_loopback() || portmap::is_outside(own) {
            return None;
        }
        Some(PortMap::start(portmap::Wanted {
            own,
            gateway,
            udp: udp.and_then(NonZeroU16::new),
            tcp: tcp.and_then(NonZeroU16::new),
        }))
    }
}

/// How things stand before any gateway has answered.
pub(super) fn not_mapped(mapping: &Option<PortMap>) -> Mapped {
    let nobody_asked = mapping.is_none();
    Mapped {
        done: nobody_asked,
        control_done: nobody_asked,
        ..Mapped::default()
    }
}

/// Waits for the next change of a mapping. Cancel-safe.
pub(super) async fn changed(mapping: &mut Option<PortMap>) -> Mapped {
    match mapping {
        Some(mapping) => {
            mapping.changed().await;
            mapping.state()
        }
        None => std::future::pending().await,
    }
}

/// The address that packets to `gateway`, or to the world, leave from. Nothing is sent.
fn own_address_towards(gateway: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    /// Somewhere outside (TEST-NET-3).
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((gateway.unwrap_or(OUTSIDE), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) if !own.is_unspecified() => Some(own),
        _ => None,
    }
}
