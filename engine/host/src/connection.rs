//! One client: frames from its stream into the session machine, and what the machine says into its queue.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rdv_proto::session::{
    AccountSignOn, Admission, Output, Party, RateTable, Session, SessionConfig, Sessions, Wish,
};
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::flap::Frame;
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::text::ScreenName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{timeout, timeout_at};
use tracing::{debug, trace};

use crate::accounts::Account;
use crate::cookies::Granted;
use crate::drain::Leave;
use crate::feedbag;
use crate::gate::Pass;
use crate::host::Shared;
use crate::metrics::{Kind, Limit, SignedOn};
use crate::people::{Entrant, Place};
use crate::queue::{Queue, queue};
use crate::random::random;
use crate::router::Seat as GuestSeat;
use crate::serve::{serve_account, serve_guest};

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
            error_url: Default::default(),
        };
        let (mut reading, writing) = tokio::io::split(stream);
        let sequence = u16::from_be_bytes(sequence) >> 1;
        let (queue, outgoing) = queue(limits.queue_messages, limits.queue_bytes, sequence);
        let mut client = Client {
            session: Session::new(Instant::now(), config),
            queue,
            seat: None,
            counted: None,
            pass: Some(self.pass),
            shared: self.shared,
            local: self.local,
            peer: self.peer,
            listener: self.listener,
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
    seat: Option<Seat>,
    counted: Option<SignedOn>,
    pass: Option<Pass>,
    shared: Arc<Shared>,
    local: SocketAddr,
    peer: SocketAddr,
    listener: usize,
    arrived: Instant,
}

/// Where a client that is signed on belongs.
enum Seat {
    Guest(GuestSeat),
    Account(Place),
}

