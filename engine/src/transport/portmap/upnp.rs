//! UPnP-IGD: the gateway is asked directly, and by multicast since some routers answer to nothing else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchOptions};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Wanted, lease};

/// To find the router and read what it can do.
const SEARCH: Duration = Duration::from_secs(1);
/// One question to a router that was found.
const CALL: Duration = Duration::from_secs(3);
/// Where devices listen (UPnP Device Architecture 1.1, 1.3.2).
const SSDP_PORT: u16 = 1900;
/// Shown in the router's list.
const DESCRIPTION: &str = "rdv";

/// A router that can map ports.
#[derive(Debug, Clone)]
pub(super) struct Device {
    gateway: Gateway<Tokio>,
    own: Ipv4Addr,
}

/// # Errors
/// In words, if there is none, or if it is not the gateway `gateway`: others do not translate for us.
pub(super) async fn search(own: Ipv4Addr, gateway: Option<Ipv4Addr>) -> Result<Device, String> {
    let multicast = SearchOptions::default().broadcast_address;
    let directly = gateway.map(|ip| SocketAddr::from((ip, SSDP_PORT)));
    let mut searches = JoinSet::new();
    for to in directly.into_iter().chain([multicast]) {
        searches.spawn(at(own, to, gateway));
    }
    let mut failed = String::new();
    while let Some(found) = searches.join_next().await {
        match found {
            Ok(Ok(device)) => return Ok(device),
            Ok(Err(error)) => failed = error,
            Err(error) => failed = error.to_string(),
        }
    }
    Err(failed)
}

async fn at(own: Ipv4Addr, to: SocketAddr, gateway: Option<Ipv4Addr>) -> Result<Device, String> {
    let mut options = SearchOptions::default();
    options.bind_addr = (own, 0).into();
    options.broadcast_address = to;
    options.timeout = Some(SEARCH);
    options.single_search_timeout = Some(SEARCH);
    options.allowed_gateway_ips = gateway.map(IpAddr::V4).into_iter().collect();
    let found = search_gateway(options)
        .await
        .map_err(|error| error.to_string())?;
    match gateway {
        Some(ip) if found.addr.ip() != IpAddr::V4(ip) => {
            Err("another device than the gateway answered".to_owned())
        }
        _ => Ok(Device {
            gateway: found,
            own,
        }),
    }
}

impl Device {
    /// # Errors
    /// In words, if the router grants nothing for a limited time.
    pub(super) async fn map(
        &self,
        wanted: &Wanted,
        lease: Duration,
    ) -> Result<lease::Lease, String> {
        let outer = within(self.gateway.get_external_ip()).await?;
        let IpAddr::V4(outer) = outer else {
            return Err("the router names no IPv4 address".to_owned());
        };
        let udp = self.one(PortMappingProtocol::UDP, wanted.udp, lease).await;
        let tcp = self.one(PortMappingProtocol::TCP, wanted.tcp, lease).await;
        let (udp, tcp) = match (udp, tcp) {
            (Err(error), Err(_) | Ok(None)) | (Ok(None), Err(error)) => return Err(error),
            (udp, tcp) => (udp.ok().flatten(), tcp.ok().flatten()),
        };
        Ok(lease::Lease::Upnp(Lease {
            device: self.clone(),
            outer,
            udp,
            tcp,
            ends: Instant::now() + lease,
        }))
    }

    async fn one(
        &self,
        protocol: PortMappingProtocol,
        port: Option<NonZeroU16>,
        lease: Duration,
    ) -> Result<Option<Port>, String> {
        let Some(inner) = port else { return Ok(None) };
        let own = SocketAddr::from((self.own, inner.get()));
        let seconds = seconds(lease);
        // The same port outside, if it is free. Never a permanent one, even if the router knows no other.
        let same = self
            .gateway
            .add_port(protocol, inner.get(), own, seconds, DESCRIPTION);
        let outer = match timeout(CALL, same).await {
            Ok(Ok(())) => inner.get(),
            Ok(Err(AddPortError::PortInUse)) => {
                within(
                    self.gateway
                        .add_any_port(protocol, own, seconds, DESCRIPTION),
                )
                .await?
            }
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(NO_ANSWER.to_owned()),
        };
        Ok(Some(Port {
            protocol,
            inner,
            outer,
        }))
    }
}

const NO_ANSWER: &str = "the router was found, but does not answer";

async fn within<T, E: ToString>(call: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match timeout(CALL, call).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(NO_ANSWER.to_owned()),
    }
}

/// Zero would be for ever.
fn seconds(lease: Duration) -> u32 {
    u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).max(1)
}

#[derive(Debug, Clone, Copy)]
struct Port {
    protocol: PortMappingProtocol,
    inner: NonZeroU16,
    outer: u16,
}

/// What a router granted.
#[derive(Debug)]
pub(super) struct Lease {
    device: Device,
    outer: Ipv4Addr,
    udp: Option<Port>,
    tcp: Option<Port>,
    ends: Instant,
}

impl Lease {
    pub(super) fn udp(&self) -> Option<SocketAddrV4> {
        self.udp
            .map(|port| SocketAddrV4::new(self.outer, port.outer))
    }

    pub(super) fn tcp(&self) -> Option<SocketAddrV4> {
        self.tcp
            .map(|port| SocketAddrV4::new(self.outer, port.outer))
    }

    pub(super) fn time_left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    pub(super) async fn renew(&mut self, lease: Duration) -> Result<(), String> {
        let begun = Instant::now();
        for Port {
            protocol,
            inner,
            outer,
        } in [self.udp, self.tcp].into_iter().flatten()
        {
            let own = SocketAddr::from((self.device.own, inner.get()));
            let seconds = seconds(lease);
            within(
                self.device
                    .gateway
                    .add_port(protocol, outer, own, seconds, DESCRIPTION),
            )
            .await?;
        }
        self.ends = begun + lease;
        Ok(())
    }

    pub(super) async fn release(self) {
        for port in [self.udp, self.tcp].into_iter().flatten() {
            let removed = within(self.device.gateway.remove_port(port.protocol, port.outer)).await;
            if let Err(error) = removed {
                tracing::debug!(%error, "port mapping not released");
            }
        }
    }
}
