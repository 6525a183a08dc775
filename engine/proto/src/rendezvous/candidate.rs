//! Which of the addresses that a peer names are dialled, and in which order (S-10).
//!
//! A refused address is dropped without a packet, and without a word to the peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::limits::ADDRESSES_TRIED_MAX;
use super::{CandidateKind, Config, LocalCandidate};

/// Ports above 1023 where text protocols listen that might take our first bytes for a command.
const TEXT_PORTS: [u16; 9] = [2375, 3128, 4190, 5060, 5222, 6379, 6667, 9200, 11211];

/// What an address is judged by.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub(super) config: &'a Config,
    /// The peer's address as the host saw it, if it says only one.
    pub(super) peer_verified: Option<Ipv4Addr>,
    /// Our own candidates; dialling them would be talking to ourselves.
    pub(super) own: &'a [LocalCandidate],
}

impl Judge<'_> {
    /// Filters and ranks the addresses of an old client: our own networks first, then in the order
    /// given. Equal addresses count once. At most eight are left (T-06).
    pub(super) fn choose(&self, named: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let mut chosen: Vec<SocketAddr> = Vec::new();
        for address in named {
            if let Some(address) = self.admit(address)
                && !chosen.contains(&address)
            {
                chosen.push(address);
            }
        }
        chosen.sort_by_key(|address| !self.is_near(address.ip()));
        chosen.truncate(ADDRESSES_TRIED_MAX);
        chosen
    }

    /// The address to dial, in its plain form, or `None` if it is not to be dialled.
    pub(super) fn admit(&self, address: SocketAddr) -> Option<SocketAddr> {
        let address = unwrapped(address);
        let ip = address.ip();
        let usable = address.port() != 0
            && !never(ip)
            && !self.is_infrastructure(address)
            && self.class_allowed(address)
            && port_allowed(address.port())
            && !self.is_own_listener(address);
        usable.then_some(address)
    }

    /// Whether an address may be connected to as a relay.
    pub(super) fn admit_relay(&self, address: SocketAddr) -> bool {
        let address = unwrapped(address);
        let foreign = address.port() != 0
            && !never(address.ip())
            && self.class_allowed(address)
            && port_allowed(address.port());
        self.is_infrastructure(address) || foreign
    }

    fn is_infrastructure(&self, address: SocketAddr) -> bool {
        let known = &self.config.infrastructure;
        known.iter().any(|known| unwrapped(*known) == address)
    }

    fn class_allowed(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        if is_loopback(ip) {
            return self.config.allow_loopback || self.config.host_is_local;
        }
        if let SocketAddr::V6(v6) = address
            && is_link_local(ip)
            && v6.scope_id() == 0
        {
            // Without a scope of ours there is no telling which link is meant.
            return false;
        }
        if self.in_own_subnet(ip) {
            return true;
        }
        if is_link_local(ip) {
            return false;
        }
        !is_inner(ip) || self.config.allow_private || self.behind_one_router()
    }

    /// Whether host and world see both of us at the same address.
    fn behind_one_router(&self) -> bool {
        self.peer_verified.is_some() && self.peer_verified == self.config.verified
    }

    fn in_own_subnet(&self, ip: IpAddr) -> bool {
        let mut interfaces = self.config.interfaces.iter();
        interfaces.any(|subnet| !is_loopback(subnet.address) && subnet.contains(ip))
    }

    /// Whether an address is on this machine or in a network of ours.
    pub(super) fn is_near(&self, ip: IpAddr) -> bool {
        is_loopback(ip) || self.in_own_subnet(ip)
    }

    fn is_own_listener(&self, address: SocketAddr) -> bool {
        let same_machine = |ip: IpAddr| {
            is_loopback(ip) || self.config.interfaces.iter().any(|own| own.address == ip)
        };
        self.own.iter().any(|own| {
            own.address == address
                || (own.address.port() == address.port()
                    && on_an_interface(own.kind)
                    && same_machine(address.ip()))
        })
    }
}

