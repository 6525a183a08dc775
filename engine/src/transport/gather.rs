//! Own addresses: which of them a peer may try.
//!
//! Reads interfaces only; nothing is sent. What is found is told to nobody here: addresses leave this machine only after
//! the user's consent, and only sealed (S-11).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rdv_proto::rendezvous::Subnet;

/// Candidates of our own at most, loopback not counted (`connectivity.md` 2).
const CANDIDATES_MAX: usize = 4;

/// Addresses of this machine that a peer may try, best first: at most four, no link-local or deprecated ones, tunnels and
/// container bridges only if there is nothing else. With `loopback` the loopback addresses follow at the end. None if the
/// system does not tell.
pub fn own_addresses(loopback: bool) -> Vec<IpAddr> {
    candidates(&interfaces(), loopback)
}

/// The subnets of this machine's interfaces that are up, loopback and link-local included. None if the system does not tell.
pub fn own_subnets() -> Vec<Subnet> {
    let all = interfaces().into_iter();
    all.map(|own| Subnet {
        address: own.ip,
        prefix_bits: own.prefix_bits,
    })
    .collect()
}

/// Whether `ip` is loopback or an address of this machine: a connection to it ends here.
pub fn is_this_machine(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || interfaces().iter().any(|own| own.ip == ip)
}

/// All addresses outside loopback that count as this machine's own: what changes when the network does.
pub(crate) fn outside_addresses() -> BTreeSet<IpAddr> {
    let all = interfaces();
    let usable = |own: &&OwnAddress| {
        let reachable = match own.ip {
            IpAddr::V4(ip) => is_reachable_v4(ip),
            IpAddr::V6(ip) => is_reachable_v6(ip),
        };
        reachable && !own.deprecated && !is_virtual(&own.interface)
    };
    all.iter().filter(usable).map(|own| own.ip).collect()
}

/// One address of one interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnAddress {
    interface: String,
    ip: IpAddr,
    prefix_bits: u8,
    /// A temporary (privacy) IPv6 address, as far as the system tells.
    temporary: bool,
    /// An IPv6 address that must not be used for anything new.
    deprecated: bool,
}

fn interfaces() -> Vec<OwnAddress> {
    let flags = v6_flags();
    let all = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::debug!(%error, "cannot list interfaces");
        Vec::new()
    });
    all.into_iter()
        .filter(|one| one.is_oper_up())
        .map(|one| {
            let (ip, prefix_bits) = match &one.addr {
                if_addrs::IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
                if_addrs::IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
            };
            let flags = flags.iter().find(|(address, _)| IpAddr::V6(*address) == ip);
            let has = |bit: u32| flags.is_some_and(|(_, flags)| flags & bit != 0);
            let (temporary, deprecated) = (has(IFA_F_TEMPORARY), has(IFA_F_UNUSABLE));
            OwnAddress {
                interface: one.name,
                ip,
                prefix_bits,
                temporary,
                deprecated,
            }
        })
        .collect()
}

/// What a peer may try, best first: at most four, no link-local or deprecated ones, tunnels and container bridges only
/// if there is nothing else. With `loopback` the loopback addresses follow at the end.
fn candidates(own: &[OwnAddress], loopback: bool) -> Vec<IpAddr> {
    let mut chosen = outside_candidates(own, false);
    if chosen.is_empty() {
        chosen = outside_candidates(own, true);
    }
    if loopback {
        let mut inside: Vec<IpAddr> = own
            .iter()
            .map(|address| address.ip)
            .filter(|ip| {
                [
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(Ipv6Addr::LOCALHOST),
                ]
                .contains(ip)
            })
            .collect();
        inside.sort();
        inside.dedup();
        chosen.extend(inside);
    }
    chosen
}

/// Both families in turn, so that four addresses of one do not crowd out the other.
fn outside_candidates(own: &[OwnAddress], virtual_too: bool) -> Vec<IpAddr> {
    let usable = |address: &&OwnAddress| {
        !address.deprecated && (virtual_too || !is_virtual(&address.interface))
    };
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for address in own.iter().filter(usable) {
        match address.ip {
            IpAddr::V4(ip) if is_reachable_v4(ip) => v4.push((ip.is_private(), address.ip)),
            IpAddr::V6(ip) if is_reachable_v6(ip) => {
                v6.push((ip.is_unique_local(), !address.temporary, address.ip));
            }
            _ => {}
        }
    }
    // Stable sorts: within a class the system's order stays. Public before private, temporary before stable.
    v4.sort_by_key(|(private, _)| *private);
    v6.sort_by_key(|(local, stable, _)| (*local, *stable));
    let mut v4 = v4.into_iter().map(|(_, ip)| ip);
    let mut v6 = v6.into_iter().map(|(_, _, ip)| ip);
    let mut chosen = Vec::new();
    loop {
        let round = [v6.next(), v4.next()];
        if round == [None, None] {
            break;
        }
        for ip in round.into_iter().flatten() {
            if chosen.len() < CANDIDATES_MAX && !chosen.contains(&ip) {
                chosen.push(ip);
            }
        }
    }
    chosen
}

