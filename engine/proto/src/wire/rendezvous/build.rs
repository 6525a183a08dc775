//! How we make rendezvous messages.
//!
//! Every setter puts its parameter in its canonical place: reserved tags first, then SERVICE_DATA and its like, then the
//! security block. The sequence number and the cancel reason come with the kind of message, checks come with what they
//! check, and host-only tags cannot be set: what must not be sent cannot be said.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use uuid::Uuid;

use super::{CancelReason, Cookie, Message, MessageKind, SequenceNumber, tag};
use crate::wire::address::{self, ip_xor, port_xor};
use crate::wire::error::EncodeError;
use crate::wire::security::SecurityBlock;
use crate::wire::service::SendFileData;
use crate::wire::tlv::{Tlv, TlvList};

impl Message {
    /// A proposal with nothing but its number.
    pub fn propose(cookie: Cookie, service: Uuid, sequence: SequenceNumber) -> Self {
        Self::new(MessageKind::PROPOSE, cookie, service)
            .set(tag::SEQUENCE, sequence.get().to_be_bytes())
    }

    /// A cancel.
    pub fn cancel(cookie: Cookie, service: Uuid, reason: CancelReason) -> Self {
        Self::new(MessageKind::CANCEL, cookie, service)
            .set(tag::CANCEL_REASON, reason.0.to_be_bytes())
    }

    /// An accept without parameters.
    pub fn accept(cookie: Cookie, service: Uuid) -> Self {
        Self::new(MessageKind::ACCEPT, cookie, service)
    }

    /// Addresses and the port on which we listen at all of them, with their checks: a private or preferred address, and
    /// our idea of the one that the world sees (a host adds the verified address only where this one is).
    #[must_use]
    pub fn with_direct(self, preferred: Ipv4Addr, requester: Ipv4Addr, port: u16) -> Self {
        self.with_checked_ip(preferred)
            .set(tag::REQUESTER_IP, requester.octets())
            .with_checked_port(port)
    }

    /// The relay on which we wait, and the token of the session there.
    #[must_use]
    pub fn with_relay(self, relay: Ipv4Addr, token: u16) -> Self {
        self.with_checked_ip(relay)
            .with_checked_port(token)
            .set(tag::USE_ARS, [])
    }

    /// No address at all: "offer something else". For second proposals and later.
    #[must_use]
    pub fn with_no_address(self) -> Self {
        self.with_checked_ip(Ipv4Addr::UNSPECIFIED)
            .set(tag::REQUESTER_IP, [0; 4])
    }

    /// Further addresses in our order of preference; the first 16 go out.
    #[must_use]
    pub fn with_addr_list(self, addresses: &[SocketAddr]) -> Self {
        self.set(tag::ADDR_LIST, address::encode_addr_list(addresses))
    }

    /// Asks the host to check the recipient's capabilities. For first proposals.
    #[must_use]
    pub fn with_host_check(self) -> Self {
        self.set(tag::REQUEST_HOST_CHECK, [])
    }

    /// Asks for TLS or, in an accept, agrees to it.
    #[must_use]
    pub fn with_request_secure(self) -> Self {
        self.set(tag::REQUEST_SECURE, [])
    }

    /// Lowest and highest version of the service's protocol.
    #[must_use]
    pub fn with_versions(self, lowest: u16, highest: u16) -> Self {
        self.set(tag::MAX_VERSION, highest.to_be_bytes())
            .set(tag::MIN_VERSION, lowest.to_be_bytes())
    }

    /// What a send-file proposal offers: SERVICE_DATA, the name's character set (UTF-8), and the true total.
    #[must_use]
    pub fn with_send_file(self, data: &SendFileData, total_bytes: u64) -> Self {
        self.set(tag::SERVICE_DATA, data.encode())
            .set(tag::FILE_NAME_CHARSET, *b"utf-8")
            .set(tag::TOTAL_SIZE, total_bytes.to_be_bytes())
    }

    /// The security block.
    #[must_use]
    pub fn with_security(self, block: &SecurityBlock) -> Self {
        self.with_security_bytes(block.encode())
    }

    /// The security block as bytes that were encoded before.
    #[must_use]
    pub fn with_security_bytes(self, block: Bytes) -> Self {
        self.set(tag::SECURITY, block)
    }

    /// A parameter of a service, or a reserved one that has no setter of its own here.
    ///
    /// # Errors
    /// [`EncodeError::ForbiddenTag`] for tags that only a host may send, and for those that belong to one kind of message or
    /// go out together with their check.
    pub fn with_param(self, tag: u16, value: impl Into<Bytes>) -> Result<Self, EncodeError> {
        let has_setter = [
            tag::SEQUENCE,
            tag::CANCEL_REASON,
            tag::RENDEZVOUS_IP,
            tag::REQUESTER_IP,
            tag::PORT,
            tag::IP_XOR,
            tag::PORT_XOR,
        ];
        if tag::is_host_only(tag) || has_setter.contains(&tag) {
            return Err(EncodeError::ForbiddenTag { tag });
        }
        Ok(self.set_bytes(tag, value.into()))
    }

    fn new(kind: MessageKind, cookie: Cookie, service: Uuid) -> Self {
        Self {
            kind,
            cookie,
            service,
            params: TlvList::new(),
        }
    }

    fn with_checked_ip(self, ip: Ipv4Addr) -> Self {
        self.set(tag::RENDEZVOUS_IP, ip.octets())
            .set(tag::IP_XOR, ip_xor(ip))
    }

    fn with_checked_port(self, port: u16) -> Self {
        self.set(tag::PORT, port.to_be_bytes())
            .set(tag::PORT_XOR, port_xor(port))
    }

    fn set(self, tag: u16, value: impl AsRef<[u8]>) -> Self {
        self.set_bytes(tag, Bytes::copy_from_slice(value.as_ref()))
    }

    fn set_bytes(mut self, tag: u16, value: Bytes) -> Self {
        self.params.remove_all(tag);
        let later = self
            .params
            .0
            .iter()
            .position(|other| place(other.tag) > place(tag));
        let at = later.unwrap_or(self.params.0.len());
        self.params.0.insert(at, Tlv { tag, value });
        self
    }
}

/// Where a tag stands among the others: the number of the proposal and the request to the host in front, as AIM has them,
/// the rest by number.
fn place(tag: u16) -> u16 {
    match tag {
        tag::SEQUENCE => 0,
        tag::REQUEST_HOST_CHECK => 1,
        other => other.saturating_add(2),
    }
}