/// IPv4 addresses in the clothes of IPv6 (mapped; NAT64, RFC 6052) as what they are.
fn unwrapped(address: SocketAddr) -> SocketAddr {
    let IpAddr::V6(ip) = address.ip() else {
        return address;
    };
    let [.., seven, eight] = ip.segments();
    let embedded = Ipv4Addr::from(u32::from(seven) << 16 | u32::from(eight));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xFFFF, _, _]
        | [0x64, 0xFF9B, 0, 0, 0, 0, _, _]
        | [0x64, 0xFF9B, 1, ..] => SocketAddr::new(embedded.into(), address.port()),
        _ => address,
    }
}

/// Whether a candidate has the port of our very socket.
fn on_an_interface(kind: CandidateKind) -> bool {
    use CandidateKind as Kind;
    matches!(kind, Kind::HOST | Kind::LOOPBACK | Kind::VERIFIED)
}

/// Addresses at which no peer can be.
fn never(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let first = ip.octets()[0];
            first == 0 || first >= 240 || ip.is_multicast() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => {
            // ::/96 beside ::1 is the old form of embedded IPv4.
            let compatible = ip.segments()[..6] == [0; 6] && ip != Ipv6Addr::LOCALHOST;
            ip.is_unspecified() || ip.is_multicast() || compatible
        }
    }
}

