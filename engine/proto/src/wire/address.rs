//! Addresses inside rendezvous parameters: IPv4 and port with their check tags, and ADDR_LIST.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};

use super::codec::{Reader, put_string08};
use crate::limits;

/// The value of IP_ADDR_XOR (tag 0x0016) for an address: its complement.
pub fn ip_xor(ip: Ipv4Addr) -> [u8; 4] {
    (!ip.to_bits()).to_be_bytes()
}

/// The value of PORT_XOR (tag 0x0017) for a port: its complement.
pub fn port_xor(port: u16) -> [u8; 2] {
    (!port).to_be_bytes()
}

/// A value that travelled with its complement as a check.
///
/// Some address translators rewrite addresses inside of packets; they leave the check tag alone, so its complement is the true value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked<T> {
    /// The true value.
    pub value: T,
    /// What the plain tag said, if that was altered on the way.
    pub altered: Option<T>,
}

impl Checked<Ipv4Addr> {
    /// From tag 0x0002 and, if there was one, tag 0x0016.
    pub fn ip(plain: [u8; 4], check: Option<[u8; 4]>) -> Self {
        Self::from_pair(
            Ipv4Addr::from(plain),
            check.map(|check| Ipv4Addr::from_bits(!u32::from_be_bytes(check))),
        )
    }
}

impl Checked<u16> {
    /// From tag 0x0005 and, if there was one, tag 0x0017.
    pub fn port(plain: [u8; 2], check: Option<[u8; 2]>) -> Self {
        Self::from_pair(
            u16::from_be_bytes(plain),
            check.map(|check| !u16::from_be_bytes(check)),
        )
    }
}

impl<T: Copy + PartialEq> Checked<T> {
    fn from_pair(plain: T, checked: Option<T>) -> Self {
        match checked {
            Some(value) if value != plain => Self {
                value,
                altered: Some(plain),
            },
            _ => Self {
                value: plain,
                altered: None,
            },
        }
    }
}

/// Reads ADDR_LIST (tag 0x0018): string08 entries back to back, each the text `IP port`, in the proposer's order of preference.
///
/// At most 16 entries are looked at; a malformed one is skipped, and one that runs past the end ends the list.
pub fn decode_addr_list(value: &[u8]) -> Vec<SocketAddr> {
    let mut reader = Reader::new(value, "ADDR_LIST");
    std::iter::from_fn(|| reader.string08().ok())
        .take(limits::ADDR_LIST_ENTRIES)
        .filter_map(decode_entry)
        .collect()
}

/// Writes ADDR_LIST: the first 16 of the addresses. Ports 0 and IPv6 scopes cannot be said and are left out.
pub fn encode_addr_list(addresses: &[SocketAddr]) -> Bytes {
    let mut out = BytesMut::new();
    let sayable = addresses.iter().filter(|address| address.port() != 0);
    for address in sayable.take(limits::ADDR_LIST_ENTRIES) {
        put_string08(
            &mut out,
            format!("{} {}", address.ip(), address.port()).as_bytes(),
        );
    }
    out.freeze()
}

fn decode_entry(entry: &[u8]) -> Option<SocketAddr> {
    if entry.len() > limits::ADDR_LIST_ENTRY {
        return None;
    }
    let (ip, port) = std::str::from_utf8(entry).ok()?.split_once(' ')?;
    let ip: IpAddr = ip.parse().ok()?;
    let plain_digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    let port = if plain_digits {
        port.parse().ok()?
    } else {
        return None;
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn list(entries: &[&str]) -> Bytes {
        let mut out = BytesMut::new();
        for entry in entries {
            put_string08(&mut out, entry.as_bytes());
        }
        out.freeze()
    }

    fn parsed(entries: &[&str]) -> Vec<String> {
        decode_addr_list(&list(entries))
            .iter()
            .map(SocketAddr::to_string)
            .collect()
    }

    #[test]
    fn r_29_and_r_30_checks_are_complements() {
        assert_eq!(
            ip_xor(Ipv4Addr::new(192, 0, 2, 10)),
            [0x3F, 0xFF, 0xFD, 0xF5]
        );
        assert_eq!(port_xor(4443), [0xEE, 0xA4]);
    }

    #[test]
    fn r_31_the_check_wins_over_what_it_checks() {
        assert_eq!(
            Checked::port([0x11, 0x5B], Some([0xEE, 0xA4])),
            Checked {
                value: 4443,
                altered: None
            }
        );
        assert_eq!(
            Checked::port([0, 80], Some([0xEE, 0xA4])),
            Checked {
                value: 4443,
                altered: Some(80)
            }
        );
        assert_eq!(
            Checked::port([0, 80], None),
            Checked {
                value: 80,
                altered: None
            }
        );
    }

    #[test]
    fn r_32_entries_keep_the_order_of_the_proposer() {
        assert_eq!(
            parsed(&["192.0.2.10 4443", "2001:db8::10 1", "192.0.2.9 65535"]),
            ["192.0.2.10:4443", "[2001:db8::10]:1", "192.0.2.9:65535"]
        );
    }

    #[test]
    fn malformed_entries_are_skipped() {
        let long = format!("2001:db8::10 {}1", "0".repeat(60));
        let bad = [
            "",
            " ",
            "192.0.2.10",
            "192.0.2.10:4443",
            "192.0.2.10 0",
            "192.0.2.10 080",
            "192.0.2.10 65536",
            "192.0.2.10 +80",
            "192.0.2.10  80",
            "192.0.2.10 80 ",
            "192.000.2.10 80",
            "[2001:db8::1] 80",
            "fe80::1%eth0 80",
            "example.org 80",
            &long,
        ];
        for entry in bad {
            assert_eq!(
                parsed(&[entry, "192.0.2.10 1"]),
                ["192.0.2.10:1"],
                "{entry:?}"
            );
        }
    }

    #[test]
    fn an_entry_past_the_end_ends_the_list() {
        let mut cut = BytesMut::from(&list(&["192.0.2.10 1"])[..]);
        cut.put_slice(b"\x40192.0.2.10 2");
        assert_eq!(decode_addr_list(&cut).len(), 1);
    }

    #[test]
    fn the_17th_entry_is_not_looked_at() {
        assert_eq!(parsed(&["192.0.2.10 1"; 17]).len(), 16);
        let mut entries = vec![""; 16];
        entries.push("192.0.2.10 1");
        assert_eq!(parsed(&entries).len(), 0, "malformed ones count");
    }

    #[test]
    fn the_17th_address_is_not_sent() {
        let many: Vec<SocketAddr> = (1..=17)
            .map(|port| SocketAddr::from(([192, 0, 2, 10], port)))
            .collect();
        assert_eq!(decode_addr_list(&encode_addr_list(&many)), many[..16]);
        assert!(
            encode_addr_list(&[SocketAddr::from(([192, 0, 2, 10], 0))]).is_empty(),
            "port 0 cannot be dialled"
        );
    }
}
