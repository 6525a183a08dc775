//! What a host does to a rendezvous block on its way (`host-icbm`, section 8): rules H-1 to H-9.
//!
//! The tags up to the first non-reserved one are inspected; what follows is copied byte for byte. Only VERIFIED_IP_ADDR
//! and VERIFIED_DOWNLOAD_URL, which a client may not send, are removed wherever they stand.

use std::net::Ipv4Addr;

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use crate::wire::error::DecodeError;
use crate::wire::rendezvous::{Cookie, Message, MessageKind, host, tag};
use crate::wire::tlv::Tlv;

/// A block as it goes on to the recipient, and what the host needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Propose, cancel, accept, or what the future brings.
    pub kind: MessageKind,
    /// Number of a proposal.
    pub sequence: Option<u16>,
    /// The service that the rendezvous is about.
    pub service: Uuid,
    /// The sender asks the host to check that the recipient has the service (rule H-6).
    pub host_check: bool,
    /// The edited block, value of outer TLV 0x0005.
    pub block: Bytes,
    /// How many tags were removed that only a host may set.
    pub forged: usize,
}

/// Why a block is sent back with 0x0004/0x0001, code 0x0E.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BustedBlock {
    /// Shorter than its header, or a TLV runs past its end.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The cookie inside is not that of the ICBM around it.
    #[error("the cookie of the block is not that of its message")]
    CookieMismatch,
    /// A proposal without SEQUENCE_NUM, or with zero (rule H-7).
    #[error("a proposal without a sequence number")]
    NoSequenceNumber,
    /// A proposal whose cookie is all zero: nobody takes it for one.
    #[error("a proposal without a cookie")]
    NoCookie,
}

