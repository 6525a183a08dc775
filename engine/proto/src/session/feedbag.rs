//! Foodgroup 0x0013: the list that the host keeps for an account.

use bytes::{BufMut as _, BytesMut};

use super::output::{FeedbagEdit, FeedbagRequest, Output};
use super::server::Session;
use crate::limits;
use crate::wire::flap::Channel;
use crate::wire::signon::{
    FeedbagIfModified, FeedbagList, FeedbagStamp, Item, Items, LocateRights, Status, Statuses,
};
use crate::wire::snac::{ErrorCode, FLAG_MORE, Foodgroup, Snac};
use crate::wire::tlv::TlvList;

/// Items of each class, 0 to 25, that a client is told to keep to.
const ITEMS_PER_CLASS: [u16; 26] = [
    0x0190, 0x003D, 0x00C8, 0x00C8, 1, 1, 0x0096, 0x000C, 0x000C, 3, 0, 0x0032, 0x0032, 0x0080,
    0x00FF, 0x0014, 0x00C8, 1, 0, 1, 0x0014, 0, 0, 1, 0, 0,
];
/// What else AIM wants to be told, u16 each: bytes of attributes, items of clients, bytes of a name, recent buddies, and so on.
const OTHER_RIGHTS: [(u16, u16); 10] = [
    (0x0003, 200),
    (0x0005, 200),
    (0x0006, 200),
    (0x0007, 200),
    (0x0008, 200),
    (0x0009, 200),
    (0x000A, 200),
    (0x000C, 200),
    (0x000D, 200),
    (0x000E, 100),
];
/// Bytes of items in one change: a full list of buddies.
const EDIT_MAX: usize = 32 * 1024;
/// Bytes of items in one SNAC.
const PART: usize = limits::FLAP_PAYLOAD_SENT - 64;

impl Session {
    /// Answer to [`FeedbagRequest::Query`]: the list, in as many SNACs as it takes.
    pub fn feedbag(&mut self, request_id: u32, items: &[Item], stamp: FeedbagStamp) {
        let mut parts: Vec<Vec<Item>> = vec![Vec::new()];
        let mut bytes = 0;
        for item in items {
            bytes += item.encoded_len();
            if bytes > PART && parts.last().is_some_and(|part| !part.is_empty()) {
                parts.push(Vec::new());
                bytes = item.encoded_len();
            }
            if let Some(part) = parts.last_mut() {
                part.push(item.clone());
            }
        }
        let last = parts.len() - 1;
        for (place, items) in parts.into_iter().enumerate() {
            let list = FeedbagList {
                items,
                changed_unix_s: stamp.changed_unix_s,
            };
            let mut snac = Snac::new(Foodgroup::FEEDBAG, 0x06, request_id, list.encode());
            if place != last {
                snac.flags = FLAG_MORE;
            }
            self.push(Output::Send(Channel::DATA, snac.encode()));
        }
    }

    /// Answer to [`FeedbagRequest::Query`]: the copy of the client is good.
    pub fn feedbag_unchanged(&mut self, request_id: u32, stamp: FeedbagStamp) {
        let body = FeedbagIfModified { stamp }.encode();
        self.send_snac(Foodgroup::FEEDBAG, 0x0F, request_id, body);
    }

    /// Answer to [`FeedbagRequest::Change`]: what became of each item.
    pub fn feedbag_changed(&mut self, request_id: u32, statuses: Vec<Status>) {
        let body = Statuses { statuses }.encode();
        self.send_snac(Foodgroup::FEEDBAG, 0x0E, request_id, body);
    }

    /// Answer to any request: the list cannot be had now.
    pub fn feedbag_failed(&mut self, request_id: u32) {
        let code = ErrorCode::SERVICE_UNAVAILABLE;
        self.send_error(Foodgroup::FEEDBAG, request_id, code);
    }

    pub(super) fn feedbag_snac(&mut self, snac: &Snac) {
        let request_id = snac.request_id;
        let request = match snac.subgroup {
            0x02 => return self.send_feedbag_rights(snac),
            0x04 => Ok(FeedbagRequest::Query {
                request_id,
                unless: None,
            }),
            0x05 => FeedbagIfModified::decode(&snac.body).map(|copy| FeedbagRequest::Query {
                request_id,
                unless: Some(copy.stamp),
            }),
            0x07 => Ok(FeedbagRequest::Use),
            0x08..=0x0A if snac.body.len() > EDIT_MAX => return self.too_long(snac),
            0x08..=0x0A => Items::decode(&snac.body).map(|list| FeedbagRequest::Change {
                request_id,
                edit: match snac.subgroup {
                    0x08 => FeedbagEdit::Insert,
                    0x09 => FeedbagEdit::Update,
                    _ => FeedbagEdit::Delete,
                },
                items: list.items,
            }),
            // Begin and end of changes that belong together: each is done at once.
            0x11 | 0x12 => return,
            _ => return self.send_invalid(snac),
        };
        match request {
            Ok(request) => self.push(Output::Feedbag(request)),
            Err(error) => self.busted(snac, error),
        }
    }

    fn send_feedbag_rights(&mut self, snac: &Snac) {
        let mut classes = BytesMut::new();
        for items in ITEMS_PER_CLASS {
            classes.put_u16(items);
        }
        let mut tlvs = TlvList::new().with(0x0004, classes.freeze());
        for (tag, value) in OTHER_RIGHTS {
            tlvs = tlvs.with_u16(tag, value);
        }
        let body = LocateRights { tlvs }.encode();
        self.send_snac(snac.foodgroup, 0x03, snac.request_id, body);
    }
}
