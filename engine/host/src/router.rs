//! Guests: who is signed on, and who gets which message.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rdv_proto::pace::{Bucket, Origin};
use rdv_proto::session::{
    DEFAULT_PARAMETERS, Entry, Guests, Numbers, Outbound, ProposalBook, ReclaimError, Token, Wish,
    guest_info,
};
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::icbm::{
    Channel as IcbmChannel, ClientError, MessageToClient, MessageToHost, MissedCall, MissedReason,
    UserInfo, subgroup, tlv,
};
use rdv_proto::wire::signon::{IcbmParameters, LoginErrorCode, tlv as signon_tlv};
use rdv_proto::wire::snac::{ErrorCode, Foodgroup, HOST_REQUEST, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use uuid::Uuid;

use crate::limits::Limits;
use crate::metrics::{Limit, Metrics};
use crate::queue::Queue;
use crate::random::random;
use crate::time::unix_s;

/// Sign-off reason: the account came in elsewhere.
const SIGNED_ON_ELSEWHERE: u16 = 1;
/// Flag of the ICBM parameters: tell me of messages that I missed.
const FLAG_MISSED_CALLS: u32 = 0x002;
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
    queue: Queue,
    since_unix_s: u32,
    online: bool,
    capabilities: BTreeSet<Uuid>,
    parameters: IcbmParameters,
    book: ProposalBook,
}

#[derive(Debug)]
struct OriginUse {
    guests: usize,
    numbers: Bucket,
    attempts: Bucket,
}

/// A client's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    router: Arc<Router>,
    id: u64,
    origin: Origin,
    number: Option<u16>,
    pub(crate) name: ScreenName,
    pub(crate) since_unix_s: u32,
    /// What it takes its name back with.
    pub(crate) token: Option<Token>,
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
        self: &Arc<Self>,
        now: Instant,
        wish: &Wish,
        address: IpAddr,
        queue: Queue,
    ) -> Result<Seat, LoginErrorCode> {
        let origin = Origin::of(address);
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
            queue,
            since_unix_s,
            online: false,
            capabilities: BTreeSet::new(),
            parameters: DEFAULT_PARAMETERS,
            book: ProposalBook::new(self.limits.proposals),
        };
        if let Some(displaced) = state.clients.insert(name.clone(), client) {
            displaced.sign_off();
        }
        Ok(Seat {
            router: Arc::clone(self),
            id,
            origin,
            number,
            name,
            since_unix_s,
            token,
        })
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
}