impl Client {
    async fn read_from(&mut self, stream: &mut (impl AsyncRead + Unpin), mut stop: Leave) -> Ended {
        let mut buffer = BytesMut::new();
        let opened = Instant::now();
        let mut last_frame = opened;
        if let Some(ended) = self.carry_out().await {
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
                            carried = timeout_at(deadline.into(), self.carry_out()) => carried,
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
            let read = tokio::select! {
                read = timeout_at(deadline.into(), read(stream, &mut buffer)) => read,
                within = stop.asked() => return self.leave(within),
            };
            match read {
                Ok(Ok(1..)) => {}
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
                Output::SignOn(_) | Output::Authenticate(_) | Output::Redeem { .. }
                    if self.shared.drain.is_on() =>
                {
                    self.refuse(LoginErrorCode::UNAVAILABLE);
                }
                Output::SignOn(wish) => self.sign_on_guest(&wish),
                Output::Authenticate(sign_on) => Box::pin(self.authenticate(sign_on)).await,
                Output::Redeem { cookie, sessions } => {
                    Box::pin(self.redeem(&cookie, sessions)).await;
                }
                Output::Relay { request_id, .. } => self.tell_relay(request_id),
                other => match &self.seat {
                    // Without a seat the session asks for nothing but one.
                    None => return Some(Ended::Gone),
                    Some(Seat::Guest(seat)) => serve_guest(&mut self.session, seat, other),
                    Some(Seat::Account(place)) => {
                        let accounts = self.shared.accounts.as_ref();
                        let shown = serve_account(&mut self.session, place, accounts, other).await;
                        let mut shown = &shown[..];
                        while !shown.is_empty() {
                            let Some(room) = self.queue.wait_for_room(stall).await else {
                                return Some(self.stalled());
                            };
                            let (now, later) = shown.split_at(shown.len().min(room));
                            place.show(Instant::now(), now);
                            shown = later;
                        }
                    }
                },
            }
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

    fn sign_on_guest(&mut self, wish: &Wish) {
        let queue = self.queue.clone();
        let router = &self.shared.router;
        match router.sign_on(Instant::now(), wish, self.peer.ip(), queue) {
            Ok(seat) => {
                let (name, token) = (seat.name.clone(), seat.token.as_ref());
                self.session.signed_on(name, token, seat.since_unix_s);
                self.seat = Some(Seat::Guest(seat));
                self.counted = Some(self.shared.metrics.signed_on(Kind::Guest));
                self.pass = None;
            }
            Err(code) => {
                self.refuse(code);
            }
        }
    }

    /// Checks who it is; then the account is in, or goes on with a cookie.
    async fn authenticate(&mut self, sign_on: AccountSignOn) {
        let shared = Arc::clone(&self.shared);
        let Some(reception) = &shared.reception else {
            return self.refuse(LoginErrorCode::WRONG_PASSWORD);
        };
        let checked = reception.check(&sign_on, self.peer.ip()).await;
        match (checked, sign_on.name.clone()) {
            (Ok(account), Some(_)) if !sign_on.moves_on() => {
                let name = account.name.clone();
                self.admit(&account, name, sign_on.sessions, Party::Ours)
                    .await;
            }
            (Ok(account), Some(name)) => self.send_on(&account, name, sign_on.sessions),
            (Ok(_), None) => self.refuse(LoginErrorCode::WRONG_PASSWORD),
            (Err(code), _) => self.refuse(code),
        }
    }

    fn send_on(&mut self, account: &Account, name: ScreenName, sessions: Sessions) {
        if !self.shared.people.has_room(account, sessions) {
            return self.refuse(LoginErrorCode::ADDRESS_RATE_LIMITED);
        }
        let granted = Granted {
            account: account.id,
            name,
            sessions,
        };
        let cookies = &self.shared.cookies;
        match cookies.issue(Instant::now(), self.listener, granted) {
            Some(cookie) => {
                let here = self.shared.public_address.unwrap_or(self.local.ip());
                let address = SocketAddr::new(here, self.local.port()).to_string();
                self.session.sent_on(address, cookie);
            }
            None => {
                self.shared.metrics.refused(Limit::Cookies);
                self.refuse(LoginErrorCode::UNAVAILABLE);
            }
        }
    }

    async fn redeem(&mut self, cookie: &[u8], sessions: Option<Sessions>) {
        let shared = Arc::clone(&self.shared);
        let granted = shared.cookies.redeem(Instant::now(), self.listener, cookie);
        let (Some(granted), Some(reception)) = (granted, &shared.reception) else {
            return self.refuse(LoginErrorCode::BAD_COOKIE);
        };
        match reception.find(&granted.name).await {
            // Removed, or closed to old clients, since the cookie was given.
            Ok(account) if account.id != granted.account || !account.legacy => {
                self.refuse(LoginErrorCode::BAD_COOKIE);
            }
            Ok(account) => {
                let sessions = sessions.unwrap_or(granted.sessions);
                self.admit(&account, granted.name, sessions, Party::Old)
                    .await;
            }
            Err(code) => self.refuse(code),
        }
    }

    /// Lets an account in, which sees its own name spelt as `name`.
    async fn admit(
        &mut self,
        account: &Account,
        name: ScreenName,
        sessions: Sessions,
        party: Party,
    ) {
        let edits = self.shared.people.edits(&account.name);
        let _turn = edits.lock().await;
        let lists = match &self.shared.accounts {
            Some(accounts) => feedbag::lists(accounts, account.id).await.ok(),
            None => None,
        };
        let Some(lists) = lists else {
            return self.refuse(LoginErrorCode::UNAVAILABLE);
        };
        let entrant = Entrant {
            account,
            lists,
            sessions,
            party,
            from: crate::relay::source(self.peer, self.local),
            queue: self.queue.clone(),
        };
        match self.shared.people.sign_on(Instant::now(), entrant) {
            Ok(place) => {
                self.session.admitted(Admission {
                    name,
                    sessions,
                    since_unix_s: place.since_unix_s,
                });
                self.seat = Some(Seat::Account(place));
                let kind = match party {
                    Party::Old => Kind::Old,
                    _ => Kind::Account,
                };
                self.counted = Some(self.shared.metrics.signed_on(kind));
                self.pass = None;
            }
            Err(code) => self.refuse(code),
        }
    }

    fn refuse(&mut self, code: LoginErrorCode) {
        debug!(?code, "a sign-on was refused");
        self.shared
            .metrics
            .sign_on_refused(code.name().unwrap_or("other"));
        self.session.refused(code);
    }

    fn tell_relay(&mut self, request_id: u32) {
        let name = match &self.seat {
            Some(Seat::Guest(seat)) => &seat.name,
            Some(Seat::Account(place)) => &place.name,
            None => return,
        };
        let relay = self.shared.relay.as_ref().and_then(|relay| {
            let ticket = relay.ticket(name, None)?;
            Some((relay.address_for(self.local, &[])?, ticket))
        });
        self.session.relay(request_id, relay);
    }
}
