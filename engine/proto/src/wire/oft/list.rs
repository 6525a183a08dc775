//! The listing that an owner of shared files sends (get-file): `Lst1`, then the TLVs of each entry, each entry ended by tag 0x0909.

use bytes::{Buf, Bytes, BytesMut};

use super::name::{NameCharset, NameField};
use crate::limits::OFT_LIST_ENTRIES;
use crate::wire::codec::Reader;
use crate::wire::error::{DecodeError, EncodeError};
use crate::wire::tlv::{Tlv, TlvList};

const MAGIC: [u8; 4] = *b"Lst1";

const MTIME: u16 = 0x0101;
const SIZE: u16 = 0x0303;
const NAME: u16 = 0x0404;
const UNUSED: u16 = 0x0505;
const FLAGS: u16 = 0x0900;
const END: u16 = 0x0909;

const FLAG_FOLDER: u32 = 1;

/// One file or folder of a listing. Tags that we do not know survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry(TlvList);

impl ListEntry {
    /// An entry as others write it. `path`: folders first. `size` is 0 for a folder; `mtime` in seconds since 1970.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] if the path has more than 1,024 bytes.
    pub fn new<'a>(
        path: impl IntoIterator<Item = &'a str>,
        size: u32,
        mtime: u32,
        folder: bool,
    ) -> Result<Self, EncodeError> {
        let field = NameField::encode_as(NameCharset::ASCII, path)?;
        let name = field.as_bytes();
        let end = name.iter().position(|&byte| byte == 0);
        let name = Bytes::copy_from_slice(&name[..end.unwrap_or(name.len())]);
        let number = |number: u32| Bytes::copy_from_slice(&number.to_be_bytes());
        let mut tlvs = TlvList::new();
        let mut push = |tag, value| tlvs.0.push(Tlv { tag, value });
        push(MTIME, number(mtime));
        push(SIZE, number(size));
        push(UNUSED, Bytes::from_static(&[0, 0]));
        push(NAME, name);
        if folder {
            push(FLAGS, number(FLAG_FOLDER));
        }
        Ok(Self(tlvs))
    }

    /// Last change, seconds since 1970; 0 = not told.
    pub fn mtime(&self) -> u32 {
        self.number(MTIME)
    }

    /// Bytes, modulo 2^32.
    pub fn size(&self) -> u32 {
        self.number(SIZE)
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.number(FLAGS) & FLAG_FOLDER != 0
    }

    /// The path's parts, folders first; none if it has no name. Foreign text.
    ///
    /// # Errors
    /// As [`NameField::parts`].
    pub fn path(&self) -> Result<Vec<String>, DecodeError> {
        match self.0.first(NAME) {
            Some(name) if !name.is_empty() => {
                NameField::new(name.clone())?.parts(NameCharset::ASCII)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn number(&self, tag: u16) -> u32 {
        let value = self.0.first(tag).and_then(|value| value.first_chunk());
        value.map_or(0, |&value| u32::from_be_bytes(value))
    }
}

/// A whole listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(pub Vec<ListEntry>);

impl Listing {
    /// Reads a listing.
    ///
    /// # Errors
    /// [`DecodeError::BadMarker`] if it does not begin with `Lst1`, [`DecodeError::Truncated`] if a length runs past the end,
    /// [`DecodeError::Missing`] if the last entry has no end, [`DecodeError::BadLength`] if an end has a value,
    /// [`DecodeError::TooMany`] above 65,535 entries or 128 tags in one.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "listing");
        let magic: [u8; 4] = reader.array()?;
        if magic != MAGIC {
            return Err(DecodeError::BadMarker {
                what: "listing",
                found: u32::from_be_bytes(magic),
            });
        }
        let mut entries = Vec::new();
        let mut tlvs = TlvList::new();
        while !reader.is_empty() {
            let tag = reader.u16()?;
            let value = bytes.slice_ref(reader.string16()?);
            if tag != END {
                if tlvs.0.len() == crate::limits::TLVS_PER_BLOCK {
                    return Err(DecodeError::TooMany {
                        what: "tags of a listing's entry",
                        max: crate::limits::TLVS_PER_BLOCK,
                    });
                }
                tlvs.0.push(Tlv { tag, value });
                continue;
            }
            if value.has_remaining() {
                return Err(DecodeError::BadLength {
                    what: "end of a listing's entry",
                    length: value.len(),
                    min: 0,
                    max: 0,
                });
            }
            if entries.len() == OFT_LIST_ENTRIES {
                return Err(DecodeError::TooMany {
                    what: "entries of a listing",
                    max: OFT_LIST_ENTRIES,
                });
            }
            entries.push(ListEntry(std::mem::take(&mut tlvs)));
        }
        if tlvs.0.is_empty() {
            Ok(Self(entries))
        } else {
            Err(DecodeError::Missing {
                what: "end of a listing's entry",
            })
        }
    }

    /// All of its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::from(&MAGIC[..]);
        for entry in &self.0 {
            entry.0.encode_rest(&mut out);
            let end = Tlv {
                tag: END,
                value: Bytes::new(),
            };
            TlvList(vec![end]).encode_rest(&mut out);
        }
        out.freeze()
    }
}
