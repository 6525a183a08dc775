//! ODC2: the frames of a direct IM. A header of 76 bytes, then a payload: HTML, and behind it the images that it shows.
//!
//! ```text
//! 0 "ODC2"  4 header length u16  6 type u16  8 subtype u16  10 zero  12 cookie  20 zero  28 payload length u32
//! 32 charset u16  34 charset subset u16  36 flags u32  40 zero  44 sender's name, NUL-padded, 16  60 zero, 16
//! ```

pub mod markup;
pub mod payload;

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::codec::{Reader, wire_enum};
use super::error::DecodeError;
use super::rendezvous::Cookie;
use super::text::{self, ScreenName};
use crate::limits;

/// The first four bytes of every frame.
pub const MAGIC: [u8; 4] = *b"ODC2";
/// Bytes of the header that we send, and the fewest that are read.
pub const HEADER_LEN: usize = 76;
/// The type of all frames that are known.
pub const FRAME_TYPE: u16 = 0x0001;
/// The subtype of all frames that are known.
pub const FRAME_SUBTYPE: u16 = 0x0006;
/// Bytes of the sender's name that stand in a header.
const NAME_LEN: usize = 16;

wire_enum! {
    /// How the text of a payload is written.
    pub struct Charset(u16) {
        /// ASCII by name; old clients put UTF-8 or a local code page there.
        ASCII = 0,
        /// UTF-16, big-endian.
        UTF_16 = 2,
        /// ISO-8859-1; Windows means its code page 1252.
        LATIN_1 = 3,
    }
}

impl Charset {
    /// Turns the bytes of a text into characters: UTF-8 under the name of ASCII is taken, what is unknown is code page 1252.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::ASCII => text::Charset::Unknown.decode(bytes),
            Self::UTF_16 => text::Charset::Utf16.decode(bytes),
            _ => text::Charset::Latin1.decode(bytes),
        }
    }

    /// The narrowest of the three that can carry a text, and its bytes in it.
    #[must_use]
    pub fn encode(text: &str) -> (Self, Vec<u8>) {
        if text.is_ascii() {
            return (Self::ASCII, text.as_bytes().to_vec());
        }
        // Between ASCII and U+00A0 readers disagree: controls by the standard, letters on Windows.
        let narrow = |c: char| {
            u8::try_from(c)
                .ok()
                .filter(|_| c.is_ascii() || c >= '\u{A0}')
        };
        match text.chars().map(narrow).collect() {
            Some(bytes) => (Self::LATIN_1, bytes),
            None => {
                let units = text.encode_utf16();
                (Self::UTF_16, units.flat_map(u16::to_be_bytes).collect())
            }
        }
    }
}

/// What a frame is for: bits, of which several may be set. Unknown ones survive.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// The text is an automatic answer.
    pub const AUTO_RESPONSE: Self = Self(0x01);
    /// The frame tells what the user is doing; alone: the text was erased.
    pub const TYPING_PACKET: Self = Self(0x02);
    /// With [`Flags::TYPING_PACKET`]: the user has typed something and stopped.
    pub const TYPED: Self = Self(0x04);
    /// With [`Flags::TYPING_PACKET`]: the user is typing.
    pub const TYPING: Self = Self(0x08);
    /// The frame shows the cookie and is nothing else. 0x40 always stands beside 0x20 in old clients.
    pub const CONFIRMS_COOKIE: Self = Self(0x60);

    const CONFIRMS_COOKIE_BIT: Self = Self(0x20);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the frame was sent to show the cookie.
    #[must_use]
    pub fn confirms_cookie(self) -> bool {
        self.contains(Self::CONFIRMS_COOKIE_BIT)
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#06x})", self.0)
    }
}

/// What stands in front of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// [`FRAME_TYPE`] in all that is known. Others are to be skipped with their payload.
    pub frame_type: u16,
    /// [`FRAME_SUBTYPE`] in all that is known. Others are to be skipped with their payload.
    pub subtype: u16,
    /// The cookie of the rendezvous: the only proof of who sends.
    pub cookie: Cookie,
    /// Bytes that follow the header. Not judged here.
    pub payload_len: u32,
    /// How the text of the payload is written.
    pub charset: Charset,
    /// 0 in all that is known.
    pub charset_subset: u16,
    /// What the frame is for.
    pub flags: Flags,
    /// The sender's name, NUL-padded, as the sender writes it: proves nothing.
    pub name: [u8; 32],
    /// The bytes at offsets 10, 20 and 40, zero in all that is known.
    pub unused: Unused,
    /// What a longer header holds behind offset 76.
    pub extra: Bytes,
}

