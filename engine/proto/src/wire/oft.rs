//! OFT2: the headers between which old clients send the raw bytes of files, with their checksum, names and listings.
//!
//! `[magic "OFT2"][length of the header: u16, 193 to 4096][kind: u16][numbers, 184 bytes][name, NUL-padded, to the end]`, big-endian.
//! A header is copied into its answers, so every byte of one survives, reserved and unknown ones included.

mod checksum;
mod list;
mod name;

#[cfg(test)]
mod tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::codec::{Reader, wire_enum};
use super::error::DecodeError;
use super::rendezvous::Cookie;

pub use crate::limits::{OFT_HEADER_MAX, OFT_HEADER_MIN};
pub use checksum::{Checksum, RunningChecksum};
pub use list::{ListEntry, Listing};
pub use name::{NameCharset, NameField};

/// First four bytes of every header.
pub const MAGIC: [u8; 4] = *b"OFT2";
/// Bytes in front of the name.
pub const FIXED_LEN: usize = 192;
/// What a name is padded to with zeros.
pub const NAME_PADDED: usize = 64;
/// What everybody since AIM 5.2 writes into [`Header::id_string`].
pub const ID_STRING: [u8; 32] = *b"Cool FileXfer\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// [`Header::flags`]: written by both sides on the way.
pub const FLAG_NEGOTIATING: u8 = 0x20;
/// [`Header::flags`]: the header is about a listing.
pub const FLAG_LIST: u8 = 0x10;
/// [`Header::flags`]: nothing comes after this.
pub const FLAG_DONE: u8 = 0x01;

wire_enum! {
    /// What a header says. The high byte is 0x01 or 0x11 from the side that has the data, 0x02 or 0x12 from the other.
    pub struct Kind(u16) {
        /// Sender: here is the next file.
        PROMPT = 0x0101,
        /// Sender: going on from the offset in the header.
        RESUME_ACCEPT = 0x0106,
        /// Receiver: start from byte 0.
        ACK = 0x0202,
        /// Receiver: the file is complete; in place of an ACK: it is there already, or not wanted.
        DONE = 0x0204,
        /// Receiver, in place of an ACK: this much is there already, with this checksum.
        RESUME = 0x0205,
        /// Receiver: go on.
        RESUME_ACK = 0x0207,
        /// Owner of shared files: a listing follows.
        LIST_PROMPT = 0x1108,
        /// Requester: send the listing.
        LIST_ACK = 0x1209,
        /// Requester: the listing came damaged.
        LIST_CORRUPT = 0x120A,
        /// Requester: the listing is here.
        LIST_RECEIVED = 0x120B,
        /// Requester: send this file.
        REQUEST_FILE = 0x120C,
        /// Requester: list this folder.
        REQUEST_LISTING = 0x120E,
    }
}

/// One header, all of it. Numbers of bytes are modulo 2^32, times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What it says.
    pub kind: Kind,
    /// The rendezvous; zero in the first header of libpurple.
    pub cookie: Cookie,
    /// Never seen other than 0.
    pub encryption: u16,
    /// Never seen other than 0.
    pub compression: u16,
    /// Files of the transfer.
    pub total_files: u16,
    /// Files that are not complete, this one included.
    pub files_left: u16,
    /// Parts of this file: 2 with a resource fork of a Mac, else 1.
    pub total_parts: u16,
    /// Parts that are not complete, this one included.
    pub parts_left: u16,
    /// Bytes of all files.
    pub total_size: u32,
    /// Bytes of this file.
    pub size: u32,
    /// Last change of the file; 0 = not told.
    pub mtime: u32,
    /// Of the whole file.
    pub checksum: Checksum,
    /// Of what came of the resource fork.
    pub resource_received_checksum: Checksum,
    /// Bytes of the resource fork.
    pub resource_size: u32,
    /// When the file was made; 0 = not told.
    pub created: u32,
    /// Of the whole resource fork.
    pub resource_checksum: Checksum,
    /// Bytes of this file that the receiver has.
    pub received: u32,
    /// Of those bytes.
    pub received_checksum: Checksum,
    /// Name of the program's protocol, padded with NULs.
    pub id_string: [u8; 32],
    /// Sum of the flags above.
    pub flags: u8,
    /// Always 0x1C, or 0.
    pub list_name_offset: u8,
    /// Always 0x11, or 0.
    pub list_size_offset: u8,
    /// Unused.
    pub dummy: [u8; 69],
    /// Type, creator, flags, position and folder as the Finder of a Mac keeps them; else zeros.
    pub finfo: [u8; 16],
    /// Character set of the name.
    pub charset: NameCharset,
    /// Unused.
    pub subset: u16,
    /// The name with all that stands behind it.
    pub name: NameField,
}

