//! Direct IM (ODC2): text, typing and images between two users, from machine to machine.
//!
//! A [`DirectIm`] is one open conversation with one peer. It may be idle for hours; it ends when either side closes it, by dropping
//! it or by [`DirectIm::close`].
//!
//! ```no_run
//! # async fn chat(engine: rdv::Engine, bob: rdv::ScreenName) -> Result<(), Box<dyn std::error::Error>> {
//! use rdv::direct_im::{Event, Message, Typing};
//!
//! let mut im = engine.direct_im(bob).await?;
//! im.typing(Typing::Typing).await?;
//! im.send(Message::new().text("there you are")).await?;
//! while let Some(event) = im.next_event().await {
//!     match event {
//!         Event::Message(message) => println!("{}", rdv::show(&message.text(), 1000)),
//!         Event::Typing(typing) => println!("{typing:?}"),
//!         Event::Closed(how) => println!("closed: {how:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod rendezvous;
mod session;

use std::io;

use bytes::Bytes;
use rdv_proto::direct_im::{DirectIm as Machine, Event as MachineEvent};
use rdv_proto::wire::error::EncodeError;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

pub use rdv_proto::direct_im::{Fault, Image, Message, PayloadFault, Received, Typing};

pub(crate) use self::rendezvous::{DirectIms, connected};
use self::session::{Arrived, Inner, Outgoing, WAITING_MAX};
use crate::error::By;
use crate::security::Security;
use crate::transfer::{Control, TransferError};
use crate::transport::Path;

/// How many frames may wait to be written.
const OUTGOING_MAX: usize = 16;

/// What happens in a direct IM; `Closed` comes exactly once and last.
#[derive(Debug)]
pub enum Event {
    /// A message. Foreign: escape it before it is shown.
    Message(Received),
    /// What the other user is doing.
    Typing(Typing),
    /// It is over: closed by one side (by us, also if a newer conversation with the same peer took its place), or broken.
    Closed(Result<By, DirectImError>),
}

/// Why a direct IM broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectImError {
    /// The other side does not keep to the rules.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The other side began something and did not go on with it, or does not read what we write.
    #[error("the other side is too slow")]
    TooSlow,
    /// The other side closed within a message.
    #[error("the other side went away within a message")]
    BrokenOff,
    /// The connection broke.
    #[error("the connection was lost")]
    Lost(#[source] io::Error),
}

/// Why something could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The conversation is over; [`DirectIm::next_event`] tells how.
    #[error("the direct IM is over")]
    Closed,
    /// More than 64 images or 50 MiB, or HTML that holds `<BINARY>`.
    #[error(transparent)]
    Message(#[from] EncodeError),
}

/// An open conversation with one peer. Dropped, it is closed, and what still waits to be written is lost.
#[derive(Debug)]
pub struct DirectIm {
    peer: ScreenName,
    path: Path,
    security: Security,
    ends: Ends,
}

/// What the application holds of a conversation that runs.
#[derive(Debug)]
pub(crate) struct Ends {
    sender: DirectImSender,
    arrived: mpsc::Receiver<Arrived>,
    end: Option<oneshot::Receiver<Result<By, DirectImError>>>,
}

/// The sending half of a [`DirectIm`], for other tasks. It does not keep the conversation open.
#[derive(Debug, Clone)]
pub struct DirectImSender {
    /// Makes frames; what arrives is none of its business.
    frames: std::sync::Arc<Machine>,
    outgoing: mpsc::Sender<Outgoing>,
}

impl DirectImSender {
    /// Sends a message. Done when it waits to be written; waits itself if too many do.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, message: Message) -> Result<(), SendError> {
        self.frame(self.frames.message_bytes(&message)?).await
    }

    /// Tells what our user is doing.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn typing(&self, typing: Typing) -> Result<(), SendError> {
        self.frame(vec![self.frames.typing_bytes(typing)]).await
    }

    async fn frame(&self, pieces: Vec<Bytes>) -> Result<(), SendError> {
        let sent = self.outgoing.send(Outgoing::Frame(pieces)).await;
        sent.map_err(|_| SendError::Closed)
    }
}

