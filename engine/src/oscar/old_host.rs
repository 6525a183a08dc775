//! The opening of a session with a host of the old kind, one step at a time.
//!
//! Hosts of others insist on the order of the old clients: foodgroups, versions, rates, then rights and the buddy list, at last
//! "online" (`sign-on`, section 3.1). Each step waits for its answer, but not for ever: hosts leave some out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::icbm::user_tlv;
use rdv_proto::wire::signon::{HostOnline, RateReply, UserList};
use rdv_proto::wire::snac::{self, Foodgroup, Snac};
use rdv_proto::wire::text::ScreenName;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::client::{Reader, Writer};
use super::error::OscarError;
use super::pace::Pace;
use super::sign_on::{self, EARLY_MAX, SignedOn, dismissal, oservice, seen_in};
use super::translate;
use crate::signaling::Incoming;

/// Foodgroups that we speak, in the order of the old clients, with their versions.
const VERSIONS: [(Foodgroup, u16); 6] = [
    (Foodgroup::FEEDBAG, 4),
    (Foodgroup::PD, 1),
    (Foodgroup::OSERVICE, 3),
    (Foodgroup::ICBM, 1),
    (Foodgroup::BUDDY, 1),
    (Foodgroup::LOCATE, 1),
];
/// An answer that has not come after this time does not come.
const STEP: Duration = Duration::from_secs(3);

/// Subgroup of foodgroups 0x0002, 0x0003, 0x0009 and 0x0013: what are the limits?
const RIGHTS_QUERY: u16 = 0x02;
/// Foodgroup 0x0004: the same.
const PARAMETER_QUERY: u16 = 0x04;
/// Subgroups of foodgroup 0x0013.
mod feedbag {
    pub(super) const QUERY: u16 = 0x04;
    pub(super) const REPLY: u16 = 0x06;
    pub(super) const USE: u16 = 0x07;
    pub(super) const NOT_MODIFIED: u16 = 0x0F;
}
/// Foodgroup 0x0001.
mod host {
    pub(super) const ONLINE: u16 = 0x03;
    pub(super) const VERSIONS: u16 = 0x18;
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    HostOnline,
    HostVersions,
    Rates,
    /// The rest: own info and, if the host keeps one, the buddy list.
    Setup {
        own_info: bool,
        list: bool,
    },
    Done,
}

/// The machine: SNACs of the host in, SNACs for it out.
pub(super) struct OldHost {
    name: ScreenName,
    capabilities: Vec<Uuid>,
    step: Step,
    offered: Vec<Foodgroup>,
    pace: Option<Pace>,
    seen: Option<SocketAddr>,
    early: Vec<Incoming>,
    next_id: u32,
}

impl OldHost {
    pub(super) fn new(name: ScreenName, capabilities: Vec<Uuid>) -> Self {
        Self {
            name,
            capabilities,
            step: Step::HostOnline,
            offered: Vec::new(),
            pace: None,
            seen: None,
            early: Vec::new(),
            next_id: 1,
        }
    }

    /// Talks until we are signed on.
    pub(super) async fn run(
        mut self,
        reader: &mut Reader,
        writer: &mut Writer,
    ) -> Result<SignedOn, OscarError> {
        let mut began = Instant::now();
        while self.step != Step::Done || !writer.is_idle() {
            let before = self.step;
            let say = tokio::select! {
                written = writer.step(), if !writer.is_idle() => {
                    written.map_err(|error| OscarError::Closed(Some(error)))?;
                    continue;
                }
                frame = reader.next() => self.take(frame?)?,
                () = sleep_until(began + STEP), if self.may_go_on() => self.go_on(),
            };
            for snac in say {
                writer.queue_snac(&snac);
            }
            if self.step != before {
                began = Instant::now();
            }
        }
        let now = Instant::now().into_std();
        Ok(SignedOn {
            name: self.name,
            token: None,
            seen: self.seen,
            relay: None,
            pace: self.pace.unwrap_or_else(|| Pace::unannounced(now)),
            early: self.early,
            answers_keep_alives: false,
        })
    }

    /// Takes a frame of the host and gives what is to be said next.
    ///
    /// # Errors
    /// [`OscarError::Refused`] (the cookie was not taken), [`OscarError::SignedOnElsewhere`], [`OscarError::Closed`] or
    /// [`OscarError::Protocol`].
    fn take(&mut self, frame: Frame) -> Result<Vec<Snac>, OscarError> {
        match frame.channel {
            Channel::DATA => self.take_snac(&Snac::decode(frame.data)?),
            Channel::SIGN_OFF => Err(dismissal(frame.data)),
            _ => Ok(Vec::new()),
        }
    }