impl Header {
    /// A header as we write it, for one file without a resource fork; the caller fills in what it knows.
    pub fn new(kind: Kind, cookie: Cookie, charset: NameCharset, name: NameField) -> Self {
        Self {
            kind,
            cookie,
            encryption: 0,
            compression: 0,
            total_files: 1,
            files_left: 1,
            total_parts: 1,
            parts_left: 1,
            total_size: 0,
            size: 0,
            mtime: 0,
            checksum: Checksum::EMPTY,
            resource_received_checksum: Checksum::EMPTY,
            resource_size: 0,
            created: 0,
            resource_checksum: Checksum::EMPTY,
            received: 0,
            received_checksum: Checksum::EMPTY,
            id_string: ID_STRING,
            flags: FLAG_NEGOTIATING,
            list_name_offset: 0x1C,
            list_size_offset: 0x11,
            dummy: [0; 69],
            finfo: [0; 16],
            charset,
            subset: 0,
            name,
        }
    }

    /// Takes the next header from the front of `buffer`, or nothing until all of it is there. Never reserves space.
    ///
    /// # Errors
    /// [`DecodeError::BadMarker`] as soon as a byte differs from "OFT2", [`DecodeError::BadLength`] outside of 193 to 4,096 (L-24):
    /// close the connection.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let Some(length) = Self::length(buffer)? else {
            return Ok(None);
        };
        if buffer.len() < length {
            return Ok(None);
        }
        let mut bytes = buffer.split_to(length).freeze();
        bytes.advance(6);
        Self::decode_body(bytes).map(Some)
    }

    /// Length of the header that `bytes` begin with, none if they do not hold its length yet.
    ///
    /// # Errors
    /// As [`Header::decode`].
    pub fn length(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            let mut found = [0; 4];
            found[..known].copy_from_slice(&bytes[..known]);
            return Err(DecodeError::BadMarker {
                what: "OFT header",
                found: u32::from_be_bytes(found),
            });
        }
        let Some(&[_, _, _, _, high, low]) = bytes.first_chunk::<6>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(OFT_HEADER_MIN..=OFT_HEADER_MAX).contains(&length) {
            return Err(DecodeError::BadLength {
                what: "OFT header",
                length,
                min: OFT_HEADER_MIN,
                max: OFT_HEADER_MAX,
            });
        }
        Ok(Some(length))
    }

    fn decode_body(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&bytes, "OFT header");
        Ok(Self {
            kind: Kind(reader.u16()?),
            cookie: Cookie(reader.array()?),
            encryption: reader.u16()?,
            compression: reader.u16()?,
            total_files: reader.u16()?,
            files_left: reader.u16()?,
            total_parts: reader.u16()?,
            parts_left: reader.u16()?,
            total_size: reader.u32()?,
            size: reader.u32()?,
            mtime: reader.u32()?,
            checksum: Checksum(reader.u32()?),
            resource_received_checksum: Checksum(reader.u32()?),
            resource_size: reader.u32()?,
            created: reader.u32()?,
            resource_checksum: Checksum(reader.u32()?),
            received: reader.u32()?,
            received_checksum: Checksum(reader.u32()?),
            id_string: reader.array()?,
            flags: reader.u8()?,
            list_name_offset: reader.u8()?,
            list_size_offset: reader.u8()?,
            dummy: reader.array()?,
            finfo: reader.array()?,
            charset: NameCharset(reader.u16()?),
            subset: reader.u16()?,
            name: NameField::new(bytes.slice_ref(reader.rest()))?,
        })
    }

    /// All of its bytes. They must leave in one write: AIM 6.1 gives up on a header that comes in two (L-18).
    pub fn encode(&self) -> Bytes {
        let length = FIXED_LEN + self.name.as_bytes().len();
        let mut out = BytesMut::with_capacity(length);
        out.put_slice(&MAGIC);
        out.put_u16(u16::try_from(length).expect("invariant: a name field is checked"));
        out.put_u16(self.kind.0);
        out.put_slice(&self.cookie.0);
        for number in [
            self.encryption,
            self.compression,
            self.total_files,
            self.files_left,
            self.total_parts,
            self.parts_left,
        ] {
            out.put_u16(number);
        }
        for number in [
            self.total_size,
            self.size,
            self.mtime,
            self.checksum.0,
            self.resource_received_checksum.0,
            self.resource_size,
            self.created,
            self.resource_checksum.0,
            self.received,
            self.received_checksum.0,
        ] {
            out.put_u32(number);
        }
        out.put_slice(&self.id_string);
        out.put_slice(&[self.flags, self.list_name_offset, self.list_size_offset]);
        out.put_slice(&self.dummy);
        out.put_slice(&self.finfo);
        out.put_u16(self.charset.0);
        out.put_u16(self.subset);
        out.put_slice(self.name.as_bytes());
        out.freeze()
    }

    /// The name's parts, folders first, as [`NameField::parts`]. Foreign text.
    ///
    /// # Errors
    /// As [`NameField::parts`].
    pub fn name_parts(&self) -> Result<Vec<String>, DecodeError> {
        self.name.parts(self.charset)
    }

    /// The same header with another kind: how every answer begins.
    pub fn reply(&self, kind: Kind, cookie: Cookie) -> Self {
        Self {
            kind,
            cookie,
            ..self.clone()
        }
    }
}
