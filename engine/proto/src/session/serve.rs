//! What a signed-on client is answered: foodgroups 0x0001, 0x0002 and 0x0004.

use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::duties::carry;
use super::output::{Outbound, Output};
use super::rate::{RateState, Verdict};
use super::server::{Session, Stage};
use crate::wire::icbm::{
    Channel, ClientError, HostAck, MessageToHost, UserInfo, subgroup, tlv as icbm_tlv, user_tlv,
};
use crate::wire::rendezvous::MessageKind;
use crate::wire::signon::{
    Arrival, HostOnline, IcbmParameters, LocateInfo, LocateRights, RateClass, RateMembers,
    RateReply, ServiceReply, ServiceRequest, UserList, Versions, tlv,
};
use crate::wire::snac::{ERROR, ErrorCode, Foodgroup, HOST_REQUEST, Snac};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// What this host offers, and in which version.
const OFFERED: [(Foodgroup, u16); 3] = [
    (Foodgroup::OSERVICE, 4),
    (Foodgroup::LOCATE, 1),
    (Foodgroup::ICBM, 1),
];
/// SNACs that count as messages; all others count as general ones.
const MESSAGES: [(Foodgroup, u16); 2] = [(Foodgroup::ICBM, 0x06), (Foodgroup::LOCATE, 0x05)];
/// What else a client may send of the foodgroups offered. Old clients go dumb for SNACs that are in no class.
const GENERAL: [(Foodgroup, u16); 16] = [
    (Foodgroup::OSERVICE, 0x02),
    (Foodgroup::OSERVICE, 0x04),
    (Foodgroup::OSERVICE, 0x06),
    (Foodgroup::OSERVICE, 0x08),
    (Foodgroup::OSERVICE, 0x09),
    (Foodgroup::OSERVICE, 0x0E),
    (Foodgroup::OSERVICE, 0x11),
    (Foodgroup::OSERVICE, 0x17),
    (Foodgroup::OSERVICE, 0x1E),
    (Foodgroup::LOCATE, 0x02),
    (Foodgroup::LOCATE, 0x04),
    (Foodgroup::ICBM, 0x02),
    (Foodgroup::ICBM, 0x03),
    (Foodgroup::ICBM, 0x04),
    (Foodgroup::ICBM, 0x0B),
    (Foodgroup::ICBM, 0x14),
];
/// User class of a normal user.
const CLASS_FREE: u16 = 0x0010;
/// Codes of 0x0001/0x000A.
const RATE_WARNING: u16 = 2;
const RATE_LIMITED: u16 = 3;
const RATE_CLEARED: u16 = 4;

/// The parameters of a client that has not said otherwise: 8,000 bytes, so that a proposal with many addresses fits.
pub const DEFAULT_PARAMETERS: IcbmParameters = IcbmParameters {
    channel: 5,
    flags: 3,
    incoming_max: 8_000,
    source_warning_max: 999,
    destination_warning_max: 999,
    interval_min_ms: 0,
    trailing: Bytes::new(),
};

impl Session {
    pub(super) fn host_online(&mut self) {
        let foodgroups = OFFERED.map(|(foodgroup, _)| foodgroup).to_vec();
        let body = HostOnline { foodgroups }.encode();
        self.send_snac(Foodgroup::OSERVICE, 0x03, HOST_REQUEST, body);
    }

    pub(super) fn snac(&mut self, now: Instant, snac: &Snac) {
        if !self.count(now, snac) {
            return;
        }
        match snac.foodgroup {
            _ if snac.subgroup == ERROR => {}
            Foodgroup::OSERVICE => self.oservice(now, snac),
            Foodgroup::LOCATE => self.locate(snac),
            Foodgroup::ICBM => self.icbm(now, snac),
            other => self.send_error(other, snac.request_id, ErrorCode::NOT_SUPPORTED_BY_HOST),
        }
    }

    pub(super) fn acknowledge(&mut self, outbound: &Outbound) {
        let ack = HostAck {
            cookie: outbound.message.cookie,
            channel: outbound.message.channel,
            recipient: outbound.message.recipient.clone(),
            trailing: Bytes::new(),
        };
        let id = outbound.request_id;
        self.send_snac(Foodgroup::ICBM, subgroup::HOST_ACK, id, ack.encode());
    }

    pub(super) fn send_relay(&mut self, request_id: u32, address: String, ticket: Bytes) {
        let tlvs = TlvList::new()
            .with_u16(tlv::SERVICE, Foodgroup::ARS.0)
            .with(tlv::ADDRESS, address)
            .with(tlv::COOKIE, ticket);
        let reply = ServiceReply { tlvs };
        self.send_snac(Foodgroup::OSERVICE, 0x05, request_id, reply.encode());
    }

