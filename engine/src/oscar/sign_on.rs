//! The burst with which we sign on to a host of our kind, and what is made of its answers.
//!
//! Nothing in it waits for an answer: login, versions, rates, own info, relay, capabilities and "online" go out in one
//! write. A host answers them in order.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdv_proto::limits;
use rdv_proto::session::Token;
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::icbm::subgroup as icbm;
use rdv_proto::wire::signon::{
    ClientOnline, GuestWish, IcbmParameters, LocateInfo, Login, LoginErrorCode, LoginReply,
    RateReply, RateSubscription, ServiceReply, ServiceRequest, Tool, UserList, Versions, tlv,
};
use rdv_proto::wire::snac::{self, Foodgroup, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use uuid::Uuid;

use super::error::OscarError;
use super::pace::Pace;
use super::translate;
use crate::signaling::{Incoming, RelayInfo};

/// The name under which a guest asks to come in.
const GUEST: &str = "guest";
/// Longest time that a host keeps a number.
const EXPIRE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Foodgroups that we speak, with their versions. Version 3 and up of the first brings the longer form of 01/07.
const VERSIONS: [(Foodgroup, u16); 3] = [
    (Foodgroup::OSERVICE, 4),
    (Foodgroup::LOCATE, 1),
    (Foodgroup::ICBM, 1),
];
/// Longest ICBM that we take, in bytes.
const INCOMING_MAX: u16 = 8000;
/// Longest text of an address, a host name with its port.
const ADDRESS_MAX: usize = 262;
/// Messages of peers that may overtake the end of the sign-on.
pub(super) const EARLY_MAX: usize = 16;

/// Subgroups of foodgroup 0x0001.
pub(super) mod oservice {
    pub(in crate::oscar) const CLIENT_ONLINE: u16 = 0x02;
    pub(in crate::oscar) const SERVICE_REQUEST: u16 = 0x04;
    pub(in crate::oscar) const SERVICE_REPLY: u16 = 0x05;
    pub(in crate::oscar) const RATE_QUERY: u16 = 0x06;
    pub(in crate::oscar) const RATE_REPLY: u16 = 0x07;
    pub(in crate::oscar) const RATE_SUBSCRIBE: u16 = 0x08;
    pub(in crate::oscar) const OWN_INFO_QUERY: u16 = 0x0E;
    pub(in crate::oscar) const OWN_INFO: u16 = 0x0F;
    pub(in crate::oscar) const CLIENT_VERSIONS: u16 = 0x17;
}
/// Foodgroup 0x0001: rate limits changed.
pub(super) const RATE_CHANGE: u16 = 0x0A;

/// Subgroups of foodgroup 0x0017.
pub(super) mod bucp {
    pub(in crate::oscar) const LOGIN: u16 = 0x02;
    pub(in crate::oscar) const LOGIN_REPLY: u16 = 0x03;
    pub(in crate::oscar) const CHALLENGE_REQUEST: u16 = 0x06;
    pub(in crate::oscar) const CHALLENGE: u16 = 0x07;
}

/// 0x0002/0x0004.
const SET_LOCATE_INFO: u16 = 0x04;

/// What a guest comes for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SignOn {
    /// To get a number, under which a peer finds it.
    Owner {
        /// How long a peer may propose to the number; at most seven days.
        expire: Duration,
    },
    /// To go to somebody's number.
    Join,
    /// To get the number or the name back that it had before its connection broke.
    Reclaim {
        /// The number, or the name.
        number: ScreenName,
        /// What the host gave with it.
        token: Token,
    },
}

// Request ids of the burst. Their order is the order of the answers.
pub(super) const LOGIN_ID: u32 = 1;
const VERSIONS_ID: u32 = 2;
const RATES_ID: u32 = 3;
const SUBSCRIBE_ID: u32 = 4;
const OWN_INFO_ID: u32 = 5;
const RELAY_ID: u32 = 6;
const CAPABILITIES_ID: u32 = 7;
const PARAMETERS_ID: u32 = 8;
const ONLINE_ID: u32 = 9;
/// The first one that the session may use.
pub(super) const NEXT_ID: u32 = 0x20;

/// The guest's login, first of all.
pub(super) fn guest_login(sign_on: &SignOn) -> Snac {
    let body = login(sign_on).encode();
    Snac::new(Foodgroup::BUCP, bucp::LOGIN, LOGIN_ID, body)
}