/// Bytes of a header that nobody has given a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unused {
    /// At offset 10.
    pub at_10: u16,
    /// At offset 20.
    pub at_20: u64,
    /// At offset 40.
    pub at_40: u32,
}

impl Header {
    /// A header as we send it.
    #[must_use]
    pub fn new(cookie: Cookie, sender: &ScreenName, flags: Flags) -> Self {
        let sender = sender.as_str();
        let sender = &sender.as_bytes()[..sender.floor_char_boundary(NAME_LEN)];
        let mut name = [0; 32];
        name[..sender.len()].copy_from_slice(sender);
        Self {
            frame_type: FRAME_TYPE,
            subtype: FRAME_SUBTYPE,
            cookie,
            payload_len: 0,
            charset: Charset::ASCII,
            charset_subset: 0,
            flags,
            name,
            unused: Unused::default(),
            extra: Bytes::new(),
        }
    }

    /// Whether the frame is of the one kind that is known. What others carry has no meaning for us.
    #[must_use]
    pub fn is_known(&self) -> bool {
        (self.frame_type, self.subtype) == (FRAME_TYPE, FRAME_SUBTYPE)
    }

    /// Takes a header from the front of `buffer`, or nothing until all of it is there. At most 65,535 bytes are waited for.
    ///
    /// # Errors
    /// [`DecodeError::BadMarker`] as soon as the first bytes are not `ODC2`, [`DecodeError::BadLength`] for a header
    /// below 76 bytes: close the connection.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let seen = buffer.len().min(MAGIC.len());
        if buffer[..seen] != MAGIC[..seen] {
            let mut found = [0; 4];
            found[..seen].copy_from_slice(&buffer[..seen]);
            return Err(DecodeError::BadMarker {
                what: "ODC header",
                found: u32::from_be_bytes(found),
            });
        }
        let Some(&[_, _, _, _, high, low]) = buffer.first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < HEADER_LEN {
            return Err(DecodeError::BadLength {
                what: "ODC header",
                length,
                min: HEADER_LEN,
                max: limits::ODC_HEADER,
            });
        }
        if buffer.len() < length {
            return Ok(None);
        }
        let mut header = buffer.split_to(length).freeze();
        header.advance(6);
        let mut reader = Reader::new(&header, "ODC header");
        let (frame_type, subtype, at_10) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let (cookie, at_20) = (Cookie(reader.array()?), reader.u64()?);
        let payload_len = reader.u32()?;
        let (charset, charset_subset) = (Charset(reader.u16()?), reader.u16()?);
        let (flags, at_40) = (Flags(reader.u32()?), reader.u32()?);
        let name = reader.array()?;
        Ok(Some(Self {
            frame_type,
            subtype,
            cookie,
            payload_len,
            charset,
            charset_subset,
            flags,
            name,
            unused: Unused {
                at_10,
                at_20,
                at_40,
            },
            extra: header.slice_ref(reader.rest()),
        }))
    }

    /// Appends the header.
    ///
    /// # Panics
    /// If [`Header::extra`] has more than 65,459 bytes: nothing that was decoded has.
    pub fn encode(&self, out: &mut BytesMut) {
        let length = u16::try_from(HEADER_LEN + self.extra.len());
        out.put_slice(&MAGIC);
        out.put_u16(length.expect("invariant: a header that was read has at most 65,535 bytes"));
        out.put_u16(self.frame_type);
        out.put_u16(self.subtype);
        out.put_u16(self.unused.at_10);
        out.put_slice(&self.cookie.0);
        out.put_u64(self.unused.at_20);
        out.put_u32(self.payload_len);
        out.put_u16(self.charset.0);
        out.put_u16(self.charset_subset);
        out.put_u32(self.flags.0);
        out.put_u32(self.unused.at_40);
        out.put_slice(&self.name);
        out.put_slice(&self.extra);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    const COOKIE: Cookie = Cookie(*b"TRYST01\0");
    /// The cookie confirmation by alice.
    const HELLO: &str = "
        4f444332004c0001000600005452595354303100000000000000000000000000000000000000006000000000
        616c6963650000000000000000000000 00000000000000000000000000000000";

    fn alice() -> ScreenName {
        ScreenName::new("alice").expect("a name")
    }

    fn hello() -> Bytes {
        hex(HELLO)
    }

    fn decode(bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
        Header::decode(&mut BytesMut::from(bytes))
    }

    fn bytes(header: &Header) -> BytesMut {
        let mut out = BytesMut::new();
        header.encode(&mut out);
        out
    }

    #[test]
    fn the_cookie_confirmation_has_its_bytes() {
        let header = Header::new(COOKIE, &alice(), Flags::CONFIRMS_COOKIE);
        assert_eq!(bytes(&header), hello());
        assert_eq!(decode(&hello()), Ok(Some(header)));
    }

    #[test]
    fn l_15_every_header_that_we_make_carries_the_cookie() {
        for flags in [Flags::default(), Flags::TYPING_PACKET, Flags::AUTO_RESPONSE] {
            assert_eq!(
                bytes(&Header::new(COOKIE, &alice(), flags))[12..20],
                COOKIE.0
            );
        }
    }

    #[test]
    fn a_header_is_waited_for_until_its_last_byte() {
        for cut in 0..HEADER_LEN {
            assert_eq!(decode(&hello()[..cut]), Ok(None), "{cut} bytes");
        }
    }

    #[test]
    fn a_longer_header_is_read_whole_and_survives() {
        let mut longer = BytesMut::from(&hello()[..]);
        longer.extend_from_slice(b"more");
        longer[5] = 80;
        let mut buffer = longer.clone();
        buffer.extend_from_slice(b"<HTML>");
        let header = Header::decode(&mut buffer)
            .expect("a header")
            .expect("whole");
        assert_eq!(
            (&header.extra[..], &buffer[..]),
            (&b"more"[..], &b"<HTML>"[..])
        );
        assert_eq!(bytes(&header), longer);
    }

    #[test]
    fn t_18_a_header_shorter_than_its_fields_is_refused_before_it_is_whole() {
        let refused = |length| {
            Err(DecodeError::BadLength {
                what: "ODC header",
                length,
                min: 76,
                max: 65_535,
            })
        };
        assert_eq!(decode(&hex("4f444332004b")), refused(75));
        assert_eq!(decode(&hex("4f4443320000")), refused(0));
        assert_eq!(
            decode(&hex("4f444332ffff")),
            Ok(None),
            "the longest is waited for"
        );
    }

    #[test]
    fn other_bytes_are_refused_at_the_first_of_them() {
        for (start, found) in [
            ("4f465432", 0x4F46_5432),
            ("16", 0x1600_0000),
            ("4f4444", 0x4F44_4400),
        ] {
            assert_eq!(
                decode(&hex(start)),
                Err(DecodeError::BadMarker {
                    what: "ODC header",
                    found
                })
            );
        }
    }

    #[test]
    fn frames_of_other_kinds_are_told_apart_and_survive() {
        for (offset, value) in [(7, 2), (9, 7)] {
            let mut other = BytesMut::from(&hello()[..]);
            other[offset] = value;
            let header = decode(&other).expect("a header").expect("whole");
            assert!(!header.is_known());
            assert_eq!(bytes(&header), other);
        }
    }

    #[test]
    fn a_long_name_is_cut_where_a_character_ends() {
        let name = ScreenName::new("fünfzehn Zeichen ü").expect("a name");
        let header = Header::new(COOKIE, &name, Flags::default());
        assert_eq!(header.name[..16], *"fünfzehn Zeiche".as_bytes());
        assert_eq!(header.name[16..], [0; 16]);
    }

    #[test]
    fn the_narrowest_charset_that_fits_is_chosen() {
        for (text, charset, bytes) in [
            ("hi", Charset::ASCII, "6869"),
            ("hé", Charset::LATIN_1, "68e9"),
            ("a\u{85}", Charset::UTF_16, "00610085"),
            ("h日", Charset::UTF_16, "006865e5"),
            ("😀", Charset::UTF_16, "d83dde00"),
        ] {
            assert_eq!(Charset::encode(text), (charset, hex(bytes).to_vec()));
            assert_eq!(charset.decode(&hex(bytes)), text);
        }
        assert_eq!(Charset::ASCII.decode("日".as_bytes()), "日");
        assert_eq!(Charset::ASCII.decode(&[0xE9]), "é");
        assert_eq!(Charset(9).decode(&[0xE9]), "é", "unknown is code page 1252");
    }
}
