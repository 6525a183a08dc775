//! Foodgroups 0x0003 and 0x0009: whom a client wants to see, and be seen by, for the time of its session.

use super::output::{NamesChange, Output, PrivacyList};
use super::privacy::NAMES_MAX;
use super::server::Session;
use crate::wire::signon::{LocateRights, NameList};
use crate::wire::snac::{ErrorCode, Foodgroup, Snac};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

impl Session {
    /// Answer to [`Output::Names`]: there is no room for them, and nothing was done.
    pub fn too_many_names(&mut self, (foodgroup, request_id): (Foodgroup, u32)) {
        self.send_error(foodgroup, request_id, ErrorCode::LIST_OVERFLOW);
    }

    pub(super) fn buddy(&mut self, snac: &Snac) {
        match snac.subgroup {
            0x02 => self.send_list_rights(snac),
            // 0x0F and 0x10: names that are not to be kept, as those of 0x04 never are here.
            0x04 | 0x0F => self.names(snac, NamesChange::Watch),
            0x05 | 0x10 => self.names(snac, NamesChange::Unwatch),
            _ => self.send_invalid(snac),
        }
    }

    pub(super) fn pd(&mut self, snac: &Snac) {
        use PrivacyList::{Deny, Permit};
        match snac.subgroup {
            0x02 => self.send_list_rights(snac),
            // Which classes of users may see one: there is only one class here.
            0x04 => {}
            0x05 => self.names(snac, |names| NamesChange::Add(Permit, names)),
            0x06 => self.names(snac, |names| NamesChange::Remove(Permit, names)),
            0x07 => self.names(snac, |names| NamesChange::Add(Deny, names)),
            0x08 => self.names(snac, |names| NamesChange::Remove(Deny, names)),
            _ => self.send_invalid(snac),
        }
    }

    /// 0x0003/0x0003 and 0x0009/0x0003: how many names go onto each of the two lists.
    fn send_list_rights(&mut self, snac: &Snac) {
        let names = u16::try_from(NAMES_MAX).unwrap_or(u16::MAX);
        let tlvs = TlvList::new().with_u16(1, names).with_u16(2, names);
        let body = LocateRights { tlvs }.encode();
        self.send_snac(snac.foodgroup, 0x03, snac.request_id, body);
    }

    fn names(&mut self, snac: &Snac, change: impl FnOnce(Vec<ScreenName>) -> NamesChange) {
        match NameList::decode(&snac.body) {
            Ok(list) => self.push(Output::Names {
                request: (snac.foodgroup, snac.request_id),
                change: change(list.names),
            }),
            Err(error) => self.busted(snac, error),
        }
    }
}