/// Edits the block of a message with `cookie`, sent over a connection whose other end is `sender`.
///
/// `sender` is none where the connection is not IPv4: then no verified address is added.
///
/// # Errors
/// [`BustedBlock`]: the message goes back to its sender with code 0x0E.
pub fn carry(
    block: &Bytes,
    cookie: Cookie,
    sender: Option<Ipv4Addr>,
) -> Result<Carried, BustedBlock> {
    let mut message = Message::decode(block.clone())?;
    if message.cookie != cookie {
        return Err(BustedBlock::CookieMismatch);
    }
    let mut sequence = None;
    if message.kind == MessageKind::PROPOSE {
        if cookie.is_zero() {
            return Err(BustedBlock::NoCookie);
        }
        let inspected = message.params().0.iter();
        sequence = inspected
            .take_while(|tlv| tag::is_reserved(tlv.tag))
            .filter(|tlv| tlv.tag == tag::SEQUENCE)
            .last()
            .and_then(Tlv::array)
            .map(u16::from_be_bytes)
            .filter(|&sequence| sequence != 0);
        if sequence.is_none() {
            return Err(BustedBlock::NoSequenceNumber);
        }
    }
    let forged = host::strip(&mut message);
    if let Some(address) = sender {
        host::add_verified_ip(&mut message, address);
    }
    host::add_cancel_reason(&mut message);
    Ok(Carried {
        kind: message.kind,
        sequence,
        service: message.service,
        host_check: host::wants_check(&message),
        block: message.encode(),
        forged,
    })
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut as _, BytesMut};
    use proptest::prelude::*;

    use super::*;
    use crate::wire::tlv::TlvList;

    const REQUESTER_IP_ADDR: u16 = tag::REQUESTER_IP;
    const VERIFIED_IP_ADDR: u16 = tag::VERIFIED_IP;
    const VERIFIED_DOWNLOAD_URL: u16 = tag::VERIFIED_DOWNLOAD_URL;
    const SEQUENCE_NUM: u16 = tag::SEQUENCE;
    const CANCEL_REASON: u16 = tag::CANCEL_REASON;
    const REQUEST_HOST_CHECK: u16 = tag::REQUEST_HOST_CHECK;

    const COOKIE: Cookie = Cookie(*b"6156121\0");
    const PEER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

    fn block(kind: MessageKind, params: &[(u16, &[u8])]) -> Bytes {
        let mut block = BytesMut::new();
        block.put_u16(kind.0);
        block.put_slice(&COOKIE.0);
        block.put_slice(&[0x5A; 16]);
        let params: TlvList = params
            .iter()
            .map(|(tag, value)| Tlv::new(*tag, value.to_vec()))
            .collect();
        params.encode_rest(&mut block);
        block.freeze()
    }

    fn params(block: &Bytes) -> Vec<(u16, Vec<u8>)> {
        TlvList::decode_rest(block.slice(26..))
            .unwrap()
            .0
            .into_iter()
            .map(|tlv| (tlv.tag, tlv.value.to_vec()))
            .collect()
    }

    fn carried(kind: MessageKind, tags: &[(u16, &[u8])]) -> Vec<(u16, Vec<u8>)> {
        params(&carry(&block(kind, tags), COOKIE, Some(PEER)).unwrap().block)
    }

    fn tags(params: &[(u16, Vec<u8>)]) -> Vec<u16> {
        params.iter().map(|(tag, _)| *tag).collect()
    }

    const SEQUENCE: (u16, &[u8]) = (SEQUENCE_NUM, &[0, 1]);
    const REQUESTER: (u16, &[u8]) = (REQUESTER_IP_ADDR, &[10, 0, 0, 1]);

    #[test]
    fn h_1_the_scan_stops_at_the_first_tag_that_is_not_reserved() {
        let hidden = block(MessageKind::PROPOSE, &[(0x2711, b"x"), SEQUENCE]);
        assert_eq!(
            carry(&hidden, COOKIE, Some(PEER)),
            Err(BustedBlock::NoSequenceNumber)
        );
        let check = [
            SEQUENCE,
            (0x2711, b"x"),
            (REQUEST_HOST_CHECK, b""),
            REQUESTER,
        ];
        let carried = carry(&block(MessageKind::PROPOSE, &check), COOKIE, Some(PEER)).unwrap();
        assert!(!carried.host_check);
        assert_eq!(
            tags(&params(&carried.block)),
            [SEQUENCE_NUM, 0x2711, REQUEST_HOST_CHECK, REQUESTER_IP_ADDR]
        );
    }

    #[test]
    fn h_2_h_13_s_33_a_forged_verified_address_is_removed_wherever_it_stands() {
        let forged: (u16, &[u8]) = (VERIFIED_IP_ADDR, &[6, 6, 6, 6]);
        for kind in [
            MessageKind::PROPOSE,
            MessageKind::ACCEPT,
            MessageKind::CANCEL,
        ] {
            let all = [
                forged,
                SEQUENCE,
                forged,
                (0x2711, b"x"),
                forged,
                (0x5244, b"y"),
                forged,
            ];
            let carried = carry(&block(kind, &all), COOKIE, Some(PEER)).unwrap();
            assert_eq!(carried.forged, 4);
            assert!(!tags(&params(&carried.block)).contains(&VERIFIED_IP_ADDR));
        }
    }

    #[test]
    fn h_3_a_forged_verified_url_is_removed_wherever_it_stands() {
        let forged: (u16, &[u8]) = (VERIFIED_DOWNLOAD_URL, b"http://evil.example/");
        let all = [SEQUENCE, forged, (0x2711, b"x"), forged];
        assert_eq!(
            tags(&carried(MessageKind::PROPOSE, &all)),
            [SEQUENCE_NUM, 0x2711]
        );
    }

    #[test]
    fn h_4_h_14_the_address_of_the_connection_is_added_once_before_the_service_data() {
        let all = [
            (0x0002, &[10, 0, 0, 1][..]),
            REQUESTER,
            (VERIFIED_IP_ADDR, &[6, 6, 6, 6]),
            SEQUENCE,
            (0x2711, b"x"),
        ];
        let carried = carried(MessageKind::PROPOSE, &all);
        assert_eq!(tags(&carried), [0x0002, 0x0003, 0x000A, 0x0004, 0x2711]);
        assert_eq!(carried[3].1, PEER.octets());
    }

    #[test]
    fn l_33_a_counter_proposal_gets_the_verified_address_too() {
        let counter = [
            (SEQUENCE_NUM, &[0, 2][..]),
            REQUESTER,
            (0x0005, &[0x14, 0x46]),
        ];
        let carried = carried(MessageKind::PROPOSE, &counter);
        assert!(carried.contains(&(VERIFIED_IP_ADDR, PEER.octets().to_vec())));
    }

    #[test]
    fn h_5_no_verified_url_is_made_up() {
        let all = [SEQUENCE, (0x0006, &b"http://example.com/"[..])];
        assert_eq!(
            tags(&carried(MessageKind::PROPOSE, &all)),
            [SEQUENCE_NUM, 0x0006]
        );
    }

    #[test]
    fn h_6_a_request_for_a_host_check_is_seen() {
        let all = block(MessageKind::PROPOSE, &[SEQUENCE, (REQUEST_HOST_CHECK, b"")]);
        let carried = carry(&all, COOKIE, None).unwrap();
        assert!(carried.host_check);
        assert_eq!(carried.block, all, "the tag itself stays");
    }

    #[test]
    fn h_7_a_proposal_needs_a_sequence_number_and_nothing_else_does() {
        for bad in [
            &[(0x0002, &[0; 4][..])][..],
            &[(SEQUENCE_NUM, &[0, 0])],
            &[(SEQUENCE_NUM, &[1])],
        ] {
            assert_eq!(
                carry(&block(MessageKind::PROPOSE, bad), COOKIE, None),
                Err(BustedBlock::NoSequenceNumber)
            );
        }
        assert!(carried(MessageKind::ACCEPT, &[]).is_empty());
        assert_eq!(
            tags(&carried(MessageKind::ACCEPT, &[SEQUENCE])),
            [SEQUENCE_NUM]
        );
    }

    #[test]
    fn a_proposal_needs_a_cookie() {
        let mut bare = BytesMut::from(&block(MessageKind::PROPOSE, &[SEQUENCE])[..]);
        bare[2..10].fill(0);
        assert_eq!(
            carry(&bare.freeze(), Cookie([0; 8]), None),
            Err(BustedBlock::NoCookie)
        );
    }

    #[test]
    fn h_8_a_cancel_without_a_reason_gets_the_unknown_one() {
        assert_eq!(
            carried(MessageKind::CANCEL, &[(0x2711, b"x")]),
            [(0x2711, b"x".to_vec()), (CANCEL_REASON, vec![0, 0])]
        );
        assert_eq!(
            carried(MessageKind::CANCEL, &[(CANCEL_REASON, &[0, 1])]),
            [(CANCEL_REASON, vec![0, 1])]
        );
    }

    #[test]
    fn h_9_h_11_everything_else_keeps_its_order_and_its_bytes() {
        let all = [
            (0x0019, &b"session"[..]),
            SEQUENCE,
            (0x001F, b"?"),
            (0x5244, b"!"),
            (0x0001, b"late"),
            (0xFFFF, b""),
        ];
        let block = block(MessageKind(0x0077), &all);
        assert_eq!(carry(&block, COOKIE, Some(PEER)).unwrap().block, block);
    }

    #[test]
    fn h_15_no_address_is_added_to_an_accept_without_0x03_or_over_ipv6() {
        assert_eq!(
            tags(&carried(MessageKind::ACCEPT, &[REQUESTER])),
            [REQUESTER_IP_ADDR]
        );
        assert_eq!(
            tags(&carried(MessageKind::PROPOSE, &[SEQUENCE])),
            [SEQUENCE_NUM]
        );
        let proposal = block(MessageKind::PROPOSE, &[SEQUENCE, REQUESTER]);
        assert_eq!(carry(&proposal, COOKIE, None).unwrap().block, proposal);
    }

    #[test]
    fn h_17_the_addresses_of_the_proposer_and_their_copies_are_bit_identical() {
        let all = [
            SEQUENCE,
            REQUESTER,
            (0x0016, &[1, 2, 3, 4]),
            (0x0017, &[5, 6]),
            (0x0018, &b"\x0e10.0.0.1 40313"[..]),
        ];
        let carried = carried(MessageKind::PROPOSE, &all);
        for (place, (tag, value)) in all.iter().enumerate() {
            assert_eq!((carried[place].0, &carried[place].1[..]), (*tag, *value));
        }
    }

    #[test]
    fn h_22_a_short_block_a_lying_length_and_a_foreign_cookie_are_refused() {
        let good = block(MessageKind::PROPOSE, &[SEQUENCE]);
        for length in (0..26).chain(27..good.len()) {
            assert!(matches!(
                carry(&good.slice(..length), COOKIE, None),
                Err(BustedBlock::Malformed(_))
            ));
        }
        assert_eq!(
            carry(&good, Cookie([9; 8]), None),
            Err(BustedBlock::CookieMismatch)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_carried_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = carry(&bytes.into(), COOKIE, Some(PEER));
        }

        #[test]
        fn s_33_forged_tags_never_survive_and_the_rest_always_does(
            kind in 0u16..5,
            list in proptest::collection::vec(
                (prop_oneof![0u16..0x20, Just(0x2711), Just(0x5244), any::<u16>()], proptest::collection::vec(any::<u8>(), 0..6)),
                0..40,
            ),
        ) {
            let list: Vec<(u16, &[u8])> = list.iter().map(|(tag, value)| (*tag, &value[..])).collect();
            if let Ok(carried) = carry(&block(MessageKind(kind), &list), COOKIE, Some(PEER)) {
                let after = params(&carried.block);
                let verified: Vec<_> = after.iter().filter(|(tag, _)| *tag == VERIFIED_IP_ADDR).collect();
                prop_assert!(verified.len() <= 1);
                prop_assert!(verified.iter().all(|(_, value)| value[..] == PEER.octets()));
                prop_assert!(!tags(&after).contains(&VERIFIED_DOWNLOAD_URL));
                let kept = |tag: u16| !matches!(tag, VERIFIED_IP_ADDR | VERIFIED_DOWNLOAD_URL | CANCEL_REASON);
                let before: Vec<_> = list.iter().filter(|(tag, _)| kept(*tag)).map(|(tag, value)| (*tag, value.to_vec())).collect();
                let after: Vec<_> = after.into_iter().filter(|(tag, _)| kept(*tag)).collect();
                prop_assert_eq!(before, after);
            }
        }
    }
}
