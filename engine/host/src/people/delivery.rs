//! Messages between accounts: to which of the recipient's sign-ons, and what the sender is told.

use std::time::Instant;

use bytes::Bytes;
use rdv_proto::session::{Entry, Outbound, Refusal, Rendezvous};
use rdv_proto::wire::icbm::{
    Channel, ClientError, ClientEvent, MessageToClient, MessageToHost, UserInfo, subgroup, tlv,
};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, MessageKind};
use rdv_proto::wire::snac::{ErrorCode, Foodgroup};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use uuid::Uuid;

use super::{Instance, Place, State, User};
use crate::mailbox::{Taken, payload_size};
use crate::metrics::Limit;
use crate::routing::RouteError;

impl Place<'_> {
    /// Puts a message into the queues of its recipient's sign-ons.
    ///
    /// Unknown, offline and blocking are one error. The name of the sender is that of this place (S-34).
    pub(super) fn deliver(&self, now: Instant, outbound: &Outbound) -> Result<(), RouteError> {
        let message = &outbound.message;
        let to = &message.recipient;
        let mut state = self.people.lock();
        if let Some(rendezvous) = &outbound.rendezvous
            && rendezvous.proposes()
            && let Err(limit) = state.enter_proposal(now, *self, message, rendezvous.begins())
        {
            self.people.metrics.refused(limit);
            return Err(ErrorCode::REQUEST_DENIED.into());
        }
        let sender = state.users.get(self.name).ok_or(RouteError::NotThere)?;
        if !sender.allows(to) {
            return Err(ErrorCode::IN_LOCAL_PERMIT_DENY.into());
        }
        let recipient = state.users.get(to).ok_or(RouteError::NotThere)?;
        if !recipient.allows(self.name) {
            return Err(blocked(outbound).into());
        }
        if outbound.rendezvous.is_some() && self.is_too_late(sender, recipient, message.cookie) {
            return Ok(());
        }
        let targets = recipients(sender, recipient, self.id, outbound);
        if targets.is_empty() {
            return Err(RouteError::NotThere);
        }
        if let Some(rendezvous) = &outbound.rendezvous {
            check_service(recipient, rendezvous)?;
        }
        let info = sender.info_with(now, self.id);
        if let Err(refusal) = send(&targets, sender, self.id, &info, outbound) {
            if refusal == ErrorCode::REFUSED_BY_CLIENT.into() {
                self.people.metrics.refused(Limit::MessageSize);
            }
            return Err(refusal.into());
        }
        state.delivered(now, *self, outbound);
        Ok(())
    }

    /// Passes on a refusal, with the names swapped; what cannot be passed on is forgotten.
    pub(super) fn pass_on(&self, error: ClientError) {
        let state = self.people.lock();
        let own = state.users.get(self.name);
        let late = |other: &User| own.is_some_and(|own| self.is_too_late(own, other, error.cookie));
        if let Some(other) = state.on_speaking_terms(self.name, &error.name)
            && !late(other)
        {
            let name = self.name.clone();
            let body = ClientError { name, ..error }.encode();
            for instance in other.online() {
                instance.push(Foodgroup::ICBM, subgroup::CLIENT_ERROR, body.clone());
            }
        }
    }

    /// Whether another sign-on of ours has taken up what `proposer` proposed: then what this one still says about it is dropped, so that
    /// it can neither confuse the two who agreed nor decline what was accepted. It was told (rule H-20).
    fn is_too_late(&self, own: &User, proposer: &User, cookie: Cookie) -> bool {
        let by = proposer.book.proposer(self.name, cookie);
        let taker = proposer.book.taker(self.name, cookie);
        let taken = own
            .online()
            .any(|one| Some(one.id) == taker && one.id != self.id);
        by != Some(self.id) && taken
    }

    /// Passes on a typing event, with the names swapped.
    pub(super) fn pass_on_event(&self, event: ClientEvent) {
        let state = self.people.lock();
        if let Some(other) = state.on_speaking_terms(self.name, &event.name) {
            let name = self.name.clone();
            let body = ClientEvent { name, ..event }.encode();
            for instance in active(other, None) {
                instance.push(Foodgroup::ICBM, subgroup::CLIENT_EVENT, body.clone());
            }
        }
    }
}

