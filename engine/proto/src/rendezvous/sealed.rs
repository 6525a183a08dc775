//! What travels under the seal of a native proposal: where its sender can be met.
//!
//! A list never takes anything back but by a later generation: each proposal repeats all that its
//! sender has told of the generation so far, so that a lost or late one costs nothing. Layout: `[layout: u8 = 1]`, then items
//! `[type: u16][length: u16][value]`, numbers big-endian. Unknown items, protocols and further
//! bytes of an item are skipped.
//!
//! | type | item | value |
//! |---|---|---|
//! | 1 | candidate | `[kind: u8][protocol: u8, 6 = TCP, 17 = UDP][port: u16][address: 4 or 16 bytes]` |
//! | 2 | relay | `[token: u16][cookie: 8][port: u16][host: string08, literal or name][ticket: to the end]` |
//! | 3 | network | `[generation: u32][UDP mapping: u8][TCP mapping: u8]`; absent: generation 0, unknown |

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

use super::limits::CANDIDATES_READ_MAX;
use super::{
    CandidateKind, LocalCandidate, Mapping, Network, Protocol, RelayAddress, RelayCandidate,
};
use crate::limits::RELAY_TICKET;
use crate::wire::codec::{Reader, put_string08};
use crate::wire::error::DecodeError;
use crate::wire::rendezvous::Cookie;
use crate::wire::tlv::{Tlv, TlvList};

const LAYOUT: u8 = 1;
const CANDIDATE: u16 = 1;
const RELAY: u16 = 2;
const NETWORK: u16 = 3;
/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Bytes of a host name (RFC 1035 §2.3.4).
const HOST_MAX: usize = 253;

/// Where the sender of a proposal can be met, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whereabouts {
    pub(super) candidates: Vec<LocalCandidate>,
    pub(super) relay: Option<RelayCandidate>,
    /// Which sockets of the sender the candidates lead to. A later one replaces the earlier.
    pub(super) generation: u32,
    /// What stands between them and the world.
    pub(super) network: Network,
}

impl Whereabouts {
    /// The bytes to seal, at most `bytes_max`: network and relay first, then as many candidates as
    /// fit.
    pub(super) fn encode(&self, bytes_max: usize) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(LAYOUT);
        let relay = self
            .relay
            .iter()
            .filter_map(encode_relay)
            .map(|value| Tlv::new(RELAY, value));
        let candidates = self
            .candidates
            .iter()
            .map(|own| Tlv::new(CANDIDATE, encode_candidate(own)));
        let network = Some(Tlv::new(NETWORK, self.encode_network()));
        for item in network.into_iter().chain(relay).chain(candidates) {
            if out.len() + item.encoded_len() <= bytes_max {
                TlvList(vec![item]).encode_rest(&mut out);
            }
        }
        out.freeze()
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// Another layout, or bytes that end too early. The peer sealed them: its fault.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "sealed candidates");
        let layout = reader.u8()?;
        if layout != LAYOUT {
            return Err(DecodeError::UnsupportedVersion {
                what: "sealed candidates",
                version: layout.into(),
            });
        }
        let items = TlvList::decode_rest(Bytes::copy_from_slice(reader.rest()))?;
        let candidates = items.all(CANDIDATE).take(CANDIDATES_READ_MAX);
        let candidates = candidates.filter_map(|value| decode_candidate(value).transpose());
        let network = items.last(NETWORK).map(decode_network).transpose()?;
        let (generation, network) = network.unwrap_or_default();
        Ok(Self {
            candidates: candidates.collect::<Result<_, _>>()?,
            relay: items.last(RELAY).map(decode_relay).transpose()?,
            generation,
            network,
        })
    }

    fn encode_network(&self) -> Vec<u8> {
        let mut value = self.generation.to_be_bytes().to_vec();
        value.push(self.network.udp.to_wire());
        value.push(self.network.tcp.to_wire());
        value
    }
}

fn encode_candidate(own: &LocalCandidate) -> Vec<u8> {
    let protocol = match own.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    };
    let mut value = vec![own.kind.0, protocol];
    value.put_u16(own.address.port());
    match own.address.ip() {
        IpAddr::V4(ip) => value.put_slice(&ip.octets()),
        IpAddr::V6(ip) => value.put_slice(&ip.octets()),
    }
    value
}

/// `None` for a protocol that we do not know.
fn decode_candidate(value: &Bytes) -> Result<Option<LocalCandidate>, DecodeError> {
    let mut reader = Reader::new(value, "candidate");
    let kind = CandidateKind(reader.u8()?);
    let protocol = match reader.u8()? {
        TCP => Protocol::Tcp,
        UDP => Protocol::Udp,
        _ => return Ok(None),
    };
    let port = reader.u16()?;
    let ip = if reader.remaining() < 16 {
        IpAddr::from(reader.array::<4>()?)
    } else {
        IpAddr::from(reader.array::<16>()?)
    };
    Ok(Some(LocalCandidate {
        address: SocketAddr::new(ip, port),
        kind,
        protocol,
    }))
}

fn decode_network(value: &Bytes) -> Result<(u32, Network), DecodeError> {
    let mut reader = Reader::new(value, "network");
    let generation = reader.u32()?;
    let udp = Mapping::from_wire(reader.u8()?);
    let tcp = Mapping::from_wire(reader.u8()?);
    Ok((generation, Network { udp, tcp }))
}

