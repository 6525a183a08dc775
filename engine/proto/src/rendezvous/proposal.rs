//! What we put into our messages, and what we make of theirs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;

use super::common::Common;
use super::limits::RELAY_PORT;
use super::{CandidateKind, LocalCandidate, Offer, RelayAddress, RelayCandidate};
use crate::trust::Terms;
use crate::wire::rendezvous::{Message, SequenceNumber, tag};
use crate::wire::security::{SecurityBlock, item};
use crate::wire::service::{DIRECT_IM, GET_FILE, NATIVE_VERSION, SEND_FILE};
use crate::wire::tlv::TlvList;

/// The terms of a message that enter the transcript, kept until it is complete.
#[derive(Clone, Debug)]
pub(super) struct KeptTerms {
    request_secure: bool,
    min: Option<u16>,
    max: Option<u16>,
    block: Bytes,
}

impl KeptTerms {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            request_secure: message.request_secure(),
            min: message.min_version(),
            max: message.max_version(),
            block: message.security_bytes().unwrap_or_default(),
        }
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            request_secure: self.request_secure,
            min: self.min,
            max: self.max,
            block: &self.block,
        }
    }
}

/// First native proposal or its answer: the key exchange.
pub(super) fn native_handshake(
    common: &Common,
    number: SequenceNumber,
    block: &SecurityBlock,
) -> Message {
    let message = Message::propose(common.id.cookie, common.service, number)
        .with_request_secure()
        .with_versions(NATIVE_VERSION, NATIVE_VERSION)
        .with_security(block);
    if number == SequenceNumber::FIRST {
        message.with_host_check()
    } else {
        message
    }
}

/// Native proposal with nothing but sealed whereabouts.
pub(super) fn native_further(common: &Common, number: SequenceNumber, sealed: Bytes) -> Message {
    let block = SecurityBlock::new().with(item::SEALED, sealed);
    Message::propose(common.id.cookie, common.service, number)
        .with_request_secure()
        .with_security(&block)
}

/// Native ACCEPT: it says that the first lane is proven, and again with which key.
pub(super) fn native_accept(common: &Common, key_hash: [u8; 32]) -> Message {
    let block = SecurityBlock::new().with(item::KEY, key_hash.to_vec());
    Message::accept(common.id.cookie, common.service)
        .with_request_secure()
        .with_security(&block)
}

/// What a legacy proposal of ours says about the way.
#[derive(Clone, Copy, Debug)]
pub(super) enum LegacyWay<'a> {
    /// Our listener, at each of these addresses.
    Direct(&'a [LocalCandidate]),
    /// A relay session.
    Relay(SocketAddrV4, u16),
    /// "Make a relay session, I cannot."
    Nothing,
}

/// A legacy proposal. The tags of the service go into the first one only.
pub(super) fn legacy(
    common: &Common,
    number: SequenceNumber,
    way: LegacyWay<'_>,
    secure: bool,
    service_tags: &TlvList,
) -> Message {
    let mut message = Message::propose(common.id.cookie, common.service, number);
    message = match way {
        LegacyWay::Direct(own) => direct(message, own),
        LegacyWay::Relay(relay, token) => {
            let message = message.with_relay(*relay.ip(), token);
            // Legacy peers join on port 5190; another one is said where only ours look.
            if relay.port() == RELAY_PORT {
                message
            } else {
                message.with_addr_list(&[relay.into()])
            }
        }
        LegacyWay::Nothing => message.with_no_address(),
    };
    if secure {
        message = message.with_request_secure();
    }
    if number == SequenceNumber::FIRST {
        message = message.with_host_check();
        for tlv in &service_tags.0 {
            // Reserved tags are ours to set, whatever the caller put into the list.
            if !tag::is_reserved(tlv.tag)
                && let Ok(with) = message.clone().with_param(tlv.tag, tlv.value.clone())
            {
                message = with;
            }
        }
    }
    message
}