fn is_reachable_v4(ip: Ipv4Addr) -> bool {
    !(ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_broadcast())
}

fn is_reachable_v6(ip: Ipv6Addr) -> bool {
    let special =
        ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast();
    !special && ip.to_ipv4_mapped().is_none()
}

/// Tunnels and bridges to containers and virtual machines, by the names that they usually have.
fn is_virtual(interface: &str) -> bool {
    const NAMES: [&str; 16] = [
        "docker",
        "br-",
        "virbr",
        "vmnet",
        "vboxnet",
        "lxcbr",
        "lxdbr",
        "podman",
        "cni",
        "flannel",
        "cali",
        "tun",
        "tap",
        "wg",
        "utun",
        "tailscale",
    ];
    NAMES.iter().any(|name| interface.starts_with(name))
}

const IFA_F_TEMPORARY: u32 = 0x01;
/// Deprecated (0x20), tentative (0x40) or failed duplicate detection (0x08).
const IFA_F_UNUSABLE: u32 = 0x20 | 0x40 | 0x08;

/// Flags of IPv6 addresses where the system shows them as text; elsewhere none are known.
fn v6_flags() -> Vec<(Ipv6Addr, u32)> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    table.lines().filter_map(parse_v6_flags).collect()
}

/// One line of `/proc/net/if_inet6`: `address index prefix scope flags name`, numbers in hex.
fn parse_v6_flags(line: &str) -> Option<(Ipv6Addr, u32)> {
    let mut fields = line.split_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    Some((Ipv6Addr::from_bits(address), flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(interface: &str, ip: &str, prefix_bits: u8) -> OwnAddress {
        let ip = ip.parse().unwrap();
        OwnAddress {
            interface: interface.into(),
            ip,
            prefix_bits,
            temporary: false,
            deprecated: false,
        }
    }

    fn shown(addresses: &[IpAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn loopback_and_link_local_stay_at_home() {
        let all = [
            own("lo", "127.0.0.1", 8),
            own("lo", "::1", 128),
            own("eth0", "192.168.1.4", 24),
            own("eth0", "fe80::1", 64),
            own("eth0", "169.254.3.4", 16),
        ];
        assert_eq!(shown(&candidates(&all, false)), ["192.168.1.4"]);
        assert_eq!(
            shown(&candidates(&all, true)),
            ["192.168.1.4", "127.0.0.1", "::1"]
        );
    }

    #[test]
    fn four_at_most_both_families_temporary_first_and_deprecated_never() {
        let mut temporary = own("eth0", "2001:db8::cafe", 64);
        temporary.temporary = true;
        let mut old = own("eth0", "2001:db8::dead", 64);
        old.deprecated = true;
        let all = [
            own("eth0", "fd00::1", 64),
            own("eth0", "2001:db8::1", 64),
            temporary,
            old,
            own("eth0", "10.0.0.1", 8),
            own("eth1", "198.51.100.7", 24),
            own("eth2", "10.9.0.1", 16),
        ];
        assert_eq!(
            shown(&candidates(&all, false)),
            ["2001:db8::cafe", "198.51.100.7", "2001:db8::1", "10.0.0.1"]
        );
    }

    #[test]
    fn container_bridges_are_told_only_if_there_is_nothing_else() {
        let bridge = own("docker0", "172.17.0.1", 16);
        let both = [bridge.clone(), own("eth0", "10.0.0.1", 8)];
        assert_eq!(shown(&candidates(&both, false)), ["10.0.0.1"]);
        assert_eq!(shown(&candidates(&[bridge], false)), ["172.17.0.1"]);
    }

    #[test]
    fn loopback_and_own_addresses_are_this_machine() {
        for here in ["127.0.0.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_this_machine(here.parse().unwrap()), "{here}");
        }
        for own in own_addresses(false) {
            assert!(is_this_machine(own), "{own}");
        }
        assert!(!is_this_machine("203.0.113.77".parse().unwrap()));
    }

    #[test]
    fn the_system_table_of_ipv6_addresses_is_read() {
        let line = "fd000000000000000000000000000002 04 40 00 21     eth0";
        assert_eq!(
            parse_v6_flags(line),
            Some(("fd00::2".parse().unwrap(), 0x21))
        );
        assert_eq!(parse_v6_flags("garbage"), None);
        assert!(
            own_subnets()
                .iter()
                .any(|subnet| subnet.address.is_loopback())
        );
    }
}