/// What the sender is told whom the recipient blocks, or who writes to nobody: the same as of somebody who takes nothing when away.
pub(crate) fn blocked(outbound: &Outbound) -> Refusal {
    match outbound.may_be_stored() {
        true => Refusal::NOT_STORED,
        false => ErrorCode::NOT_LOGGED_ON.into(),
    }
}

impl State {
    /// Counts a proposal; the limit for which it is one too many.
    fn enter_proposal(
        &mut self,
        now: Instant,
        from: Place<'_>,
        message: &MessageToHost,
        begins: bool,
    ) -> Result<(), Limit> {
        let to = &message.recipient;
        let other = self.users.get(to);
        let is_known = other.is_some_and(|user| user.knows(from.name) && user.allows(from.name));
        let user = self.users.get_mut(from.name);
        // Who was displaced has no book any more.
        let user = user.ok_or(Limit::OpenProposals)?;
        let entry = Entry {
            by: from.id,
            begins,
            stranger: !is_known,
        };
        let entered = user.book.enter(now, to, message.cookie, entry);
        entered.map_err(Limit::from)
    }

    fn pair(&self, from: &ScreenName, to: &ScreenName) -> Option<(&User, &User)> {
        Some((self.users.get(from)?, self.users.get(to)?))
    }

    /// The other one, if neither blocks the other.
    fn on_speaking_terms(&self, from: &ScreenName, to: &ScreenName) -> Option<&User> {
        let (sender, recipient) = self.pair(from, to)?;
        (recipient.allows(from) && sender.allows(to)).then_some(recipient)
    }

    /// What there is to note and to do once a message is in the queues of its recipient.
    fn delivered(&mut self, now: Instant, from: Place<'_>, outbound: &Outbound) {
        let (to, cookie) = (&outbound.message.recipient, outbound.message.cookie);
        let kind = outbound
            .rendezvous
            .as_ref()
            .map(|rendezvous| rendezvous.kind);
        if kind != Some(MessageKind::CANCEL)
            && let Some(user) = self.users.get_mut(from.name)
        {
            user.writes_to(to);
        }
        let Some(rendezvous) = &outbound.rendezvous else {
            return;
        };
        let takes_up = rendezvous.kind == MessageKind::ACCEPT
            || (rendezvous.proposes() && !rendezvous.begins());
        let other = self.users.get_mut(to);
        let proposer = other.and_then(|user| {
            let by = user.book.proposer(from.name, cookie)?;
            // One does not take up one's own proposal.
            (by != from.id && takes_up && user.book.take(from.name, cookie, from.id)).then_some(by)
        });
        if let Some(by) = proposer {
            self.cancel_elsewhere(now, from, by, to, cookie, rendezvous.service);
        }
        if matches!(rendezvous.kind, MessageKind::ACCEPT | MessageKind::CANCEL) {
            if let Some(user) = self.users.get_mut(to) {
                user.book.settle(from.name, cookie);
            }
            if let Some(user) = self.users.get_mut(from.name) {
                user.book.settle(to, cookie);
            }
        }
    }

    /// Tells the user's other sign-ons that a proposal was taken up here (rule H-20).
    fn cancel_elsewhere(
        &self,
        now: Instant,
        here: Place<'_>,
        proposer: u64,
        peer: &ScreenName,
        cookie: Cookie,
        service: Uuid,
    ) {
        let Some((peer, user)) = self.pair(peer, here.name) else {
            return;
        };
        let block = Message::cancel(cookie, service, CancelReason::ACCEPTED_ELSEWHERE).encode();
        let body = MessageToClient {
            cookie,
            channel: Channel::RENDEZVOUS,
            sender: peer.info_with(now, proposer),
            tlvs: TlvList::new().with(tlv::RENDEZVOUS, block),
        }
        .encode();
        let others = user
            .online()
            .filter(|one| one.id != here.id && one.id != proposer);
        for other in others {
            other.push(Foodgroup::ICBM, subgroup::MESSAGE_TO_CLIENT, body.clone());
        }
    }
}

