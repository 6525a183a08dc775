//! A lease of one or two mappings, whoever granted it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use crab_nat::{PortMapping, PortMappingType};

use super::upnp;
use crate::transport::network::GatherSource;

/// What a gateway granted.
#[derive(Debug)]
pub(super) enum Lease {
    /// By PCP or NAT-PMP.
    Control {
        udp: Option<PortMapping>,
        tcp: Option<PortMapping>,
        /// What NAT-PMP said when it was asked; PCP says it with each mapping.
        outer: Option<Ipv4Addr>,
    },
    /// By UPnP.
    #[cfg_attr(
        not(feature = "upnp"),
        expect(dead_code, reason = "nothing grants it then")
    )]
    Upnp(upnp::Lease),
}

impl Lease {
    pub(super) fn source(&self) -> GatherSource {
        match self {
            Self::Control { outer: None, .. } => GatherSource::Pcp,
            Self::Control { outer: Some(_), .. } => GatherSource::NatPmp,
            Self::Upnp(_) => GatherSource::Upnp,
        }
    }

    pub(super) fn udp(&self) -> Option<SocketAddrV4> {
        match self {
            Self::Control { udp, outer, .. } => outer_address(udp.as_ref()?, *outer),
            Self::Upnp(lease) => lease.udp(),
        }
    }

    pub(super) fn tcp(&self) -> Option<SocketAddrV4> {
        match self {
            Self::Control { tcp, outer, .. } => outer_address(tcp.as_ref()?, *outer),
            Self::Upnp(lease) => lease.tcp(),
        }
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let both = [self.udp(), self.tcp()];
        both.into_iter().flatten().map(SocketAddr::V4).collect()
    }

    /// Until the first of the mappings ends.
    pub(super) fn time_left(&self) -> Duration {
        match self {
            Self::Control { udp, tcp, .. } => {
                let ends = [udp, tcp].into_iter().flatten();
                ends.map(PortMapping::expiration)
                    .min()
                    .map_or(Duration::ZERO, |end| {
                        end.saturating_duration_since(Instant::now())
                    })
            }
            Self::Upnp(lease) => lease.time_left(),
        }
    }

    /// # Errors
    /// The words of the first that was refused. What is left then still counts until its end.
    pub(super) async fn renew(&mut self, lease: Duration) -> Result<(), String> {
        match self {
            Self::Control { udp, tcp, .. } => {
                for mapping in [udp, tcp].into_iter().flatten() {
                    mapping.renew().await.map_err(|error| error.to_string())?;
                }
                Ok(())
            }
            Self::Upnp(granted) => granted.renew(lease).await,
        }
    }

    /// Gives all back. A gateway that does not answer keeps it until the end of the lease.
    pub(super) async fn release(self) {
        match self {
            Self::Control { udp, tcp, .. } => {
                tokio::join!(drop_mapping(udp), drop_mapping(tcp));
            }
            Self::Upnp(lease) => lease.release().await,
        }
    }
}

async fn drop_mapping(mapping: Option<PortMapping>) {
    if let Some(mapping) = mapping
        && let Err((error, _)) = mapping.try_drop().await
    {
        tracing::debug!(%error, "port mapping not released");
    }
}

fn outer_address(mapping: &PortMapping, asked: Option<Ipv4Addr>) -> Option<SocketAddrV4> {
    let ip = match (mapping.mapping_type(), asked) {
        (PortMappingType::Pcp { external_ip, .. }, _) => match external_ip.to_canonical() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => return None,
        },
        (PortMappingType::NatPmp, asked) => asked?,
    };
    Some(SocketAddrV4::new(ip, mapping.external_port().get()))
}
