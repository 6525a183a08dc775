//! The task that owns a signed-on connection.
//!
//! Every queue is bounded: while the application does not take what arrived, nothing more is read and the host waits (and
//! hangs up some day); while the host does not read, senders wait.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::icbm::IcbmError;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::signon::{ServiceRequest, tlv};
use rdv_proto::wire::snac::{self, Foodgroup, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::frames::{FrameReader, FrameWriter, ReadError};
use uuid::Uuid;

use super::pace::{self, Member, Pace};
use super::presence::Presence;
use super::sign_on::{
    NEXT_ID, RATE_CHANGE, is_service_answer, oservice, oservice_snac, relay_in, relay_request,
    small_number,
};
use super::translate::{self, Outgoing};
use crate::signaling::{Incoming, RelayInfo};

/// A keep-alive goes out after this long without anything else.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A host that says nothing for this long is gone; it sends keep-alives of its own.
const SILENCE: Duration = Duration::from_secs(150);
/// A host that does not read for this long is gone.
const STALLED: Duration = Duration::from_secs(60);
/// For the last messages before a sign-off.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// For the sign-off itself, at least.
const FAREWELL: Duration = Duration::from_millis(500);
/// Messages whose failure can still be told, by request id.
const REMEMBERED: usize = 256;
/// Questions of each kind that wait for an answer.
const QUESTIONS: usize = 8;
/// A host that is asked whether it still is there answers within this time: a connection is quickly made anew.
const PROOF: Duration = Duration::from_secs(2);
/// A host that keeps silent for this long by nature is asked something.
const ASK_IF_SILENT: Duration = Duration::from_secs(60);

/// The host's word on somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Signed on, with clients that can do this.
    Online(Vec<Uuid>),
    /// Not signed on, unknown, or wants nothing of us.
    Offline,
    /// The host does not say.
    Untold,
}

/// What the application wants, in its order.
pub(super) enum Command {
    Send(Outgoing),
    Relay(ServiceRequest, oneshot::Sender<Option<RelayInfo>>),
    Service(Foodgroup, services::Answer),
    Find(ScreenName, oneshot::Sender<Found>),
    Watch(Vec<ScreenName>),
    /// Make sure that the host still answers.
    Prove,
    /// Sign off; the sender is dropped when that is done.
    Close(oneshot::Sender<()>),
}

/// Why the task ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("signed off")]
    SignedOff,
    #[error("the host signed us off, reason {reason:?}")]
    Dismissed {
        reason: Option<u16>,
        /// It goes, and wants to see us again within so many seconds.
        return_within_s: Option<u16>,
    },
    #[error("connection lost: {0:?}")]
    Lost(Option<std::io::Error>),
    #[error("not OSCAR: {0}")]
    Malformed(DecodeError),
    #[error("nothing came for {} s", SILENCE.as_secs())]
    Silent,
    #[error("nothing came for {} s after we asked", PROOF.as_secs())]
    Doubted,
    #[error("the host took nothing for {} s", STALLED.as_secs())]
    Stalled,
}

/// Why a host ended a session, if it matters for coming back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    SignedOnElsewhere,
    AccountDeleted,
    /// It goes down, and wants to see its clients again within this time, not all at once.
    Away(Duration),
}

/// What waits for its turn in its rate class.
enum Next {
    Message(Outgoing),
    Find(ScreenName, oneshot::Sender<Found>),
}

impl Next {
    fn member(&self) -> Member {
        match self {
            Self::Message(message) => (Foodgroup::ICBM, message.subgroup),
            Self::Find(..) => pace::INFO_QUERY,
        }
    }
}

/// What the task waits for.
enum Happening {
    Command(Option<Command>),
    Frame(Result<Frame, ReadError>),
    HandedOut,
    Written(std::io::Result<()>),
    Leaving,
    LastWordsOver,
    TurnOfNext,
    Idle,
    Silent,
    Doubted,
    Stalled,
}

/// A question whether the host is still there.
struct Proof {
    /// The id that the answer repeats.
    question: u32,
    until: Instant,
    /// Somebody has come to doubt since it was asked.
    again: bool,
}

/// The queues between the task and a client.
pub(super) struct Queues {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    /// True, or gone: there will be no more commands, what is left are the last words.
    pub(super) leaving: watch::Receiver<bool>,
    /// Who is there.
    pub(super) presence: Arc<Presence>,
    /// Set before the task ends if the host ended it.
    pub(super) ending: Arc<OnceLock<Ending>>,
}

