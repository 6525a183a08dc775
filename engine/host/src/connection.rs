//! One client: frames from its stream into the session machine, and what the machine says into its queue.

mod administer;

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rdv_proto::pace::Origin;
use rdv_proto::session::{
    AccountSignOn, Admission, Output, Party, RateTable, Session, SessionConfig, Sessions, Wish,
};
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::flap::Frame;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::snac::HOST_REQUEST;
use rdv_proto::wire::text::ScreenName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{timeout, timeout_at};
use tracing::{debug, info, trace};

use crate::accounts::Account;
use crate::cookies::{Door, Granted, Service};
use crate::drain::Leave;
use crate::feedbag;
use crate::gate::Pass;
use crate::host::Shared;
use crate::mailbox::Mailbox;
use crate::metrics::{Kind, Limit, SignedOn};
use crate::queue::{Queue, queue};
use crate::random::random;
use crate::routing::{Entrant, Resident, Seat, Word};
use crate::serve::{Keeping, own_info, serve_account, serve_guest};
use crate::stored::InHand;
use crate::time::since_1970;

use administer::Administering;

/// What is read at once, in bytes.
const READ: usize = 8 * 1024;
/// What is still read of a client that was sent away, so that it gets to read why.
const DRAIN_MAX: u64 = 256 * 1024;

/// A connection that passed the door.
pub(crate) struct Arrival {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pass: Pass,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) arrived: Instant,
    /// Number of the listener that it came to.
    pub(crate) listener: usize,
    /// Over TLS: guests and those with a password may sign on.
    pub(crate) tls: bool,
    pub(crate) stop: Leave,
}

/// Reads what is there, at most [`READ`] bytes. While there is nothing, no buffer is held.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    poll_fn(|context| {
        let mut chunk = [MaybeUninit::uninit(); READ];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut chunk))?;
        let chunk = chunk.filled();
        if buffer.is_empty() {
            // What a frame leaves in the hands of others keeps no more than was read with it.
            *buffer = BytesMut::from(chunk);
        } else {
            buffer.extend_from_slice(chunk);
        }
        Poll::Ready(Ok(chunk.len()))
    })
    .await
}

enum Ended {
    /// What is queued should still reach the client.
    Farewell,
    /// There is nobody to say anything to.
    Gone,
}

impl Arrival {
    /// Serves the client until it is gone.
    pub(crate) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let limits = self.shared.limits;
        let (Ok(challenge), Ok(sequence)) = (random(), random::<2>()) else {
            return;
        };
        let config = SessionConfig {
            peer: self.peer,
            tls: self.tls,
            accounts: self.shared.reception.is_some(),
            museum: self.shared.museum,
            challenge,
            rates: RateTable {
                general: limits.rate_general,
                icbm: limits.rate_icbm,
                ..RateTable::OURS
            },
            rates_old: limits.rates_old,
            error_url: self.shared.error_url.clone(),
        };
        let (mut reading, writing) = tokio::io::split(stream);
        let sequence = u16::from_be_bytes(sequence) >> 1;
        let (queue, outgoing) = queue(limits.queue_messages, limits.queue_bytes, sequence);
        let mut client = Client {
            session: Session::new(Instant::now(), config),
            queue,
            news: Arc::default(),
            seat: None,
            in_hand: None,
            counted: None,
            pass: Some(self.pass),
            shared: self.shared,
            local: self.local,
            peer: self.peer,
            door: Door {
                listener: self.listener,
                tls: self.tls,
            },
            admin: None,
            arrived: self.arrived,
        };
        let mut writer = std::pin::pin!(outgoing.write_to(writing, limits.keep_alive));
        let ended = tokio::select! {
            ended = client.read_from(&mut reading, self.stop) => ended,
            _ = &mut writer => Ended::Gone,
            () = outgoing.overflow() => {
                client.shared.metrics.refused(Limit::Queue);
                debug!("a client did not keep up and was cut off");
                Ended::Gone
            }
        };
        // From here on nobody reaches this client; the number of a guest waits for it.
        client.seat = None;
        client.admin = None;
        client.in_hand = None;
        client.counted = None;
        if let Ended::Farewell = ended {
            client.queue.close();
            let farewell = async {
                if writer.await.is_ok() {
                    let mut rest = reading.take(DRAIN_MAX);
                    tokio::io::copy(&mut rest, &mut tokio::io::sink())
                        .await
                        .ok();
                }
            };
            Box::pin(timeout(limits.farewell, farewell)).await.ok();
        }
        trace!("connection ended");
    }
}

