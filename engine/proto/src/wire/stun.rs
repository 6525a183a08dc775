//! STUN (RFC 8489), as far as we speak it: Binding requests, their answers, and nothing else.
//!
//! `[type: u16][length of what follows the head: u16][magic cookie: u32 = 0x2112A442][transaction: 12 bytes]`, then attributes
//! `[type: u16][length of the value: u16][value][padding to a multiple of 4]`.
//!
//! Host and relay answer these, so that we learn how an address translator shows us to the world; peers send each other signed ones as
//! probes. The first byte is 0 or 1, which tells them from QUIC on the same socket (RFC 9443) and from everything but ARS on a TCP port
//! ([`could_begin_a_stream`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::codec::Reader;
use super::error::DecodeError;
use crate::limits;

/// The head of every message, in bytes.
pub const HEAD: usize = 20;
/// The fixed number in every head.
pub const MAGIC: u32 = 0x2112_A442;
/// Our requests to a host or relay have at least so many bytes, since its answer is never longer than the request.
pub const REQUEST_MIN: usize = 64;

/// CHANGE-REQUEST (RFC 5780 7.2): answer from another address ([`CHANGE_ADDRESS`]) or port ([`CHANGE_PORT`]). `[flags: u32]`
pub const CHANGE_REQUEST: u16 = 0x0003;
/// ERROR-CODE (RFC 8489 14.8). `[0: u16][hundreds: u8][rest: u8][reason]`
pub const ERROR_CODE: u16 = 0x0009;
/// UNKNOWN-ATTRIBUTES (RFC 8489 14.9): the types that a request had and we do not know.
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// MESSAGE-INTEGRITY-SHA256 (RFC 8489 14.6): HMAC-SHA256 over all before it.
pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
/// XOR-MAPPED-ADDRESS (RFC 8489 14.2): where the request came from.
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// SOFTWARE (RFC 8489 14.14): who answers, as text.
pub const SOFTWARE: u16 = 0x8022;
/// FINGERPRINT (RFC 8489 14.7); may stand behind the integrity.
pub const FINGERPRINT: u16 = 0x8028;
/// OTHER-ADDRESS (RFC 5780 7.4): where else the same server answers. `[0: u8][family: u8][port: u16][address]`
pub const OTHER_ADDRESS: u16 = 0x802C;
/// Ours: bytes without meaning that make a request long enough for its answer.
pub const RDV_PADDING: u16 = 0xC051;
/// Ours: `[generation: u32][role: u8]` of a probe between peers.
pub const RDV_PROBE: u16 = 0xC052;
/// Ours: the answering host's clock, in ms since 1970 (`u64`). Not signed: good for a hint, not for a decision.
pub const RDV_TIME: u16 = 0xC053;

/// Flag of [`CHANGE_REQUEST`]: answer from another address.
pub const CHANGE_ADDRESS: u32 = 0x04;
/// Flag of [`CHANGE_REQUEST`]: answer from another port.
pub const CHANGE_PORT: u32 = 0x02;

const BINDING: u16 = 0x0001;
const CLASS_BITS: u16 = 0x0110;
const ATTRIBUTE_HEAD: usize = 4;
const INTEGRITY: usize = 32;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Somebody asks.
    Request,
    /// The answer.
    Success,
    /// The answer that there is none.
    Error,
}

impl Class {
    fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }
}

/// A Binding request or an answer to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stun {
    /// What it is.
    pub class: Class,
    /// Ties an answer to its request.
    pub transaction: [u8; 12],
    /// Types and values in the order of the message, without padding.
    pub attributes: Vec<(u16, Bytes)>,
}

impl Stun {
    /// A message without attributes.
    pub fn new(class: Class, transaction: [u8; 12]) -> Self {
        Self {
            class,
            transaction,
            attributes: Vec::new(),
        }
    }

