//! One client's session as its host sees it: FLAP frames in, answers and requests out.
//!
//! The machine knows the order of things and every answer that needs nobody else. What needs the other clients comes out
//! as an [`Output`] that the caller answers at once, before the next frame goes in: so a client may send everything
//! without waiting, and is answered in its order.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::numbers::Token;
use super::output::{Outbound, Output, SessionConfig, Wish};
use super::proposals::ProposalBook;
use super::rate::RateState;
use crate::limits;
use crate::wire::flap::{Channel, Frame};
use crate::wire::icbm::MessageToHost;
use crate::wire::rendezvous::MessageKind;
use crate::wire::signon::{GuestWish, Hello, Login, LoginErrorCode, LoginReply, tlv};
use crate::wire::snac::{ERROR, ErrorCode, Foodgroup, HOST_REQUEST, Snac, SnacError};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// Frames that a client may send before it has signed on.
const FRAMES_BEFORE_SIGN_ON: u32 = 10;
/// Life of a number whose owner did not say.
const NUMBER_LIFE: Duration = Duration::from_secs(3600);

/// The machine.
#[derive(Debug)]
pub struct Session {
    pub(super) config: SessionConfig,
    pub(super) stage: Stage,
    pub(super) general: RateState,
    pub(super) icbm: RateState,
    pub(super) book: ProposalBook,
    /// Version of foodgroup 0x0001 that the client declared.
    pub(super) oservice_version: u16,
    challenge: Option<[u8; 16]>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing came yet.
    Greeting,
    /// The client must sign on; so many frames came.
    SigningOn(u32),
    /// The caller is asked whether the guest may come in.
    Asking,
    /// Signed on at this time (Unix seconds).
    SignedOn {
        name: ScreenName,
        since_unix_s: u32,
        online: bool,
    },
    /// Nothing counts any more.
    Closed,
}

impl Session {
    /// A session on a new connection; the greeting is its first output.
    pub fn new(now: Instant, config: SessionConfig) -> Self {
        let mut session = Self {
            stage: Stage::Greeting,
            general: RateState::new(config.rate_general, now),
            icbm: RateState::new(config.rate_icbm, now),
            book: ProposalBook::new(config.proposals),
            oservice_version: 0,
            challenge: Some(config.challenge),
            outputs: VecDeque::new(),
            config,
        };
        session.push(Output::Send(Channel::SIGN_ON, Hello::new().encode()));
        session
    }

    /// The largest FLAP payload that is taken now, in bytes.
    pub fn payload_max(&self) -> usize {
        match self.stage {
            Stage::SignedOn { .. } => limits::FLAP_PAYLOAD,
            _ => limits::FLAP_PAYLOAD_BEFORE_SIGN_ON,
        }
    }

    /// Whether the client's first frame has come.
    pub fn is_greeted(&self) -> bool {
        !matches!(self.stage, Stage::Greeting)
    }

    /// Whether the client has said that it is ready.
    pub fn is_online(&self) -> bool {
        matches!(self.stage, Stage::SignedOn { online: true, .. })
    }

