//! Foodgroup 0x0001: what both sides speak, rates, one's own info, services.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::account::Party;
use super::output::{Output, StatusChange};
use super::presence::{Shown, guest_info, unite};
use super::server::{Member, Service, Session};
use crate::wire::codec::Reader;
use crate::wire::icbm::{UserInfo, user_tlv};
use crate::wire::signon::{
    HostOnline, RateSubscription, ServiceReply, ServiceRequest, UserList, Versions, tlv,
};
use crate::wire::snac::{ErrorCode, Foodgroup, HOST_REQUEST, Snac};
use crate::wire::tlv::TlvList;

/// What this host offers to accounts, and in which version.
pub(super) const OFFERED: [(Foodgroup, u16); 8] = [
    (Foodgroup::OSERVICE, 4),
    (Foodgroup::LOCATE, 1),
    (Foodgroup::BUDDY, 1),
    (Foodgroup::ICBM, 1),
    (Foodgroup::POPUP, 1),
    (Foodgroup::PD, 1),
    (Foodgroup::STATS, 1),
    (Foodgroup::FEEDBAG, 4),
];
/// What it offers to guests.
pub(super) const OFFERED_TO_GUESTS: [(Foodgroup, u16); 3] = [
    (Foodgroup::OSERVICE, 4),
    (Foodgroup::LOCATE, 1),
    (Foodgroup::ICBM, 1),
];
/// What it offers on the connection for the administration of an account.
pub(super) const OFFERED_ON_ADMIN: [(Foodgroup, u16); 2] =
    [(Foodgroup::OSERVICE, 4), (Foodgroup::ADMIN, 1)];
/// Hours between two reports that a client makes about itself. Nobody reads them.
const REPORT_HOURS: u16 = 1200;
/// Bit of 0x0001/0x0014: others may know for how long the user has been idle.
const SHOWS_IDLE: u32 = 1;

