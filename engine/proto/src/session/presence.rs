//! What others see of a user who is signed on once or several times.

use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::output::{LocateChange, StatusChange, Text};
use crate::wire::icbm::{UserInfo, user_tlv};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// Added for a user whose account is not confirmed.
const CLASS_UNCONFIRMED: u16 = 0x0001;
/// User class of a normal user.
const CLASS_FREE: u16 = 0x0010;
/// Added for a user who is away.
const CLASS_AWAY: u16 = 0x0020;
/// Added for a user of ICQ.
const CLASS_ICQ: u16 = 0x0040;
/// Bit of the status that makes a user invisible.
const STATUS_INVISIBLE: u32 = 0x0100;
/// Capabilities kept of one client.
const CAPABILITIES_MAX: usize = 64;
/// Bytes of icons and status texts that are kept of one client.
const BART_MAX: usize = 512;

/// What one sign-on of a user says about itself.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Number among the user's sign-ons, from 1.
    pub number: u8,
    /// Unix seconds.
    pub since_unix_s: u32,
    /// Can be asked for.
    pub profile: Text,
    /// Empty: not away.
    pub away: Text,
    /// The account has yet to be confirmed.
    pub unconfirmed: bool,
    idle_since: Option<Instant>,
    shows_idle: bool,
    status: Option<u32>,
    bart: Option<Bytes>,
    capabilities: Vec<Uuid>,
}

impl Shown {
    /// Nothing said yet.
    pub fn new(number: u8, since_unix_s: u32) -> Self {
        Self {
            number,
            since_unix_s,
            profile: Text::default(),
            away: Text::default(),
            unconfirmed: false,
            idle_since: None,
            shows_idle: true,
            status: None,
            bart: None,
            capabilities: Vec::new(),
        }
    }

    /// Takes in what the client says; whether others see a difference.
    pub fn locate(&mut self, change: LocateChange) -> bool {
        let was_away = self.is_away();
        let mut seen = false;
        if let Some(capabilities) = change.capabilities {
            let mut set: Vec<Uuid> = Vec::new();
            for uuid in capabilities {
                if set.len() < CAPABILITIES_MAX && !set.contains(&uuid) {
                    set.push(uuid);
                }
            }
            seen |= set != self.capabilities;
            self.capabilities = set;
        }
        if let Some(profile) = change.profile {
            self.profile = profile;
        }
        if let Some(away) = change.away {
            self.away = away;
        }
        seen | (was_away != self.is_away())
    }

    /// Takes in since when the user has been idle.
    pub fn set_idle(&mut self, now: Instant, idle: Duration) {
        self.idle_since = (!idle.is_zero()).then(|| now.checked_sub(idle).unwrap_or(now));
    }

    /// Takes in what else the client says.
    pub fn set_status(&mut self, change: StatusChange) {
        self.status = change.status.or(self.status);
        self.bart = change
            .bart
            .filter(|bart| bart.len() <= BART_MAX)
            .or_else(|| self.bart.take());
        self.shows_idle = change.shows_idle.unwrap_or(self.shows_idle);
    }

    /// Whether the user reads what arrives here.
    pub fn is_active(&self) -> bool {
        !self.is_away() && self.idle_since.is_none()
    }

    /// Whether the user does not want to be seen here.
    pub fn is_invisible(&self) -> bool {
        self.status
            .is_some_and(|status| status & STATUS_INVISIBLE != 0)
    }

    /// What the client can do.
    pub fn capabilities(&self) -> &[Uuid] {
        &self.capabilities
    }

    fn is_away(&self) -> bool {
        !self.away.text.is_empty()
    }

    fn idle_minutes(&self, now: Instant) -> Option<u16> {
        let since = self.idle_since.filter(|_| self.shows_idle)?;
        let minutes = now.saturating_duration_since(since).as_secs() / 60;
        Some(u16::try_from(minutes).unwrap_or(u16::MAX))
    }
}

/// The user as all of its sign-ons together make it: away or idle if all of them are, able to do what any of them can.
///
/// Nothing of it comes from a message (S-34).
pub fn unite<'a>(
    name: &ScreenName,
    instances: impl Iterator<Item = &'a Shown> + Clone,
    now: Instant,
) -> UserInfo {
    let is_icq = name.normalized().bytes().all(|byte| byte.is_ascii_digit());
    let mut class = CLASS_FREE;
    if is_icq {
        class |= CLASS_ICQ;
    }
    if instances.clone().all(Shown::is_away) && instances.clone().next().is_some() {
        class |= CLASS_AWAY;
    }
    if instances.clone().any(|shown| shown.unconfirmed) {
        class |= CLASS_UNCONFIRMED;
    }
    let mut tlvs = TlvList::new().with_u16(user_tlv::CLASS, class);
    let since = instances.clone().map(|shown| shown.since_unix_s).min();
    tlvs = tlvs.with_u32(user_tlv::SIGN_ON_TIME, since.unwrap_or(0));
    let idle: Option<Vec<u16>> = instances
        .clone()
        .map(|shown| shown.idle_minutes(now))
        .collect();
    if let Some(least) = idle.and_then(|idle| idle.into_iter().min()) {
        tlvs = tlvs.with_u16(user_tlv::IDLE, least);
    }
    let status = instances.clone().find_map(|shown| shown.status);
    if status.is_some() || is_icq {
        tlvs = tlvs.with_u32(user_tlv::STATUS, status.unwrap_or(0) & !STATUS_INVISIBLE);
    }
    if is_icq {
        // Old ICQ clients want it even if it says nothing.
        tlvs.push(user_tlv::ICQ_DIRECT, vec![0; 37]);
    }
    let mut capabilities: Vec<Uuid> = Vec::new();
    for uuid in instances.clone().flat_map(Shown::capabilities) {
        if !capabilities.contains(uuid) {
            capabilities.push(*uuid);
        }
    }
    if !capabilities.is_empty() {
        let list = capabilities.iter().flat_map(|uuid| *uuid.as_bytes());
        tlvs.push(user_tlv::CAPABILITIES, list.collect::<Vec<u8>>());
    }
    if let Some(bart) = instances.clone().find_map(|shown| shown.bart.clone()) {
        tlvs.push(user_tlv::BART, bart);
    }
    UserInfo {
        name: name.clone(),
        warning: 0,
        tlvs,
    }
}