impl User {
    /// The user as the recipient of a message sees it: with the sign-on that sent it, ready or not.
    fn info_with(&self, now: Instant, id: u64) -> UserInfo {
        let shown = self
            .instances
            .iter()
            .filter(|one| one.online || one.id == id);
        let shown = shown.map(|instance| &instance.shown);
        rdv_proto::session::unite(&self.name, shown, now)
    }
}

/// The sign-ons that get a message: in a rendezvous those that have part in it, else those at which somebody is.
fn recipients<'a>(
    sender: &User,
    recipient: &'a User,
    from: u64,
    outbound: &Outbound,
) -> Vec<&'a Instance> {
    let cookie = outbound.message.cookie;
    let goes_on = outbound
        .rendezvous
        .filter(|rendezvous| !rendezvous.begins());
    let party = goes_on.and_then(|_| {
        let proposer = recipient.book.proposer(&sender.name, cookie);
        let taker = || sender.book.taker(&recipient.name, cookie);
        proposer.filter(|&id| id != from).or_else(taker)
    });
    let party = party.and_then(|id| recipient.online().find(|one| one.id == id));
    match party {
        Some(instance) => vec![instance],
        // Who writes to itself means its other sign-ons.
        None => active(recipient, (sender.name == recipient.name).then_some(from)),
    }
}

/// The sign-ons at which somebody is, or all if there is none.
fn active(user: &User, except: Option<u64>) -> Vec<&Instance> {
    let others = user.online().filter(|one| Some(one.id) != except);
    let active: Vec<_> = others.clone().filter(|one| one.shown.is_active()).collect();
    match active.is_empty() {
        true => others.collect(),
        false => active,
    }
}

/// The check of rule H-6. Only of what begins a rendezvous: old clients ask for it in their answers, too, and the one who
/// proposed need not announce what it proposed.
fn check_service(recipient: &User, rendezvous: &Rendezvous) -> Result<(), Refusal> {
    let mut able = recipient.online().flat_map(|one| one.shown.capabilities());
    let is_checked = rendezvous.required && rendezvous.begins();
    match !is_checked || able.any(|uuid| *uuid == rendezvous.service) {
        true => Ok(()),
        false => Err(ErrorCode::NOT_SUPPORTED_BY_CLIENT.into()),
    }
}

fn send(
    targets: &[&Instance],
    sender: &User,
    from: u64,
    info: &UserInfo,
    outbound: &Outbound,
) -> Result<(), Refusal> {
    let message = &outbound.message;
    let size = payload_size(message);
    let mut tlvs = message.tlvs.clone();
    let types = sender.instances.iter().find(|one| one.id == from);
    if types.is_some_and(|one| one.recipient.wants_typing_events())
        && matches!(message.channel, Channel::TEXT | Channel::CHAT)
    {
        tlvs.push(tlv::WANTS_EVENTS, Bytes::new());
    }
    let to_client = MessageToClient {
        cookie: message.cookie,
        channel: message.channel,
        sender: info.clone(),
        tlvs,
    };
    let body = to_client.encode();
    let (mut taken, mut too_large) = (false, false);
    for target in targets {
        match target.recipient.deliver(&to_client, size, &body) {
            Taken::Yes => taken = true,
            Taken::TooLarge => too_large = true,
            Taken::Lost => {}
        }
    }
    match (taken, too_large) {
        (true, _) => Ok(()),
        (false, true) => Err(ErrorCode::REFUSED_BY_CLIENT.into()),
        (false, false) => Err(ErrorCode::RESPONSES_LOST.into()),
    }
}
