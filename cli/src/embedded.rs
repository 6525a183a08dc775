//! A host inside this process, for senders that name no other. Neighbours find it by mDNS (rulings G-05).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rdv::transport::gather;
use rdv::transport::lan::{self, Announcement};
use rdv_host::{Host, HostConfig, HostHandle};

use crate::exit::{Exit, Failure};
use crate::ui::Ui;

/// How many addresses the long form of a code names.
const LONG_FORM_ADDRESSES_MAX: usize = 3;

/// A running host of our own; neighbours stop finding it when it is dropped.
pub(crate) struct Embedded {
    host: HostHandle,
    addresses: Vec<IpAddr>,
    port: u16,
    _announcement: Option<Announcement>,
}

impl Embedded {
    /// Takes a number that no neighbour has, and listens on all IPv4 addresses.
    pub(crate) async fn start(ui: &Ui) -> Result<Self, Failure> {
        let taken = lan::numbers_in_use(lan::LISTEN_FIRST)
            .await
            .unwrap_or_else(|error| {
                tracing::debug!(%error, "cannot listen for neighbours");
                BTreeSet::new()
            });
        let number = lan::choose_number(&taken)
            .ok()
            .flatten()
            .and_then(|number| u16::try_from(number).ok());
        let number = number.ok_or_else(|| {
            Failure::new(
                Exit::HOST,
                "no number is free in the local network; meet at a host (--host)",
            )
        })?;
        let addresses = own_addresses();
        let config = HostConfig {
            listen: vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)],
            numbers: number..=number,
            public_address: addresses.first().copied(),
            ..HostConfig::default()
        };
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::new(
                Exit::HOST,
                format!("cannot start a host of our own: {error}"),
            )
        };
        let host = Host::bind(config)
            .await
            .map_err(|error| cannot(&error))?
            .spawn();
        let port = host
            .local_addrs()
            .first()
            .map(SocketAddr::port)
            .ok_or_else(|| cannot(&"no port"))?;
        let announcement = lan::announce(u32::from(number), port);
        let announcement = announcement.map_err(|error| {
            ui.say(format!(
                "Note: neighbours cannot find this code ({error}); use the long form."
            ));
        });
        Ok(Self {
            host,
            addresses,
            port,
            _announcement: announcement.ok(),
        })
    }

    /// Where we ourselves sign on.
    pub(crate) fn own_address(&self) -> String {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port).to_string()
    }

    /// What the long form of the code names.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, self.port).to_string())
            .collect()
    }

    /// Ends the host; what it was given to deliver is delivered before that.
    pub(crate) async fn stop(self) {
        self.host.shutdown().await;
    }
}

/// IPv4 addresses under which neighbours reach this machine; alone in the world, there is loopback.
fn own_addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = gather::own_addresses(false)
        .into_iter()
        .filter(IpAddr::is_ipv4)
        .take(LONG_FORM_ADDRESSES_MAX)
        .collect();
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found
}