    fn oservice(&mut self, now: Instant, snac: &Snac) {
        let id = snac.request_id;
        match snac.subgroup {
            0x02 => {
                if let Stage::SignedOn { online, .. } = &mut self.stage
                    && !std::mem::replace(online, true)
                {
                    self.push(Output::Online);
                }
            }
            0x04 => match ServiceRequest::decode(&snac.body) {
                Ok(request) if request.foodgroup == Foodgroup::ARS => {
                    self.push(Output::Relay { request_id: id });
                }
                Ok(_) => self.send_error(snac.foodgroup, id, ErrorCode::SERVICE_NOT_DEFINED),
                Err(_) => self.send_error(snac.foodgroup, id, ErrorCode::BUSTED_PAYLOAD),
            },
            0x06 => {
                let body = self.rates(now).encode();
                self.send_snac(snac.foodgroup, 0x07, id, body);
            }
            // Changes are told whether subscribed or not, idle times and status texts are nobody's business here.
            0x08 | 0x09 | 0x11 | 0x1E => {}
            0x0E => {
                if let Some(info) = self.own_info() {
                    let body = UserList { users: vec![info] }.encode();
                    self.send_snac(snac.foodgroup, 0x0F, id, body);
                }
            }
            0x17 => match Versions::decode(&snac.body) {
                Ok(versions) => {
                    self.oservice_version = versions.of(Foodgroup::OSERVICE).unwrap_or(0);
                    let pairs = OFFERED
                        .into_iter()
                        .filter_map(|(foodgroup, own)| {
                            Some((foodgroup, own.min(versions.of(foodgroup)?)))
                        })
                        .collect();
                    let body = Versions { pairs }.encode();
                    self.send_snac(snac.foodgroup, 0x18, id, body);
                }
                Err(_) => self.send_error(snac.foodgroup, id, ErrorCode::BUSTED_PAYLOAD),
            },
            _ => self.send_error(snac.foodgroup, id, ErrorCode::INVALID_SNAC),
        }
    }

    fn locate(&mut self, snac: &Snac) {
        let id = snac.request_id;
        match snac.subgroup {
            0x02 => {
                let tlvs = TlvList::new()
                    .with_u16(1, 0x1000)
                    .with_u16(2, 64)
                    .with_u16(5, 128);
                self.send_snac(snac.foodgroup, 0x03, id, LocateRights { tlvs }.encode());
            }
            0x04 => match LocateInfo::decode(&snac.body).and_then(|info| info.capabilities()) {
                Ok(Some(capabilities)) => self.push(Output::Capabilities(capabilities)),
                Ok(None) => {}
                Err(_) => self.send_error(snac.foodgroup, id, ErrorCode::BUSTED_PAYLOAD),
            },
            _ => self.send_error(snac.foodgroup, id, ErrorCode::INVALID_SNAC),
        }
    }

    fn icbm(&mut self, now: Instant, snac: &Snac) {
        let id = snac.request_id;
        let busted = |session: &mut Self| {
            session.send_error(snac.foodgroup, id, ErrorCode::BUSTED_PAYLOAD);
        };
        match snac.subgroup {
            subgroup::SET_PARAMETERS => match IcbmParameters::decode(&snac.body) {
                Ok(parameters) => self.push(Output::Parameters(parameters)),
                Err(_) => busted(self),
            },
            0x03 => self.push(Output::Parameters(DEFAULT_PARAMETERS)),
            subgroup::PARAMETER_QUERY => {
                let body = DEFAULT_PARAMETERS.encode();
                self.send_snac(snac.foodgroup, subgroup::PARAMETER_REPLY, id, body);
            }
            subgroup::MESSAGE_TO_HOST => match MessageToHost::decode(&snac.body) {
                Ok(message) => {
                    if let Err(code) = self.message(now, id, message) {
                        self.send_error(snac.foodgroup, id, code);
                    }
                }
                Err(_) => busted(self),
            },
            subgroup::CLIENT_ERROR => match ClientError::decode(&snac.body) {
                Ok(error) if error.channel == Channel::RENDEZVOUS => {
                    self.push(Output::PassOn(error))
                }
                Ok(_) => {}
                Err(_) => busted(self),
            },
            // Typing events: guests do not write to each other.
            0x14 => {}
            _ => self.send_error(snac.foodgroup, id, ErrorCode::INVALID_SNAC),
        }
    }

    /// What the sender alone can be told about a message; the rest is up to the recipient.
    fn message(
        &mut self,
        now: Instant,
        request_id: u32,
        mut message: MessageToHost,
    ) -> Result<(), ErrorCode> {
        match message.channel {
            Channel::RENDEZVOUS => {}
            Channel(0) => return Err(ErrorCode::BUSTED_PAYLOAD),
            // Guests have nothing but rendezvous.
            _ => return Err(ErrorCode::NOT_SUPPORTED_BY_HOST),
        }
        // A second block would go past the host's eyes.
        let blocks: Vec<Bytes> = message.tlvs.all(icbm_tlv::RENDEZVOUS).cloned().collect();
        let [block] = &blocks[..] else {
            return Err(ErrorCode::BUSTED_PAYLOAD);
        };
        let carried =
            carry(block, message.cookie, self.peer_v4()).map_err(|_| ErrorCode::BUSTED_PAYLOAD)?;
        if !self.enter_proposal(now, &message, carried.kind) {
            return Err(ErrorCode::REQUEST_DENIED);
        }
        let ack = message.tlvs.remove_all(icbm_tlv::REQUEST_HOST_ACK) > 0;
        message.tlvs.remove_all(icbm_tlv::STORE);
        for tlv in &mut message.tlvs.0 {
            if tlv.tag == icbm_tlv::RENDEZVOUS {
                tlv.value = carried.block.clone();
            }
        }
        self.push(Output::Deliver(Outbound {
            request_id,
            ack,
            proposes: carried.kind == MessageKind::PROPOSE,
            required: carried.host_check.then_some(carried.service),
            message,
        }));
        Ok(())
    }

