//! Screen names, and the few character sets of old clients.

use std::fmt;

use bytes::BytesMut;
use encoding_rs::WINDOWS_1252;

use super::codec::{Reader, put_string08};
use super::error::DecodeError;
use crate::limits;

/// A user's name: kept as typed, compared in normal form (ASCII lower case, no spaces).
#[derive(Clone)]
pub struct ScreenName {
    typed: String,
    normal: String,
}

impl ScreenName {
    /// Checks a name of 1 to 64 bytes.
    ///
    /// # Errors
    /// [`DecodeError::BadLength`] if it is too long, [`DecodeError::Missing`] if nothing but spaces is there,
    /// [`DecodeError::NotText`] if it holds a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, DecodeError> {
        let typed = name.into();
        if typed.len() > limits::SCREEN_NAME {
            return Err(DecodeError::BadLength {
                what: "screen name",
                length: typed.len(),
                min: 1,
                max: limits::SCREEN_NAME,
            });
        }
        if typed.chars().any(char::is_control) {
            return Err(DecodeError::NotText {
                what: "screen name",
            });
        }
        let normal: String = typed
            .chars()
            .filter(|&c| c != ' ')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if normal.is_empty() {
            return Err(DecodeError::Missing {
                what: "screen name",
            });
        }
        Ok(Self { typed, normal })
    }

    /// Checks a name as it stands on the wire.
    ///
    /// # Errors
    /// As [`ScreenName::new`]; [`DecodeError::NotText`] if it is not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let name = std::str::from_utf8(bytes).map_err(|_| DecodeError::NotText {
            what: "screen name",
        })?;
        Self::new(name)
    }

    /// Reads a string08 name.
    ///
    /// # Errors
    /// As [`ScreenName::from_bytes`], or [`DecodeError::Truncated`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_bytes(reader.string08()?)
    }

    /// Appends the name as typed, as a string08.
    pub fn encode(&self, out: &mut BytesMut) {
        put_string08(out, self.typed.as_bytes());
    }

    /// The name as typed.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// The normal form, by which names are compared.
    pub fn normalized(&self) -> &str {
        &self.normal
    }
}

impl PartialEq for ScreenName {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for ScreenName {}

impl PartialOrd for ScreenName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ScreenName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.normal.cmp(&other.normal)
    }
}

impl std::hash::Hash for ScreenName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.normal.hash(state);
    }
}

impl fmt::Debug for ScreenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScreenName({:?})", self.typed)
    }
}

impl std::str::FromStr for ScreenName {
    type Err = DecodeError;

    fn from_str(name: &str) -> Result<Self, DecodeError> {
        Self::new(name)
    }
}

/// A character set as tags 0x000D and 0x2712 name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// None was named, or one that we do not know: UTF-8 if it is that, else code page 1252.
    Unknown,
    /// `us-ascii`; old clients say so of whatever their system writes, so that it is read as [`Charset::Unknown`].
    Ascii,
    /// `utf-8`.
    Utf8,
    /// `iso-8859-1`, read as code page 1252 of Windows, which old clients mean by it.
    Latin1,
    /// `unicode-2-0`: UTF-16, big-endian.
    Utf16,
}

impl Charset {
    /// The character set of that name; case does not matter.
    pub fn named(name: &[u8]) -> Self {
        const NAMES: [(&str, Charset); 7] = [
            ("us-ascii", Charset::Ascii),
            ("utf-8", Charset::Utf8),
            ("utf8", Charset::Utf8),
            ("iso-8859-1", Charset::Latin1),
            ("windows-1252", Charset::Latin1),
            ("unicode-2-0", Charset::Utf16),
            ("utf-16be", Charset::Utf16),
        ];
        let known = NAMES
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        known.map_or(Self::Unknown, |&(_, charset)| charset)
    }

    /// Turns bytes into text; what cannot be read becomes U+FFFD.
    pub fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Utf16 => {
                let units = bytes.chunks(2).map(|pair| match *pair {
                    [high, low] => u16::from_be_bytes([high, low]),
                    _ => 0xFFFD,
                });
                char::decode_utf16(units)
                    .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect()
            }
            Self::Latin1 => latin1(bytes),
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Ascii | Self::Unknown => {
                std::str::from_utf8(bytes).map_or_else(|_| latin1(bytes), str::to_owned)
            }
        }
    }

    /// The part of a NUL-terminated field before its terminator (two bytes wide in UTF-16), or all of it without one.
    pub fn until_nul(self, field: &[u8]) -> &[u8] {
        let end = match self {
            Self::Utf16 => field
                .chunks(2)
                .position(|pair| pair == [0, 0])
                .map(|unit| unit * 2),
            _ => field.iter().position(|&byte| byte == 0),
        };
        &field[..end.unwrap_or(field.len())]
    }
}

/// What old clients call ISO-8859-1 is the code page of Windows, which has letters where the standard has controls.
fn latin1(bytes: &[u8]) -> String {
    WINDOWS_1252
        .decode_without_bom_handling(bytes)
        .0
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screen_names_compare_by_their_normal_form() {
        let name = ScreenName::new("Alice Lab").expect("a good name");
        assert_eq!(name, ScreenName::new("alicelab").expect("a good name"));
        assert_eq!(
            (name.as_str(), name.normalized()),
            ("Alice Lab", "alicelab")
        );
        assert!(name < ScreenName::new("BOB").expect("a good name"));
    }

    #[test]
    fn a_screen_name_over_64_bytes_is_refused() {
        assert!(ScreenName::new("a".repeat(64)).is_ok());
        let refused = DecodeError::BadLength {
            what: "screen name",
            length: 65,
            min: 1,
            max: 64,
        };
        assert_eq!(ScreenName::new("a".repeat(65)).map(drop), Err(refused));
    }

    #[test]
    fn a_screen_name_without_any_letter_is_refused() {
        for name in ["", "  ", "a\u{1b}[2J", "a\0"] {
            assert!(ScreenName::new(name).is_err(), "{name:?}");
        }
        assert!(ScreenName::from_bytes(&[0xFF]).is_err());
    }

    #[test]
    fn old_character_sets_are_read() {
        assert_eq!(
            Charset::named(b"Unicode-2-0").decode(&[0x65, 0xE5, 0x67, 0x2C]),
            "日本"
        );
        assert_eq!(
            Charset::named(b"unicode-2-0").decode(&[0x00, 0x61, 0x62]),
            "a\u{FFFD}"
        );
        assert_eq!(Charset::named(b"iso-8859-1").decode(&[0xE9]), "é");
        assert_eq!(
            Charset::Unknown.decode("é".as_bytes()),
            "é",
            "UTF-8 is tried first"
        );
        assert_eq!(Charset::Unknown.decode(&[0xE9]), "é", "then ISO-8859-1");
        assert_eq!(
            Charset::named(b"iso-8859-1").decode(&[0x80, 0x93, 0xFF]),
            "€“ÿ",
            "which is the code page of Windows"
        );
        assert_eq!(Charset::Ascii.decode(&[0xE9]), "é", "as AIM writes it");
        assert_eq!(Charset::Utf8.decode(&[0xE9]), "\u{FFFD}");
    }

    #[test]
    fn a_terminator_is_as_wide_as_its_characters() {
        assert_eq!(Charset::Utf8.until_nul(b"a.txt\0rest"), b"a.txt");
        assert_eq!(Charset::Utf8.until_nul(b"a.txt"), b"a.txt");
        assert_eq!(
            Charset::Utf16.until_nul(&[0x01, 0x00, 0x00, 0x61, 0, 0, 7]),
            [0x01, 0x00, 0x00, 0x61]
        );
    }
}
