//! From all that was found out to the candidates that may be told, best first.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use rdv_proto::rendezvous::{CandidateKind, LocalCandidate, Protocol};

use crate::transport::portmap;

/// Different outer addresses of one protocol that are told; a translator that gives another one to everybody is not worth more.
const REFLEXIVE_MAX: usize = 2;

/// Whatever is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Own addresses that peers may try, best first, loopback last.
    pub(super) own: Vec<IpAddr>,
    /// Whether loopback addresses are of use to the peer.
    pub(super) loopback: bool,
    /// Whether the user said which ports, so that they count as forwarded.
    pub(super) ports_chosen: bool,
    pub(super) external: Option<(IpAddr, Option<u16>)>,
    pub(super) verified: Option<IpAddr>,
    /// Ports of the UDP sockets, by family.
    pub(super) udp: Ports,
    /// Ports of the listeners, by family.
    pub(super) tcp: Ports,
    pub(super) mapped_udp: Option<SocketAddrV4>,
    pub(super) mapped_tcp: Option<SocketAddrV4>,
    /// As servers saw the UDP sockets.
    pub(super) reflexive_udp: Vec<SocketAddr>,
    /// As servers saw the listeners' port.
    pub(super) reflexive_tcp: Vec<SocketAddr>,
}

/// One port per family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) v4: Option<u16>,
    pub(super) v6: Option<u16>,
}

impl Ports {
    pub(super) fn of(addresses: impl Iterator<Item = SocketAddr>) -> Self {
        let mut ports = Self::default();
        for address in addresses {
            match address {
                SocketAddr::V4(_) => ports.v4 = Some(address.port()),
                SocketAddr::V6(_) => ports.v6 = Some(address.port()),
            }
        }
        ports
    }

