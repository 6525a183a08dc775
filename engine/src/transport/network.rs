//! The network that this machine is in: when it changes, who its gateway is, and how it looks from outside.

mod examine;
mod report;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::gather;

pub use examine::Examination;
pub use rdv_proto::rendezvous::{CandidateKind, LocalCandidate, Mapping, Network, Protocol};
pub use report::{GatherLine, GatherReport, GatherResult, GatherSource};

/// How often the interfaces are read. There is no kept crate that tells of changes on all systems without fifty more behind it, and
/// to read the list takes some ten microseconds; a change is noticed long before a silent lane is.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches this machine's addresses and its default route. See [`Watch::changed`].
pub fn watch() -> Watch {
    let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Watch {
        ticks,
        last: Snapshot::take(),
    }
}

/// See [`watch`]. It costs nothing but the reading of a list each second while somebody waits in [`changed`](Self::changed).
#[derive(Debug)]
pub struct Watch {
    ticks: tokio::time::Interval,
    last: Snapshot,
}

impl Watch {
    /// Waits until an address or the default route has come or gone since the last time. Bridges to containers and virtual
    /// machines, which come and go with them, do not count. Cancel-safe; never ends by itself.
    pub async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            if self.is_other(Snapshot::take()) {
                return;
            }
        }
    }

    fn is_other(&mut self, now: Snapshot) -> bool {
        let changed = now != self.last;
        self.last = now;
        changed
    }
}

/// The way out of this machine that a connection has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trail {
    own: SocketAddr,
    way_out: Option<WayOut>,
}

/// Interface and router of the best default route.
type WayOut = (String, Option<Ipv4Addr>);

impl Trail {
    /// Of a connection with this address of ours that was made just now.
    pub(crate) fn of(own: SocketAddr) -> Self {
        Self {
            own,
            way_out: way_out(),
        }
    }

    /// Whether nothing comes by this way any more: the address is no longer ours, or another route leads out. As long as no route
    /// leads out at all, the old one may come back.
    pub(crate) fn is_cold(&self) -> bool {
        let mut own = self.own;
        own.set_port(0);
        let address_is_gone = std::net::UdpSocket::bind(own)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable);
        let has_moved =
            || matches!((&self.way_out, way_out()), (Some(then), Some(now)) if *then != now);
        address_is_gone || (!self.own.ip().is_loopback() && has_moved())
    }
}

fn way_out() -> Option<WayOut> {
    let routes = default_routes(&routing_table());
    let first = routes.into_iter().next()?;
    Some((first.interface, first.gateway))
}

/// What a change is a change of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Snapshot {
    addresses: BTreeSet<IpAddr>,
    routes: BTreeSet<DefaultRoute>,
}

impl Snapshot {
    fn take() -> Self {
        Self {
            addresses: gather::outside_addresses(),
            routes: default_routes(&routing_table()),
        }
    }
}

/// An IPv4 default route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DefaultRoute {
    metric: u32,
    interface: String,
    /// `None`: straight into the network, as tunnels do.
    gateway: Option<Ipv4Addr>,
}

/// The router that leads out of this machine's network, as far as the system shows its routing table as text (Linux does).
pub(crate) fn gateway() -> Option<Ipv4Addr> {
    let routes = default_routes(&routing_table());
    routes.into_iter().find_map(|route| route.gateway)
}

fn routing_table() -> String {
    std::fs::read_to_string("/proc/net/route").unwrap_or_default()
}

fn default_routes(table: &str) -> BTreeSet<DefaultRoute> {
    table.lines().filter_map(parse_default_route).collect()
}

/// One line of `/proc/net/route`: `interface destination gateway flags uses refs metric mask ...`; addresses are hex of their
/// four bytes read as a number of this machine.
fn parse_default_route(line: &str) -> Option<DefaultRoute> {
    const UP: u32 = 0x1;
    const VIA_GATEWAY: u32 = 0x2;
    const REJECTED: u32 = 0x200;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let hex = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok();
    let (destination, mask, flags) = (hex(1)?, hex(7)?, hex(3)?);
    if destination != 0 || mask != 0 || flags & UP == 0 || flags & REJECTED != 0 {
        return None;
    }
    let gateway = Ipv4Addr::from(hex(2)?.to_ne_bytes());
    Some(DefaultRoute {
        metric: fields.get(6)?.parse().ok()?,
        interface: (*fields.first()?).to_owned(),
        gateway: (flags & VIA_GATEWAY != 0).then_some(gateway),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\tFE00000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t100\t000000FF\t0\t0\t0
wg0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0
lo\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0
broken";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_routing_table_tells_the_ways_out_best_first() {
        let routes: Vec<_> = default_routes(TABLE)
            .into_iter()
            .map(|route| (route.interface, route.gateway))
            .collect();
        let expected = [
            ("wg0".to_owned(), None),
            ("eth0".to_owned(), Some(Ipv4Addr::new(10, 0, 0, 254))),
            ("wlan0".to_owned(), Some(Ipv4Addr::new(192, 168, 1, 1))),
        ];
        assert_eq!(routes, expected);
        assert!(default_routes("").is_empty());
    }

    #[test]
    fn the_way_of_a_connection_is_cold_once_its_address_is_not_ours_or_another_route_leads_out() {
        let here = Trail::of(([127, 0, 0, 1], 4711).into());
        assert!(!here.is_cold());
        // Documentation addresses are nobody's (RFC 5737).
        assert!(Trail::of(([192, 0, 2, 77], 4711).into()).is_cold());
        let elsewhere = Some(("gone0".to_owned(), None));
        let moved = Trail {
            way_out: elsewhere.clone(),
            own: ([0, 0, 0, 0], 0).into(),
        };
        assert_eq!(moved.is_cold(), way_out().is_some());
        let local = Trail {
            way_out: elsewhere,
            ..here
        };
        assert!(!local.is_cold(), "no route leads to this machine itself");
    }

    #[tokio::test]
    async fn a_new_address_and_a_new_route_are_changes_and_each_is_told_once() {
        let mut watch = watch();
        let mut now = watch.last.clone();
        assert!(!watch.is_other(now.clone()));
        now.addresses.insert([192, 0, 2, 9].into());
        assert!(watch.is_other(now.clone()));
        assert!(!watch.is_other(now.clone()));
        now.routes = default_routes(TABLE);
        assert!(watch.is_other(now.clone()));
        assert!(!watch.is_other(now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_stays_as_it_is_says_nothing() {
        let mut watch = watch();
        let quiet = tokio::time::timeout(PERIOD * 5, watch.changed()).await;
        assert!(quiet.is_err());
    }
}