    /// A request to a host or relay: as long as its answer may get.
    pub fn request(transaction: [u8; 12]) -> Self {
        Self::new(Class::Request, transaction).padded_to(REQUEST_MIN)
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none, if it is longer than [`limits::STUN_MESSAGE`], has more than [`limits::STUN_ATTRIBUTES`]
    /// attributes or bytes behind its end, or if its method is not Binding or it is an indication.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        if data.len() > limits::STUN_MESSAGE {
            return Err(DecodeError::BadLength {
                what: "STUN message",
                length: data.len(),
                min: HEAD,
                max: limits::STUN_MESSAGE,
            });
        }
        let mut head = Reader::new(data, "STUN head");
        let kind = head.u16()?;
        let class = match kind & CLASS_BITS {
            _ if kind & !CLASS_BITS != BINDING => Err(DecodeError::BadMarker {
                what: "STUN Binding",
                found: kind.into(),
            }),
            0x0000 => Ok(Class::Request),
            0x0100 => Ok(Class::Success),
            0x0110 => Ok(Class::Error),
            _ => Err(DecodeError::BadValue {
                what: "STUN class",
                value: kind.into(),
            }),
        }?;
        let length = usize::from(head.u16()?);
        let magic = head.u32()?;
        if magic != MAGIC {
            return Err(DecodeError::BadMarker {
                what: "STUN cookie",
                found: magic,
            });
        }
        let transaction = head.array()?;
        if length != head.remaining() || length % 4 != 0 {
            return Err(DecodeError::BadLength {
                what: "STUN message",
                length,
                min: head.remaining(),
                max: head.remaining(),
            });
        }
        let mut message = Self::new(class, transaction);
        let mut body = Reader::new(head.rest(), "STUN attributes");
        while !body.is_empty() {
            if message.attributes.len() == limits::STUN_ATTRIBUTES {
                return Err(DecodeError::TooMany {
                    what: "STUN attributes",
                    max: limits::STUN_ATTRIBUTES,
                });
            }
            let (kind, length) = (body.u16()?, usize::from(body.u16()?));
            let value = Bytes::copy_from_slice(body.take(length)?);
            body.take(padding(length))?;
            message.attributes.push((kind, value));
        }
        Ok(message)
    }

    /// Writes the message.
    ///
    /// # Panics
    /// If the attributes have more than 65,535 bytes: callers hold them to what they mean.
    pub fn encode(&self) -> Bytes {
        self.written(0).freeze()
    }

    /// Writes the message with a MESSAGE-INTEGRITY-SHA256 of all of it, made with `key`, as its last attribute.
    ///
    /// # Panics
    /// As [`Stun::encode`].
    pub fn encode_signed(&self, key: &[u8]) -> Bytes {
        let mut out = self.written(ATTRIBUTE_HEAD + INTEGRITY);
        let mac = mac(key, &[&out]).finalize().into_bytes();
        put_attribute(&mut out, MESSAGE_INTEGRITY_SHA256, &mac);
        out.freeze()
    }

    /// Whether the message in `data` ends with a MESSAGE-INTEGRITY-SHA256 of its whole length made with `key`. Behind it only a FINGERPRINT
    /// may stand, so that every attribute that [`Stun::decode`] gives is signed.
    pub fn verify(data: &[u8], key: &[u8]) -> bool {
        signed_part(data).is_some_and(|(body, integrity)| {
            let length = u16::try_from(body.len() - HEAD + ATTRIBUTE_HEAD + INTEGRITY);
            let (Ok(length), Some((kind, rest))) = (length, body.split_at_checked(2)) else {
                return false;
            };
            mac(key, &[kind, &length.to_be_bytes(), &rest[2..]])
                .verify_slice(integrity)
                .is_ok()
        })
    }

    /// The value of the first attribute of that type.
    pub fn attribute(&self, kind: u16) -> Option<&Bytes> {
        self.attributes
            .iter()
            .find_map(|(found, value)| (*found == kind).then_some(value))
    }

    /// With one attribute more.
    pub fn with(mut self, kind: u16, value: impl Into<Bytes>) -> Self {
        self.attributes.push((kind, value.into()));
        self
    }

    /// With XOR-MAPPED-ADDRESS; an IPv4-mapped address counts as IPv4.
    pub fn with_xor_mapped(self, address: SocketAddr) -> Self {
        let value = self.xored(address);
        self.with(XOR_MAPPED_ADDRESS, value)
    }

    /// XOR-MAPPED-ADDRESS; none if it is absent or not an address.
    pub fn xor_mapped(&self) -> Option<SocketAddr> {
        let address = read_address(self.attribute(XOR_MAPPED_ADDRESS)?)?;
        read_address(&self.xored(address))
    }

    /// With OTHER-ADDRESS.
    pub fn with_other_address(self, address: SocketAddr) -> Self {
        self.with(OTHER_ADDRESS, put_address(address))
    }

    /// Where else the server that was asked at `asked` answers, by OTHER-ADDRESS; none if it is absent or says nothing new.
    ///
    /// A server behind a translator does not know its outer address: a port of its own counts at the address that was asked.
    pub fn other_address(&self, asked: SocketAddr) -> Option<SocketAddr> {
        let other = read_address(self.attribute(OTHER_ADDRESS)?)?;
        let other = match other.port() == asked.port() {
            true => other,
            false => SocketAddr::new(asked.ip(), other.port()),
        };
        (other != asked && other.is_ipv4() == asked.is_ipv4() && other.port() != 0).then_some(other)
    }

    /// With so much padding that it has `length` bytes at least.
    pub fn padded_to(self, length: usize) -> Self {
        match length.checked_sub(self.length()) {
            None | Some(0) => self,
            Some(missing) => {
                let value = vec![0; missing.saturating_sub(ATTRIBUTE_HEAD)];
                self.with(RDV_PADDING, value)
            }
        }
    }

    /// How many bytes [`Stun::encode`] gives.
    pub fn length(&self) -> usize {
        let attribute =
            |(_, value): &(u16, Bytes)| ATTRIBUTE_HEAD + value.len() + padding(value.len());
        HEAD + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// The message; its length field counts `further` bytes that come behind.
    fn written(&self, further: usize) -> BytesMut {
        let mut out = BytesMut::with_capacity(self.length() + further);
        let length = self.length() - HEAD + further;
        out.put_u16(BINDING | self.class.bits());
        out.put_u16(u16::try_from(length).expect("attributes are limited by the caller"));
        out.put_u32(MAGIC);
        out.put_slice(&self.transaction);
        for (kind, value) in &self.attributes {
            put_attribute(&mut out, *kind, value);
        }
        out
    }

    /// The value of XOR-MAPPED-ADDRESS for an address, and the address for a value: the same operation.
    fn xored(&self, address: SocketAddr) -> Bytes {
        let mut value = BytesMut::from(&put_address(address)[..]);
        let magic = MAGIC.to_be_bytes();
        let mask = magic.iter().chain(&self.transaction);
        for (byte, mask) in value[2..4].iter_mut().zip(&magic) {
            *byte ^= mask;
        }
        for (byte, mask) in value[4..].iter_mut().zip(mask) {
            *byte ^= mask;
        }
        value.freeze()
    }
}

