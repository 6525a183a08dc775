//! The machine that joins two connections: commands and instants in, decisions out.
//!
//! After each input drain [`Pairing::poll_output`]; wake it with [`Input::Timeout`] at [`Pairing::poll_timeout`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;

use super::event::{Access, ConnectionId, Input, Output};
use super::ledger::Ledger;
use super::limits::RelayLimits;
use super::pass::{Admission, Pass};
use super::refusal::{Bound, Refusal};
use crate::pace::Origin;
use crate::wire::ars::{Command, TLV_SERVICE};
use crate::wire::rendezvous::Cookie;
use crate::wire::service::NATIVE;
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// As long as nobody waits for it.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

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
    /// By their creators.
    pairs: BTreeMap<ConnectionId, Pair>,
    draining: bool,
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
    Silent { until: Instant },
    Waiting { until: Instant, token: u16 },
    Paired { creator: ConnectionId },
}

#[derive(Debug)]
struct Waiting {
    creator: ConnectionId,
    name: ScreenName,
    cookie: Cookie,
    /// Whom it counts for; nobody at an open relay.
    pass: Option<Pass>,
    /// For a service of old clients, which hand no ticket on: whoever may use the relay may join.
    legacy: bool,
}

#[derive(Debug)]
struct Pair {
    joiner: ConnectionId,
    /// Whom it counts for: one, if both sides use the same account.
    passes: Vec<Pass>,
    origins: BTreeSet<Origin>,
    bytes_max: u64,
    carried: u64,
    /// An account had carried enough, and the pair was cut for that.
    cut: bool,
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
            pairs: BTreeMap::new(),
            draining: false,
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
            Input::Malformed { connection } => {
                self.refuse(now, connection, Refusal::Malformed, false);
            }
            Input::Carried { connection, bytes } => self.carried(now, connection, bytes),
            Input::Closed {
                connection,
                carried,
            } => self.forget(now, connection, carried),
            Input::Drain => self.drain(now),
        }
    }

    /// How many pairs there are.
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// How many sessions wait for a partner.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
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
        let refusal = if self.ledger.is_closed(now, origin) {
            Some(Refusal::ClosedAddress)
        } else if self.silent >= self.limits.silent {
            Some(Refusal::TooMany(Bound::Silent))
        } else if self.ledger.address(origin).silent >= self.limits.silent_per_address {
            Some(Refusal::TooMany(Bound::SilentPerAddress))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.outputs.push_back(Output::Refused(refusal));
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
        let ours = Pass::is_shown(&command);
        let done = match command {
            Command::Create { name, cookie, tlvs } => {
                Pass::admit(&self.access, &name, cookie, &tlvs, admission).and_then(|pass| {
                    let session = Waiting {
                        creator: connection,
                        name,
                        cookie,
                        pass,
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
                let joined = Pass::admit(&self.access, &name, cookie, &tlvs, admission)
                    .and_then(|pass| self.join(now, connection, token, cookie, pass));
                if let (Err(refusal), Some(known)) = (joined, self.connections.get(&connection))
                    && refusal.is_wrong_join()
                {
                    self.ledger.wrong_join(now, known.origin);
                }
                joined
            }
            // Odd commands are a relay's own; the client may still send one of its.
            other if other.number() % 2 == 1 => Ok(()),
            _ => Err(Refusal::NoSession),
        };
        if let Err(refusal) = done {
            self.refuse(now, connection, refusal, ours);
        }
    }

    fn create(&mut self, now: Instant, session: Waiting, random: &[u8; 32]) -> Result<(), Refusal> {
        let connection = session.creator;
        let known = self.connections.get(&connection);
        let (origin, announce) = known
            .map(|known| (known.origin, known.announce))
            .ok_or(Refusal::Malformed)?;
        let taken = self
            .waiting
            .values()
            .any(|other| other.cookie == session.cookie && other.name == session.name);
        if self.draining {
            return Err(Refusal::Draining);
        } else if taken {
            return Err(Refusal::SessionExists);
        } else if self.waiting.len() >= self.limits.waiting {
            return Err(Refusal::TooMany(Bound::Waiting));
        } else if self.ledger.address(origin).waiting >= self.limits.waiting_per_address {
            return Err(Refusal::TooMany(Bound::WaitingPerAddress));
        }
        if let Some(pass) = &session.pass {
            self.ledger.make_room(now, &pass.account)?;
            if let Some(ticket) = &pass.ticket {
                self.ledger.account(&pass.account).is_fresh(ticket.id)?;
            }
            if self.ledger.account(&pass.account).waiting >= self.limits.waiting_per_account {
                return Err(Refusal::TooMany(Bound::WaitingPerAccount));
            }
            if self.ledger.bytes_left(now, &pass.account) == 0 {
                return Err(Refusal::AccountBytes);
            }
        }
        let token = self
            .ledger
            .take_token(now, random)
            .ok_or(Refusal::TooMany(Bound::Tokens))?;
        if let Some(pass) = &session.pass
            && let Err(refusal) = self.use_ticket(now, pass)
        {
            self.ledger.rest_token(now, token);
            return Err(refusal);
        }
        let until = now + self.limits.join;
        self.leave_stage(now, connection, 0);
        self.ledger.address(origin).waiting += 1;
        if let Some(pass) = &session.pass {
            self.ledger.account(&pass.account).waiting += 1;
        }
        self.deadlines.insert((until, connection));
        self.set_stage(connection, Stage::Waiting { until, token });
        self.waiting.insert(token, session);
        let ip = announce;
        self.send(connection, Command::Created { token, ip });
        Ok(())
    }

    fn join(
        &mut self,
        now: Instant,
        joiner: ConnectionId,
        token: u16,
        cookie: Cookie,
        pass: Option<Pass>,
    ) -> Result<(), Refusal> {
        let session = self
            .waiting
            .get(&token)
            .filter(|session| bool::from(session.cookie.0.ct_eq(&cookie.0)));
        let Some(session) = session else {
            return Err(self.why_no_session(now, pass.as_ref()));
        };
        if !session.legacy && !Pass::is_same(session.pass.as_ref(), pass.as_ref()) {
            return Err(Refusal::NotOfSession);
        }
        let creator = session.creator;
        // Of an old client's session everybody brings a ticket of his own.
        let brought =
            (pass.clone()).filter(|pass| !Pass::is_same(session.pass.as_ref(), Some(pass)));
        // A pair counts for both accounts, but once for one that is on both sides.
        let own = session.pass.clone();
        let joiners =
            pass.filter(|pass| Some(&pass.account) != own.as_ref().map(|own| &own.account));
        let origins: BTreeSet<Origin> = [creator, joiner]
            .iter()
            .filter_map(|id| self.connections.get(id).map(|known| known.origin))
            .collect();
        let per_address = self.limits.pairs_per_address;
        if self.pairs.len() >= self.limits.pairs {
            return Err(Refusal::TooMany(Bound::Pairs));
        }
        if (origins.iter()).any(|&origin| self.ledger.address(origin).pairs >= per_address) {
            return Err(Refusal::TooMany(Bound::PairsPerAddress));
        }
        let mut bytes_max = self.limits.pair_bytes;
        for pass in own.iter().chain(&joiners) {
            self.ledger.make_room(now, &pass.account)?;
            if self.ledger.account(&pass.account).pairs >= self.limits.pairs_per_account {
                return Err(Refusal::TooMany(Bound::PairsPerAccount));
            }
            bytes_max = bytes_max.min(self.ledger.bytes_left(now, &pass.account));
            if bytes_max == 0 {
                return Err(Refusal::AccountBytes);
            }
            if let Some(ticket) = &pass.ticket {
                bytes_max = bytes_max.min(ticket.budget);
            }
        }
        if let Some(brought) = &brought {
            self.use_ticket(now, brought)?;
        }
        for connection in [creator, joiner] {
            self.leave_stage(now, connection, 0);
            self.set_stage(connection, Stage::Paired { creator });
            self.send(connection, Command::Ready);
        }
        // Leaving the stage of a session that waits gives its ticket back; now it has a pair.
        if let Some(own) = &own {
            self.use_ticket(now, own)?;
        }
        let passes: Vec<_> = own.into_iter().chain(joiners).collect();
        for pass in &passes {
            self.ledger.account(&pass.account).pairs += 1;
        }
        for &origin in &origins {
            self.ledger.address(origin).pairs += 1;
        }
        let pair = Pair {
            joiner,
            passes,
            origins,
            bytes_max,
            carried: 0,
            cut: false,
        };
        self.pairs.insert(creator, pair);
        self.outputs.push_back(Output::Pair {
            creator,
            joiner,
            bytes_max,
        });
        Ok(())
    }

    /// Why nothing waits for whoever has that pass.
    fn why_no_session(&mut self, now: Instant, pass: Option<&Pass>) -> Refusal {
        let spent = pass.and_then(|pass| {
            let ticket = pass.ticket.as_ref()?;
            self.ledger.make_room(now, &pass.account).ok()?;
            self.ledger.account(&pass.account).is_fresh(ticket.id).err()
        });
        spent.unwrap_or(Refusal::NoSession)
    }

    fn use_ticket(&mut self, now: Instant, pass: &Pass) -> Result<(), Refusal> {
        let Some(ticket) = &pass.ticket else {
            return Ok(());
        };
        let max = self.limits.tickets_per_account;
        let until = now.checked_add(ticket.life).unwrap_or(now + FOREVER);
        let account = self.ledger.account(&pass.account);
        account.use_ticket(ticket.id, until, max)
    }

    /// A pair has carried bytes: they count at once, so that many pairs of one account carry no more than one.
    fn carried(&mut self, now: Instant, creator: ConnectionId, bytes: u64) {
        let Some(pair) = self.pairs.get_mut(&creator) else {
            return;
        };
        pair.carried = pair.carried.saturating_add(bytes);
        let mut spent = false;
        for pass in &pair.passes {
            self.ledger.account(&pass.account).carried(now, bytes);
            spent |= self.ledger.bytes_left(now, &pass.account) == 0;
        }
        if spent && !std::mem::replace(&mut pair.cut, true) {
            self.outputs.push_back(Output::Cut { creator });
        }
    }

    fn drain(&mut self, now: Instant) {
        self.draining = true;
        let waiting: Vec<_> = self
            .waiting
            .values()
            .map(|session| {
                let ours = session
                    .pass
                    .as_ref()
                    .is_some_and(|pass| pass.ticket.is_some());
                (session.creator, ours)
            })
            .collect();
        for (connection, ours) in waiting {
            self.refuse(now, connection, Refusal::Draining, ours);
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(at, connection)) = self.deadlines.first() {
            if at > now {
                break;
            }
            let refusal = if self.is_silent(connection) {
                Refusal::NoFirstCommand
            } else {
                Refusal::NoPartner
            };
            self.refuse(now, connection, refusal, false);
        }
    }

    /// Says why, hangs up and forgets. `ours`: the client knows our codes.
    fn refuse(&mut self, now: Instant, connection: ConnectionId, why: Refusal, ours: bool) {
        if self.connections.contains_key(&connection) {
            self.outputs.push_back(Output::Refused(why));
            self.send(connection, Command::Error(why.code(ours)));
            self.outputs.push_back(Output::Close { connection });
            self.forget(now, connection, 0);
        }
    }

    fn forget(&mut self, now: Instant, connection: ConnectionId, carried: u64) {
        self.leave_stage(now, connection, carried);
        self.connections.remove(&connection);
    }

    /// Takes back what the stage of the connection counted for; for a paired one, all that the pair did, and its partner's connection.
    fn leave_stage(&mut self, now: Instant, connection: ConnectionId, carried: u64) {
        let Some(known) = self.connections.get(&connection) else {
            return;
        };
        let origin = known.origin;
        match known.stage {
            Stage::Silent { until } => {
                self.ledger.address(origin).silent -= 1;
                self.silent -= 1;
                self.deadlines.remove(&(until, connection));
            }
            Stage::Waiting { until, token } => {
                self.ledger.address(origin).waiting -= 1;
                self.deadlines.remove(&(until, connection));
                self.ledger.rest_token(now, token);
                let session = self.waiting.remove(&token);
                if let Some(pass) = session.and_then(|session| session.pass) {
                    let account = self.ledger.account(&pass.account);
                    account.waiting -= 1;
                    if let Some(ticket) = pass.ticket {
                        account.give_back(ticket.id);
                    }
                }
            }
            Stage::Paired { creator } => self.end_pair(now, creator, carried),
        }
    }

    fn end_pair(&mut self, now: Instant, creator: ConnectionId, carried: u64) {
        self.carried(now, creator, carried);
        let Some(pair) = self.pairs.remove(&creator) else {
            return;
        };
        let exhausted = pair.carried >= pair.bytes_max;
        for pass in &pair.passes {
            let account = self.ledger.account(&pass.account);
            account.pairs -= 1;
            if let (true, Some(ticket)) = (exhausted || pair.cut, &pass.ticket) {
                account.exhaust(ticket.id);
            }
        }
        for origin in pair.origins {
            self.ledger.address(origin).pairs -= 1;
        }
        if pair.cut {
            self.outputs
                .push_back(Output::Refused(Refusal::AccountBytes));
        } else if exhausted {
            self.outputs.push_back(Output::Refused(Refusal::PairBytes));
        }
        for connection in [creator, pair.joiner] {
            self.connections.remove(&connection);
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

/// Whether a session is for a service that old clients know, too. Ours say so of every session.
fn is_legacy(tlvs: &TlvList) -> bool {
    tlvs.first(TLV_SERVICE)
        .is_some_and(|service| service[..] != NATIVE.as_bytes()[..])
}

#[cfg(test)]
#[path = "pairing_tests.rs"]
mod tests;