fn port_allowed(port: u16) -> bool {
    (port >= 1024 || port == 443) && !TEXT_PORTS.contains(&port)
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Private, carrier-grade NAT (RFC 6598), unique local (RFC 4193), old site-local.
fn is_inner(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            ip.is_private() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            ip.is_unique_local() || (first & 0xFFC0) == 0xFEC0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Protocol, Subnet};
    use super::*;

    fn judge(config: &Config) -> Judge<'_> {
        Judge {
            config,
            peer_verified: None,
            own: &[],
        }
    }

    fn admitted(config: &Config, address: &str) -> bool {
        judge(config)
            .admit(address.parse().expect("a socket address"))
            .is_some()
    }

    fn lan() -> Config {
        let interfaces = vec![Subnet {
            address: [192, 168, 1, 10].into(),
            prefix_bits: 24,
        }];
        Config {
            interfaces,
            ..Config::default()
        }
    }

    #[test]
    fn s_10_addresses_where_no_peer_can_be_are_refused() {
        for address in [
            "0.0.0.0:5000",
            "0.1.2.3:5000",
            "224.0.0.1:5000",
            "255.255.255.255:5000",
            "240.0.0.1:5000",
            "[::]:5000",
            "[ff02::1]:5000",
            "[::192.0.2.1]:5000",
            "192.0.2.1:0",
        ] {
            let config = Config {
                allow_loopback: true,
                allow_private: true,
                ..lan()
            };
            assert!(!admitted(&config, address), "{address}");
        }
    }

    #[test]
    fn s_10_inner_addresses_need_a_reason() {
        for address in [
            "10.0.0.1:5000",
            "100.64.0.1:5000",
            "[fd00::1]:5000",
            "[fec0::1]:5000",
            "172.16.0.1:5000",
        ] {
            assert!(!admitted(&lan(), address), "{address}");
            let flag = Config {
                allow_private: true,
                ..lan()
            };
            assert!(admitted(&flag, address), "{address}");
        }
        assert!(admitted(&lan(), "192.168.1.77:5000"), "our own subnet");
        assert!(!admitted(&lan(), "192.168.2.77:5000"), "a neighbour's");
    }

    #[test]
    fn s_10_inner_addresses_are_fine_behind_one_router() {
        let config = Config {
            verified: Some([198, 51, 100, 7].into()),
            ..lan()
        };
        let mut judge = judge(&config);
        let address = "10.0.0.1:5000".parse().expect("a socket address");
        assert_eq!(judge.admit(address), None);
        judge.peer_verified = Some([198, 51, 100, 7].into());
        assert_eq!(judge.admit(address), Some(address));
    }

    #[test]
    fn s_10_loopback_only_if_the_host_is_here_or_the_user_says_so() {
        for address in [
            "127.0.0.1:5000",
            "[::1]:5000",
            "127.9.9.9:5000",
            "[::ffff:127.0.0.1]:5000",
            "[64:ff9b::7f00:1]:5000",
        ] {
            let mut config = lan();
            config.interfaces.push(Subnet {
                address: [127, 0, 0, 1].into(),
                prefix_bits: 8,
            });
            assert!(!admitted(&config, address), "{address}");
            assert!(
                admitted(
                    &Config {
                        host_is_local: true,
                        ..lan()
                    },
                    address
                ),
                "{address}"
            );
            assert!(
                admitted(
                    &Config {
                        allow_loopback: true,
                        ..lan()
                    },
                    address
                ),
                "{address}"
            );
        }
    }

    #[test]
    fn s_10_link_local_needs_a_scope_of_ours() {
        assert!(!admitted(&lan(), "[fe80::1]:5000"));
        assert!(!admitted(&lan(), "169.254.1.1:5000"));
        let interfaces = vec![Subnet {
            address: [169, 254, 0, 9].into(),
            prefix_bits: 16,
        }];
        assert!(admitted(
            &Config {
                interfaces,
                ..Config::default()
            },
            "169.254.1.1:5000"
        ));
    }

    #[test]
    fn s_10_ports_of_well_known_services_are_refused() {
        for port in [22, 25, 80, 110, 143, 445, 587, 1023, 6379, 11211] {
            assert!(!admitted(&lan(), &format!("192.0.2.1:{port}")), "{port}");
        }
        for port in [443, 1024, 5190, 40_000] {
            assert!(admitted(&lan(), &format!("192.0.2.1:{port}")), "{port}");
        }
    }

    #[test]
    fn s_10_host_and_relay_are_not_dialled_as_peers() {
        let infrastructure = vec!["192.0.2.1:5190".parse().expect("a socket address")];
        let config = Config {
            infrastructure,
            ..lan()
        };
        assert!(!admitted(&config, "192.0.2.1:5190"));
        assert!(!admitted(&config, "[::ffff:192.0.2.1]:5190"));
        assert!(
            admitted(&config, "192.0.2.1:5191"),
            "the same machine may hold a peer, too"
        );
    }

    #[test]
    fn our_own_listener_is_skipped() {
        let config = Config {
            host_is_local: true,
            ..lan()
        };
        let own = [LocalCandidate {
            address: "192.168.1.10:4000".parse().expect("an address"),
            kind: CandidateKind::HOST,
            protocol: Protocol::Tcp,
        }];
        let judge = Judge {
            config: &config,
            peer_verified: None,
            own: &own,
        };
        for (address, expected) in [
            ("192.168.1.10:4000", false),
            ("127.0.0.1:4000", false),
            ("192.168.1.10:4001", true),
            ("192.168.1.11:4000", true),
        ] {
            assert_eq!(
                judge.admit(address.parse().expect("an address")).is_some(),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn t_06_equal_addresses_count_once_and_eight_are_tried() {
        let config = lan();
        let named = |n: u8| SocketAddr::new(Ipv4Addr::new(192, 0, 2, n).into(), 5000);
        let list: Vec<_> = (1..=16).flat_map(|n| [named(n), named(n)]).collect();
        let chosen = judge(&config).choose(list);
        let expected: Vec<_> = (1..=8).map(named).collect();
        assert_eq!(chosen, expected, "in the order of the peer");
    }

    #[test]
    fn our_own_network_is_tried_first_then_as_the_peer_says() {
        let config = lan();
        let list = ["198.51.100.1:5000", "203.0.113.1:5000", "192.168.1.9:5000"];
        let list = list.map(|address| address.parse().expect("an address"));
        let chosen = judge(&config).choose(list);
        assert_eq!(chosen, [list[2], list[0], list[1]]);
    }
}