/// `None` if the relay cannot be named: a host name or ticket that is too long.
fn encode_relay(relay: &RelayCandidate) -> Option<Bytes> {
    let (host, port) = match &relay.address {
        RelayAddress::Socket(address) => (address.ip().to_string(), address.port()),
        RelayAddress::Name { host, port } => (host.clone(), *port),
    };
    let ticket = relay.ticket.clone().unwrap_or_default();
    if host.len() > HOST_MAX || ticket.len() > RELAY_TICKET {
        return None;
    }
    let mut value = BytesMut::new();
    value.put_u16(relay.token);
    value.put_slice(&relay.cookie.0);
    value.put_u16(port);
    put_string08(&mut value, host.as_bytes());
    value.put_slice(&ticket);
    Some(value.freeze())
}

fn decode_relay(value: &Bytes) -> Result<RelayCandidate, DecodeError> {
    let mut reader = Reader::new(value, "relay");
    let token = reader.u16()?;
    let cookie = Cookie(reader.array()?);
    let port = reader.u16()?;
    let host = reader.string08()?;
    let ticket = reader.rest();
    if ticket.len() > RELAY_TICKET {
        return Err(DecodeError::BadLength {
            what: "relay ticket",
            length: ticket.len(),
            min: 0,
            max: RELAY_TICKET,
        });
    }
    Ok(RelayCandidate {
        address: relay_address(host, port).ok_or(DecodeError::NotText { what: "relay host" })?,
        token,
        cookie,
        ticket: (!ticket.is_empty()).then(|| value.slice_ref(ticket)),
    })
}

fn relay_address(host: &[u8], port: u16) -> Option<RelayAddress> {
    let host = std::str::from_utf8(host).ok()?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(RelayAddress::Socket(SocketAddr::new(ip, port)));
    }
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = (1..=HOST_MAX).contains(&host.len()) && host.bytes().all(of_a_name);
    is_name.then(|| RelayAddress::Name {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Whereabouts {
        Whereabouts {
            candidates: vec![
                LocalCandidate {
                    address: "192.0.2.10:4443".parse().expect("an address"),
                    kind: CandidateKind::HOST,
                    protocol: Protocol::Tcp,
                },
                LocalCandidate {
                    address: "[2001:db8::10]:4443".parse().expect("an address"),
                    kind: CandidateKind::MAPPED,
                    protocol: Protocol::Udp,
                },
            ],
            relay: Some(RelayCandidate {
                address: RelayAddress::Name {
                    host: "relay.example".into(),
                    port: 5190,
                },
                token: 0x2337,
                cookie: Cookie(*b"RELAYCOO"),
                ticket: Some(Bytes::from_static(b"tick")),
            }),
            generation: 2,
            network: Network {
                udp: Mapping::Dependent,
                tcp: Mapping::Open,
            },
        }
    }

    /// The layout is fixed: a change here breaks the conversation with other versions.
    #[test]
    fn the_layout_is_this() {
        let expected = [
            &[0x01][..],
            &[0x00, 0x03, 0x00, 0x06, 0, 0, 0, 2, 3, 1],
            &[0x00, 0x02, 0x00, 0x1E, 0x23, 0x37],
            b"RELAYCOO",
            &[0x14, 0x46, 0x0D],
            b"relay.example",
            b"tick",
            &[
                0x00, 0x01, 0x00, 0x08, 0x01, 0x06, 0x11, 0x5B, 192, 0, 2, 10,
            ],
            &[0x00, 0x01, 0x00, 0x14, 0x03, 0x11, 0x11, 0x5B],
            &[
                0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
            ],
        ]
        .concat();
        assert_eq!(sample().encode(1_000), expected);
        assert_eq!(Whereabouts::decode(&expected), Ok(sample()));
    }

    #[test]
    fn a_literal_relay_comes_back_as_an_address() {
        let mut there = sample();
        for literal in ["192.0.2.80:5190", "[2001:db8::80]:443"] {
            let address = RelayAddress::Socket(literal.parse().expect("an address"));
            there.relay = there.relay.map(|relay| RelayCandidate {
                address,
                ticket: None,
                ..relay
            });
            assert_eq!(Whereabouts::decode(&there.encode(1_000)), Ok(there.clone()));
        }
    }

    #[test]
    fn what_is_unknown_is_skipped() {
        let bytes = [
            &[LAYOUT][..],
            &[0x00, 0x63, 0x00, 0x01, 0xFF],
            &[0x00, 0x03, 0x00, 0x07, 0, 0, 0, 1, 99, 1, 0xEE],
            &[0x00, 0x01, 0x00, 0x08, 0x01, 99, 0x11, 0x5B, 192, 0, 2, 10],
            &[
                0x00, 0x01, 0x00, 0x09, 0x77, 0x06, 0x11, 0x5B, 192, 0, 2, 10, 0xEE,
            ],
        ]
        .concat();
        let there = Whereabouts::decode(&bytes).expect("a list");
        let kinds: Vec<_> = there
            .candidates
            .iter()
            .map(|candidate| candidate.kind)
            .collect();
        assert_eq!(kinds, [CandidateKind(0x77)]);
        assert_eq!(there.generation, 1);
        let network = Network {
            udp: Mapping::Unknown,
            tcp: Mapping::Open,
        };
        assert_eq!(there.network, network);
    }

    #[test]
    fn cut_off_lists_are_errors() {
        let whole = sample().encode(1_000);
        for end in [0, 2, 5, 20] {
            assert!(Whereabouts::decode(&whole[..end]).is_err(), "{end}");
        }
        assert!(Whereabouts::decode(&[2]).is_err(), "another layout");
    }

    #[test]
    fn s_10_a_relay_host_that_is_no_name_is_refused() {
        for host in ["", "a b", "user@host", "host/path", "[::1]"] {
            assert_eq!(relay_address(host.as_bytes(), 5190), None, "{host}");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_candidates_first() {
        let short = sample().encode(60);
        let there = Whereabouts::decode(&short).expect("a list");
        assert_eq!((there.relay.is_some(), there.candidates.len()), (true, 1));
    }
}