impl Seat {
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.router.metrics
    }

    pub(crate) fn set_online(&self) {
        self.change(|client| client.online = true);
    }

    pub(crate) fn set_capabilities(&self, capabilities: Vec<Uuid>) {
        let capabilities = capabilities.into_iter().take(CAPABILITIES_MAX).collect();
        self.change(|client| client.capabilities = capabilities);
    }

    pub(crate) fn set_parameters(&self, parameters: IcbmParameters) {
        self.change(|client| client.parameters = parameters);
    }

    /// Puts a message into the queue of its recipient.
    ///
    /// Unknown, offline, spoken for and used up are one error. The name of the sender is that of this seat (S-34).
    pub(crate) fn deliver(&self, now: Instant, outbound: &Outbound) -> Result<(), ErrorCode> {
        let message = &outbound.message;
        let rendezvous = outbound
            .rendezvous
            .ok_or(ErrorCode::NOT_SUPPORTED_BY_HOST)?;
        let mut state = self.router.lock();
        let begins = rendezvous.begins();
        if rendezvous.proposes() {
            state
                .enter_proposal(now, self, message, begins)
                .map_err(|limit| self.router.over(limit, ErrorCode::REQUEST_DENIED))?;
        }
        let number = as_number(&message.recipient);
        if let Some(number) = number {
            let speaks = |proposes| {
                state
                    .numbers
                    .admits(now, number, &self.name, message.cookie, proposes)
            };
            let knows = speaks(false);
            let may = speaks(rendezvous.proposes());
            let attempts = &mut state.origin(self.origin, &self.router.limits).attempts;
            if !knows && !attempts.take(now) {
                let code = ErrorCode::REQUEST_DENIED;
                return Err(self.router.over(Limit::NumberTries, code));
            }
            if !may {
                return Err(ErrorCode::NOT_LOGGED_ON);
            }
        }
        let sender = state.info(self).ok_or(ErrorCode::NOT_LOGGED_ON)?;
        let recipient = state
            .clients
            .get(&message.recipient)
            .filter(|client| client.online)
            .ok_or(ErrorCode::NOT_LOGGED_ON)?;
        let is_checked = rendezvous.required && rendezvous.begins();
        if is_checked && !recipient.capabilities.contains(&rendezvous.service) {
            return Err(ErrorCode::NOT_SUPPORTED_BY_CLIENT);
        }
        let size = message.tlvs.first(tlv::RENDEZVOUS).map_or(0, Bytes::len);
        if size > usize::from(recipient.parameters.incoming_max) {
            if recipient.parameters.flags & FLAG_MISSED_CALLS != 0 {
                recipient.missed_call(message.channel, &sender);
            }
            let code = ErrorCode::REFUSED_BY_CLIENT;
            return Err(self.router.over(Limit::MessageSize, code));
        }
        let body = MessageToClient {
            cookie: message.cookie,
            channel: message.channel,
            sender,
            tlvs: message.tlvs.clone(),
        };
        if !recipient.push(subgroup::MESSAGE_TO_CLIENT, body.encode()) {
            return Err(ErrorCode::RESPONSES_LOST);
        }
        if let (Some(number), true) = (number, rendezvous.proposes()) {
            state.numbers.bind(number, &self.name, message.cookie);
        }
        Ok(())
    }

    /// Passes on a refusal, with the names swapped; what cannot be passed on is forgotten.
    pub(crate) fn pass_on(&self, now: Instant, error: ClientError) {
        let state = self.router.lock();
        if let Some(number) = as_number(&error.name)
            && !state
                .numbers
                .admits(now, number, &self.name, error.cookie, false)
        {
            return;
        }
        if let Some(recipient) = state
            .clients
            .get(&error.name)
            .filter(|client| client.online)
        {
            let name = self.name.clone();
            recipient.push(
                subgroup::CLIENT_ERROR,
                ClientError { name, ..error }.encode(),
            );
        }
    }

    fn change(&self, change: impl FnOnce(&mut Client)) {
        let mut state = self.router.lock();
        if let Some(client) = state.clients.get_mut(&self.name)
            && client.id == self.id
        {
            change(client);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.router.lock();
        state.origin(self.origin, &self.router.limits).guests -= 1;
        // Who took the name back sits here now.
        if state
            .clients
            .get(&self.name)
            .is_some_and(|client| client.id == self.id)
        {
            state.clients.remove(&self.name);
            match self.number {
                Some(number) => state.numbers.release(now, number),
                None => state.guests.release(now, &self.name),
            }
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
        seat: &Seat,
        message: &MessageToHost,
        begins: bool,
    ) -> Result<(), Limit> {
        let client = self.clients.get_mut(&seat.name);
        // Who was displaced has no book any more.
        let client = client.filter(|client| client.id == seat.id);
        let client = client.ok_or(Limit::OpenProposals)?;
        let entry = Entry {
            by: seat.id,
            begins,
            stranger: true,
        };
        let entered = client
            .book
            .enter(now, &message.recipient, message.cookie, entry);
        entered.map_err(Limit::from)
    }

    /// The owner of the seat as others see it.
    fn info(&self, seat: &Seat) -> Option<UserInfo> {
        let client = self
            .clients
            .get(&seat.name)
            .filter(|client| client.id == seat.id)?;
        Some(guest_info(
            &seat.name,
            client.since_unix_s,
            client.capabilities.iter().copied(),
        ))
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
    fn push(&self, subgroup: u16, body: Bytes) -> bool {
        let snac = Snac::new(Foodgroup::ICBM, subgroup, HOST_REQUEST, body);
        self.queue.push(Channel::DATA, snac.encode())
    }

    fn missed_call(&self, channel: IcbmChannel, sender: &UserInfo) {
        let missed = MissedCall {
            channel,
            sender: sender.clone(),
            count: 1,
            reason: MissedReason::TOO_LARGE,
        };
        self.push(subgroup::MISSED_CALLS, missed.encode());
    }

    /// Somebody with the token came in under this name.
    fn sign_off(self) {
        let mut data = BytesMut::new();
        TlvList::new()
            .with_u16(signon_tlv::SIGN_OFF_REASON, SIGNED_ON_ELSEWHERE)
            .encode_rest(&mut data);
        self.queue.push(Channel::SIGN_OFF, data.freeze());
        self.queue.close();
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