impl DirectIm {
    /// Who is at the other end. How well that is known, the [security](DirectIm::security) of the connection says.
    #[must_use]
    pub fn peer(&self) -> &ScreenName {
        &self.peer
    }

    /// How the bytes travel.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How safe that is. Tell the user, each time if it is [`Security::Plain`].
    #[must_use]
    pub fn security(&self) -> Security {
        self.security
    }

    /// As [`DirectImSender::send`].
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, message: Message) -> Result<(), SendError> {
        self.ends.sender.send(message).await
    }

    /// As [`DirectImSender::typing`].
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn typing(&self, typing: Typing) -> Result<(), SendError> {
        self.ends.sender.typing(typing).await
    }

    /// A handle to send with from elsewhere.
    #[must_use]
    pub fn sender(&self) -> DirectImSender {
        self.ends.sender.clone()
    }

    /// The next event; `None` after `Closed`. Cancel-safe. What is not taken is left in the network, at last: at most 64 events and
    /// 64 MiB of messages wait here.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            match self.ends.arrived.recv().await.map(|arrived| arrived.event) {
                Some(MachineEvent::Message(message)) => return Some(Event::Message(message)),
                Some(MachineEvent::Typing(typing)) => return Some(Event::Typing(typing)),
                Some(MachineEvent::Confirmed(_)) => {}
                None => {
                    let end = self.ends.end.as_mut()?.await;
                    self.ends.end = None;
                    // Without a word: the engine was dropped with its runtime.
                    return Some(Event::Closed(end.unwrap_or(Ok(By::Us))));
                }
            }
        }
    }

    /// Closes it when all that was sent is written. What still arrives is dropped.
    pub async fn close(mut self) {
        let closing = self.ends.sender.outgoing.send(Outgoing::Close);
        if closing.await.is_ok() {
            while self.next_event().await.is_some() {}
        }
    }
}

/// The conversation before it has a connection: [`Talk::run`] gives it one.
pub(crate) struct Talk {
    pub(crate) cookie: Cookie,
    pub(crate) local: ScreenName,
}

impl Talk {
    /// Runs over a connection until one side closes it. `connector`: we dialled or joined, and our greeting is out. `first`: what was
    /// read of the connection so far. The handle comes at once; what it says is carried out by the future, which also ends when the
    /// control is cancelled.
    pub(crate) fn run<S: AsyncRead + AsyncWrite + Send>(
        self,
        lane: S,
        connector: bool,
        first: Bytes,
        control: Control,
    ) -> (Ends, impl Future<Output = ()> + Send) {
        let (outgoing_in, outgoing) = mpsc::channel(OUTGOING_MAX);
        let (arrived_out, arrived) = mpsc::channel(WAITING_MAX);
        let (end_out, end) = oneshot::channel();
        let (frames, _) = Machine::connector(self.cookie, self.local.clone());
        let ends = Ends {
            sender: DirectImSender {
                frames: frames.into(),
                outgoing: outgoing_in,
            },
            arrived,
            end: Some(end),
        };
        let machine = match connector {
            true => Machine::connector(self.cookie, self.local).0,
            false => Machine::listener(self.cookie, self.local),
        };
        let inner = Inner {
            outgoing,
            arrived: arrived_out,
        };
        let running = async move {
            let end = tokio::select! {
                end = session::run(lane, machine, first, inner, connector) => end,
                error = control.cancelled() => Ok(match error {
                    TransferError::CancelledLocally => By::Us,
                    _ => By::Peer,
                }),
            };
            let _ = end_out.send(end);
        };
        (ends, running)
    }
}

#[cfg(test)]
mod tests;