    /// Counts a SNAC for its rate class; false if it is dropped.
    fn count(&mut self, now: Instant, snac: &Snac) -> bool {
        let member = (snac.foodgroup, snac.subgroup);
        let state = match MESSAGES.contains(&member) {
            true => &mut self.icbm,
            false => &mut self.general,
        };
        let was_limited = state.is_limited();
        let before = state.level();
        let verdict = state.count(now);
        let alerted = |level: u32| level < state.class().alert;
        let change = match verdict {
            Verdict::Limited if !was_limited => Some(RATE_LIMITED),
            Verdict::Alert if !was_limited && !alerted(before) => Some(RATE_WARNING),
            Verdict::Alert | Verdict::Clear if was_limited => Some(RATE_CLEARED),
            _ => None,
        };
        let record = change.map(|change| (change, record(state, now, self.oservice_version)));
        if let Some((change, class)) = record {
            let mut body = BytesMut::new();
            body.put_u16(change);
            // A reply with one class is its count, which a change does not have, and its record.
            let reply = RateReply {
                classes: vec![class],
                members: Vec::new(),
            };
            body.put_slice(&reply.encode()[2..]);
            self.send_snac(Foodgroup::OSERVICE, 0x0A, HOST_REQUEST, body.freeze());
        }
        match verdict {
            Verdict::Clear | Verdict::Alert => true,
            Verdict::Limited => {
                self.send_error(snac.foodgroup, snac.request_id, ErrorCode::RATE_TO_HOST);
                false
            }
            Verdict::Disconnect => {
                self.sign_off(None);
                false
            }
        }
    }

    fn rates(&self, now: Instant) -> RateReply {
        let (general, icbm) = (&self.general, &self.icbm);
        let members = |state: &RateState, list: &[(Foodgroup, u16)]| RateMembers {
            id: state.class().id,
            members: list.to_vec(),
        };
        RateReply {
            classes: [general, icbm]
                .map(|state| record(state, now, self.oservice_version))
                .to_vec(),
            members: vec![members(general, &GENERAL), members(icbm, &MESSAGES)],
        }
    }

    /// The client as it sees itself: with the address that the host sees.
    fn own_info(&self) -> Option<UserInfo> {
        let Stage::SignedOn {
            name, since_unix_s, ..
        } = &self.stage
        else {
            return None;
        };
        let peer = self.config.peer;
        let mut tlvs = TlvList::new()
            .with_u16(user_tlv::CLASS, CLASS_FREE)
            .with_u32(user_tlv::SIGN_ON_TIME, *since_unix_s);
        if let Some(v4) = self.peer_v4() {
            tlvs = tlvs.with_u32(user_tlv::EXTERNAL_IP, v4.to_bits());
        }
        let seen = format!("{} {}", peer.ip().to_canonical(), peer.port());
        Some(UserInfo {
            name: name.clone(),
            warning: 0,
            tlvs: tlvs.with(tlv::SEEN_ADDRESS, seen),
        })
    }
}

/// The sender of a message as its recipient sees it (S-34: nothing of it comes from the message).
pub fn sender_info(
    name: &ScreenName,
    since_unix_s: u32,
    capabilities: impl IntoIterator<Item = Uuid>,
) -> UserInfo {
    let list: Vec<u8> = capabilities
        .into_iter()
        .flat_map(Uuid::into_bytes)
        .collect();
    let mut tlvs = TlvList::new()
        .with_u16(user_tlv::CLASS, CLASS_FREE)
        .with_u32(user_tlv::SIGN_ON_TIME, since_unix_s);
    if !list.is_empty() {
        tlvs.push(user_tlv::CAPABILITIES, list);
    }
    UserInfo {
        name: name.clone(),
        warning: 0,
        tlvs,
    }
}

fn record(state: &RateState, now: Instant, oservice_version: u16) -> RateClass {
    let class = state.class();
    RateClass {
        id: class.id,
        window: class.window,
        clear: class.clear,
        alert: class.alert,
        limit: class.limit,
        disconnect: class.disconnect,
        current: state.level(),
        max: class.max,
        arrival: (oservice_version >= 3).then(|| Arrival {
            since_last_ms: state.idle_ms(now),
            dropping: state.is_limited().into(),
        }),
    }
}
