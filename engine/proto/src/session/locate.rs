//! Foodgroup 0x0002: what users say about themselves, and ask about others.

use bytes::Bytes;

use super::output::{LocateChange, Output, Text};
use super::server::Session;
use crate::wire::signon::{InfoQuery, InfoReply, LocateInfo, LocateRights, locate_tlv};
use crate::wire::snac::{ErrorCode, Foodgroup, Snac};
use crate::wire::tlv::TlvList;

/// Longest profile and longest away text, in bytes.
const TEXT_MAX: u16 = 0x1000;
/// Longest name of a MIME type, in bytes.
const MIME_MAX: usize = 255;

impl Session {
    /// Answer to [`Output::UserInfo`]; none if the user is not there, or does not want to be seen.
    pub fn user_info(&mut self, request_id: u32, found: Option<&InfoReply>) {
        match found {
            Some(reply) => self.send_snac(Foodgroup::LOCATE, 0x06, request_id, reply.encode()),
            None => self.send_error(Foodgroup::LOCATE, request_id, ErrorCode::NOT_LOGGED_ON),
        }
    }

    pub(super) fn locate(&mut self, snac: &Snac) {
        let id = snac.request_id;
        match snac.subgroup {
            0x02 => {
                let tlvs = TlvList::new()
                    .with_u16(1, TEXT_MAX)
                    .with_u16(2, 64)
                    .with_u16(5, 128);
                self.send_snac(snac.foodgroup, 0x03, id, LocateRights { tlvs }.encode());
            }
            0x04 => match LocateInfo::decode(&snac.body) {
                Ok(info) => self.set_info(snac, &info),
                Err(error) => self.busted(snac, error),
            },
            0x05 | 0x15 if !self.is_guest() => {
                let query = match snac.subgroup {
                    0x05 => InfoQuery::decode_kind(&snac.body),
                    _ => InfoQuery::decode_flags(&snac.body),
                };
                match query {
                    Ok(query) => self.push(Output::UserInfo {
                        request_id: id,
                        query,
                    }),
                    Err(error) => self.busted(snac, error),
                }
            }
            // There is no directory.
            0x09 | 0x0B | 0x0F if !self.is_guest() => {
                self.send_error(snac.foodgroup, id, ErrorCode::NOT_SUPPORTED_BY_HOST);
            }
            _ => self.send_invalid(snac),
        }
    }

    fn set_info(&mut self, snac: &Snac, info: &LocateInfo) {
        let Ok(capabilities) = info.capabilities() else {
            return self.send_busted(snac);
        };
        let text = |mime, text| {
            let mime: Option<&Bytes> = info.tlvs.first(mime);
            info.tlvs.first(text).map(|text| Text {
                mime: mime.cloned().unwrap_or_default(),
                text: text.clone(),
            })
        };
        let profile = text(locate_tlv::PROFILE_MIME, locate_tlv::PROFILE);
        let away = text(locate_tlv::AWAY_MIME, locate_tlv::AWAY);
        let too_long =
            |text: &Text| text.text.len() > usize::from(TEXT_MAX) || text.mime.len() > MIME_MAX;
        if profile.iter().chain(&away).any(too_long) {
            return self.send_error(snac.foodgroup, snac.request_id, ErrorCode::REQUEST_DENIED);
        }
        self.push(Output::Locate(LocateChange {
            capabilities,
            profile,
            away,
        }));
    }
}
