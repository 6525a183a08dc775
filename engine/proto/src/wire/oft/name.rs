//! The name in a header: bytes to its end, in one of the few character sets of old clients, folders in front, 0x01 between.

use bytes::{BufMut, Bytes, BytesMut};
use encoding_rs::WINDOWS_1252;

use super::{FIXED_LEN, NAME_PADDED};
use crate::limits::{OFT_HEADER_MAX, OFT_NAME};
use crate::wire::codec::wire_enum;
use crate::wire::error::{DecodeError, EncodeError};
use crate::wire::text::Charset;

/// Between folders and the file, in every character set.
const SEPARATOR: char = '\u{1}';

wire_enum! {
    /// Character set of a name, at offset 188.
    pub struct NameCharset(u16) {
        /// Nominally US-ASCII; in truth UTF-8 (libpurple) or a code page of the sender's.
        ASCII = 0,
        /// UTF-16, big-endian.
        UTF16 = 2,
        /// ISO-8859-1; Windows means its code page 1252.
        LATIN1 = 3,
    }
}

impl NameCharset {
    fn text(self) -> Charset {
        match self {
            Self::ASCII => Charset::Unknown,
            Self::UTF16 => Charset::Utf16,
            _ => Charset::Latin1,
        }
    }
}

/// The bytes from offset 192 to the end of a header: 1 to 3,904.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NameField(Bytes);

impl NameField {
    /// The field as it came.
    ///
    /// # Errors
    /// [`DecodeError::BadLength`] if a header cannot hold it.
    pub fn new(field: Bytes) -> Result<Self, DecodeError> {
        let max = OFT_HEADER_MAX - FIXED_LEN;
        if field.is_empty() || field.len() > max {
            return Err(DecodeError::BadLength {
                what: "name in an OFT header",
                length: field.len(),
                min: 1,
                max,
            });
        }
        Ok(Self(field))
    }

    /// A name of those parts, folders first, in the character set that every old client reads: ASCII if it is that, else UTF-16.
    /// One NUL behind it at least, zeros up to 64 bytes.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 1,024 bytes of UTF-8: others hold names to that.
    pub fn encode<'a>(
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Result<(NameCharset, Self), EncodeError> {
        let name = joined(parts)?;
        let charset = if name.is_ascii() {
            NameCharset::ASCII
        } else {
            NameCharset::UTF16
        };
        let mut field = BytesMut::with_capacity(NAME_PADDED);
        if charset == NameCharset::ASCII {
            field.put_slice(name.as_bytes());
        } else {
            name.encode_utf16().for_each(|unit| field.put_u16(unit));
        }
        Ok((charset, terminated(field, charset)))
    }

    /// The same in a character set of the caller's choice; [`NameCharset::ASCII`] gives UTF-8, as libpurple writes it.
    ///
    /// # Errors
    /// As [`NameField::encode`]; [`EncodeError::NotInCharset`] if the character set lacks a character of the name, or is one that we
    /// cannot write.
    pub fn encode_as<'a>(
        charset: NameCharset,
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, EncodeError> {
        let name = joined(parts)?;
        let mut field = BytesMut::with_capacity(NAME_PADDED);
        match charset {
            NameCharset::ASCII => field.put_slice(name.as_bytes()),
            NameCharset::UTF16 => name.encode_utf16().for_each(|unit| field.put_u16(unit)),
            NameCharset::LATIN1 => match WINDOWS_1252.encode(&name) {
                (bytes, _, false) => field.put_slice(&bytes),
                _ => return Err(EncodeError::NotInCharset { what: "file name" }),
            },
            _ => return Err(EncodeError::NotInCharset { what: "file name" }),
        }
        Ok(terminated(field, charset))
    }

    /// No name: 64 zeros.
    pub fn empty() -> (NameCharset, Self) {
        (
            NameCharset::ASCII,
            Self(Bytes::from_static(&[0; NAME_PADDED])),
        )
    }

    /// All of its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name's parts, folders first: what stands between separators up to the first NUL. Empty ones are left out, so that there
    /// may be none. Foreign text: clean it before it meets a file system or a screen.
    ///
    /// # Errors
    /// [`DecodeError::BadLength`] if it has more than 1,024 bytes as UTF-8.
    pub fn parts(&self, charset: NameCharset) -> Result<Vec<String>, DecodeError> {
        let charset = charset.text();
        let name = charset.decode(charset.until_nul(&self.0));
        if name.len() > OFT_NAME {
            return Err(DecodeError::BadLength {
                what: "name in an OFT header",
                length: name.len(),
                min: 0,
                max: OFT_NAME,
            });
        }
        let parts = name.split(SEPARATOR).filter(|part| !part.is_empty());
        Ok(parts.map(str::to_owned).collect())
    }
}

fn joined<'a>(parts: impl IntoIterator<Item = &'a str>) -> Result<String, EncodeError> {
    let parts: Vec<&str> = parts.into_iter().collect();
    let name = parts.join("\u{1}");
    if name.len() > OFT_NAME {
        return Err(EncodeError::TooLong {
            what: "name in an OFT header",
            length: name.len(),
            max: OFT_NAME,
        });
    }
    Ok(name)
}

/// Puts the NUL behind, as wide as a character is, and zeros up to 64 bytes.
fn terminated(mut field: BytesMut, charset: NameCharset) -> NameField {
    let nul = if charset == NameCharset::UTF16 { 2 } else { 1 };
    let length = (field.len() + nul).max(NAME_PADDED);
    field.resize(length, 0);
    NameField(field.freeze())
}
