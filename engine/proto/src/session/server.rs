//! One client's session as its host sees it: FLAP frames in, answers and requests out.
//!
//! The machine knows the order of things and every answer that needs nobody else. What needs the other clients, or what the
//! host keeps, comes out as an [`Output`] that the caller answers before the next frame goes in: so a client may send
//! everything without waiting, and is answered in its order.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::account::{Admission, Party, Sessions};
use super::admin::Asked;
use super::excess::Excess;
use super::oservice::{OFFERED, OFFERED_ON_ADMIN, OFFERED_TO_GUESTS};
use super::output::{Output, SessionConfig};
use super::rate::Verdict;
use super::rates::Rates;
use super::sign_on;
use crate::limits;
use crate::wire::error::DecodeError;
use crate::wire::flap::{Channel, Frame};
use crate::wire::signon::{Hello, RateReply, Versions, tlv};
use crate::wire::snac::{ERROR, ErrorCode, Foodgroup, HOST_REQUEST, Snac, SnacError};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// Frames that a client may send before it has signed on.
const FRAMES_BEFORE_SIGN_ON: u32 = 10;

/// The machine.
#[derive(Debug)]
pub struct Session {
    pub(super) config: SessionConfig,
    pub(super) stage: Stage,
    /// The random bytes of the one challenge of this connection, until it is asked for.
    pub(super) challenge: Option<[u8; 16]>,
    /// The challenge, until it is answered.
    pub(super) asked: Option<Bytes>,
    opened: Instant,
    /// What the last frame went over.
    pub(super) excess: Option<Excess>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing came yet.
    Greeting,
    /// The client must sign on; so many frames came.
    SigningOn(u32),
    /// The caller is asked whether the client may come in.
    Asking(sign_on::Asked),
    SignedOn(Box<Member>),
    /// Nothing counts any more.
    Closed,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Presence, messages, and all else that being signed on means.
    Bos,
    /// The account's administration of itself.
    Admin,
}

/// A client that is signed on.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) service: Service,
    pub(super) party: Party,
    pub(super) name: ScreenName,
    pub(super) since_unix_s: u32,
    pub(super) online: bool,
    pub(super) sessions: Sessions,
    pub(super) rates: Rates,
    /// What the client declared of each foodgroup.
    pub(super) versions: Versions,
    /// What it asks of its account.
    pub(super) asked: Asked,
}

impl Member {
    pub(super) fn offered(&self) -> &'static [(Foodgroup, u16)] {
        offered_to(self.service, self.party)
    }

    /// Version of foodgroup 0x0001 that the client declared.
    pub(super) fn oservice_version(&self) -> u16 {
        self.versions.of(Foodgroup::OSERVICE).unwrap_or(0)
    }
}

fn offered_to(service: Service, party: Party) -> &'static [(Foodgroup, u16)] {
    match (service, party) {
        (Service::Admin, _) => &OFFERED_ON_ADMIN,
        (Service::Bos, Party::Guest) => &OFFERED_TO_GUESTS,
        (Service::Bos, Party::Ours | Party::Old) => &OFFERED,
    }
}

impl Session {
    /// A session on a new connection; the greeting is its first output.
    pub fn new(now: Instant, config: SessionConfig) -> Self {
        let mut session = Self {
            stage: Stage::Greeting,
            challenge: Some(config.challenge),
            asked: None,
            opened: now,
            excess: None,
            outputs: VecDeque::new(),
            config,
        };
        session.push(Output::Send(Channel::SIGN_ON, Hello::new().encode()));
        session
    }

    /// The largest FLAP payload that is taken now, in bytes.
    pub fn payload_max(&self) -> usize {
        match self.stage {
            Stage::SignedOn(_) => limits::FLAP_PAYLOAD,
            _ => limits::FLAP_PAYLOAD_BEFORE_SIGN_ON,
        }
    }

    /// Whether the client's first frame has come.
    pub fn is_greeted(&self) -> bool {
        !matches!(self.stage, Stage::Greeting)
    }

    /// Whether the client has said that it is ready.
    pub fn is_online(&self) -> bool {
        self.member().is_some_and(|member| member.online)
    }

    /// What kind of client it is, once signed on.
    pub fn party(&self) -> Option<Party> {
        self.member().map(|member| member.party)
    }

    /// Whether the connection is one for the administration of an account.
    pub fn is_admin(&self) -> bool {
        self.member()
            .is_some_and(|member| member.service == Service::Admin)
    }

