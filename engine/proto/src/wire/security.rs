//! The security block, tag 0x5244 of a rendezvous message.
//!
//! `"RDV1" [version: u8 = 1][flags: u8]`, then TLVs (u16 type, u16 length). Old clients skip the whole tag. The block is part of what
//! both sides sign, so its bytes survive decoding and encoding: order, flags and items that we do not know included.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{Reader, put_string08};
use super::error::DecodeError;
use super::tlv::TlvList;
use crate::limits;

/// First bytes of every block.
pub const MAGIC: [u8; 4] = *b"RDV1";
/// The version that we speak.
pub const VERSION: u8 = 1;
/// Our protocol over TLS over TCP, as an ALPN entry.
pub const ALPN_TCP: &str = "rdv-tcp/1";
/// The PAKE that we speak: SPAKE2, Ed25519 group, as in crate spake2 0.4.
pub const PAKE_SPAKE2: u8 = 1;

/// Item types.
pub mod item {
    /// SHA-256 of the sender's SubjectPublicKeyInfo, 32 bytes.
    pub const KEY: u16 = 1;
    /// Which PAKE, one byte.
    pub const PAKE_ID: u16 = 2;
    /// Message of the PAKE.
    pub const PAKE_MSG: u16 = 3;
    /// Proof that the answerer knows the secret, 32 bytes; in answers only.
    pub const CONFIRM: u16 = 4;
    /// Application protocols: string08 entries back to back.
    pub const ALPN: u16 = 5;
    /// Candidates and relay ticket, encrypted.
    pub const SEALED: u16 = 6;
    /// Fresh per message, 16 bytes.
    pub const NONCE: u16 = 7;
    /// X25519 public key of the sender, 32 bytes; where no PAKE is used.
    pub const EPHEMERAL: u16 = 8;
}

/// Lengths that a known item must have.
const LENGTHS: [(u16, &str, usize); 5] = [
    (item::KEY, "key item", 32),
    (item::PAKE_ID, "pake-id item", 1),
    (item::CONFIRM, "confirm item", 32),
    (item::NONCE, "nonce item", 16),
    (item::EPHEMERAL, "ephemeral item", 32),
];

/// A security block. A decoded one holds each known item at most once and in its proper length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityBlock {
    /// [`VERSION`].
    pub version: u8,
    /// No flag is defined; send 0.
    pub flags: u8,
    /// See [`item`]; unknown types are kept.
    pub items: TlvList,
}

impl SecurityBlock {
    /// An empty block of our version.
    pub fn new() -> Self {
        Self {
            version: VERSION,
            flags: 0,
            items: TlvList::new(),
        }
    }

    /// Reads the value of tag 0x5244.
    ///
    /// # Errors
    /// [`DecodeError::UnsupportedVersion`] is answered with NAK 0x09, anything else with NAK 0x03: more than 1,024 bytes,
    /// another magic, a cut-off item, a known item twice or in a wrong length.
    pub fn decode(value: Bytes) -> Result<Self, DecodeError> {
        let length = value.len();
        if length > limits::SECURITY_BLOCK {
            return Err(DecodeError::BadLength {
                what: "security block",
                length,
                min: 6,
                max: limits::SECURITY_BLOCK,
            });
        }
        let mut reader = Reader::new(&value, "security block");
        let magic = reader.array()?;
        if magic != MAGIC {
            return Err(DecodeError::BadMarker {
                what: "security block",
                found: u32::from_be_bytes(magic),
            });
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::UnsupportedVersion {
                what: "security block",
                version: version.into(),
            });
        }
        let flags = reader.u8()?;
        let items = TlvList::decode_rest(value.slice_ref(reader.rest()))?;
        check_items(&items)?;
        Ok(Self {
            version,
            flags,
            items,
        })
    }

    /// The value of tag 0x5244.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(6 + self.items.encoded_len());
        out.put_slice(&MAGIC);
        out.put_u8(self.version);
        out.put_u8(self.flags);
        self.items.encode_rest(&mut out);
        out.freeze()
    }

    /// The value of tag 0x5244 with the proof taken as zero bytes: the form in which an answer enters the transcript.
    pub fn encode_without_proof(&self) -> Bytes {
        let mut blank = self.clone();
        for tlv in blank
            .items
            .0
            .iter_mut()
            .filter(|tlv| tlv.tag == item::CONFIRM)
        {
            tlv.value = Bytes::from(vec![0; tlv.value.len()]);
        }
        blank.encode()
    }

    /// Appends an item.
    #[must_use]
    pub fn with(mut self, item: u16, value: impl Into<Bytes>) -> Self {
        self.items.push(item, value);
        self
    }

    /// Appends the list of application protocols.
    ///
    /// # Panics
    /// If a name has more than 255 bytes: they are constants of ours.
    #[must_use]
    pub fn with_alpn(self, names: &[&str]) -> Self {
        let mut list = BytesMut::new();
        for name in names {
            put_string08(&mut list, name.as_bytes());
        }
        self.with(item::ALPN, list.freeze())
    }

    /// SHA-256 of the sender's public key.
    pub fn key(&self) -> Option<[u8; 32]> {
        self.array(item::KEY)
    }

    /// Which PAKE; see [`PAKE_SPAKE2`].
    pub fn pake_id(&self) -> Option<u8> {
        self.array(item::PAKE_ID).map(u8::from_be_bytes)
    }

    /// Message of the PAKE, of any length.
    pub fn pake_msg(&self) -> Option<Bytes> {
        self.items.first(item::PAKE_MSG).cloned()
    }

    /// Proof that the answerer knows the secret.
    pub fn confirm(&self) -> Option<[u8; 32]> {
        self.array(item::CONFIRM)
    }

    /// Names of the application protocols, in the sender's order; none if the item is absent. A name that is cut off or
    /// over 32 bytes ends the list.
    pub fn alpn(&self) -> Vec<Bytes> {
        let Some(list) = self.items.first(item::ALPN) else {
            return Vec::new();
        };
        let mut reader = Reader::new(list, "ALPN list");
        std::iter::from_fn(|| reader.string08().ok())
            .take_while(|name| name.len() <= limits::ALPN_NAME)
            .map(|name| list.slice_ref(name))
            .collect()
    }

    /// Encrypted candidates.
    pub fn sealed(&self) -> Option<Bytes> {
        self.items.first(item::SEALED).cloned()
    }

    /// Fresh bytes of this message.
    pub fn nonce(&self) -> Option<[u8; 16]> {
        self.array(item::NONCE)
    }

    /// X25519 public key of the sender.
    pub fn ephemeral(&self) -> Option<[u8; 32]> {
        self.array(item::EPHEMERAL)
    }

    fn array<const N: usize>(&self, item: u16) -> Option<[u8; N]> {
        self.items
            .first(item)
            .and_then(|value| value[..].try_into().ok())
    }
}

impl Default for SecurityBlock {
    fn default() -> Self {
        Self::new()
    }
}

fn check_items(items: &TlvList) -> Result<(), DecodeError> {
    for known in item::KEY..=item::EPHEMERAL {
        if items.all(known).nth(1).is_some() {
            return Err(DecodeError::Repeated {
                what: "security block",
                tag: known,
            });
        }
    }
    for (known, what, expected) in LENGTHS {
        if let Some(length) = items
            .first(known)
            .map(Bytes::len)
            .filter(|&length| length != expected)
        {
            return Err(DecodeError::BadLength {
                what,
                length,
                min: expected,
                max: expected,
            });
        }
    }
    Ok(())
}