/// All that we say behind the login, in order.
pub(super) fn burst(capabilities: &[Uuid]) -> [Snac; 8] {
    [
        versions(&VERSIONS, VERSIONS_ID),
        oservice_snac(oservice::RATE_QUERY, RATES_ID, Bytes::new()),
        rate_subscription(SUBSCRIBE_ID),
        oservice_snac(oservice::OWN_INFO_QUERY, OWN_INFO_ID, Bytes::new()),
        relay_request(RELAY_ID, &ServiceRequest::of(Foodgroup::ARS)),
        capabilities_set(capabilities, CAPABILITIES_ID),
        parameters(PARAMETERS_ID),
        online(&VERSIONS, ONLINE_ID),
    ]
}

pub(super) fn oservice_snac(subgroup: u16, id: u32, body: Bytes) -> Snac {
    Snac::new(Foodgroup::OSERVICE, subgroup, id, body)
}

pub(super) fn versions(pairs: &[(Foodgroup, u16)], id: u32) -> Snac {
    let pairs = pairs.to_vec();
    oservice_snac(oservice::CLIENT_VERSIONS, id, Versions { pairs }.encode())
}

pub(super) fn rate_subscription(id: u32) -> Snac {
    let ids = (1..=5).collect();
    let body = RateSubscription { ids }.encode();
    oservice_snac(oservice::RATE_SUBSCRIBE, id, body)
}

pub(super) fn capabilities_set(capabilities: &[Uuid], id: u32) -> Snac {
    let body = LocateInfo::of_capabilities(capabilities).encode();
    Snac::new(Foodgroup::LOCATE, SET_LOCATE_INFO, id, body)
}

pub(super) fn parameters(id: u32) -> Snac {
    let parameters = IcbmParameters {
        channel: 0,
        flags: 0x0003,
        incoming_max: INCOMING_MAX,
        source_warning_max: 999,
        destination_warning_max: 999,
        interval_min_ms: 0,
        trailing: Bytes::new(),
    };
    let body = parameters.encode();
    Snac::new(Foodgroup::ICBM, icbm::SET_PARAMETERS, id, body)
}

pub(super) fn online(versions: &[(Foodgroup, u16)], id: u32) -> Snac {
    let tools = versions.iter().map(|&(foodgroup, version)| Tool {
        foodgroup,
        version,
        tool: 0x0110,
        tool_version: 1,
    });
    let online = ClientOnline {
        tools: tools.collect(),
    };
    oservice_snac(oservice::CLIENT_ONLINE, id, online.encode())
}

/// The question for a relay; also asked again later, since tickets expire.
pub(super) fn relay_request(id: u32, request: &ServiceRequest) -> Snac {
    oservice_snac(oservice::SERVICE_REQUEST, id, request.encode())
}

fn login(sign_on: &SignOn) -> Login {
    let wish = match sign_on {
        SignOn::Owner { .. } => GuestWish::NUMBER,
        SignOn::Join => GuestWish::JOIN,
        SignOn::Reclaim { .. } => GuestWish::RECLAIM,
    };
    let guest = TlvList::new()
        .with(tlv::SCREEN_NAME, GUEST)
        .with(tlv::GUEST, vec![wish.0]);
    let tlvs = match sign_on {
        SignOn::Owner { expire } => {
            let seconds = (*expire).min(EXPIRE_MAX).as_secs().max(1);
            guest.with_u32(tlv::EXPIRES, u32::try_from(seconds).unwrap_or(u32::MAX))
        }
        SignOn::Join => guest,
        SignOn::Reclaim { number, token } => guest
            .with(tlv::NUMBER, number.normalized().as_bytes().to_vec())
            .with(tlv::TOKEN, token.0.to_vec()),
    };
    Login { tlvs }
}

/// What a complete sign-on yields.
pub(super) struct SignedOn {
    pub(super) name: ScreenName,
    pub(super) token: Option<Token>,
    pub(super) seen: Option<SocketAddr>,
    /// The host's word on a relay; none if it was not asked.
    pub(super) relay: Option<Option<RelayInfo>>,
    pub(super) pace: Pace,
    /// Whether the host says something by itself from time to time, as hosts of our kind do.
    pub(super) answers_keep_alives: bool,
    /// What peers said before all answers were there.
    pub(super) early: Vec<Incoming>,
}

/// Collects the answers.
#[derive(Default)]
pub(super) struct Answers {
    login: Option<(ScreenName, Option<Token>)>,
    pace: Option<Pace>,
    seen: Option<Option<SocketAddr>>,
    relay: Option<Option<RelayInfo>>,
    early: Vec<Incoming>,
}