    fn take_snac(&mut self, snac: &Snac) -> Result<Vec<Snac>, OscarError> {
        let step = match (snac.foodgroup, snac.subgroup, self.step) {
            (Foodgroup::OSERVICE, host::ONLINE, Step::HostOnline) => {
                self.offered = HostOnline::decode(&snac.body)?.foodgroups;
                Step::HostVersions
            }
            (Foodgroup::OSERVICE, host::VERSIONS, Step::HostVersions) => Step::Rates,
            (Foodgroup::OSERVICE, oservice::RATE_REPLY, Step::HostVersions | Step::Rates) => {
                let reply = RateReply::decode(&snac.body)?;
                self.pace = Some(Pace::new(&reply, Instant::now().into_std()));
                self.setup()
            }
            (Foodgroup::OSERVICE, oservice::OWN_INFO, Step::Setup { list, .. }) => {
                self.seen = UserList::decode(&snac.body)
                    .ok()
                    .and_then(|own| seen_in(&own).or_else(|| external_ip(&own)));
                finished(true, list)
            }
            (
                Foodgroup::FEEDBAG,
                feedbag::REPLY | feedbag::NOT_MODIFIED,
                Step::Setup { own_info, .. },
            ) if snac.flags & snac::FLAG_MORE == 0 => finished(own_info, true),
            (Foodgroup::ICBM, subgroup, _) if subgroup != snac::ERROR => {
                if self.early.len() < EARLY_MAX
                    && let Ok(Some(heard)) = translate::incoming(snac)
                {
                    self.early.push(heard.incoming);
                }
                return Ok(Vec::new());
            }
            _ => return Ok(Vec::new()),
        };
        Ok(self.enter(step))
    }

    /// Whether we can do without the answer that is missing.
    fn may_go_on(&self) -> bool {
        !matches!(self.step, Step::HostOnline | Step::Done)
    }

    /// The answer does not come.
    fn go_on(&mut self) -> Vec<Snac> {
        tracing::debug!(step = ?self.step, "the host left an answer out");
        let next = match self.step {
            Step::HostVersions => Step::Rates,
            Step::Rates => self.setup(),
            Step::HostOnline => Step::HostOnline,
            Step::Setup { .. } | Step::Done => Step::Done,
        };
        self.enter(next)
    }

    fn setup(&self) -> Step {
        Step::Setup {
            own_info: false,
            list: !self.offers(Foodgroup::FEEDBAG),
        }
    }

    fn offers(&self, foodgroup: Foodgroup) -> bool {
        self.offered.contains(&foodgroup)
    }

    /// What is said on entering a step.
    fn enter(&mut self, step: Step) -> Vec<Snac> {
        let before = std::mem::replace(&mut self.step, step);
        let same = std::mem::discriminant(&before) == std::mem::discriminant(&step);
        match step {
            _ if same => Vec::new(),
            Step::HostOnline => Vec::new(),
            Step::HostVersions => {
                let id = self.id();
                vec![sign_on::versions(&self.versions(), id)]
            }
            Step::Rates => {
                let id = self.id();
                vec![sign_on::oservice_snac(
                    oservice::RATE_QUERY,
                    id,
                    Bytes::new(),
                )]
            }
            Step::Setup { .. } => self.questions(),
            Step::Done => self.last(),
        }
    }

    /// Rights are asked for because hosts take the question as part of the sign-on; the answers change nothing.
    fn questions(&mut self) -> Vec<Snac> {
        let id = self.id();
        let mut say = vec![sign_on::rate_subscription(id)];
        let id = self.id();
        say.push(sign_on::oservice_snac(
            oservice::OWN_INFO_QUERY,
            id,
            Bytes::new(),
        ));
        let questions = [
            (Foodgroup::FEEDBAG, RIGHTS_QUERY),
            (Foodgroup::FEEDBAG, feedbag::QUERY),
            (Foodgroup::LOCATE, RIGHTS_QUERY),
            (Foodgroup::BUDDY, RIGHTS_QUERY),
            (Foodgroup::ICBM, PARAMETER_QUERY),
            (Foodgroup::PD, RIGHTS_QUERY),
        ];
        for (foodgroup, subgroup) in questions {
            if self.offers(foodgroup) {
                let id = self.id();
                say.push(Snac::new(foodgroup, subgroup, id, Bytes::new()));
            }
        }
        say
    }

    fn last(&mut self) -> Vec<Snac> {
        let mut say = Vec::new();
        if self.offers(Foodgroup::FEEDBAG) {
            let id = self.id();
            say.push(Snac::new(
                Foodgroup::FEEDBAG,
                feedbag::USE,
                id,
                Bytes::new(),
            ));
        }
        let id = self.id();
        say.push(sign_on::capabilities_set(&self.capabilities, id));
        let id = self.id();
        say.push(sign_on::parameters(id));
        let id = self.id();
        say.push(sign_on::online(&self.versions(), id));
        say
    }

    /// What both sides speak.
    fn versions(&self) -> Vec<(Foodgroup, u16)> {
        let ours = VERSIONS.into_iter();
        ours.filter(|(foodgroup, _)| self.offers(*foodgroup))
            .collect()
    }

    fn id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

fn finished(own_info: bool, list: bool) -> Step {
    match own_info && list {
        true => Step::Done,
        false => Step::Setup { own_info, list },
    }
}

/// Our address as the host sees it, without a port; port 0 says so.
fn external_ip(own: &UserList) -> Option<SocketAddr> {
    let ip = own.users.first()?.tlvs.u32(user_tlv::EXTERNAL_IP)?;
    Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(ip)), 0))
}

#[cfg(test)]
mod tests;
