//! Guests: who is signed on, and who gets which message.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdv_proto::pace::{Bucket, Origin};
use rdv_proto::session::{
    Entry, Guests, Numbers, Outbound, ProposalBook, ReclaimError, Token, Wish, guest_info,
};
use rdv_proto::wire::icbm::{ClientError, MessageToClient, MessageToHost, UserInfo, subgroup};
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::snac::{ErrorCode, Foodgroup};
use rdv_proto::wire::text::ScreenName;
use uuid::Uuid;

use crate::limits::Limits;
use crate::mailbox::{Mailbox, Recipient, SIGNED_ON_ELSEWHERE, Taken, payload_size};
use crate::metrics::{Limit, Metrics};
use crate::random::random;
use crate::routing::{Address, Kind, Parcel, Registered, RouteError, Seen, Word};
use crate::time::unix_s;

/// Capabilities kept of one client.
const CAPABILITIES_MAX: usize = 64;

/// All guests of a host.
#[derive(Debug)]
pub(crate) struct Router {
    limits: Limits,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    clients: BTreeMap<ScreenName, Client>,
    numbers: Numbers,
    guests: Guests,
    origins: HashMap<Origin, OriginUse>,
    next_id: u64,
    sweep_at: Option<Instant>,
}

#[derive(Debug)]
struct Client {
    id: u64,
    origin: Origin,
    number: Option<u16>,
    recipient: Recipient,
    since_unix_s: u32,
    online: bool,
    capabilities: BTreeSet<Uuid>,
    book: ProposalBook,
}

#[derive(Debug)]
struct OriginUse {
    guests: usize,
    numbers: Bucket,
    attempts: Bucket,
}