/// Whether a datagram is STUN and not QUIC: first byte 0 or 1, the magic cookie, and a length that fits.
pub fn is_stun(datagram: &[u8]) -> bool {
    let Some((head, body)) = datagram.split_first_chunk::<HEAD>() else {
        return false;
    };
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    head[0] <= 1 && head[4..8] == MAGIC.to_be_bytes() && length == body.len()
}

/// Whether a TCP connection whose first bytes are these can only be a STUN client: a Binding request. ARS frames begin with their length,
/// which is ten at least.
pub fn could_begin_a_stream(first: [u8; 2]) -> bool {
    u16::from_be_bytes(first) == BINDING
}

/// The length of a whole message whose first four bytes are these.
pub fn length_of([_, _, high, low]: [u8; 4]) -> usize {
    HEAD + usize::from(u16::from_be_bytes([high, low]))
}

/// Everything before the integrity, and its value.
fn signed_part(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(data.get(HEAD..)?, "STUN attributes");
    loop {
        let before = data.len() - reader.remaining();
        let (kind, length) = (reader.u16().ok()?, usize::from(reader.u16().ok()?));
        let value = reader.take(length).ok()?;
        reader.take(padding(length)).ok()?;
        if kind == MESSAGE_INTEGRITY_SHA256 {
            let alone = match reader.remaining() {
                0 => true,
                8 => reader.u16() == Ok(FINGERPRINT),
                _ => false,
            };
            return (alone && length == INTEGRITY).then_some((&data[..before], value));
        }
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

fn padding(length: usize) -> usize {
    (4 - length % 4) % 4
}

fn put_attribute(out: &mut BytesMut, kind: u16, value: &[u8]) {
    out.put_u16(kind);
    out.put_u16(u16::try_from(value.len()).expect("attributes are limited by the caller"));
    out.put_slice(value);
    out.put_bytes(0, padding(value.len()));
}

fn put_address(address: SocketAddr) -> Bytes {
    let mut value = BytesMut::with_capacity(20);
    value.put_u8(0);
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            value.put_u8(1);
            value.put_u16(address.port());
            value.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            value.put_u8(2);
            value.put_u16(address.port());
            value.put_slice(&ip.octets());
        }
    }
    value.freeze()
}

fn read_address(value: &[u8]) -> Option<SocketAddr> {
    let mut reader = Reader::new(value, "STUN address");
    let (_, family) = (reader.u8().ok()?, reader.u8().ok()?);
    let port = reader.u16().ok()?;
    let ip: IpAddr = match family {
        1 => Ipv4Addr::from(reader.array::<4>().ok()?).into(),
        2 => Ipv6Addr::from(reader.array::<16>().ok()?).into(),
        _ => return None,
    };
    reader.is_empty().then_some(SocketAddr::new(ip, port))
}

#[cfg(test)]
#[path = "stun_tests.rs"]
mod tests;