    /// What the client said about other sign-ons of its account, once signed on.
    pub fn sessions(&self) -> Option<Sessions> {
        self.member().map(|member| member.sessions)
    }

    /// The name, once signed on.
    pub fn name(&self) -> Option<&ScreenName> {
        self.member().map(|member| &member.name)
    }

    /// The account is spelt like this from now on. Another name changes nothing.
    pub fn renamed(&mut self, name: ScreenName) {
        if let Some(member) = self.member_mut()
            && member.name == name
        {
            member.name = name;
        }
    }

    /// Takes in a frame that came at `now`. Drain [`Session::poll_output`] before the next one.
    pub fn handle_frame(&mut self, now: Instant, frame: Frame) {
        self.excess = None;
        match (&mut self.stage, frame.channel) {
            (Stage::Closed, _) => {}
            (_, Channel::SIGN_OFF) => self.close(),
            (Stage::SigningOn(_), Channel::KEEP_ALIVE) => {}
            (Stage::Greeting, Channel::SIGN_ON) => self.hello(&frame.data),
            (Stage::SigningOn(frames), Channel::DATA) => {
                *frames += 1;
                if *frames > FRAMES_BEFORE_SIGN_ON {
                    return self.close();
                }
                match Snac::decode(frame.data) {
                    Ok(snac) => self.bucp(&snac),
                    Err(_) => self.close(),
                }
            }
            (Stage::SignedOn(_), Channel::DATA) => match Snac::decode(frame.data) {
                Ok(snac) => self.snac(now, &snac),
                Err(_) => self.close(),
            },
            (Stage::SignedOn(_), _) => {}
            _ => self.close(),
        }
    }

    /// The limit that the last frame went over, if it did.
    pub fn excess(&self) -> Option<Excess> {
        self.excess
    }

    /// What to do next; none: wait for a frame.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The host ends the session. The reason is TLV 0x0009 of the sign-off, for clients that know it.
    pub fn sign_off(&mut self, reason: Option<u16>) {
        let tlvs = TlvList::new();
        self.sign_off_with(&match reason {
            Some(reason) => tlvs.with_u16(tlv::SIGN_OFF_REASON, reason),
            None => tlvs,
        });
    }

    /// The host goes down. A client of ours is told to come back at a moment of its own until `within` is over, in whole seconds;
    /// an old one just sees the end.
    pub fn sign_off_for_a_while(&mut self, within: Duration) {
        let tlvs = TlvList::new();
        let seconds = u16::try_from(within.as_secs()).unwrap_or(u16::MAX);
        self.sign_off_with(&match self.party() {
            Some(Party::Guest | Party::Ours) => tlvs.with_u16(tlv::RETURN_WITHIN, seconds),
            Some(Party::Old) | None => tlvs,
        });
    }

    fn sign_off_with(&mut self, tlvs: &TlvList) {
        let first_generation = self
            .member()
            .is_some_and(|member| is_first_generation(member.party, member.sessions));
        match first_generation {
            true => self.push(Output::BareSignOff),
            false => self.send_tlvs(Channel::SIGN_OFF, tlvs),
        }
        self.close();
    }

    fn snac(&mut self, now: Instant, snac: &Snac) {
        if !self.count(now, snac) {
            return;
        }
        let offered = self.member().map_or(&[][..], Member::offered);
        let known = offered.iter().any(|(group, _)| *group == snac.foodgroup);
        match snac.foodgroup {
            _ if snac.subgroup == ERROR => {}
            Foodgroup::ADMIN if !known => {
                // It has a connection of its own, if not for guests.
                let code = match self.is_guest() {
                    true => ErrorCode::INSUFFICIENT_RIGHTS,
                    false => ErrorCode::SERVICE_UNAVAILABLE,
                };
                self.send_error(snac.foodgroup, snac.request_id, code);
            }
            other if !known => {
                self.send_error(other, snac.request_id, ErrorCode::NOT_SUPPORTED_BY_HOST);
            }
            Foodgroup::OSERVICE => self.oservice(now, snac),
            Foodgroup::ADMIN => self.admin_snac(snac),
            Foodgroup::LOCATE => self.locate(snac),
            Foodgroup::BUDDY => self.buddy(snac),
            Foodgroup::ICBM => self.icbm(snac),
            Foodgroup::PD => self.pd(snac),
            Foodgroup::STATS if snac.subgroup == 0x03 => {
                // A report, which is thanked for.
                self.send_snac(Foodgroup::STATS, 0x04, snac.request_id, Bytes::new());
            }
            Foodgroup::FEEDBAG => self.feedbag_snac(snac),
            other => self.send_error(other, snac.request_id, ErrorCode::INVALID_SNAC),
        }
    }

