//! What a host, and only a host, does to the messages that it passes on.

use std::net::Ipv4Addr;

use super::{CancelReason, Message, MessageKind, tag};
use crate::wire::tlv::Tlv;

/// Removes the tags that a client may not send, wherever they stand; says how many there were.
pub fn strip(message: &mut Message) -> usize {
    [tag::VERIFIED_IP, tag::VERIFIED_DOWNLOAD_URL]
        .into_iter()
        .map(|tag| message.params.remove_all(tag))
        .sum()
}

/// Adds the address from which a proposal came, if the proposal names its sender's address; says whether it did.
///
/// The tag goes behind the reserved ones in front, so that parsers that stop at the first tag of a service see it.
pub fn add_verified_ip(message: &mut Message, ip: Ipv4Addr) -> bool {
    let border = reserved_in_front(message);
    let names_sender = message.params.0[..border]
        .iter()
        .any(|tlv| tlv.tag == tag::REQUESTER_IP);
    if message.kind != MessageKind::PROPOSE || !names_sender {
        return false;
    }
    message
        .params
        .0
        .insert(border, Tlv::new(tag::VERIFIED_IP, ip.octets().to_vec()));
    true
}

/// Adds the reason to a cancel that has none; says whether it did.
pub fn add_cancel_reason(message: &mut Message) -> bool {
    if message.kind != MessageKind::CANCEL || message.params.contains(tag::CANCEL_REASON) {
        return false;
    }
    message.params.push(
        tag::CANCEL_REASON,
        CancelReason::UNKNOWN.0.to_be_bytes().to_vec(),
    );
    true
}

/// Whether the sender asks, among the reserved tags in front, for a check of the recipient's capabilities.
pub fn wants_check(message: &Message) -> bool {
    message.params.0[..reserved_in_front(message)]
        .iter()
        .any(|tlv| tlv.tag == tag::REQUEST_HOST_CHECK)
}

/// How many parameters stand in front of the first one that is not reserved: what a host looks at.
fn reserved_in_front(message: &Message) -> usize {
    let params = &message.params.0;
    params
        .iter()
        .position(|tlv| !tag::is_reserved(tlv.tag))
        .unwrap_or(params.len())
}
