//! Legacy policy: which way is proposed next, and how a proposal of the peer is set out upon.

use super::candidate::Judge;
use super::common::Common;
use super::desk::{Context, Try};
use super::legacy::Legacy;
use super::limits::RELAY_READY;
use super::proposal::{TheirWay, their_way};
use super::race::Way;
use super::{Output, RelayAddress, RelayCandidate, RelayPolicy};
use crate::wire::rendezvous::Message;

/// A way that we can propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Our own listener: direct in the first proposal, redirect in later ones.
    Listen,
    /// A relay session of ours.
    Relay,
    /// No address: the peer is to make a relay session.
    Ask,
}

/// Where in the order of methods to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Any,
    /// The peer has nothing to dial and asks for a relay session (L-07).
    Relay,
}

/// The methods that are used up. Each is used at most once in a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Methods {
    listened: bool,
    relayed: bool,
    asked: bool,
}

impl Methods {
    /// Direct → redirect → relay → null. `None`: nothing is left but to cancel.
    pub(super) fn next(
        &mut self,
        wish: Wish,
        policy: RelayPolicy,
        relay_known: bool,
        first: bool,
    ) -> Option<Method> {
        let direct = wish == Wish::Any && policy != RelayPolicy::Only;
        let relay = policy != RelayPolicy::Never;
        let candidates = [
            (direct, &mut self.listened, Method::Listen),
            (relay && relay_known, &mut self.relayed, Method::Relay),
            // A first proposal has to name a way.
            (relay && !first, &mut self.asked, Method::Ask),
        ];
        for (allowed, used, method) in candidates {
            if allowed && !*used {
                *used = true;
                return Some(method);
            }
        }
        None
    }
}

impl Legacy {
    /// Dials the addresses of a proposal or joins its relay session. Says what to propose ourselves
    /// if there is nothing of the kind to be done.
    pub(super) fn set_out(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        message: &Message,
    ) -> Option<Wish> {
        match their_way(message) {
            TheirWay::Relay(_) if !Self::relay_is_allowed(common) => Some(Wish::Any),
            TheirWay::Relay(relay) => self.join(common, context, relay),
            TheirWay::Direct(_) if common.relay == RelayPolicy::Only => Some(Wish::Relay),
            TheirWay::Direct(named) => {
                self.announced.extend(named.iter().map(|named| named.ip()));
                let peer_verified = message.undisputed_verified_ip();
                let judge = Judge {
                    config: context.config,
                    peer_verified,
                    own: &self.own,
                };
                let chosen = judge.choose(named);
                self.race.offer(context.now, chosen);
                self.race.start_due(context.now, &common.id, context.desk);
                None
            }
            TheirWay::Nothing => Some(Wish::Relay),
        }
    }

    fn join(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        mut relay: RelayCandidate,
    ) -> Option<Wish> {
        if let RelayAddress::Socket(address) = &mut relay.address {
            match context.config.relay_reached_at(*address) {
                Some(reached) => *address = reached,
                None => return Some(Wish::Any),
            }
        }
        let what = Try::Relay(Some(relay.address.clone()));
        let attempt = context.desk.new_attempt(&common.id, what);
        let way = Way::Joined(relay.address.clone());
        self.race
            .open(attempt, way, Some(context.now + RELAY_READY));
        context.desk.push(Output::RelayJoin {
            id: common.id.clone(),
            attempt,
            relay,
        });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(wish: Wish, policy: RelayPolicy, relay_known: bool, first: bool) -> Vec<Method> {
        let mut methods = Methods::default();
        std::iter::from_fn(|| methods.next(wish, policy, relay_known, first)).collect()
    }

    #[test]
    fn each_method_is_used_once_in_this_order() {
        use Method::{Ask, Listen, Relay};
        assert_eq!(
            order(Wish::Any, RelayPolicy::Auto, true, false),
            [Listen, Relay, Ask]
        );
        assert_eq!(
            order(Wish::Any, RelayPolicy::Auto, false, false),
            [Listen, Ask]
        );
        assert_eq!(
            order(Wish::Any, RelayPolicy::Only, true, false),
            [Relay, Ask]
        );
        assert_eq!(order(Wish::Any, RelayPolicy::Never, true, false), [Listen]);
        assert_eq!(
            order(Wish::Relay, RelayPolicy::Auto, true, false),
            [Relay, Ask]
        );
    }

    #[test]
    fn r_17_a_first_proposal_names_a_way() {
        assert_eq!(
            order(Wish::Any, RelayPolicy::Auto, false, true),
            [Method::Listen]
        );
    }
}
