//! The relay: sessions that one side creates and the other joins.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rdv_proto::rendezvous::{AttemptError, AttemptId, Input, RelayAddress, RelayCandidate};
use rdv_proto::wire::rendezvous::Cookie;

use super::lanes::{Lane, Message, Way};
use super::{End, NetPair, Parcel, SERVER_PORT};

/// A relay session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) creator: End,
    cookie: Cookie,
    pub(super) joined: bool,
}

/// By token.
pub(super) type Sessions = BTreeMap<u16, Session>;

impl NetPair {
    pub(super) fn relay_create(&mut self, side: usize, attempt: AttemptId, cookie: Option<Cookie>) {
        self.sides[side]
            .lanes
            .insert(attempt, Lane::new(Way::Relay));
        // Connect, and the command.
        let delay = self.to_server(side) * 4;
        if !self.relay_up {
            let error = AttemptError::Unreachable;
            return self.post(delay, side, Parcel::Message(attempt, Message::Gone(error)));
        }
        self.serial += 1;
        let token = u16::try_from(self.serial % 60_000).expect("below the limit");
        let cookie = cookie.unwrap_or_else(|| Cookie(self.dice.roll().to_be_bytes()));
        self.sessions.insert(
            token,
            Session {
                creator: (side, attempt),
                cookie,
                joined: false,
            },
        );
        let address = SocketAddr::new(self.net.addresses(self.server)[1], SERVER_PORT);
        let relay = RelayCandidate {
            address: RelayAddress::Socket(address),
            token,
            cookie,
            ticket: None,
        };
        self.post_input(delay, side, Input::RelayCreated { attempt, relay });
    }

    pub(super) fn relay_join(&mut self, side: usize, attempt: AttemptId, relay: &RelayCandidate) {
        self.sides[side]
            .lanes
            .insert(attempt, Lane::new(Way::Relay));
        let delay = self.to_server(side) * 4;
        let session = self.sessions.get_mut(&relay.token);
        let Some(session) =
            session.filter(|session| session.cookie == relay.cookie && !session.joined)
        else {
            let error = AttemptError::Relay(0x0D);
            return self.post(delay, side, Parcel::Message(attempt, Message::Gone(error)));
        };
        session.joined = true;
        let creator = session.creator;
        if let Some(lane) = self.lane((side, attempt)) {
            lane.far = Some(creator);
        }
        if let Some(lane) = self.lane(creator) {
            lane.far = Some((side, attempt));
        }
        self.post_input(delay, side, Input::Connected { attempt });
        let ready = self.to_server(side) * 3 + self.to_server(creator.0);
        let attempt = creator.1;
        self.post_input(ready, creator.0, Input::Connected { attempt });
    }
}
