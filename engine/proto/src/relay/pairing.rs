//! The machine that joins two connections: commands and instants in, decisions out.
//!
//! After each input drain [`Pairing::poll_output`]; wake it with [`Input::Timeout`] at [`Pairing::poll_timeout`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Instant;

use subtle::ConstantTimeEq as _;

use super::event::{Access, ConnectionId, Input, Output};
use super::ledger::Ledger;
use super::limits::RelayLimits;
use crate::pace::Origin;
use crate::wire::ars::{Command, ErrorCode, TLV_SERVICE, TLV_TICKET};
use crate::wire::rendezvous::Cookie;
use crate::wire::service::NATIVE;
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// All sessions of a relay.
#[derive(Debug)]
pub struct Pairing {
    limits: RelayLimits,
    access: Access,
    connections: BTreeMap<ConnectionId, Connection>,
    /// By token.
    waiting: BTreeMap<u16, Waiting>,
    deadlines: BTreeSet<(Instant, ConnectionId)>,
    silent: usize,
    pairs: usize,
    ledger: Ledger,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Connection {
    origin: Origin,
    announce: Ipv4Addr,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Silent {
        until: Instant,
    },
    Waiting {
        until: Instant,
        token: u16,
    },
    Paired {
        partner: ConnectionId,
        /// Whom the pair counts for; of two who use the same account, only one of them has it.
        account: Option<ScreenName>,
    },
}

#[derive(Debug)]
struct Waiting {
    creator: ConnectionId,
    name: ScreenName,
    cookie: Cookie,
    account: Option<ScreenName>,
    /// For a service of old clients, which hand no ticket on: whoever may use the relay may join.
    legacy: bool,
}
impl Pairing {
    /// A relay without connections.
    pub fn new(access: Access, limits: RelayLimits) -> Self {
        Self {
            limits,
            access,
            connections: BTreeMap::new(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            silent: 0,
            pairs: 0,
            ledger: Ledger::new(limits),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened at `now`.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.ledger.sweep(now);
        match input {
            Input::Timeout => self.expire(now),
            Input::Opened {
                connection,
                address,
                announce,
            } => self.open(now, connection, Origin::of(address), announce),
            Input::Command {
                connection,
                command,
                signed_on,
                unix_s,
                random,
            } => {
                // Only the first command counts; what comes later is the partner's.
                if self.is_silent(connection) {
                    let admission = Admission { signed_on, unix_s };
                    self.command(now, connection, command, admission, &random);
                }
            }
            Input::Malformed { connection } => self.refuse(now, connection, ErrorCode::MALFORMED),
            Input::Closed {
                connection,
                carried,
            } => self.forget(now, connection, carried),
        }
    }

    /// What to do next; none: wait.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due; none: not before something else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn open(&mut self, now: Instant, connection: ConnectionId, origin: Origin, announce: Ipv4Addr) {
        if self.ledger.is_closed(now, origin)
            || self.silent >= self.limits.silent
            || self.ledger.address(origin).silent >= self.limits.silent_per_address
        {
            self.outputs.push_back(Output::Close { connection });
            return;
        }
        let until = now + self.limits.first_command;
        self.silent += 1;
        self.ledger.address(origin).silent += 1;
        self.deadlines.insert((until, connection));
        let stage = Stage::Silent { until };
        self.connections.insert(
            connection,
            Connection {
                origin,
                announce,
                stage,
            },
        );
    }

    fn command(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        command: Command,
        admission: Admission,
        random: &[u8; 32],
    ) {
        let done = match command {
            Command::Create { name, cookie, tlvs } => {
                self.admit(&name, &tlvs, admission).and_then(|account| {
                    let session = Waiting {
                        creator: connection,
                        name,
                        cookie,
                        account,
                        legacy: is_legacy(&tlvs),
                    };
                    self.create(now, session, random)
                })
            }
            Command::Join {
                name,
                token,
                cookie,
                tlvs,
            } => {
                let joined = self
                    .admit(&name, &tlvs, admission)
                    .and_then(|account| self.join(now, connection, token, cookie, account));
                if let (None, Some(known)) = (joined, self.connections.get(&connection)) {
                    self.ledger.wrong_join(now, known.origin);
                }
                joined
            }
            // Odd commands are a relay's own; the client may still send one of its.
            other if other.number() % 2 == 1 => Some(()),
            _ => None,
        };
        if done.is_none() {
            self.refuse(now, connection, ErrorCode::BAD_REQUEST);
        }
    }

    /// Whether the one of that name who shows these TLVs may use the relay, and for whose account.
    fn admit(
        &self,
        name: &ScreenName,
        tlvs: &TlvList,
        admission: Admission,
    ) -> Option<Option<ScreenName>> {
        let key = match &self.access {
            Access::Open => return Some(None),
            Access::Tickets(key) => key,
        };
        let ticket = tlvs
            .first(TLV_TICKET)
            .and_then(|ticket| key.check(ticket, admission.unix_s).ok());
        match ticket {
            Some(ticket) => Some(Some(ticket.account)),
            None => admission.signed_on.then(|| Some(name.clone())),
        }
    }

    fn create(&mut self, now: Instant, session: Waiting, random: &[u8; 32]) -> Option<()> {
        let connection = session.creator;
        let (origin, announce) = self
            .connections
            .get(&connection)
            .map(|known| (known.origin, known.announce))?;
        let taken = self
            .waiting
            .values()
            .any(|other| other.cookie == session.cookie && other.name == session.name);
        if taken
            || self.waiting.len() >= self.limits.waiting
            || self.ledger.address(origin).waiting >= self.limits.waiting_per_address
        {
            return None;
        }
        if let Some(account) = &session.account
            && (self.ledger.account(account).waiting >= self.limits.waiting_per_account
                || self.ledger.bytes_left(now, account) == 0)
        {
            return None;
        }
        let token = self.ledger.take_token(now, random)?;
        let until = now + self.limits.join;
        self.leave_stage(now, connection, 0);
        self.ledger.address(origin).waiting += 1;
        if let Some(account) = &session.account {
            self.ledger.account(account).waiting += 1;
        }
        self.deadlines.insert((until, connection));
        self.set_stage(connection, Stage::Waiting { until, token });
        self.waiting.insert(token, session);
        let ip = announce;
        self.send(connection, Command::Created { token, ip });
        Some(())
    }

    fn join(
        &mut self,
        now: Instant,
        joiner: ConnectionId,
        token: u16,
        cookie: Cookie,
        account: Option<ScreenName>,
    ) -> Option<()> {
        let session = self.waiting.get(&token).filter(|session| {
            bool::from(session.cookie.0.ct_eq(&cookie.0))
                && (session.legacy || session.account == account)
        })?;
        let creator = session.creator;
        // A pair counts for both accounts, but once for one that is on both sides.
        let creators = session.account.clone();
        let joiners = account.filter(|account| creators.as_ref() != Some(account));
        let origins: BTreeSet<Origin> = [creator, joiner]
            .iter()
            .filter_map(|id| self.connections.get(id).map(|known| known.origin))
            .collect();
        let per_address = self.limits.pairs_per_address;
        let crowded = |&origin| self.ledger.address(origin).pairs >= per_address;
        if self.pairs >= self.limits.pairs || origins.iter().any(crowded) {
            return None;
        }
        let mut bytes_max = self.limits.pair_bytes;
        for account in creators.iter().chain(&joiners) {
            if self.ledger.account(account).pairs >= self.limits.pairs_per_account {
                return None;
            }
            bytes_max = bytes_max.min(self.ledger.bytes_left(now, account));
        }
        for account in creators.iter().chain(&joiners) {
            self.ledger.account(account).pairs += 1;
        }
        for (connection, partner, account) in
            [(creator, joiner, creators), (joiner, creator, joiners)]
        {
            self.leave_stage(now, connection, 0);
            self.set_stage(connection, Stage::Paired { partner, account });
            self.send(connection, Command::Ready);
        }
        for origin in origins {
            self.ledger.address(origin).pairs += 1;
        }
        self.pairs += 1;
        self.outputs.push_back(Output::Pair {
            creator,
            joiner,
            bytes_max,
        });
        Some(())
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(at, connection)) = self.deadlines.first() {
            if at > now {
                break;
            }
            let code = if self.is_silent(connection) {
                ErrorCode::NO_FIRST_COMMAND
            } else {
                ErrorCode::PEER_DID_NOT_JOIN
            };
            self.refuse(now, connection, code);
        }
    }