impl Router {
    pub(crate) fn new(numbers: RangeInclusive<u16>, limits: Limits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            limits,
            metrics,
            state: Mutex::new(State {
                clients: BTreeMap::new(),
                numbers: Numbers::new(numbers, limits.number_grace),
                guests: Guests::new(limits.number_grace, limits.clients),
                origins: HashMap::new(),
                next_id: 0,
                sweep_at: None,
            }),
        })
    }

    /// Lets a guest in. Refused attempts count for its address.
    pub(crate) fn sign_on(
        &self,
        now: Instant,
        wish: &Wish,
        origin: Origin,
        mailbox: Mailbox,
    ) -> Result<Registered, LoginErrorCode> {
        let mut state = self.lock();
        state.sweep(now);
        if state.clients.len() >= self.limits.clients {
            return Err(self.over(Limit::Clients, LoginErrorCode::UNAVAILABLE));
        }
        let using = state.origin(origin, &self.limits);
        if using.guests >= self.limits.guests_per_address {
            let code = LoginErrorCode::TOO_MANY_FROM_ADDRESS;
            return Err(self.over(Limit::GuestsPerAddress, code));
        }
        let (name, number, token) = match wish {
            Wish::Number { life } => {
                if !using.numbers.take(now) {
                    let code = LoginErrorCode::ADDRESS_RATE_LIMITED;
                    return Err(self.over(Limit::Numbers, code));
                }
                let life = (*life).min(self.limits.number_life_max);
                let (token, draw) = draw_number().ok_or(LoginErrorCode::UNAVAILABLE)?;
                let number = state
                    .numbers
                    .allocate(now, life, draw, token.clone())
                    .ok_or_else(|| self.over(Limit::NumbersTaken, LoginErrorCode::UNAVAILABLE))?;
                (number_name(number)?, Some(number), Some(token))
            }
            Wish::Join => {
                let (name, token) = draw_guest().ok_or(LoginErrorCode::UNAVAILABLE)?;
                if !state.guests.enter(now, &name, token.clone()) {
                    return Err(self.over(Limit::Clients, LoginErrorCode::UNAVAILABLE));
                }
                (name, None, Some(token))
            }
            Wish::Reclaim { number, token } => {
                self.take_back(&mut state, now, origin, |state| {
                    state.numbers.reclaim(now, *number, token)
                })?;
                (number_name(*number)?, Some(*number), kept(token))
            }
            Wish::Return { name, token } => {
                self.take_back(&mut state, now, origin, |state| {
                    state.guests.reclaim(now, name, token)
                })?;
                (name.clone(), None, kept(token))
            }
        };
        state.origin(origin, &self.limits).guests += 1;
        state.next_id += 1;
        let (id, since_unix_s) = (state.next_id, unix_s());
        let client = Client {
            id,
            origin,
            number,
            recipient: Recipient::new(mailbox),
            since_unix_s,
            online: false,
            capabilities: BTreeSet::new(),
            book: ProposalBook::new(self.limits.proposals),
        };
        if let Some(displaced) = state.clients.insert(name.clone(), client) {
            // Somebody with the token came in under this name.
            state.origin(displaced.origin, &self.limits).guests -= 1;
            displaced.recipient.dismiss(Some(SIGNED_ON_ELSEWHERE));
        }
        let kind = Kind::Guest;
        Ok(Registered {
            address: Address { name, id, kind },
            since_unix_s,
            token,
        })
    }

    /// A guest is gone; its number or name waits for it.
    pub(crate) fn sign_off(&self, now: Instant, address: &Address) {
        let mut state = self.lock();
        // Who took the name back may sit here now.
        let is_own = |client: &&Client| client.id == address.id;
        if state.clients.get(&address.name).filter(is_own).is_none() {
            return;
        }
        if let Some(client) = state.clients.remove(&address.name) {
            state.origin(client.origin, &self.limits).guests -= 1;
            match client.number {
                Some(number) => state.numbers.release(now, number),
                None => state.guests.release(now, &address.name),
            }
        }
    }

    /// What a guest says about itself. There is nothing else that it is told.
    pub(crate) fn word(&self, address: &Address, word: Word) -> Seen {
        let mut state = self.lock();
        let client = state.clients.get_mut(&address.name);
        if let Some(client) = client.filter(|client| client.id == address.id) {
            match word {
                Word::Online => client.online = true,
                Word::Locate(change) => {
                    if let Some(capabilities) = change.capabilities {
                        let some = capabilities.into_iter().take(CAPABILITIES_MAX);
                        client.capabilities = some.collect();
                    }
                }
                Word::Parameters(parameters) => client.recipient.set_parameters(parameters),
                _ => {}
            }
        }
        Seen::Nothing
    }

    /// Carries something from one guest to another.
    pub(crate) fn route(
        &self,
        now: Instant,
        from: &Address,
        parcel: Parcel,
    ) -> Result<(), RouteError> {
        match parcel {
            Parcel::Message(outbound) => self.deliver(now, from, outbound).map_err(Into::into),
            Parcel::Refusal(error) => {
                self.pass_on(now, from, error);
                Ok(())
            }
            // Guests do not write to each other.
            Parcel::Event(_) => Ok(()),
        }
    }

    /// Lets somebody take back what it had; a failure counts for its address.
    fn take_back(
        &self,
        state: &mut State,
        now: Instant,
        origin: Origin,
        take: impl FnOnce(&mut State) -> Result<(), ReclaimError>,
    ) -> Result<(), LoginErrorCode> {
        let limits = &self.limits;
        if !state.origin(origin, limits).attempts.has(now) {
            let code = LoginErrorCode::ADDRESS_RATE_LIMITED;
            return Err(self.over(Limit::SignOnsPerAddress, code));
        }
        take(state).map_err(|error| {
            state.origin(origin, limits).attempts.take(now);
            match error {
                ReclaimError::Refused => LoginErrorCode::WRONG_PASSWORD,
                ReclaimError::TooOften => {
                    self.over(Limit::TakeBacks, LoginErrorCode::ACCOUNT_RATE_LIMITED)
                }
            }
        })
    }

    /// Counts a refusal for a limit.
    fn over<T>(&self, limit: Limit, told: T) -> T {
        self.metrics.refused(limit);
        told
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message into the queue of its recipient.
    ///
    /// Unknown, offline, spoken for and used up are one error. The name of the sender is that of its seat (S-34).
    fn deliver(&self, now: Instant, from: &Address, outbound: Outbound) -> Result<(), ErrorCode> {
        let message = outbound.message;
        let rendezvous = outbound
            .rendezvous
            .ok_or(ErrorCode::NOT_SUPPORTED_BY_HOST)?;
        let mut state = self.lock();
        let begins = rendezvous.begins();
        if rendezvous.proposes() {
            state
                .enter_proposal(now, from, &message, begins)
                .map_err(|limit| self.over(limit, ErrorCode::REQUEST_DENIED))?;
        }
        let number = as_number(&message.recipient);
        if let Some(number) = number {
            let speaks = |proposes| {
                state
                    .numbers
                    .admits(now, number, &from.name, message.cookie, proposes)
            };
            let knows = speaks(false);
            let may = speaks(rendezvous.proposes());
            if !knows {
                let origin = state.own(from).ok_or(ErrorCode::NOT_LOGGED_ON)?.origin;
                if !state.origin(origin, &self.limits).attempts.take(now) {
                    return Err(self.over(Limit::NumberTries, ErrorCode::REQUEST_DENIED));
                }
            }
            if !may {
                return Err(ErrorCode::NOT_LOGGED_ON);
            }
        }
        let sender = state.own(from).map(|own| own.info(&from.name));
        let sender = sender.ok_or(ErrorCode::NOT_LOGGED_ON)?;
        let recipient = state
            .clients
            .get(&message.recipient)
            .filter(|client| client.online)
            .ok_or(ErrorCode::NOT_LOGGED_ON)?;
        let is_checked = rendezvous.required && rendezvous.begins();
        if is_checked && !recipient.capabilities.contains(&rendezvous.service) {
            return Err(ErrorCode::NOT_SUPPORTED_BY_CLIENT);
        }
        let size = payload_size(&message);
        let to_client = MessageToClient {
            cookie: message.cookie,
            channel: message.channel,
            sender,
            tlvs: message.tlvs,
        };
        match recipient
            .recipient
            .deliver(&to_client, size, &to_client.encode())
        {
            Taken::Yes => {}
            Taken::TooLarge => {
                return Err(self.over(Limit::MessageSize, ErrorCode::REFUSED_BY_CLIENT));
            }
            Taken::Lost => return Err(ErrorCode::RESPONSES_LOST),
        }
        if let (Some(number), true) = (number, rendezvous.proposes()) {
            state.numbers.bind(number, &from.name, message.cookie);
        }
        Ok(())
    }

    /// Passes on a refusal, with the names swapped; what cannot be passed on is forgotten.
    fn pass_on(&self, now: Instant, from: &Address, error: ClientError) {
        let state = self.lock();
        if let Some(number) = as_number(&error.name)
            && !state
                .numbers
                .admits(now, number, &from.name, error.cookie, false)
        {
            return;
        }
        if let Some(recipient) = state
            .clients
            .get(&error.name)
            .filter(|client| client.online)
        {
            let name = from.name.clone();
            let body = ClientError { name, ..error }.encode();
            let recipient = &recipient.recipient;
            recipient.push(Foodgroup::ICBM, subgroup::CLIENT_ERROR, body);
        }
    }
}

