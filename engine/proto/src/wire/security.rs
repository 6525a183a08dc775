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
/// Our protocol over QUIC, as an ALPN entry.
pub const ALPN_QUIC: &str = "rdv/1";
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    fn block(items: &str) -> Result<SecurityBlock, DecodeError> {
        SecurityBlock::decode(hex(&format!("524456310100{items}")))
    }

    #[test]
    fn items_are_read_by_their_type() {
        let made = SecurityBlock::new()
            .with(item::KEY, vec![1; 32])
            .with(item::PAKE_ID, vec![PAKE_SPAKE2])
            .with(item::PAKE_MSG, vec![3; 33])
            .with(item::CONFIRM, vec![4; 32])
            .with_alpn(&[ALPN_QUIC, ALPN_TCP])
            .with(item::SEALED, vec![6; 50])
            .with(item::NONCE, vec![7; 16])
            .with(item::EPHEMERAL, vec![8; 32]);
        let read = SecurityBlock::decode(made.encode()).expect("a good block");
        assert_eq!(
            (read.key(), read.pake_id()),
            (Some([1; 32]), Some(PAKE_SPAKE2))
        );
        assert_eq!(
            (read.pake_msg(), read.confirm()),
            (Some(vec![3; 33].into()), Some([4; 32]))
        );
        assert_eq!(read.alpn(), ["rdv/1", "rdv-tcp/1"]);
        assert_eq!(
            (read.sealed(), read.nonce()),
            (Some(vec![6; 50].into()), Some([7; 16]))
        );
        assert_eq!(read.ephemeral(), Some([8; 32]));
        assert_eq!(read, made);
    }

    #[test]
    fn an_empty_block_has_this_form() {
        assert_eq!(SecurityBlock::new().encode(), hex("524456310100"));
        let empty = block("").expect("a good block");
        assert_eq!(
            (empty.key(), empty.alpn().len(), empty.sealed()),
            (None, 0, None)
        );
    }

    #[test]
    fn unknown_items_flags_and_order_survive() {
        let bytes =
            hex("5244563101 80 7fff0002abcd 00070010 00112233445566778899aabbccddeeff 7fff0000");
        assert_eq!(
            SecurityBlock::decode(bytes.clone()).map(|block| block.encode()),
            Ok(bytes)
        );
    }

    #[test]
    fn another_version_is_told_apart_from_a_malformed_block() {
        let version = DecodeError::UnsupportedVersion {
            what: "security block",
            version: 2,
        };
        assert_eq!(SecurityBlock::decode(hex("524456310200ff")), Err(version));
        let magic = DecodeError::BadMarker {
            what: "security block",
            found: 0x5244_5632,
        };
        assert_eq!(SecurityBlock::decode(hex("524456320100")), Err(magic));
        assert!(matches!(
            SecurityBlock::decode(hex("5244563101")),
            Err(DecodeError::Truncated { .. })
        ));
    }

    #[test]
    fn a_known_item_twice_or_in_a_wrong_length_is_malformed() {
        let repeated = DecodeError::Repeated {
            what: "security block",
            tag: item::PAKE_ID,
        };
        assert_eq!(block("000200010100020001 01"), Err(repeated));
        for item in [
            "0001000100",
            "00020000",
            "0004000100",
            "0007000100",
            "0008000100",
        ] {
            assert!(
                matches!(block(item), Err(DecodeError::BadLength { .. })),
                "{item}"
            );
        }
        assert!(
            block("0009000100 0009000100").is_ok(),
            "unknown ones may be repeated"
        );
    }

    #[test]
    fn t_18_a_block_over_1024_bytes_is_refused() {
        let of_length = |length: usize| {
            SecurityBlock::new()
                .with(item::SEALED, vec![0; length - 10])
                .encode()
        };
        assert!(SecurityBlock::decode(of_length(1_024)).is_ok());
        let refused = DecodeError::BadLength {
            what: "security block",
            length: 1_025,
            min: 6,
            max: 1_024,
        };
        assert_eq!(SecurityBlock::decode(of_length(1_025)), Err(refused));
    }

    #[test]
    fn the_proof_is_taken_as_zeros_and_nothing_else_changes() {
        let block = SecurityBlock::new()
            .with(item::KEY, vec![1; 32])
            .with(item::CONFIRM, vec![4; 32])
            .with(0x7FFF, vec![9]);
        let blank = SecurityBlock::decode(block.encode_without_proof()).expect("a good block");
        assert_eq!(
            (blank.confirm(), blank.key()),
            (Some([0; 32]), Some([1; 32]))
        );
        assert_eq!(blank.encode().len(), block.encode().len());
        assert_eq!(
            SecurityBlock::new().encode_without_proof(),
            SecurityBlock::new().encode()
        );
    }

    #[test]
    fn a_cut_off_protocol_name_ends_the_list() {
        let list = block("0005000b 057264762f31 09 72647600").expect("a good block");
        assert_eq!(list.alpn(), ["rdv/1"]);
    }
}