    /// Counts a SNAC for its rate class; false if it is dropped.
    fn count(&mut self, now: Instant, snac: &Snac) -> bool {
        let Stage::SignedOn(member) = &mut self.stage else {
            return false;
        };
        let counted = member.rates.count(now, (snac.foodgroup, snac.subgroup));
        if let Some((code, place)) = counted.change {
            let class = member.rates.record(place, now, member.oservice_version());
            let mut body = BytesMut::new();
            body.put_u16(code);
            // A reply with one class is its count, which a change does not have, and its record.
            let reply = RateReply {
                classes: vec![class],
                members: Vec::new(),
            };
            body.put_slice(&reply.encode()[2..]);
            self.send_snac(Foodgroup::OSERVICE, 0x0A, HOST_REQUEST, body.freeze());
        }
        match counted.verdict {
            Verdict::Clear | Verdict::Alert => true,
            Verdict::Limited => {
                self.note(Excess::Rate(counted.class));
                self.send_error(snac.foodgroup, snac.request_id, ErrorCode::RATE_TO_HOST);
                false
            }
            Verdict::Disconnect => {
                self.note(Excess::Overrun);
                self.sign_off(None);
                false
            }
        }
    }

    pub(super) fn enter(&mut self, service: Service, party: Party, admission: Admission) {
        let table = match party {
            Party::Guest | Party::Ours => &self.config.rates,
            Party::Old => &self.config.rates_old,
        };
        let rates = Rates::new(table, party, offered_to(service, party), self.opened);
        self.stage = Stage::SignedOn(Box::new(Member {
            service,
            party,
            name: admission.name,
            since_unix_s: admission.since_unix_s,
            online: false,
            sessions: admission.sessions,
            rates,
            versions: Versions::default(),
            asked: Asked::default(),
        }));
        self.host_online();
    }

    pub(super) fn member(&self) -> Option<&Member> {
        match &self.stage {
            Stage::SignedOn(member) => Some(member),
            _ => None,
        }
    }

    pub(super) fn member_mut(&mut self) -> Option<&mut Member> {
        match &mut self.stage {
            Stage::SignedOn(member) => Some(member),
            _ => None,
        }
    }

    pub(super) fn is_guest(&self) -> bool {
        self.party().is_none_or(|party| party == Party::Guest)
    }

    pub(super) fn close(&mut self) {
        self.stage = Stage::Closed;
        self.push(Output::Close);
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn send_snac(&mut self, foodgroup: Foodgroup, subgroup: u16, id: u32, body: Bytes) {
        let snac = Snac::new(foodgroup, subgroup, id, body);
        self.push(Output::Send(Channel::DATA, snac.encode()));
    }

    pub(super) fn send_error(&mut self, foodgroup: Foodgroup, request_id: u32, code: ErrorCode) {
        let body = SnacError::new(code).encode();
        self.send_snac(foodgroup, ERROR, request_id, body);
    }

    /// The frame went over a limit.
    pub(super) fn note(&mut self, excess: Excess) {
        self.excess = Some(excess);
    }

    /// Answers a message that could not be read.
    pub(super) fn busted(&mut self, snac: &Snac, error: DecodeError) {
        self.excess = Excess::of(error);
        self.send_busted(snac);
    }

    /// Answers a message with a field that is too long.
    pub(super) fn too_long(&mut self, snac: &Snac) {
        self.note(Excess::Field);
        self.send_busted(snac);
    }

    pub(super) fn send_busted(&mut self, snac: &Snac) {
        self.send_error(snac.foodgroup, snac.request_id, ErrorCode::BUSTED_PAYLOAD);
    }

    pub(super) fn send_invalid(&mut self, snac: &Snac) {
        self.send_error(snac.foodgroup, snac.request_id, ErrorCode::INVALID_SNAC);
    }

    pub(super) fn send_tlvs(&mut self, channel: Channel, tlvs: &TlvList) {
        let mut data = BytesMut::new();
        tlvs.encode_rest(&mut data);
        self.push(Output::Send(channel, data.freeze()));
    }

    pub(super) fn peer_v4(&self) -> Option<Ipv4Addr> {
        match self.config.peer.ip().to_canonical() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }
    }
}

/// Whether the client hangs at a sign-off that has a length field.
pub(super) fn is_first_generation(party: Party, sessions: Sessions) -> bool {
    party == Party::Old && sessions == Sessions::Unaware
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