struct Client {
    session: Session,
    queue: Queue,
    /// There is something new about its own account.
    news: Arc<Notify>,
    seat: Option<Seat>,
    /// It came to administer its account.
    admin: Option<Administering>,
    /// Stored messages that it was given.
    in_hand: Option<InHand>,
    counted: Option<SignedOn>,
    pass: Option<Pass>,
    shared: Arc<Shared>,
    local: SocketAddr,
    peer: SocketAddr,
    door: Door,
    arrived: Instant,
}

impl Client {
    async fn read_from(&mut self, stream: &mut (impl AsyncRead + Unpin), mut stop: Leave) -> Ended {
        let mut buffer = BytesMut::new();
        let opened = Instant::now();
        let mut last_frame = opened;
        if let Some(ended) = Box::pin(self.carry_out()).await {
            return ended;
        }
        loop {
            loop {
                match Frame::decode(&mut buffer, self.session.payload_max()) {
                    Ok(None) => break,
                    Err(DecodeError::BadLength { .. }) => return self.over(Limit::Frame),
                    Err(_) => return Ended::Gone,
                    Ok(Some(frame)) => {
                        last_frame = Instant::now();
                        self.session.handle_frame(last_frame, frame);
                        if let Some(excess) = self.session.excess() {
                            self.shared.metrics.refused(excess.into());
                        }
                        let (deadline, limit) = self.deadline(opened, last_frame);
                        let ended = tokio::select! {
                            carried = timeout_at(deadline.into(), Box::pin(self.carry_out())) => carried,
                            within = stop.asked() => return self.leave(within),
                        };
                        match ended {
                            Ok(None) => {}
                            Ok(Some(ended)) => return ended,
                            Err(_) => return self.over(limit),
                        }
                    }
                }
            }
            if buffer.is_empty() {
                buffer = BytesMut::new();
            }
            let (deadline, limit) = self.deadline(opened, last_frame);
            let news = Arc::clone(&self.news);
            let read = tokio::select! {
                read = timeout_at(deadline.into(), read(stream, &mut buffer)) => Some(read),
                () = news.notified() => None,
                within = stop.asked() => return self.leave(within),
            };
            let Some(read) = read else {
                match Box::pin(self.tell_news()).await {
                    None => continue,
                    Some(ended) => return ended,
                }
            };
            match read {
                Ok(Ok(1..)) => self.heard(Instant::now()).await,
                Ok(Ok(0) | Err(_)) => return Ended::Gone,
                Err(_) => return self.over(limit),
            }
        }
    }

    /// Sends the client away for a limit.
    fn over(&mut self, limit: Limit) -> Ended {
        self.shared.metrics.refused(limit);
        self.dismiss()
    }

    /// Sends the client away because the host goes down; it may come back within that time.
    fn leave(&mut self, within: Option<Duration>) -> Ended {
        match within {
            Some(within) => self.session.sign_off_for_a_while(within),
            None => self.session.sign_off(None),
        }
        self.last_words()
    }

    /// Sends the client away.
    fn dismiss(&mut self) -> Ended {
        self.session.sign_off(None);
        self.last_words()
    }

