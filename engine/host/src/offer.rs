//! The relay that clients of the host are sent to: where it is, and the ticket for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rdv_proto::relay::{Ticket, TicketKey};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;

use crate::random::random;
use crate::relay::Roster;

/// Where a relay is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// There, for all.
    Named(String),
    /// On the port that the client connected to.
    SamePort,
    /// On one of these addresses; a wildcard means the address that the client connected to.
    Ports(Vec<SocketAddr>),
    /// On other machines.
    Elsewhere(Arc<Roster>),
}

/// What clients that ask for service 0x044A are told.
#[derive(Debug)]
pub(crate) struct RelayOffer {
    pub(crate) place: Place,
    pub(crate) public_address: Option<IpAddr>,
    pub(crate) key: TicketKey,
    pub(crate) ticket_life: Duration,
    /// Bytes that the pair of a ticket may carry.
    pub(crate) ticket_budget: u64,
}

impl RelayOffer {
    /// The relay as `host:port`, for a client that reached us at `local`: what is handed out works from where it is. Relays that
    /// just failed the client are only handed out if there is no other.
    pub(crate) fn address_for(&self, local: SocketAddr, avoid: &[String]) -> Option<String> {
        let here = self.public_address.unwrap_or(local.ip());
        Some(match &self.place {
            Place::Named(address) => address.clone(),
            Place::Elsewhere(roster) => roster.pick(avoid)?.to_owned(),
            Place::SamePort => SocketAddr::new(here, local.port()).to_string(),
            Place::Ports(ports) => {
                let near = ports.iter().find(|port| port.is_ipv4() == local.is_ipv4());
                let port = near.or(ports.first())?;
                match port.ip().is_unspecified() {
                    true => SocketAddr::new(here, port.port()),
                    false => SocketAddr::new(self.public_address.unwrap_or(port.ip()), port.port()),
                }
                .to_string()
            }
        })
    }

    /// A ticket for the account: for one session on any of the relays, that of the cookie if there is one.
    pub(crate) fn ticket(&self, account: &ScreenName, cookie: Option<Cookie>) -> Option<Bytes> {
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).ok()? + self.ticket_life;
        let ticket = Ticket {
            account: account.clone(),
            expires_unix_s: expires.as_secs(),
            cookie: cookie.filter(|cookie| !cookie.is_zero()),
            budget: self.ticket_budget,
        };
        Some(self.key.issue(&ticket, random().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(place: Place, public: Option<&str>, local: &str) -> String {
        let offer = RelayOffer {
            place,
            public_address: public.map(|public| public.parse().unwrap()),
            key: TicketKey::new([0; 32]),
            ticket_life: Duration::from_secs(60),
            ticket_budget: 1,
        };
        offer.address_for(local.parse().unwrap(), &[]).unwrap()
    }

    #[test]
    fn the_address_handed_out_is_the_one_that_the_client_reached_never_a_wildcard() {
        let ports = || {
            Place::Ports(vec![
                "0.0.0.0:5191".parse().unwrap(),
                "[::]:5191".parse().unwrap(),
            ])
        };
        assert_eq!(
            address(Place::SamePort, None, "192.0.2.1:5190"),
            "192.0.2.1:5190"
        );
        assert_eq!(
            address(Place::SamePort, None, "[2001:db8::1]:5190"),
            "[2001:db8::1]:5190"
        );
        assert_eq!(address(ports(), None, "192.0.2.1:5190"), "192.0.2.1:5191");
        assert_eq!(
            address(ports(), None, "[2001:db8::1]:5190"),
            "[2001:db8::1]:5191"
        );
        let one = Place::Ports(vec!["127.0.0.2:5191".parse().unwrap()]);
        assert_eq!(address(one, None, "192.0.2.1:5190"), "127.0.0.2:5191");
        assert_eq!(
            address(ports(), Some("198.51.100.1"), "10.0.0.1:5190"),
            "198.51.100.1:5191"
        );
        let named = Place::Named("relay.example:443".into());
        assert_eq!(
            address(named, Some("198.51.100.1"), "10.0.0.1:5190"),
            "relay.example:443"
        );
    }
}