    pub(super) fn for_family_of(self, ip: IpAddr) -> Option<u16> {
        match ip {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

impl Known {
    /// Each address once per protocol, under the best kind that it is known as.
    pub(super) fn candidates(&self) -> Vec<LocalCandidate> {
        let mut list = List {
            loopback: self.loopback,
            candidates: Vec::new(),
        };
        for ip in &self.own {
            let kind = match ip.is_loopback() {
                true => CandidateKind::LOOPBACK,
                false => CandidateKind::HOST,
            };
            self.both(&mut list, kind, *ip, None);
        }
        for (mapped, protocol) in [
            (self.mapped_udp, Protocol::Udp),
            (self.mapped_tcp, Protocol::Tcp),
        ] {
            if let Some(mapped) = mapped {
                list.put(CandidateKind::MAPPED, protocol, mapped.into());
            }
        }
        if let Some((ip, port)) = self.external {
            self.both(&mut list, CandidateKind::FORWARDED, ip, port);
        } else if self.ports_chosen {
            let seen = self
                .verified
                .or_else(|| self.reflexive_udp.first().map(SocketAddr::ip));
            if let Some(ip) = seen {
                self.both(&mut list, CandidateKind::FORWARDED, ip, None);
            }
        }
        for (seen, protocol) in [
            (&self.reflexive_udp, Protocol::Udp),
            (&self.reflexive_tcp, Protocol::Tcp),
        ] {
            let mut told: Vec<SocketAddr> = Vec::new();
            for address in seen {
                if told.len() < REFLEXIVE_MAX && !told.contains(address) {
                    told.push(*address);
                    list.put(CandidateKind::REFLEXIVE, protocol, *address);
                }
            }
        }
        if let Some(ip) = self.verified {
            self.both(&mut list, CandidateKind::VERIFIED, ip, None);
        }
        list.candidates
            .sort_by_key(|one| one.kind == CandidateKind::LOOPBACK);
        list.candidates
    }

    /// The address for both protocols, on our own ports if not on `port`.
    fn both(&self, list: &mut List, kind: CandidateKind, ip: IpAddr, port: Option<u16>) {
        for (ports, protocol) in [(self.udp, Protocol::Udp), (self.tcp, Protocol::Tcp)] {
            if let Some(own) = ports.for_family_of(ip) {
                list.put(kind, protocol, SocketAddr::new(ip, port.unwrap_or(own)));
            }
        }
    }
}

struct List {
    loopback: bool,
    candidates: Vec<LocalCandidate>,
}

impl List {
    fn put(&mut self, kind: CandidateKind, protocol: Protocol, address: SocketAddr) {
        let known = self
            .candidates
            .iter()
            .any(|known| known.protocol == protocol && known.address == address);
        if known || !self.is_worth_telling(address) {
            return;
        }
        self.candidates.push(LocalCandidate {
            address,
            kind,
            protocol,
        });
    }

    /// What servers and routers say may be anything.
    fn is_worth_telling(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        let usable = match ip {
            _ if ip.is_loopback() => self.loopback,
            IpAddr::V4(v4) => {
                !(v4.is_unspecified()
                    || v4.is_multicast()
                    || v4.is_link_local()
                    || (v4.octets()[0] == 0 || v4.octets()[0] >= 240))
            }
            IpAddr::V6(v6) => {
                !(v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local())
                    && v6.to_ipv4_mapped().is_none()
            }
        };
        usable && address.port() != 0
    }
}

/// Our address on the outside of all IPv4 translators, if a server told one.
pub(super) fn seen_as(reflexive: &[SocketAddr], own: &[IpAddr]) -> Option<std::net::Ipv4Addr> {
    reflexive.iter().find_map(|address| match address {
        SocketAddr::V4(v4) if portmap::is_outside(*v4.ip()) && !own.contains(&address.ip()) => {
            Some(*v4.ip())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let ports = Ports {
            v4: Some(5000),
            v6: Some(5000),
        };
        Known {
            own: vec!["192.168.1.4".parse().unwrap()],
            udp: ports,
            tcp: ports,
            ..Known::default()
        }
    }

    fn told(known: &Known) -> Vec<String> {
        let name = |kind| match kind {
            CandidateKind::HOST => "host",
            CandidateKind::LOOPBACK => "loopback",
            CandidateKind::MAPPED => "mapped",
            CandidateKind::REFLEXIVE => "reflexive",
            CandidateKind::VERIFIED => "verified",
            CandidateKind::FORWARDED => "forwarded",
            _ => "?",
        };
        known
            .candidates()
            .iter()
            .map(|one| format!("{} {:?} {}", name(one.kind), one.protocol, one.address))
            .collect()
    }

    #[test]
    fn everything_is_told_once_best_first() {
        let mut known = known();
        known.own.push("2001:db8::5".parse().unwrap());
        known.mapped_udp = Some("198.51.100.7:6000".parse().unwrap());
        known.verified = Some("198.51.100.7".parse().unwrap());
        known.reflexive_udp = vec!["198.51.100.7:5000".parse().unwrap(); 2];
        assert_eq!(
            told(&known),
            [
                "host Udp 192.168.1.4:5000",
                "host Tcp 192.168.1.4:5000",
                "host Udp [2001:db8::5]:5000",
                "host Tcp [2001:db8::5]:5000",
                "mapped Udp 198.51.100.7:6000",
                "reflexive Udp 198.51.100.7:5000",
                "verified Tcp 198.51.100.7:5000",
            ]
        );
    }

    #[test]
    fn what_the_user_said_counts_as_forwarded() {
        let mut known = known();
        known.verified = Some("198.51.100.7".parse().unwrap());
        known.ports_chosen = true;
        assert_eq!(
            told(&known)[2..],
            [
                "forwarded Udp 198.51.100.7:5000",
                "forwarded Tcp 198.51.100.7:5000"
            ]
        );
        known.external = Some(("203.0.113.9".parse().unwrap(), Some(443)));
        assert_eq!(
            told(&known)[2..],
            [
                "forwarded Udp 203.0.113.9:443",
                "forwarded Tcp 203.0.113.9:443",
                "verified Udp 198.51.100.7:5000",
                "verified Tcp 198.51.100.7:5000"
            ]
        );
    }

    #[test]
    fn what_nobody_can_reach_is_not_told() {
        let mut known = known();
        known.own.clear();
        known.verified = Some("127.0.0.1".parse().unwrap());
        known.reflexive_udp = [
            "0.0.0.0:1",
            "224.0.0.1:5",
            "255.255.255.255:9",
            "169.254.1.1:9",
            "127.0.0.1:9",
            "198.51.100.7:0",
            "[::1]:9",
            "[fe80::1]:9",
            "[::ffff:198.51.100.7]:9",
        ]
        .map(|one| one.parse().unwrap())
        .into();
        assert_eq!(told(&known), Vec::<String>::new());
    }

    #[test]
    fn a_family_without_sockets_has_no_candidates() {
        let mut known = known();
        known.udp.v4 = None;
        known.tcp.v4 = None;
        known.verified = Some("198.51.100.7".parse().unwrap());
        assert_eq!(told(&known), Vec::<String>::new());
    }

    #[test]
    fn a_translator_that_gives_everybody_another_port_is_told_twice_at_most() {
        let mut known = known();
        known.own.clear();
        known.reflexive_udp = (1..9)
            .map(|port| SocketAddr::from(([198, 51, 100, 7], port)))
            .collect();
        assert_eq!(told(&known).len(), REFLEXIVE_MAX);
    }
}