    fn last_words(&mut self) -> Ended {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(channel, data) => self.queue.push(channel, data),
                Output::BareSignOff => self.queue.push_bare_sign_off(),
                _ => true,
            };
        }
        Ended::Farewell
    }

    /// The client is told what is new about its own account.
    async fn tell_news(&mut self) -> Option<Ended> {
        if let Some(seat) = &self.seat {
            own_info(&mut self.session, seat, HOST_REQUEST).await;
        }
        self.carry_out().await
    }

    /// The client said something, at `read`: so it has taken what it was given.
    async fn heard(&mut self, read: Instant) {
        let while_ = self.shared.limits.stored_proof;
        let taken = self
            .in_hand
            .take_if(|in_hand| in_hand.is_taken(read, while_));
        if let (Some(taken), Some(stored)) = (taken, &self.shared.stored) {
            stored.done(taken).await;
        }
    }

    /// Hands out what was stored for the account; what is in hand already is not handed out again.
    async fn hand_out(&mut self, request_id: u32) {
        let account = self.seat.as_ref().and_then(Seat::account);
        if let (Some(account), Some(stored), None) = (account, &self.shared.stored, &self.in_hand)
            && let Some((in_hand, messages)) = stored.take(account).await
        {
            for message in &messages {
                self.session.stored(message);
            }
            self.in_hand = Some(in_hand);
        }
        self.session.stored_all(request_id);
    }

    /// Absolute: single bytes do not move it. The limit that it stands for comes with it.
    fn deadline(&self, opened: Instant, last_frame: Instant) -> (Instant, Limit) {
        let limits = &self.shared.limits;
        let sign_on = (self.arrived + limits.sign_on, Limit::SignOnTime);
        match self.session.party() {
            Some(Party::Old) if self.session.is_online() => {
                (last_frame + limits.silence_old, Limit::Silence)
            }
            _ if self.session.is_online() => (last_frame + limits.silence, Limit::Silence),
            Some(Party::Ours | Party::Old) => (self.arrived + limits.set_up, Limit::SetUp),
            _ if self.session.is_greeted() => sign_on,
            _ => sign_on.min((opened + limits.first_frame, Limit::FirstFrame)),
        }
    }

    /// Does what the session wants done; says whether the connection ended by it.
    async fn carry_out(&mut self) -> Option<Ended> {
        let stall = self.shared.limits.stall;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(channel, data) => {
                    // A long answer goes out as fast as the client reads; what others send does not wait for that.
                    if self.queue.wait_for_room(stall).await.is_none() {
                        return Some(self.stalled());
                    }
                    if !self.queue.push(channel, data) {
                        return Some(Ended::Gone);
                    }
                }
                Output::BareSignOff => {
                    self.queue.push_bare_sign_off();
                }
                Output::Close => return Some(Ended::Farewell),
                // Who comes now would have to leave again at once.
                Output::SignOn(_)
                | Output::Authenticate(_)
                | Output::CreateAccount { .. }
                | Output::Redeem { .. }
                    if self.shared.drain.is_on() =>
                {
                    self.refuse(LoginErrorCode::UNAVAILABLE);
                }
                Output::SignOn(wish) => self.sign_on_guest(wish).await,
                Output::Authenticate(sign_on) => self.authenticate(sign_on).await,
                Output::CreateAccount { sessions, account } => {
                    Box::pin(self.create_account(sessions, account)).await;
                }
                Output::Redeem { cookie, sessions } => self.redeem(&cookie, sessions).await,
                Output::Service {
                    request_id,
                    foodgroup,
                } => self.tell_service(request_id, foodgroup),
                Output::Admin {
                    request_id,
                    request,
                } => Box::pin(self.administer(request_id, request)).await,
                Output::Relay {
                    request_id,
                    cookie,
                    avoid,
                } => self.tell_relay(request_id, cookie, &avoid),
                Output::Stored { request_id } => self.hand_out(request_id).await,
                other => {
                    // Without a seat the session asks for nothing but one.
                    let Some(seat) = &self.seat else {
                        return Some(Ended::Gone);
                    };
                    let Some(account) = seat.account() else {
                        serve_guest(&mut self.session, seat, &self.shared.metrics, other).await;
                        continue;
                    };
                    let keeping = Keeping {
                        accounts: self.shared.accounts.as_ref(),
                        edits: &self.shared.edits,
                        stored: self.shared.stored.as_ref(),
                        metrics: &self.shared.metrics,
                    };
                    let who = (seat, account);
                    let mut shown = serve_account(&mut self.session, who, keeping, other).await;
                    while !shown.is_empty() {
                        let room = self.queue.wait_for_room(stall).await;
                        let Some(room) = room else {
                            return Some(self.stalled());
                        };
                        let later = shown.split_off(shown.len().min(room));
                        seat.presence(Word::Show(shown)).await;
                        shown = later;
                    }
                }
            }
        }
        if let Some(in_hand) = self
            .in_hand
            .as_mut()
            .filter(|in_hand| in_hand.is_unwritten())
        {
            in_hand.queued(self.queue.mark());
        }
        None
    }

    /// The client reads nothing, or is gone.
    fn stalled(&self) -> Ended {
        if !self.queue.is_closed() {
            self.shared.metrics.refused(Limit::Stall);
        }
        Ended::Gone
    }

    async fn sign_on_guest(&mut self, wish: Wish) {
        let from = Origin::of(self.peer.ip());
        let mailbox = self.mailbox(false);
        let entrant = Entrant::Guest { wish, from };
        match self.shared.routes.register(entrant, mailbox).await {
            Ok(seat) => {
                let (name, token) = (seat.name().clone(), seat.token.as_ref());
                self.session.signed_on(name, token, seat.since_unix_s);
                self.seat = Some(seat);
                self.counted = Some(self.shared.metrics.signed_on(Kind::Guest));
                self.log_sign_on();
                self.pass = None;
            }
            Err(code) => {
                self.refuse(code);
            }
        }
    }

    fn mailbox(&self, bare_sign_off: bool) -> Mailbox {
        Mailbox {
            queue: self.queue.clone(),
            news: Arc::clone(&self.news),
            bare_sign_off,
        }
    }

    /// Checks who it is; then the account is in, or goes on with a cookie.
    async fn authenticate(&mut self, sign_on: AccountSignOn) {
        let shared = Arc::clone(&self.shared);
        let Some(reception) = &shared.reception else {
            return self.refuse(LoginErrorCode::WRONG_PASSWORD);
        };
        let proven = since_1970();
        let checked = reception.check(&sign_on, self.peer.ip()).await;
        match (checked, sign_on.name.clone()) {
            (Ok(account), Some(_)) if !sign_on.moves_on() => {
                self.admit(&account, sign_on.sessions, Party::Ours, proven)
                    .await;
            }
            (Ok(account), Some(name)) => {
                self.send_on(&account, name, sign_on.sessions, proven).await;
            }
            (Ok(_), None) => self.refuse(LoginErrorCode::WRONG_PASSWORD),
            (Err(code), _) => self.refuse(code),
        }
    }

    async fn send_on(
        &mut self,
        account: &Account,
        name: ScreenName,
        sessions: Sessions,
        proven: Duration,
    ) {
        let routes = &self.shared.routes;
        if !routes.has_room(account.id, &account.name, sessions).await {
            return self.refuse(LoginErrorCode::ADDRESS_RATE_LIMITED);
        }
        let granted = Granted {
            account: account.id,
            name,
            sessions,
            service: Service::Bos,
            party: Party::Old,
            proven,
        };
        match self.issue(granted) {
            Some(cookie) => {
                let address = self.next_address();
                self.session.sent_on(&account.name, address, cookie);
            }
            None => self.refuse(LoginErrorCode::UNAVAILABLE),
        }
    }

    /// A cookie for another connection.
    fn issue(&self, granted: Granted) -> Option<Bytes> {
        let cookie = self
            .shared
            .cookies
            .issue(Instant::now(), self.door, granted);
        if cookie.is_none() {
            self.shared.metrics.refused(Limit::Cookies);
        }
        cookie
    }

    /// Where that goes to.
    fn next_address(&self) -> String {
        let here = self.shared.public_address.unwrap_or(self.local.ip());
        SocketAddr::new(here, self.local.port()).to_string()
    }

    async fn redeem(&mut self, cookie: &[u8], sessions: Option<Sessions>) {
        let shared = Arc::clone(&self.shared);
        let granted = shared.cookies.redeem(Instant::now(), self.door, cookie);
        let (Some(granted), Some(reception)) = (granted, &shared.reception) else {
            return self.refuse(LoginErrorCode::BAD_COOKIE);
        };
        let account = match reception.find(&granted.name).await {
            Ok(account) => account,
            Err(code) => return self.refuse(code),
        };
        // Removed, or closed to old clients, since the cookie was given.
        let is_closed = granted.party == Party::Old && !account.legacy;
        if account.id != granted.account || is_closed {
            return self.refuse(LoginErrorCode::BAD_COOKIE);
        }
        match granted.service {
            Service::Admin => self.enter_admin(&account, granted),
            Service::Bos => {
                let sessions = sessions.unwrap_or(granted.sessions);
                self.admit(&account, sessions, granted.party, granted.proven)
                    .await;
            }
        }
    }

    /// Lets an account in that began to show who it is at `proven`. It sees its name as its owner spells it; old clients that want another form ask for it.
    async fn admit(
        &mut self,
        account: &Account,
        sessions: Sessions,
        party: Party,
        proven: Duration,
    ) {
        let shared = Arc::clone(&self.shared);
        let _turn = shared.edits.turn(account.id).await;
        let lists = match &self.shared.accounts {
            Some(accounts) => feedbag::lists(accounts, account.id).await.ok(),
            None => None,
        };
        let Some(lists) = lists else {
            return self.refuse(LoginErrorCode::UNAVAILABLE);
        };
        let resident = Resident {
            account: account.id,
            name: account.name.clone(),
            lists,
            sessions,
            from: crate::relay::source(self.peer, self.local),
            confirmed: account.confirmed,
            proven,
        };
        // Clients of the first generation hang at a length field.
        let bare = party == Party::Old && sessions == Sessions::Unaware;
        let entrant = Entrant::Account(resident);
        match shared.routes.register(entrant, self.mailbox(bare)).await {
            Ok(seat) => {
                self.session.admitted(Admission {
                    name: account.name.clone(),
                    sessions,
                    since_unix_s: seat.since_unix_s,
                });
                self.seat = Some(seat);
                let kind = match party {
                    Party::Old => Kind::Old,
                    _ => Kind::Account,
                };
                self.counted = Some(self.shared.metrics.signed_on(kind));
                self.log_sign_on();
                self.pass = None;
            }
            Err(code) => self.refuse(code),
        }
    }

    fn log_sign_on(&self) {
        if let (Some(name), log) = (self.session.name(), &self.shared.log) {
            let from = self.peer.ip();
            info!(account = %log.name(name), from = %log.address(from), "signed on");
        }
    }

    fn refuse(&mut self, code: LoginErrorCode) {
        let from = self.peer.ip();
        info!(from = %self.shared.log.address(from), ?code, "a sign-on was refused");
        self.shared
            .metrics
            .sign_on_refused(code.name().unwrap_or("other"));
        self.session.refused(code);
    }

    fn tell_relay(&mut self, request_id: u32, cookie: Option<Cookie>, avoid: &[String]) {
        let Some(seat) = &self.seat else { return };
        let name = seat.name();
        let relay = self.shared.relay.as_ref().and_then(|relay| {
            let ticket = relay.ticket(name, cookie)?;
            Some((relay.address_for(self.local, avoid)?, ticket))
        });
        self.session.relay(request_id, relay);
    }
}