impl State {
    fn origin(&mut self, origin: Origin, limits: &Limits) -> &mut OriginUse {
        self.origins.entry(origin).or_insert_with(|| OriginUse {
            guests: 0,
            numbers: Bucket::new(limits.numbers),
            attempts: Bucket::new(limits.attempts),
        })
    }

    /// Counts a proposal; the limit for which it is one too many.
    fn enter_proposal(
        &mut self,
        now: Instant,
        from: &Address,
        message: &MessageToHost,
        begins: bool,
    ) -> Result<(), Limit> {
        let client = self.clients.get_mut(&from.name);
        // Who was displaced has no book any more.
        let client = client.filter(|client| client.id == from.id);
        let client = client.ok_or(Limit::OpenProposals)?;
        let entry = Entry {
            by: from.id,
            begins,
            stranger: true,
        };
        let entered = client
            .book
            .enter(now, &message.recipient, message.cookie, entry);
        entered.map_err(Limit::from)
    }

    fn own(&self, from: &Address) -> Option<&Client> {
        let client = self.clients.get(&from.name);
        client.filter(|client| client.id == from.id)
    }

    /// Forgets the addresses that there is nothing to remember of, at most once a minute.
    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_some_and(|at| at > now) {
            return;
        }
        self.sweep_at = Some(now + Duration::from_secs(60));
        self.origins.retain(|_, using| {
            using.guests > 0 || !using.numbers.is_full(now) || !using.attempts.is_full(now)
        });
    }
}

impl Client {
    /// The guest as others see it.
    fn info(&self, name: &ScreenName) -> UserInfo {
        let capabilities = self.capabilities.iter().copied();
        guest_info(name, self.since_unix_s, capabilities)
    }
}

/// The number that a name is, written as the host writes it.
fn as_number(name: &ScreenName) -> Option<u16> {
    let number: u16 = name.normalized().parse().ok()?;
    (number.to_string() == name.normalized()).then_some(number)
}

fn number_name(number: u16) -> Result<ScreenName, LoginErrorCode> {
    ScreenName::new(number.to_string()).map_err(|_| LoginErrorCode::UNAVAILABLE)
}

/// The token that was just found right: it stays the same.
fn kept(token: &[u8]) -> Option<Token> {
    <[u8; 16]>::try_from(token).ok().map(Token)
}

fn draw_number() -> Option<(Token, u64)> {
    Some((Token(random().ok()?), u64::from_be_bytes(random().ok()?)))
}

/// `guest` and ten characters of base32.
fn draw_guest() -> Option<(ScreenName, Token)> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let characters = random::<10>()
        .ok()?
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    let name = ScreenName::new(format!("guest{}", String::from_iter(characters))).ok()?;
    Some((name, Token(random().ok()?)))
}
