//! Looking at the network without a transfer: for the doctor. Nobody is asked but the gateway, and the servers that are named.

mod ask;
mod filtering;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::timeout;

use super::connect::Route;
use super::network::GatherReport;
use super::site::{Site, SiteEvent, SiteOptions};

pub use ask::{ServerAnswer, ask_tcp, ask_udp};
pub use filtering::{Filtering, filtering};

/// When gathering is over, whoever has not answered.
const GATHERING: Duration = Duration::from_secs(6);

/// What may be used, and who may be asked.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Survey {
    /// The way of connections: own address, proxy.
    pub route: Route,
    /// The ports to listen on.
    pub ports: Option<RangeInclusive<u16>>,
    /// Where the world reaches us, if a port was forwarded by hand.
    pub external: Option<(IpAddr, Option<u16>)>,
    /// Host and relay: asked how they see us.
    pub servers: Vec<SocketAddr>,
    /// Our address as the host sees it.
    pub verified: Option<IpAddr>,
    /// Whether the gateway is asked for a port.
    pub port_mapping: bool,
    /// Whether UDP is used.
    pub udp: bool,
}

impl Survey {
    /// A survey by this way that asks nobody yet and may use everything.
    #[must_use]
    pub fn by(route: Route) -> Self {
        Self {
            route,
            port_mapping: true,
            udp: true,
            ..Self::default()
        }
    }

    /// Gathers own addresses as a transfer would, and gives back what was opened for it. Takes 9 s at the most.
    ///
    /// # Errors
    /// What the system says if no socket is to be had.
    pub async fn gather(&self) -> io::Result<GatherReport> {
        let mut site = Site::open(SiteOptions {
            bind: self.route.bind,
            ports: self.ports.clone(),
            external: self.external,
            stun: self.servers.clone(),
            verified: self.verified,
            port_mapping: self.port_mapping,
            udp: self.udp,
            socks: self.route.socks.clone(),
            ..SiteOptions::default()
        })?;
        let complete = async {
            loop {
                if let SiteEvent::Found(found) = site.next().await
                    && found.complete
                {
                    return;
                }
            }
        };
        // What is known by then is told.
        let _ = timeout(GATHERING, complete).await;
        let report = site.report();
        site.close().await;
        Ok(report)
    }
}