    /// Says why, hangs up and forgets.
    fn refuse(&mut self, now: Instant, connection: ConnectionId, code: ErrorCode) {
        if self.connections.contains_key(&connection) {
            self.send(connection, Command::Error(code));
            self.outputs.push_back(Output::Close { connection });
            self.forget(now, connection, 0);
        }
    }

    fn forget(&mut self, now: Instant, connection: ConnectionId, carried: u64) {
        let partner = self.leave_stage(now, connection, carried);
        self.connections.remove(&connection);
        if let Some(partner) = partner {
            self.connections.remove(&partner);
        }
    }

    /// Takes back what the stage of the connection counted for; for a paired one, that of its partner too.
    fn leave_stage(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        carried: u64,
    ) -> Option<ConnectionId> {
        let known = self.connections.get(&connection)?;
        let address = self.ledger.address(known.origin);
        match &known.stage {
            Stage::Silent { until } => {
                address.silent -= 1;
                self.silent -= 1;
                self.deadlines.remove(&(*until, connection));
                None
            }
            Stage::Waiting { until, token } => {
                address.waiting -= 1;
                self.deadlines.remove(&(*until, connection));
                self.ledger.rest_token(now, *token);
                if let Some(account) = self
                    .waiting
                    .remove(token)
                    .and_then(|session| session.account)
                {
                    self.ledger.account(&account).waiting -= 1;
                }
                None
            }
            Stage::Paired { partner, account } => {
                address.pairs -= 1;
                self.pairs -= 1;
                let other = self.connections.get(partner);
                let theirs = other.and_then(|other| match &other.stage {
                    Stage::Paired { account, .. } => account.as_ref(),
                    _ => None,
                });
                for account in account.iter().chain(theirs) {
                    self.ledger.account(account).pairs -= 1;
                    self.ledger.carried(now, account, carried);
                }
                let other = other.map(|other| other.origin);
                if let Some(other) = other.filter(|&other| other != known.origin) {
                    self.ledger.address(other).pairs -= 1;
                }
                Some(*partner)
            }
        }
    }

    fn is_silent(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|known| matches!(known.stage, Stage::Silent { .. }))
    }

    fn set_stage(&mut self, connection: ConnectionId, stage: Stage) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.stage = stage;
        }
    }

    fn send(&mut self, connection: ConnectionId, command: Command) {
        self.outputs.push_back(Output::Send {
            connection,
            command,
        });
    }
}

/// What is known of the one who asks, besides what it says.
#[derive(Clone, Copy)]
struct Admission {
    signed_on: bool,
    unix_s: u64,
}

/// Whether a session is for a service that old clients know, too. Ours say so of every session.
fn is_legacy(tlvs: &TlvList) -> bool {
    tlvs.first(TLV_SERVICE)
        .is_some_and(|service| service[..] != NATIVE.as_bytes()[..])
}

#[cfg(test)]
#[path = "pairing_tests.rs"]
mod tests;
