//! Foodgroup 0x0013: the buddy list that the host keeps.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};

use crate::wire::codec::{Reader, put_string16, wire_enum};
use crate::wire::error::DecodeError;
use crate::wire::tlv::TlvList;

wire_enum! {
    /// What an item is.
    pub struct ItemClass(u16) {
        /// A buddy; the name is a screen name.
        BUDDY = 0x0000,
        /// A group of buddies.
        GROUP = 0x0001,
        /// Who may see and write; the name is a screen name.
        PERMIT = 0x0002,
        /// Who may not.
        DENY = 0x0003,
        /// Which of the two lists counts; see [`item_tlv::PRIVACY`].
        PRIVACY = 0x0004,
        /// Settings of the client.
        PREFERENCES = 0x0005,
        /// Names of icons.
        BART = 0x0014,
    }
}

/// TLVs of items that a host looks at.
pub mod item_tlv {
    /// In an item of class 0x0004, u8: 1 all may, 2 nobody, 3 those permitted, 4 all but those denied, 5 buddies.
    pub const PRIVACY: u16 = 0x00CA;
}

wire_enum! {
    /// What became of a change to one item.
    pub struct Status(u16) {
        /// Done.
        OK = 0x0000,
        /// There is no such item.
        NOT_FOUND = 0x0002,
        /// There is one already.
        EXISTS = 0x0003,
        /// The item cannot be read.
        BAD_VALUE = 0x000A,
        /// No more of them.
        TOO_MANY = 0x000C,
    }
}

/// One item: `[name: string16][group: u16][id: u16][class: u16][TLVLBlock]`. Group and id name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// UTF-8 usually; meaning by class.
    pub name: Bytes,
    /// Which group it is in.
    pub group: u16,
    /// Which item of the group; 0 in groups.
    pub id: u16,
    /// What it is.
    pub class: ItemClass,
    /// The block of TLVs, byte for byte.
    pub tlvs: Bytes,
}

impl Item {
    /// Reads an item; `reader` must read from `data`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(reader: &mut Reader<'_>, data: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            name: data.slice_ref(reader.string16()?),
            group: reader.u16()?,
            id: reader.u16()?,
            class: ItemClass(reader.u16()?),
            tlvs: data.slice_ref(reader.string16()?),
        })
    }

    /// Appends the item.
    ///
    /// # Panics
    /// If name or TLVs have more than 65,535 bytes: those from the wire cannot.
    pub fn encode(&self, out: &mut BytesMut) {
        put_string16(out, &self.name);
        out.put_u16(self.group);
        out.put_u16(self.id);
        out.put_u16(self.class.0);
        put_string16(out, &self.tlvs);
    }

    /// Length on the wire, in bytes.
    pub fn encoded_len(&self) -> usize {
        10 + self.name.len() + self.tlvs.len()
    }

    /// The TLVs, if they can be read.
    pub fn tlv_list(&self) -> Option<TlvList> {
        TlvList::decode_rest(self.tlvs.clone()).ok()
    }
}

/// Items back to back: 0x0013/0x0008 (insert), 0x0009 (update), 0x000A (delete).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Items {
    /// In the order of the wire.
    pub items: Vec<Item>,
}

impl Items {
    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "feedbag items");
        let mut items = Vec::new();
        while !reader.is_empty() {
            items.push(Item::decode(&mut reader, body)?);
        }
        Ok(Self { items })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for item in &self.items {
            item.encode(&mut out);
        }
        out.freeze()
    }
}

/// By what a client knows whether its copy of the list is the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedbagStamp {
    /// Last change, Unix seconds.
    pub changed_unix_s: u32,
    /// Items in all.
    pub items: u16,
}

/// 0x0013/0x0005 (the list, if modified) and 0x000F (it is not): `[last change: u32][items: u16]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbagIfModified {
    /// Of the copy.
    pub stamp: FeedbagStamp,
}

impl FeedbagIfModified {
    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "feedbag stamp");
        let stamp = FeedbagStamp {
            changed_unix_s: reader.u32()?,
            items: reader.u16()?,
        };
        Ok(Self { stamp })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32(self.stamp.changed_unix_s);
        out.put_u16(self.stamp.items);
        out.freeze()
    }
}

/// 0x0013/0x0006, the list or a part of it: `[version: u8 = 0][count: u16][items][last change: u32]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedbagList {
    /// In the order of the host.
    pub items: Vec<Item>,
    /// Unix seconds.
    pub changed_unix_s: u32,
}

impl FeedbagList {
    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "feedbag");
        reader.u8()?;
        let count = reader.u16()?;
        let items = (0..count).map(|_| Item::decode(&mut reader, body));
        let items = items.collect::<Result<_, _>>()?;
        Ok(Self {
            items,
            changed_unix_s: reader.u32()?,
        })
    }

    /// The body's bytes.
    ///
    /// # Panics
    /// Above 65,535 items: a part of a list is far smaller.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(0);
        out.put_u16(u16::try_from(self.items.len()).expect("a feedbag is limited by its maker"));
        for item in &self.items {
            item.encode(&mut out);
        }
        out.put_u32(self.changed_unix_s);
        out.freeze()
    }
}

/// 0x0013/0x000E, what became of a change: one [`Status`] per item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statuses {
    /// In the order of the items.
    pub statuses: Vec<Status>,
}

impl Statuses {
    /// Reads a body; a byte too many is ignored.
    pub fn decode(body: &Bytes) -> Self {
        let mut body = body.clone();
        let mut statuses = Vec::new();
        while body.remaining() >= 2 {
            statuses.push(Status(body.get_u16()));
        }
        Self { statuses }
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for status in &self.statuses {
            out.put_u16(status.0);
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn items_keep_their_bytes() {
        let body = hex("0003626f62 0001 0002 0000 0004 013c0000 0001 31 0000 5ebe 0014 0000");
        let items = Items::decode(&body).expect("good items");
        assert_eq!(
            (items.items[0].class, items.items[1].class),
            (ItemClass::BUDDY, ItemClass::BART)
        );
        assert_eq!(items.items[0].encoded_len(), 17);
        assert_eq!(items.encode(), body);
        assert!(Items::decode(&body.slice(..body.len() - 1)).is_err());
    }

    #[test]
    fn an_empty_list_has_seven_bytes() {
        let body = hex("00 0000 00000000");
        assert_eq!(FeedbagList::default().encode(), body);
        assert_eq!(FeedbagList::decode(&body), Ok(FeedbagList::default()));
        assert!(FeedbagList::decode(&hex("00 0001 00000000")).is_err());
    }

    #[test]
    fn a_stamp_and_statuses_are_numbers() {
        let body = hex("65bf1234 0007");
        assert_eq!(
            FeedbagIfModified::decode(&body).map(|stamp| stamp.encode()),
            Ok(body)
        );
        let statuses = Statuses::decode(&hex("0000 000c"));
        assert_eq!(statuses.statuses, [Status::OK, Status::TOO_MANY]);
        assert_eq!(statuses.encode(), hex("0000000c"));
    }
}