impl Session {
    /// Answer to [`Output::OwnInfo`]: all sign-ons of the account.
    pub fn own_info<'a>(
        &mut self,
        now: Instant,
        request_id: u32,
        own: u8,
        instances: impl Iterator<Item = &'a Shown> + Clone,
    ) {
        let Some(member) = self.member() else { return };
        let mut user = unite(&member.name, instances.clone(), now);
        self.add_address(member, &mut user);
        user.tlvs.push(user_tlv::INSTANCE, vec![own]);
        let mut users = vec![user];
        if member.oservice_version() >= 4 {
            users.extend(instances.map(|shown| {
                let one = std::iter::once(shown);
                let mut user = unite(&member.name, one, now);
                user.tlvs.push(user_tlv::INSTANCE, vec![shown.number]);
                user
            }));
        }
        self.send_snac(
            Foodgroup::OSERVICE,
            0x0F,
            request_id,
            UserList { users }.encode(),
        );
    }

    /// Answer to [`Output::Relay`]: its address as `host:port`, and the ticket for it; none if there is no relay.
    pub fn relay(&mut self, request_id: u32, relay: Option<(String, Bytes)>) {
        let Some((address, ticket)) = relay else {
            let code = ErrorCode::SERVICE_NOT_DEFINED;
            return self.send_error(Foodgroup::OSERVICE, request_id, code);
        };
        let tlvs = TlvList::new()
            .with_u16(tlv::SERVICE, Foodgroup::ARS.0)
            .with(tlv::ADDRESS, address)
            .with(tlv::COOKIE, ticket);
        let reply = ServiceReply { tlvs };
        self.send_snac(Foodgroup::OSERVICE, 0x05, request_id, reply.encode());
    }

    /// Answer to [`Output::Service`]: its address as `host:port`, and the cookie that opens it; none if it is down.
    pub fn service(
        &mut self,
        request_id: u32,
        foodgroup: Foodgroup,
        service: Option<(String, Bytes)>,
    ) {
        let Some((address, cookie)) = service else {
            let code = ErrorCode::SERVICE_UNAVAILABLE;
            return self.send_error(Foodgroup::OSERVICE, request_id, code);
        };
        let tlvs = TlvList::new()
            .with_u16(tlv::SERVICE, foodgroup.0)
            .with(tlv::ADDRESS, address)
            .with(tlv::COOKIE, cookie)
            // The next connection is like this one.
            .with(tlv::TLS_STATE, vec![self.config.tls.into()]);
        let reply = ServiceReply { tlvs };
        self.send_snac(Foodgroup::OSERVICE, 0x05, request_id, reply.encode());
    }

    pub(super) fn host_online(&mut self) {
        let Some(member) = self.member() else { return };
        let foodgroups = member.offered().iter().map(|&(foodgroup, _)| foodgroup);
        let body = HostOnline {
            foodgroups: foodgroups.collect(),
        }
        .encode();
        self.send_snac(Foodgroup::OSERVICE, 0x03, HOST_REQUEST, body);
    }

    pub(super) fn oservice(&mut self, now: Instant, snac: &Snac) {
        let id = snac.request_id;
        match snac.subgroup {
            0x02 => self.client_online(),
            // All that has to do with others, or with other services.
            0x04 | 0x0E | 0x11 | 0x14 | 0x1E if self.is_admin() => self.send_invalid(snac),
            0x04 => match ServiceRequest::decode(&snac.body) {
                Ok(request) => self.service_request(id, &request),
                Err(error) => self.busted(snac, error),
            },
            0x06 => {
                let Some(member) = self.member() else { return };
                let reply = member.rates.reply(now, member.oservice_version());
                self.send_snac(snac.foodgroup, 0x07, id, reply.encode());
            }
            0x08 | 0x09 => match (RateSubscription::decode(&snac.body), self.member_mut()) {
                (Ok(list), Some(member)) if snac.subgroup == 0x08 => {
                    member.rates.subscribe(&list.ids);
                }
                (Ok(list), Some(member)) => member.rates.unsubscribe(&list.ids),
                _ => self.send_busted(snac),
            },
            0x0E if self.is_guest() => self.send_guest_info(id),
            0x0E => self.push(Output::OwnInfo { request_id: id }),
            // What guests say about themselves is nobody's business.
            0x11 | 0x14 | 0x1E if self.is_guest() => {}
            0x11 => match Reader::new(&snac.body, "idle time").u32() {
                Ok(seconds) => self.push(Output::Idle(Duration::from_secs(seconds.into()))),
                Err(error) => self.busted(snac, error),
            },
            0x14 => match Reader::new(&snac.body, "privacy flags").u32() {
                Ok(flags) => self.push(Output::Status(StatusChange {
                    shows_idle: Some(flags & SHOWS_IDLE != 0),
                    ..StatusChange::default()
                })),
                Err(error) => self.busted(snac, error),
            },
            // A frame against silence.
            0x16 => {}
            0x17 => match Versions::decode(&snac.body) {
                Ok(versions) => self.agree_on(id, versions),
                Err(error) => self.busted(snac, error),
            },
            0x1E => match TlvList::decode_rest(snac.body.clone()) {
                Ok(tlvs) => {
                    self.push(Output::Status(StatusChange {
                        status: tlvs.u32(user_tlv::STATUS),
                        bart: tlvs.first(user_tlv::BART).cloned(),
                        shows_idle: None,
                    }));
                    self.push(Output::OwnInfo { request_id: id });
                }
                Err(error) => self.busted(snac, error),
            },
            _ => self.send_invalid(snac),
        }
    }

    fn service_request(&mut self, request_id: u32, request: &ServiceRequest) {
        match request.foodgroup {
            Foodgroup::ARS => self.push(Output::Relay {
                request_id,
                cookie: request.cookie(),
                avoid: request.avoid(),
            }),
            foodgroup @ Foodgroup::ADMIN if !self.is_guest() => self.push(Output::Service {
                request_id,
                foodgroup,
            }),
            _ => {
                let code = ErrorCode::SERVICE_NOT_DEFINED;
                self.send_error(Foodgroup::OSERVICE, request_id, code);
            }
        }
    }

    fn client_online(&mut self) {
        let Some(member) = self.member_mut() else {
            return;
        };
        let reports = member.versions.of(Foodgroup::STATS).is_some();
        if std::mem::replace(&mut member.online, true) || member.service == Service::Admin {
            return;
        }
        self.push(Output::Online);
        if reports {
            let body = Bytes::copy_from_slice(&REPORT_HOURS.to_be_bytes());
            self.send_snac(Foodgroup::STATS, 0x02, HOST_REQUEST, body);
        }
    }

    /// The lower version of each foodgroup that both know.
    fn agree_on(&mut self, request_id: u32, versions: Versions) {
        let Some(member) = self.member_mut() else {
            return;
        };
        let offered = member.offered().iter();
        let pairs = offered
            .filter_map(|&(foodgroup, own)| Some((foodgroup, own.min(versions.of(foodgroup)?))));
        let body = Versions {
            pairs: pairs.collect(),
        };
        member.versions = body.clone();
        self.send_snac(Foodgroup::OSERVICE, 0x18, request_id, body.encode());
    }

    /// A guest as it sees itself.
    fn send_guest_info(&mut self, request_id: u32) {
        let Some(member) = self.member() else { return };
        let mut user = guest_info(&member.name, member.since_unix_s, []);
        self.add_address(member, &mut user);
        let body = UserList { users: vec![user] }.encode();
        self.send_snac(Foodgroup::OSERVICE, 0x0F, request_id, body);
    }

    /// The address that the host sees, for clients that do something with it.
    fn add_address(&self, member: &Member, user: &mut UserInfo) {
        if member.party == Party::Old {
            return;
        }
        let peer = self.config.peer;
        if let Some(v4) = self.peer_v4() {
            user.tlvs.push(user_tlv::EXTERNAL_IP, v4.octets().to_vec());
        }
        let seen = format!("{} {}", peer.ip().to_canonical(), peer.port());
        user.tlvs.push(tlv::SEEN_ADDRESS, seen);
    }
}