    /// The name, once signed on.
    pub fn name(&self) -> Option<&ScreenName> {
        match &self.stage {
            Stage::SignedOn { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Takes in a frame that came at `now`. Drain [`Session::poll_output`] before the next one.
    pub fn handle_frame(&mut self, now: Instant, frame: Frame) {
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
            (Stage::SignedOn { .. }, Channel::DATA) => match Snac::decode(frame.data) {
                Ok(snac) => self.snac(now, &snac),
                Err(_) => self.close(),
            },
            (Stage::SignedOn { .. }, _) => {}
            _ => self.close(),
        }
    }

    /// What to do next; none: wait for a frame.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Answer to [`Output::SignOn`]: the guest is in, under this name, and owns a number if it gets a token.
    pub fn signed_on(&mut self, name: ScreenName, token: Option<&Token>, since_unix_s: u32) {
        let mut tlvs = TlvList::new().with(tlv::SCREEN_NAME, name.as_str().as_bytes().to_vec());
        if let Some(token) = token {
            tlvs.push(tlv::TOKEN, token.0.to_vec());
        }
        let reply = LoginReply { tlvs }.encode();
        self.send_snac(Foodgroup::BUCP, 0x03, HOST_REQUEST, reply);
        self.stage = Stage::SignedOn {
            name,
            since_unix_s,
            online: false,
        };
        self.host_online();
    }

    /// Answer to [`Output::SignOn`]: the guest is not let in.
    pub fn refused(&mut self, code: LoginErrorCode) {
        self.refuse_login(Bytes::from_static(b"guest"), code);
    }

    /// Answer to [`Output::Deliver`]: the message is in the recipient's queue.
    pub fn delivered(&mut self, outbound: &Outbound) {
        if outbound.ack {
            self.acknowledge(outbound);
        }
    }

    /// Answer to [`Output::Deliver`]: it is not.
    pub fn undelivered(&mut self, outbound: &Outbound, code: ErrorCode) {
        self.send_error(Foodgroup::ICBM, outbound.request_id, code);
    }

    /// Answer to [`Output::Relay`]: its address as `host:port`, and the ticket for it; none if there is no relay.
    pub fn relay(&mut self, request_id: u32, relay: Option<(String, Bytes)>) {
        match relay {
            Some((address, ticket)) => self.send_relay(request_id, address, ticket),
            None => self.send_error(
                Foodgroup::OSERVICE,
                request_id,
                ErrorCode::SERVICE_NOT_DEFINED,
            ),
        }
    }

    /// The host ends the session. The reason is TLV 0x09 of the sign-off, for clients that know it.
    pub fn sign_off(&mut self, reason: Option<u16>) {
        let mut tlvs = TlvList::new();
        if let Some(reason) = reason {
            tlvs = tlvs.with_u16(tlv::SIGN_OFF_REASON, reason);
        }
        self.send_tlvs(Channel::SIGN_OFF, &tlvs);
        self.close();
    }

    fn hello(&mut self, data: &Bytes) {
        let Ok(hello) = Hello::decode(data) else {
            return self.close();
        };
        if hello.tlvs.contains(tlv::COOKIE) {
            // Nobody was given one.
            let code = LoginErrorCode::BAD_COOKIE.0;
            self.send_tlvs(
                Channel::SIGN_OFF,
                &TlvList::new().with_u16(tlv::ERROR_CODE, code),
            );
            self.close();
        } else if let Some(name) = hello.tlvs.first(tlv::SCREEN_NAME) {
            // Roasted passwords are plain text; they are refused whatever the name.
            let refusal = login_refusal(name.clone(), LoginErrorCode::WRONG_PASSWORD);
            self.send_tlvs(Channel::SIGN_OFF, &refusal);
            self.close();
        } else {
            self.stage = Stage::SigningOn(0);
        }
    }

    fn bucp(&mut self, snac: &Snac) {
        match (snac.foodgroup, snac.subgroup) {
            (Foodgroup::BUCP, 0x06) => self.send_challenge(snac),
            (Foodgroup::BUCP, 0x02) => self.login(snac),
            _ => self.close(),
        }
    }

    /// A fresh key whatever the name, and no second one on this connection.
    fn send_challenge(&mut self, snac: &Snac) {
        let Some(random) = self.challenge.take() else {
            return self.close();
        };
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let challenge = crate::wire::signon::Challenge {
            key: hex.into(),
            tlvs: TlvList::new(),
        };
        self.send_snac(Foodgroup::BUCP, 0x07, snac.request_id, challenge.encode());
    }

    fn login(&mut self, snac: &Snac) {
        let Ok(login) = Login::decode(&snac.body) else {
            return self.refuse_login(Bytes::new(), LoginErrorCode::BAD_INPUT);
        };
        let typed = login
            .tlvs
            .first(tlv::SCREEN_NAME)
            .cloned()
            .unwrap_or_default();
        let is_guest = login
            .screen_name()
            .is_ok_and(|name| name.normalized() == "guest");
        match login
            .guest_wish()
            .filter(|_| is_guest && self.config.guests)
        {
            // Unknown name, wrong password, not over TLS: all the same.
            None => self.refuse_login(typed, LoginErrorCode::WRONG_PASSWORD),
            Some(wish) => match read_wish(wish, &login.tlvs) {
                None => self.refuse_login(typed, LoginErrorCode::BAD_INPUT),
                Some(wish) => {
                    self.stage = Stage::Asking;
                    self.push(Output::SignOn(wish));
                }
            },
        }
    }

    fn refuse_login(&mut self, name: Bytes, code: LoginErrorCode) {
        let reply = LoginReply {
            tlvs: login_refusal(name, code),
        };
        self.send_snac(Foodgroup::BUCP, 0x03, HOST_REQUEST, reply.encode());
        self.sign_off(None);
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

    fn send_tlvs(&mut self, channel: Channel, tlvs: &TlvList) {
        let mut data = bytes::BytesMut::new();
        tlvs.encode_rest(&mut data);
        self.push(Output::Send(channel, data.freeze()));
    }

    pub(super) fn enter_proposal(
        &mut self,
        now: Instant,
        message: &MessageToHost,
        kind: MessageKind,
    ) -> bool {
        kind != MessageKind::PROPOSE || self.book.enter(now, &message.recipient, message.cookie)
    }

    pub(super) fn peer_v4(&self) -> Option<std::net::Ipv4Addr> {
        match self.config.peer.ip().to_canonical() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }
    }
}

fn login_refusal(name: Bytes, code: LoginErrorCode) -> TlvList {
    TlvList::new()
        .with(tlv::SCREEN_NAME, name)
        .with_u16(tlv::ERROR_CODE, code.0)
}

fn read_wish(wish: GuestWish, tlvs: &TlvList) -> Option<Wish> {
    match wish {
        GuestWish::NUMBER => {
            let life = tlvs
                .u32(tlv::EXPIRES)
                .map(u64::from)
                .map(Duration::from_secs);
            Some(Wish::Number {
                life: life.unwrap_or(NUMBER_LIFE),
            })
        }
        GuestWish::JOIN => Some(Wish::Join),
        GuestWish::RECLAIM => Some(Wish::Reclaim {
            number: tlvs.text(tlv::NUMBER)?.parse().ok()?,
            token: tlvs.first(tlv::TOKEN)?.clone(),
        }),
        _ => None,
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