/// A guest as others see it.
pub fn guest_info(
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

/// A user who is gone, as 0x0003/0x000C tells it.
pub fn departed(name: &ScreenName) -> UserInfo {
    UserInfo {
        name: name.clone(),
        warning: 0,
        tlvs: TlvList::new().with_u16(user_tlv::CLASS, CLASS_FREE),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::wire::hex;
    use crate::wire::service::{DIRECT_IM, SEND_FILE, short_capability};

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn name(name: &str) -> ScreenName {
        ScreenName::new(name).unwrap()
    }

    fn able(number: u8, capabilities: &[Uuid]) -> Shown {
        let mut shown = Shown::new(number, 0x6553_F100);
        shown.locate(LocateChange {
            capabilities: Some(capabilities.to_vec()),
            ..LocateChange::default()
        });
        shown
    }

    fn away() -> LocateChange {
        let text = Bytes::from_static(b"lunch");
        let mime = Bytes::new();
        LocateChange {
            away: Some(Text { mime, text }),
            ..LocateChange::default()
        }
    }

    fn bytes(info: &UserInfo) -> Bytes {
        let mut out = BytesMut::new();
        info.encode(&mut out);
        out.freeze()
    }

    #[test]
    fn an_arrival_and_a_departure_are_the_frames_of_the_page() {
        let shown = able(1, &[short_capability(0), SEND_FILE]);
        let info = unite(&name("alice"), [&shown].into_iter(), start());
        assert_eq!(
            bytes(&info),
            hex(
                "05616c696365 0000 0003 000100020010 000300046553f100 000d0020
                 094600004c7f11d18222444553540000 094613434c7f11d18222444553540000"
            )
        );
        assert_eq!(
            bytes(&departed(&name("alice"))),
            hex("05616c696365 0000 0001 000100020010")
        );
    }

    #[test]
    fn capabilities_are_united_and_counted_once() {
        let all = [
            able(1, &[SEND_FILE, SEND_FILE]),
            able(2, &[DIRECT_IM, SEND_FILE]),
        ];
        let info = unite(&name("alice"), all.iter(), start());
        assert_eq!(info.capabilities(), [SEND_FILE, DIRECT_IM]);
        assert_eq!(info.tlvs.first(user_tlv::CAPABILITIES).unwrap().len(), 32);
    }

    #[test]
    fn a_user_is_away_or_idle_only_if_all_sign_ons_are() {
        let now = start();
        let mut all = [able(1, &[]), able(2, &[])];
        let class = |all: &[Shown; 2]| {
            unite(&name("alice"), all.iter(), now)
                .tlvs
                .u16(user_tlv::CLASS)
        };
        let idle = |all: &[Shown; 2]| {
            unite(&name("alice"), all.iter(), now)
                .tlvs
                .u16(user_tlv::IDLE)
        };
        assert!(all[0].locate(away()) && !all[0].is_active());
        all[0].set_idle(now, Duration::from_secs(600));
        assert_eq!((class(&all), idle(&all)), (Some(0x0010), None));
        assert!(all[1].locate(away()) && !all[1].locate(away()));
        all[1].set_idle(now, Duration::from_secs(300));
        assert_eq!((class(&all), idle(&all)), (Some(0x0030), Some(5)));
        all[1].set_idle(now, Duration::ZERO);
        assert_eq!(idle(&all), None);
    }

    #[test]
    fn an_icq_user_has_what_its_clients_want() {
        let mut shown = able(1, &[]);
        let status = Some(0x0000_0120);
        shown.set_status(StatusChange {
            status,
            ..StatusChange::default()
        });
        assert!(shown.is_invisible());
        let info = unite(&name("100 001"), [&shown].into_iter(), start());
        assert_eq!(info.tlvs.u16(user_tlv::CLASS), Some(0x0050));
        assert_eq!(info.tlvs.u32(user_tlv::STATUS), Some(0x20));
        assert_eq!(
            info.tlvs.first(user_tlv::ICQ_DIRECT).map(Bytes::len),
            Some(37)
        );
    }

    #[test]
    fn a_17_the_flag_of_an_account_that_is_not_confirmed_comes_and_goes() {
        let mut shown = able(1, &[]);
        let class = |shown: &Shown| {
            let info = unite(&name("alice"), std::iter::once(shown), start());
            info.tlvs.u16(user_tlv::CLASS)
        };
        shown.unconfirmed = true;
        assert_eq!(class(&shown), Some(0x0011));
        shown.unconfirmed = false;
        assert_eq!(class(&shown), Some(0x0010));
    }

    #[test]
    fn what_is_too_long_for_a_status_is_not_kept() {
        let mut shown = able(1, &[]);
        let bart = |length| StatusChange {
            bart: Some(vec![7; length].into()),
            ..StatusChange::default()
        };
        shown.set_status(bart(5));
        shown.set_status(bart(BART_MAX + 1));
        assert_eq!(shown.bart.as_ref().map(Bytes::len), Some(5));
        let many: Vec<Uuid> = (0..200).map(Uuid::from_u128).collect();
        assert_eq!(able(1, &many).capabilities().len(), CAPABILITIES_MAX);
    }
}