pub(super) struct Session<R, W> {
    reader: FrameReader<R>,
    writer: FrameWriter<W>,
    queues: Queues,
    /// Came in, but there is no room in the queue yet. Nothing is read meanwhile.
    arrived: VecDeque<Incoming>,
    next: Option<Next>,
    pace: Pace,
    next_id: u32,
    /// Oldest first.
    sent: VecDeque<(u32, ScreenName, Cookie)>,
    relay_questions: VecDeque<(u32, oneshot::Sender<Option<RelayInfo>>)>,
    service_questions: services::Questions,
    questions: VecDeque<(u32, ScreenName, oneshot::Sender<Found>)>,
    /// The host sends no keep-alives: it must be asked something to hear of it.
    ask_if_silent: bool,
    last_heard: Instant,
    last_written: Instant,
    /// Our question whether the host is there; none if it has answered.
    proof: Option<Proof>,
    /// Since when the host has not taken what we write.
    stalled_since: Instant,
    /// Until when the last words may take.
    last_words_until: Option<Instant>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    pub(super) fn new(
        reader: FrameReader<R>,
        writer: FrameWriter<W>,
        queues: Queues,
        pace: Pace,
        early: Vec<Incoming>,
    ) -> Self {
        let now = Instant::now();
        Self {
            reader,
            writer,
            queues,
            arrived: early.into(),
            next: None,
            pace,
            next_id: NEXT_ID,
            sent: VecDeque::new(),
            relay_questions: VecDeque::new(),
            service_questions: services::Questions::new(),
            questions: VecDeque::new(),
            ask_if_silent: false,
            last_heard: now,
            last_written: now,
            proof: None,
            stalled_since: now,
            last_words_until: None,
        }
    }

    /// For a host that says nothing by itself.
    pub(super) fn asking_if_silent(mut self, yes: bool) -> Self {
        self.ask_if_silent = yes;
        self
    }