/// Legacy peers dial the addresses of the tags with one port: a mapped or forwarded address and its port if
/// there is one, else the first of our own. All of ours with their ports go into the list.
fn direct(message: Message, own: &[LocalCandidate]) -> Message {
    // What is only guessed, or of use only to who dials at the same time, old clients cannot use.
    let usable = |one: &&LocalCandidate| {
        !matches!(one.kind, CandidateKind::REFLEXIVE | CandidateKind::VERIFIED)
    };
    let own: Vec<_> = own.iter().filter(usable).copied().collect();
    let Some((address, lan)) = legacy_addresses(&own) else {
        return message.with_no_address();
    };
    let message = message.with_direct(*address.ip(), lan, address.port());
    if own.len() < 2 {
        return message;
    }
    let list: Vec<_> = own.iter().map(|candidate| candidate.address).collect();
    message.with_addr_list(&list)
}

/// The address that a legacy peer is told, and our address in the LAN. `None` without IPv4.
pub(super) fn legacy_addresses(own: &[LocalCandidate]) -> Option<(SocketAddrV4, Ipv4Addr)> {
    let v4 = |wanted: &dyn Fn(CandidateKind) -> bool| {
        own.iter().find_map(|candidate| match candidate.address {
            SocketAddr::V4(address) if wanted(candidate.kind) => Some(address),
            _ => None,
        })
    };
    let mapped = v4(&|kind| matches!(kind, CandidateKind::MAPPED | CandidateKind::FORWARDED));
    let host = v4(&|kind| kind == CandidateKind::HOST).or_else(|| v4(&|_| true))?;
    Some((mapped.unwrap_or(host), *host.ip()))
}

/// What a legacy proposal of the peer says about the way.
#[derive(Debug)]
pub(super) enum TheirWay {
    /// Addresses to dial, in their order.
    Direct(Vec<SocketAddr>),
    /// A relay session to join.
    Relay(RelayCandidate),
    /// Nothing to dial: we are to offer something else (L-07).
    Nothing,
}

/// Reads the addresses of a legacy proposal (T-06, L-03 to L-05, R-29 to R-31).
pub(super) fn their_way(message: &Message) -> TheirWay {
    let some = |ip: Option<Ipv4Addr>| ip.filter(|ip| !ip.is_unspecified());
    let listed = message.addr_list();
    if message.use_ars() {
        let (Some(ip), Some(token)) = (some(message.rendezvous_ip()), message.relay_token()) else {
            return TheirWay::Nothing;
        };
        let announced = listed.iter().find(|address| address.ip() == IpAddr::V4(ip));
        let port = announced.map_or(RELAY_PORT, SocketAddr::port);
        return TheirWay::Relay(RelayCandidate {
            address: RelayAddress::Socket(SocketAddr::new(ip.into(), port)),
            token,
            cookie: message.cookie,
            ticket: None,
        });
    }
    let tagged = [
        message.verified_ip(),
        message.requester_ip(),
        message.rendezvous_ip(),
        message.altered_ip(),
    ];
    let tagged = tagged.into_iter().filter_map(some).filter_map(|ip| {
        let port = message.port()?;
        Some(SocketAddr::new(ip.into(), port))
    });
    let named: Vec<_> = listed.into_iter().chain(tagged).collect();
    if named.is_empty() {
        TheirWay::Nothing
    } else {
        TheirWay::Direct(named)
    }
}

/// Whether the content of a first legacy proposal makes sense; if not, NAK 0x03.
pub(super) fn first_makes_sense(message: &Message) -> bool {
    let service = message.service;
    let needs_way = [SEND_FILE, GET_FILE, DIRECT_IM].contains(&service);
    let way_fits = !needs_way || !matches!(their_way(message), TheirWay::Nothing);
    let data_fits = service != SEND_FILE || matches!(message.send_file_data(), Some(Ok(_)));
    way_fits && data_fits
}

/// What the user is asked about.
pub(super) fn offer(message: &Message) -> Offer {
    let of_service = |tag: u16| !tag::is_reserved(tag) && tag != tag::SECURITY;
    let params = message.params();
    let tags = params.0.iter().filter(|tlv| of_service(tlv.tag)).cloned();
    let block = message.security_block().and_then(Result::ok);
    Offer {
        service: message.service,
        secure: message.request_secure(),
        key_hash: block.and_then(|block| block.key()),
        service_tags: tags.collect(),
        invitation: message.invitation(),
    }
}