impl Answers {
    /// Takes a frame of the host.
    ///
    /// # Errors
    /// [`OscarError::Refused`], [`OscarError::Closed`] or [`OscarError::Protocol`]: the sign-on failed.
    pub(super) fn take(&mut self, frame: Frame, now: Instant) -> Result<(), OscarError> {
        match frame.channel {
            Channel::DATA => self.take_snac(&Snac::decode(frame.data)?, now),
            Channel::SIGN_OFF => Err(dismissal(frame.data)),
            _ => Ok(()),
        }
    }

    pub(super) fn take_snac(&mut self, snac: &Snac, now: Instant) -> Result<(), OscarError> {
        match (snac.foodgroup, snac.subgroup) {
            (Foodgroup::BUCP, bucp::LOGIN_REPLY) => {
                let reply = LoginReply::decode(&snac.body)?;
                if let Some(code) = reply.error() {
                    return Err(OscarError::Refused { code });
                }
                let token = reply
                    .tlvs
                    .first(tlv::TOKEN)
                    .and_then(|token| token[..].try_into().ok());
                self.login = Some((reply.screen_name()?, token.map(Token)));
            }
            (Foodgroup::OSERVICE, oservice::RATE_REPLY) => {
                self.pace = Some(Pace::new(&RateReply::decode(&snac.body)?, now));
            }
            (Foodgroup::OSERVICE, oservice::OWN_INFO) => {
                self.seen = Some(seen_in(&UserList::decode(&snac.body)?));
            }
            (Foodgroup::OSERVICE, oservice::SERVICE_REPLY) if snac.request_id == RELAY_ID => {
                self.relay = Some(relay_in(snac));
            }
            (foodgroup, snac::ERROR) => self.take_refusal(foodgroup, snac.request_id),
            (Foodgroup::ICBM, _) if self.early.len() < EARLY_MAX => {
                let heard = translate::incoming(snac)?;
                self.early.extend(heard.map(|heard| heard.incoming));
            }
            _ => {}
        }
        Ok(())
    }

    /// Something that we can do without.
    fn take_refusal(&mut self, foodgroup: Foodgroup, request_id: u32) {
        tracing::debug!(
            ?foodgroup,
            request_id,
            "the host refused a part of the sign-on"
        );
        match request_id {
            RELAY_ID => self.relay = Some(None),
            OWN_INFO_ID => self.seen = Some(None),
            RATES_ID => {
                self.pace = self
                    .pace
                    .take()
                    .or_else(|| Some(Pace::unannounced(Instant::now())))
            }
            _ => {}
        }
    }

    /// All answers, once they are there.
    pub(super) fn complete(&mut self) -> Option<SignedOn> {
        let all = self.login.is_some()
            && self.pace.is_some()
            && self.seen.is_some()
            && self.relay.is_some();
        let (name, token) = self.login.take_if(|_| all)?;
        let early = std::mem::take(&mut self.early);
        Some(SignedOn {
            name,
            token,
            seen: self.seen.take()?,
            relay: Some(self.relay.take()?),
            pace: self.pace.take()?,
            early,
            answers_keep_alives: true,
        })
    }
}

/// Why the host ends a sign-on.
pub(super) fn dismissal(data: Bytes) -> OscarError {
    let tlvs = TlvList::decode_rest(data).unwrap_or_default();
    match small_number(&tlvs, tlv::ERROR_CODE) {
        Some(code) => OscarError::Refused {
            code: LoginErrorCode(code),
        },
        None => OscarError::Closed(None),
    }
}