    /// Runs until the connection ends.
    pub(super) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        tracing::debug!(%end, "connection to the host ended");
        let Self {
            queues, arrived, ..
        } = self;
        let Queues {
            commands,
            incoming,
            ending,
            ..
        } = queues;
        let reason = match end {
            End::Dismissed {
                reason: Some(1), ..
            } => Some(Ending::SignedOnElsewhere),
            End::Dismissed {
                reason: Some(2), ..
            } => Some(Ending::AccountDeleted),
            End::Dismissed {
                return_within_s: Some(seconds),
                ..
            } => Some(Ending::Away(Duration::from_secs(seconds.into()))),
            _ => None,
        };
        if let Some(reason) = reason {
            // Nobody else sets it.
            let _ = ending.set(reason);
        }
        // Whoever sends or waits for us learns of it now; what came before can still be received.
        drop(commands);
        for message in arrived {
            if incoming.send(message).await.is_err() {
                break;
            }
        }
    }

    /// Waits for the next thing to happen and does it.
    async fn turn(&mut self) -> Result<(), End> {
        let turn_of_next = self.send_next_if_due();
        match self.next_happening(turn_of_next).await {
            Happening::Command(Some(Command::Send(message))) => {
                self.next = Some(Next::Message(message));
            }
            Happening::Command(Some(Command::Find(name, answer))) => {
                self.next = Some(Next::Find(name, answer));
            }
            Happening::Command(Some(Command::Relay(request, answer))) => {
                self.ask_for_relay(&request, answer);
            }
            Happening::Command(Some(Command::Service(foodgroup, answer))) => {
                self.ask_for_service(foodgroup, answer);
            }
            Happening::Command(Some(Command::Watch(names))) => self.watch(&names),
            Happening::Command(Some(Command::Prove)) => self.ask_for_proof(),
            Happening::Command(Some(Command::Close(done))) => {
                return Err(self.sign_off(Some(done)).await);
            }
            Happening::Command(None) | Happening::LastWordsOver => {
                return Err(self.sign_off(None).await);
            }
            Happening::Frame(frame) => self.take(frame)?,
            // Silence counts from when we listen again.
            Happening::HandedOut => self.last_heard = Instant::now(),
            Happening::Written(written) => {
                written.map_err(|error| End::Lost(Some(error)))?;
                self.last_written = Instant::now();
                self.stalled_since = self.last_written;
            }
            Happening::Leaving => self.last_words_until = Some(Instant::now() + LAST_WORDS),
            Happening::TurnOfNext => {}
            Happening::Idle => {
                self.begin_write();
                if self.ask_if_silent && self.last_heard.elapsed() >= ASK_IF_SILENT {
                    self.ask_something();
                } else {
                    self.writer.queue(Channel::KEEP_ALIVE, Bytes::new());
                }
            }
            Happening::Silent => return Err(End::Silent),
            Happening::Doubted => return Err(End::Doubted),
            Happening::Stalled => return Err(End::Stalled),
        }
        Ok(())
    }

    async fn next_happening(&mut self, turn_of_next: Option<Instant>) -> Happening {
        let backlog = !self.writer.is_idle();
        let may_read = self.arrived.is_empty();
        let may_take = self.next.is_none() && !backlog;
        let last_words = self.last_words_until;
        let proof_until = self.proof.as_ref().map(|proof| proof.until);
        let Queues {
            commands,
            incoming,
            leaving,
            ..
        } = &mut self.queues;
        tokio::select! {
            command = commands.recv(), if may_take => Happening::Command(command),
            frame = self.reader.next(), if may_read => Happening::Frame(frame),
            room = incoming.reserve(), if !may_read => {
                // Without room nobody listens any more; then the commands end, too.
                if let (Some(message), Ok(room)) = (self.arrived.pop_front(), room) {
                    room.send(message);
                }
                Happening::HandedOut
            }
            written = self.writer.step(), if backlog => Happening::Written(written),
            () = left(leaving), if last_words.is_none() => Happening::Leaving,
            () = at(last_words), if last_words.is_some() => Happening::LastWordsOver,
            () = at(turn_of_next), if turn_of_next.is_some() => Happening::TurnOfNext,
            () = sleep_until(self.last_written + KEEP_ALIVE), if !backlog => Happening::Idle,
            () = sleep_until(self.last_heard + SILENCE), if may_read => Happening::Silent,
            () = at(proof_until), if may_read && proof_until.is_some() => Happening::Doubted,
            () = sleep_until(self.stalled_since + STALLED), if backlog => Happening::Stalled,
        }
    }

    /// Hands what waits over for writing if its rate class allows it; else says when it will.
    fn send_next_if_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let member = self.next.as_ref()?.member();
        let last_words = self.last_words_until.is_some();
        let delay = self.pace.delay(member, last_words, now.into_std());
        if !delay.is_zero() {
            return Some(now + delay);
        }
        let next = self.next.take()?;
        if matches!(&next, Next::Find(_, answer) if answer.is_closed()) {
            // Whoever asked has given up.
            return None;
        }
        self.pace.sent(member, now.into_std());
        let id = self.new_id();
        self.begin_write();
        match next {
            Next::Message(message) => {
                self.writer.queue_snac(&message.snac(id));
                if self.sent.len() == REMEMBERED {
                    self.sent.pop_front();
                }
                self.sent.push_back((id, message.to, message.cookie));
            }
            Next::Find(name, answer) => self.ask_about(id, name, answer),
        }
        None
    }

    /// One question at a time: who doubts meanwhile gets another one after it.
    fn ask_for_proof(&mut self) {
        match &mut self.proof {
            Some(proof) => proof.again = true,
            None => {
                self.begin_write();
                self.proof = Some(Proof {
                    question: self.ask_something(),
                    until: Instant::now() + PROOF,
                    again: false,
                });
            }
        }
    }

    /// Whatever else comes in may have been on its way before we asked.
    fn take_proof(&mut self, snac: &Snac) {
        let answered = |proof: &mut Proof| proof.question == snac.request_id;
        if let Some(Proof { again: true, .. }) = self.proof.take_if(answered) {
            self.ask_for_proof();
        }
    }

    /// Something that every host answers. Gives the id that the answer repeats.
    fn ask_something(&mut self) -> u32 {
        let id = self.new_id();
        let question = oservice_snac(oservice::OWN_INFO_QUERY, id, Bytes::new());
        self.writer.queue_snac(&question);
        id
    }

    fn ask_for_relay(
        &mut self,
        request: &ServiceRequest,
        answer: oneshot::Sender<Option<RelayInfo>>,
    ) {
        self.relay_questions
            .retain(|(_, waiting)| !waiting.is_closed());
        if self.relay_questions.len() < QUESTIONS {
            let id = self.new_id();
            self.begin_write();
            self.writer.queue_snac(&relay_request(id, request));
            self.relay_questions.push_back((id, answer));
        }
    }

    fn new_id(&mut self) -> u32 {
        let id = self.next_id;
        // The high bit is the host's.
        self.next_id = if id >= 0x7FFF_FFFF { NEXT_ID } else { id + 1 };
        id
    }

    fn begin_write(&mut self) {
        if self.writer.is_idle() {
            self.stalled_since = Instant::now();
        }
    }

    fn take(&mut self, frame: Result<Frame, ReadError>) -> Result<(), End> {
        let frame = frame.map_err(|error| match error {
            ReadError::Closed(source) => End::Lost(source),
            ReadError::Malformed(error) => End::Malformed(error),
        })?;
        self.last_heard = Instant::now();
        match frame.channel {
            Channel::DATA => self.take_snac(&Snac::decode(frame.data).map_err(End::Malformed)?),
            Channel::SIGN_OFF => {
                let tlvs = TlvList::decode_rest(frame.data).unwrap_or_default();
                return Err(End::Dismissed {
                    reason: small_number(&tlvs, tlv::SIGN_OFF_REASON),
                    return_within_s: small_number(&tlvs, tlv::RETURN_WITHIN),
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn take_snac(&mut self, snac: &Snac) {
        self.take_proof(snac);
        if snac.is(Foodgroup::ICBM, snac::ERROR) {
            self.undelivered(snac);
        } else if snac.foodgroup == Foodgroup::ICBM {
            match translate::incoming(snac) {
                Ok(Some(heard)) => {
                    if let Some(sender) = &heard.sender
                        && self.queues.presence.heard_from(sender)
                    {
                        let peer = sender.name.clone();
                        self.arrived.push_back(Incoming::NewSession { peer });
                    }
                    self.arrived.push_back(heard.incoming);
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "malformed ICBM dropped"),
            }
        } else if snac.foodgroup == Foodgroup::LOCATE {
            self.found(snac);
        } else if snac.foodgroup == Foodgroup::BUDDY {
            self.take_presence(snac);
        } else if snac.is(Foodgroup::OSERVICE, RATE_CHANGE) {
            self.pace.change(&snac.body, Instant::now().into_std());
        } else if is_service_answer(snac) {
            let question = self
                .relay_questions
                .iter()
                .position(|(id, _)| *id == snac.request_id);
            if let Some((_, answer)) = question.and_then(|at| self.relay_questions.remove(at)) {
                // Whoever asked may have given up.
                let _ = answer.send(relay_in(snac));
            } else {
                self.take_service(snac);
            }
        }
    }

    /// The host names the request, we the message.
    fn undelivered(&mut self, snac: &Snac) {
        let Ok(IcbmError { code, .. }) = IcbmError::decode(&snac.body) else {
            return;
        };
        let sent = self.sent.iter().position(|(id, ..)| *id == snac.request_id);
        if let Some((_, to, cookie)) = sent.and_then(|at| self.sent.remove(at)) {
            self.arrived
                .push_back(Incoming::Undelivered { to, cookie, code });
        }
    }

    /// Says goodbye; `done` is dropped afterwards.
    async fn sign_off(&mut self, done: Option<oneshot::Sender<()>>) -> End {
        self.queues.commands.close();
        let until = self
            .last_words_until
            .unwrap_or_else(|| Instant::now() + LAST_WORDS);
        let until = until.max(Instant::now() + FAREWELL);
        self.writer.queue(Channel::SIGN_OFF, Bytes::new());
        let farewell = async {
            self.writer.drain().await?;
            self.writer.shutdown().await
        };
        // The host learns of it anyway when the connection is gone.
        if let Ok(Ok(())) = timeout_at(until, farewell).await {
            // It closes when it has taken all that came before.
            let closed = async { while self.reader.next().await.is_ok() {} };
            let _ = timeout_at(Instant::now() + FAREWELL, closed).await;
        }
        drop(done);
        End::SignedOff
    }
}

/// Until there will be no more commands.
async fn left(leaving: &mut watch::Receiver<bool>) {
    // An error means that the client is gone: the same.
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

mod people;
pub(super) mod services;
#[cfg(test)]
mod tests;
