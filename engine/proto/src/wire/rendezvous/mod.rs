//! Rendezvous messages: the value of outer TLV 0x0005 of an ICBM on channel 2.
//!
//! `[kind: u16][cookie: 8 bytes][service: UUID, 16 bytes][TLVs]`
//!
//! [`Message`] reads and keeps any of them; its constructors in `build` make ours; [`host`] is what only a host may do to one.

mod build;
pub mod host;
mod numbers;
pub mod tag;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::address::{self, Checked};
use super::codec::Reader;
use super::error::DecodeError;
use super::security::SecurityBlock;
use super::service::SendFileData;
use super::text::Charset;
use super::tlv::TlvList;
use crate::limits;

pub use numbers::{CancelReason, Cookie, MessageKind, NakCode, SequenceNumber};

/// One rendezvous message. Among repeated parameters the last one counts; one in an unexpected length counts as absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it does.
    pub kind: MessageKind,
    /// Names the conversation.
    pub cookie: Cookie,
    /// What the connection is for.
    pub service: Uuid,
    params: TlvList,
}

impl Message {
    /// Reads a block.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] below 26 bytes or if a parameter runs past the end, [`DecodeError::TooMany`] above 64 parameters.
    pub fn decode(block: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&block, "rendezvous block");
        Ok(Self {
            kind: MessageKind(reader.u16()?),
            cookie: Cookie(reader.array()?),
            service: Uuid::from_bytes(reader.array()?),
            params: TlvList::decode_rest_limited(
                block.slice_ref(reader.rest()),
                limits::RENDEZVOUS_PARAMS,
            )?,
        })
    }

    /// The block's bytes: parameters in the order in which they were read, or in the canonical one if we made the message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(26 + self.params.encoded_len());
        out.put_u16(self.kind.0);
        out.put_slice(&self.cookie.0);
        out.put_slice(self.service.as_bytes());
        self.params.encode_rest(&mut out);
        out.freeze()
    }

    /// All parameters in their order.
    pub fn params(&self) -> &TlvList {
        &self.params
    }

    /// Whether the parameters of a proposal can be acted on; of any other message: yes.
    ///
    /// # Errors
    /// What to answer with NAK 0x03: the sequence number is absent, in a wrong length or 0; it or REQUEST_SECURE is
    /// repeated with other content; the security block is repeated; a parameter is over its limit.
    pub fn check(&self) -> Result<(), DecodeError> {
        const LENGTHS: [(u16, &str, usize); 7] = [
            (tag::DOWNLOAD_URL, "DOWNLOAD_URL", limits::DOWNLOAD_URL),
            (tag::DOWNLOAD_URL_2, "DOWNLOAD_URL2", limits::DOWNLOAD_URL),
            (
                tag::VERIFIED_DOWNLOAD_URL,
                "VERIFIED_DOWNLOAD_URL",
                limits::DOWNLOAD_URL,
            ),
            (tag::SESSION_ID, "SESSION_ID", limits::SESSION_ID),
            (tag::ROLLOVER_ID, "ROLLOVER_ID", limits::SESSION_ID),
            (tag::SERVICE_DATA, "SERVICE_DATA", limits::SERVICE_DATA),
            (tag::SECURITY, "security block", limits::SECURITY_BLOCK),
        ];
        if self.kind != MessageKind::PROPOSE {
            return Ok(());
        }
        for tag in [tag::SEQUENCE, tag::REQUEST_SECURE] {
            if self
                .params
                .all(tag)
                .any(|value| Some(value) != self.params.first(tag))
            {
                return Err(DecodeError::Repeated {
                    what: "rendezvous block",
                    tag,
                });
            }
        }
        if self.params.all(tag::SECURITY).nth(1).is_some() {
            return Err(DecodeError::Repeated {
                what: "rendezvous block",
                tag: tag::SECURITY,
            });
        }
        for (tag, what, max) in LENGTHS {
            if let Some(length) = self
                .params
                .all(tag)
                .map(Bytes::len)
                .find(|&length| length > max)
            {
                return Err(DecodeError::BadLength {
                    what,
                    length,
                    min: 0,
                    max,
                });
            }
        }
        self.sequence().map(drop).ok_or(DecodeError::Missing {
            what: "SEQUENCE_NUM",
        })
    }

    /// Number of a proposal. None in other messages (where it is ignored), or if it is absent, in a wrong length or 0.
    pub fn sequence(&self) -> Option<SequenceNumber> {
        let number = self.array(tag::SEQUENCE).map(u16::from_be_bytes)?;
        if self.kind == MessageKind::PROPOSE {
            SequenceNumber::new(number)
        } else {
            None
        }
    }

    /// Reason of a cancel; [`CancelReason::UNKNOWN`] if none was given (as Miranda does).
    pub fn cancel_reason(&self) -> CancelReason {
        self.array(tag::CANCEL_REASON)
            .map_or(CancelReason::UNKNOWN, |reason| {
                CancelReason(u16::from_be_bytes(reason))
            })
    }

    /// Whether TLS is asked for or, in an accept, agreed to.
    pub fn request_secure(&self) -> bool {
        self.params.contains(tag::REQUEST_SECURE)
    }

    /// Whether the connection goes through a relay.
    pub fn use_ars(&self) -> bool {
        self.params.contains(tag::USE_ARS)
    }

    /// Whether the host shall check the recipient's capabilities. Not for clients.
    pub fn host_check(&self) -> bool {
        self.params.contains(tag::REQUEST_HOST_CHECK)
    }

    /// Lowest version of the service's protocol.
    pub fn min_version(&self) -> Option<u16> {
        self.array(tag::MIN_VERSION).map(u16::from_be_bytes)
    }

    /// Highest version of the service's protocol.
    pub fn max_version(&self) -> Option<u16> {
        self.array(tag::MAX_VERSION).map(u16::from_be_bytes)
    }

    /// Whether the versions here have one in common with `lowest..=highest`. A side that says nothing fits any.
    pub fn versions_overlap(&self, lowest: u16, highest: u16) -> bool {
        self.min_version().unwrap_or(0) <= highest
            && lowest <= self.max_version().unwrap_or(u16::MAX)
    }

    /// The proposed or the relay's address, undone if it was altered on the way. 0.0.0.0 means none.
    pub fn rendezvous_ip(&self) -> Option<Ipv4Addr> {
        self.checked_ip().map(|ip| ip.value)
    }

    /// What the address was altered to: for a direct proposal one more candidate.
    pub fn altered_ip(&self) -> Option<Ipv4Addr> {
        self.checked_ip().and_then(|ip| ip.altered)
    }

    /// The proposer's own idea of its address.
    pub fn requester_ip(&self) -> Option<Ipv4Addr> {
        self.array(tag::REQUESTER_IP).map(Ipv4Addr::from)
    }

    /// The proposer's address as the host saw it. A hint: some hosts let a forged one through in front of theirs.
    pub fn verified_ip(&self) -> Option<Ipv4Addr> {
        self.array(tag::VERIFIED_IP).map(Ipv4Addr::from)
    }

    /// As [`Message::verified_ip`], but none if two different ones are there.
    pub fn undisputed_verified_ip(&self) -> Option<Ipv4Addr> {
        let first = self.params.first(tag::VERIFIED_IP)?;
        let agree = self
            .params
            .all(tag::VERIFIED_IP)
            .all(|other| other == first);
        if agree { self.verified_ip() } else { None }
    }

    /// The TCP port of the addresses, undone if it was altered on the way; none if it is 0, which cannot be dialled.
    pub fn port(&self) -> Option<u16> {
        self.checked_port()
            .map(|port| port.value)
            .filter(|&port| port != 0)
    }

    /// What the port was altered to.
    pub fn altered_port(&self) -> Option<u16> {
        self.checked_port().and_then(|port| port.altered)
    }

    /// The token of the relay session, any number; none without USE_ARS.
    pub fn relay_token(&self) -> Option<u16> {
        self.checked_port()
            .map(|port| port.value)
            .filter(|_| self.use_ars())
    }

    /// The addresses of ADDR_LIST: at most 16 entries are looked at, malformed ones are skipped.
    pub fn addr_list(&self) -> Vec<SocketAddr> {
        self.params
            .last(tag::ADDR_LIST)
            .map(|list| address::decode_addr_list(list))
            .unwrap_or_default()
    }

    /// The first 2,048 bytes of the words to the user, decoded. Foreign text.
    pub fn invitation(&self) -> Option<String> {
        let words = self.params.last(tag::INVITATION)?;
        let kept = &words[..words.len().min(limits::INVITATION)];
        let charset = self
            .params
            .last(tag::INVITATION_CHARSET)
            .map_or(Charset::Unknown, |name| Charset::named(name));
        Some(charset.decode(kept))
    }

    /// SERVICE_DATA as it stands there.
    pub fn service_data(&self) -> Option<Bytes> {
        self.params.last(tag::SERVICE_DATA).cloned()
    }

    /// SERVICE_DATA of a send-file proposal; none if it is absent.
    ///
    /// # Errors
    /// As [`SendFileData::decode`].
    pub fn send_file_data(&self) -> Option<Result<SendFileData, DecodeError>> {
        self.params
            .last(tag::SERVICE_DATA)
            .map(SendFileData::decode)
    }

    /// Character set of the file name in SERVICE_DATA.
    pub fn file_name_charset(&self) -> Charset {
        self.params
            .last(tag::FILE_NAME_CHARSET)
            .map_or(Charset::Unknown, |name| Charset::named(name))
    }

    /// Total size of a send-file proposal as 64 bits; see [`SendFileData::total_bytes`] for when it counts.
    pub fn total_size(&self) -> Option<u64> {
        self.array(tag::TOTAL_SIZE).map(u64::from_be_bytes)
    }

    /// The security block as it stands there, for the transcript; none if it is absent.
    pub fn security_bytes(&self) -> Option<Bytes> {
        self.params.last(tag::SECURITY).cloned()
    }

    /// The security block; none if it is absent.
    ///
    /// # Errors
    /// As [`SecurityBlock::decode`], or [`DecodeError::Repeated`] if there are two.
    pub fn security_block(&self) -> Option<Result<SecurityBlock, DecodeError>> {
        let mut blocks = self.params.all(tag::SECURITY);
        let block = blocks.next()?.clone();
        if blocks.next().is_some() {
            return Some(Err(DecodeError::Repeated {
                what: "rendezvous block",
                tag: tag::SECURITY,
            }));
        }
        Some(SecurityBlock::decode(block))
    }

    fn checked_ip(&self) -> Option<Checked<Ipv4Addr>> {
        self.array(tag::RENDEZVOUS_IP)
            .map(|plain| Checked::ip(plain, self.array(tag::IP_XOR)))
    }

    fn checked_port(&self) -> Option<Checked<u16>> {
        self.array(tag::PORT)
            .map(|plain| Checked::port(plain, self.array(tag::PORT_XOR)))
    }

    /// The last parameter with that tag and that length.
    fn array<const N: usize>(&self, tag: u16) -> Option<[u8; N]> {
        self.params
            .all(tag)
            .rev()
            .find_map(|value| value[..].try_into().ok())
    }
}