/// A u16, which a known host writes as a u8 in its sign-off frames.
pub(super) fn small_number(tlvs: &TlvList, tag: u16) -> Option<u16> {
    match tlvs.first(tag)?[..] {
        [number] => Some(number.into()),
        [high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

/// Our address as the host sees it, of a host that tells.
pub(super) fn seen_in(own: &UserList) -> Option<SocketAddr> {
    let user = own.users.first()?;
    user.tlvs.text(tlv::SEEN_ADDRESS).and_then(parse_seen)
}

/// The relay in a 01/05; none if the answer is about something else or makes no sense.
pub(super) fn relay_in(snac: &Snac) -> Option<RelayInfo> {
    let reply = ServiceReply::decode(&snac.body).ok()?;
    let address = reply.address().filter(|address| is_address(address))?;
    let ticket = reply.cookie().filter(|ticket| !ticket.is_empty());
    let fits = ticket.is_none_or(|ticket| ticket.len() <= limits::RELAY_TICKET);
    let about_relay = reply
        .foodgroup()
        .is_none_or(|foodgroup| foodgroup == Foodgroup::ARS);
    (fits && about_relay).then(|| RelayInfo {
        address: address.to_owned(),
        ticket: ticket.cloned(),
    })
}

/// Whether the answer to a service request is one at all: 01/05, or 01/01.
pub(super) fn is_service_answer(snac: &Snac) -> bool {
    snac.is(Foodgroup::OSERVICE, oservice::SERVICE_REPLY)
        || snac.is(Foodgroup::OSERVICE, snac::ERROR)
}

/// `HOST:PORT`, with an IPv6 address in brackets. Foreign text: letters, digits and the few signs of addresses.
pub(super) fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host_is_good = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(literal) => literal.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    host_is_good && address.len() <= ADDRESS_MAX && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// `IP port`.
fn parse_seen(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(' ')?;
    Some(SocketAddr::new(
        ip.parse::<IpAddr>().ok()?.to_canonical(),
        port.parse().ok()?,
    ))
}

impl From<super::frames::ReadError> for OscarError {
    fn from(error: super::frames::ReadError) -> Self {
        match error {
            super::frames::ReadError::Closed(source) => Self::Closed(source),
            super::frames::ReadError::Malformed(error) => Self::Protocol(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use rdv_proto::wire::icbm::UserInfo;

    use super::*;

    fn frame(snac: &Snac) -> Frame {
        Frame {
            channel: Channel::DATA,
            sequence: 0,
            data: snac.encode(),
        }
    }

    fn oservice(subgroup: u16, id: u32, body: Bytes) -> Frame {
        frame(&Snac::new(Foodgroup::OSERVICE, subgroup, id, body))
    }

    fn login_reply(tlvs: TlvList) -> Frame {
        frame(&Snac::new(
            Foodgroup::BUCP,
            bucp::LOGIN_REPLY,
            LOGIN_ID,
            LoginReply { tlvs }.encode(),
        ))
    }

    fn own_info(seen: &'static str) -> Frame {
        let tlvs = TlvList::new().with(tlv::SEEN_ADDRESS, seen);
        let own = UserInfo {
            name: ScreenName::new("7").unwrap(),
            warning: 0,
            tlvs,
        };
        oservice(
            oservice::OWN_INFO,
            OWN_INFO_ID,
            UserList { users: vec![own] }.encode(),
        )
    }

    fn relay_reply(address: &'static str, ticket: &'static [u8]) -> Snac {
        let tlvs = TlvList::new()
            .with_u16(tlv::SERVICE, Foodgroup::ARS.0)
            .with(tlv::ADDRESS, address)
            .with(tlv::COOKIE, ticket);
        let body = ServiceReply { tlvs }.encode();
        Snac::new(Foodgroup::OSERVICE, oservice::SERVICE_REPLY, RELAY_ID, body)
    }

    fn take(answers: &mut Answers, frame: Frame) -> Result<(), OscarError> {
        answers.take(frame, Instant::now())
    }

    #[test]
    fn the_answers_complete_the_sign_on_in_any_order() {
        let mut answers = Answers::default();
        take(
            &mut answers,
            frame(&relay_reply("relay.example:5190", b"ticket")),
        )
        .unwrap();
        take(&mut answers, own_info("::ffff:192.0.2.7 40000")).unwrap();
        take(&mut answers, oservice(0x03, 0, Bytes::new())).unwrap();
        take(
            &mut answers,
            oservice(
                oservice::RATE_REPLY,
                RATES_ID,
                RateReply::default().encode(),
            ),
        )
        .unwrap();
        assert!(answers.complete().is_none());
        let tlvs = TlvList::new()
            .with(tlv::SCREEN_NAME, "7")
            .with(tlv::TOKEN, vec![9; 16]);
        take(&mut answers, login_reply(tlvs)).unwrap();
        let signed_on = answers.complete().unwrap();
        assert_eq!(signed_on.name.as_str(), "7");
        assert_eq!(signed_on.token, Some(Token([9; 16])));
        assert_eq!(signed_on.seen, Some("192.0.2.7:40000".parse().unwrap()));
        let relay = signed_on.relay.flatten().unwrap();
        assert_eq!(
            (relay.address.as_str(), relay.ticket),
            ("relay.example:5190", Some(Bytes::from_static(b"ticket")))
        );
    }

    #[test]
    fn a_host_without_relay_rates_and_own_info_will_do() {
        let mut answers = Answers::default();
        take(
            &mut answers,
            login_reply(TlvList::new().with(tlv::SCREEN_NAME, "guestabc")),
        )
        .unwrap();
        for id in [RATES_ID, OWN_INFO_ID, RELAY_ID] {
            let refusal = snac::SnacError::new(snac::ErrorCode::SERVICE_NOT_DEFINED).encode();
            take(&mut answers, oservice(snac::ERROR, id, refusal)).unwrap();
        }
        let signed_on = answers.complete().unwrap();
        assert!(
            signed_on.relay == Some(None) && signed_on.seen.is_none() && signed_on.token.is_none()
        );
    }

    #[test]
    fn a_refusal_keeps_its_reason_in_both_forms() {
        let tlvs = TlvList::new().with_u16(tlv::ERROR_CODE, 0x1D);
        let mut data = bytes::BytesMut::new();
        tlvs.encode_rest(&mut data);
        let sign_off = |data| Frame {
            channel: Channel::SIGN_OFF,
            sequence: 0,
            data,
        };
        for refusal in [login_reply(tlvs), sign_off(data.freeze())] {
            let refused = take(&mut Answers::default(), refusal);
            let code = LoginErrorCode::ADDRESS_RATE_LIMITED;
            assert!(
                matches!(refused, Err(OscarError::Refused { code: said }) if said == code),
                "{refused:?}"
            );
        }
        let closed = take(&mut Answers::default(), sign_off(Bytes::new()));
        assert!(
            matches!(closed, Err(OscarError::Closed(None))),
            "{closed:?}"
        );
        let nameless = take(&mut Answers::default(), login_reply(TlvList::new()));
        assert!(
            matches!(nameless, Err(OscarError::Protocol(_))),
            "{nameless:?}"
        );
    }

    #[test]
    fn messages_that_come_early_are_kept_but_not_without_end() {
        let mut answers = Answers::default();
        let refusal = rdv_proto::wire::icbm::ClientError::rendezvous(
            rdv_proto::wire::rendezvous::Cookie(*b"TRYST001"),
            ScreenName::new("bob").unwrap(),
            rdv_proto::wire::rendezvous::NakCode::DENIED,
        );
        for _ in 0..100 {
            let early = Snac::new(Foodgroup::ICBM, icbm::CLIENT_ERROR, 0, refusal.encode());
            take(&mut answers, frame(&early)).unwrap();
        }
        assert_eq!(answers.early.len(), EARLY_MAX);
    }

    #[test]
    fn a_relay_that_makes_no_sense_is_none() {
        for good in ["192.0.2.1:5190", "relay.example:1", "[2001:db8::1]:443"] {
            assert_eq!(
                relay_in(&relay_reply(good, b"")).unwrap().ticket,
                None,
                "{good}"
            );
        }
        for bad in [
            "",
            ":1",
            "host",
            "host:0",
            "host:99999",
            "[::1]",
            "[host]:1",
            "2001:db8::1:443",
            "a b:1",
            "a\u{1b}:1",
        ] {
            assert!(relay_in(&relay_reply(bad, b"")).is_none(), "{bad:?}");
        }
        assert!(relay_in(&relay_reply("relay:1", &[0; 513])).is_none());
    }

    #[test]
    fn each_kind_of_guest_says_what_it_wants() {
        let week = EXPIRE_MAX.as_secs() as u32;
        let owner = login(&SignOn::Owner {
            expire: Duration::MAX,
        });
        assert_eq!(owner.guest_wish(), Some(GuestWish::NUMBER));
        assert_eq!(owner.tlvs.u32(tlv::EXPIRES), Some(week));
        assert_eq!(login(&SignOn::Join).guest_wish(), Some(GuestWish::JOIN));
        let number = ScreenName::new("7").unwrap();
        let reclaim = login(&SignOn::Reclaim {
            number,
            token: Token([3; 16]),
        });
        assert_eq!(reclaim.guest_wish(), Some(GuestWish::RECLAIM));
        assert_eq!(reclaim.tlvs.text(tlv::NUMBER), Some("7"));
        assert_eq!(
            reclaim.tlvs.first(tlv::TOKEN).map(|token| token.len()),
            Some(16)
        );
        for login in [owner, reclaim] {
            assert_eq!(login.screen_name().unwrap().as_str(), "guest");
        }
    }
}
