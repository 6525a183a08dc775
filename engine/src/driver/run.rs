//! The task of a transfer: judges the other end's key, says how the lane is, moves the bytes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::trust::{Fingerprint, Session};
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{mpsc, oneshot};

use super::legacy::{Opened, Run};
use super::walk::Walk;
use crate::error::Error;
use crate::handle::TransferEvent;
use crate::security::Security;
use crate::transfer::{self, Control, Offer, Sink, Summary, TransferError};
use crate::transport::{Lane, Link, Path, PathKind};
use crate::trust::{KnownPeers, known_peers::was_secure};

/// How long after the loss of its lane a peer's cancel may come and tell why.
const REASON_TIME: Duration = Duration::from_secs(1);

/// Where the answer to an offer is waited for.
pub(super) type Waiting = Arc<Mutex<Option<oneshot::Sender<bool>>>>;

/// Places in the channel of events that changes of the path leave to others.
const PLACES_KEPT: usize = 8;

/// What was last said of the lanes of a transfer.
#[derive(Default)]
pub(super) struct ToldOfLanes {
    said: Option<(PathKind, Security)>,
    /// Where the bytes have moved before anything was said.
    moved: Option<Path>,
}

/// Shared between the driver and the task.
pub(super) type Told = Arc<Mutex<ToldOfLanes>>;

/// What a transfer runs on.
pub(super) enum Work {
    Send(Walk),
    Receive(Sink),
    Legacy(Run),
}

/// What carries a transfer.
pub(super) enum Carried {
    /// The lanes of a session of our own kind.
    Link { link: Link, session: Session },
    /// The one connection of an old client.
    Lane {
        lane: Lane,
        /// Its first words.
        first: Bytes,
        /// Over TLS: the key that it showed.
        key: Option<[u8; 32]>,
    },
}

/// A transfer with what carries it.
pub(super) struct Running {
    pub(super) peer: ScreenName,
    pub(super) path: Path,
    pub(super) carried: Carried,
    pub(super) work: Work,
    /// A code has proven who the peer is.
    pub(super) by_code: bool,
    pub(super) known_peers: Option<KnownPeers>,
    pub(super) events: mpsc::Sender<TransferEvent>,
    pub(super) control: Control,
    pub(super) answer: Waiting,
    pub(super) told: Told,
}

/// Why a transfer with a lane did not come to its end.
pub(crate) enum Fault {
    /// What the transfer itself says.
    Transfer(TransferError),
    /// The peer was refused when its key was known.
    Refused(Error),
}

impl From<TransferError> for Fault {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl Running {
    /// Runs it to its end. `None`: its end was reported when it was found.
    pub(super) async fn run(self) -> Option<Result<Summary, Fault>> {
        let Self {
            peer,
            path,
            carried,
            work,
            by_code,
            known_peers,
            events,
            control,
            answer,
            told,
        } = self;
        let security = match judge(&peer, Key::of(&carried), by_code, known_peers).await {
            Ok(security) => security,
            Err(refused) => return Some(Err(Fault::Refused(refused))),
        };
        tell(&told, &events, path, security);
        let outcome = match (work, carried) {
            (Work::Send(walk), Carried::Link { link, .. }) => {
                // Without a source its end was reported already.
                let source = walk.source().await?;
                transfer::send(link, source, control.clone()).await
            }
            (Work::Receive(sink), Carried::Link { link, .. }) => {
                receive(link, sink, control.clone(), events, answer).await
            }
            (Work::Legacy(run), Carried::Lane { lane, first, .. }) => {
                run(Opened { lane, first }, control.clone()).await
            }
            // The machine secures a conversation as it was begun.
            (Work::Legacy(_), Carried::Link { .. }) | (_, Carried::Lane { .. }) => Err(
                TransferError::LinkLost(std::io::ErrorKind::InvalidData.into()),
            ),
        };
        if matches!(outcome, Err(TransferError::LinkLost(_))) {
            // The peer's reason may still be on its way through the host.
            let _ = tokio::time::timeout(REASON_TIME, control.cancelled()).await;
        }
        Some(outcome.map_err(Fault::Transfer))
    }
}

/// The key at the other end of a lane.
#[derive(Clone, Copy)]
enum Key {
    /// Bound to the signalling.
    Bound([u8; 32]),
    /// Of the certificate of an old client.
    Shown([u8; 32]),
    /// There is none.
    Plain,
}

impl Key {
    fn of(carried: &Carried) -> Self {
        match carried {
            Carried::Link { session, .. } => Self::Bound(session.peer_key_hash()),
            Carried::Lane { key: Some(key), .. } => Self::Shown(*key),
            Carried::Lane { key: None, .. } => Self::Plain,
        }
    }
}

/// How safe the lane is, and whether it may be used at all (S-07).
async fn judge(
    peer: &ScreenName,
    key: Key,
    by_code: bool,
    known_peers: Option<KnownPeers>,
) -> Result<Security, Error> {
    let (Key::Bound(hash) | Key::Shown(hash)) = key else {
        // Terms may have changed since this was asked first.
        return match known_peers {
            Some(known_peers) if known_peers.was_secure(peer).await? => Err(was_secure()),
            _ => Ok(Security::Plain),
        };
    };
    let hash = Fingerprint::of(&hash);
    let verified = match known_peers {
        // Names of transfers with a code do not last.
        _ if by_code => true,
        Some(known_peers) => known_peers.met(peer, hash).await?,
        None => false,
    };
    Ok(match (key, verified) {
        (Key::Shown(_), _) => Security::Encrypted { key: hash },
        (_, true) => Security::Verified { key: hash },
        (_, false) => Security::Unverified { key: hash },
    })
}

/// Says how the lane is, unless that was said of the one before. The channel holds more events than a transfer has, so that a
/// handle that nobody reads blocks nothing.
fn tell(told: &Told, events: &mpsc::Sender<TransferEvent>, path: Path, security: Security) {
    let mut told = lock(told);
    let path = told.moved.take().unwrap_or(path);
    let as_before = told
        .said
        .as_ref()
        .is_some_and(|(kind, before)| *kind == path.kind && *before == security);
    if !as_before {
        told.said = Some((path.kind, security));
        let _ = events.try_send(TransferEvent::Connected { path, security });
    }
}

/// Says that the bytes go another way from now on.
pub(super) fn tell_change(told: &Told, events: &mpsc::Sender<TransferEvent>, path: Path) {
    let mut told = lock(told);
    match &mut told.said {
        Some((kind, _)) => {
            *kind = path.kind;
            // The words that a transfer cannot do without have their places.
            if events.capacity() > PLACES_KEPT {
                let _ = events.try_send(TransferEvent::PathChanged { path });
            }
        }
        // The lane before it was not spoken of yet.
        None => told.moved = Some(path),
    }
}

fn lock(told: &Told) -> MutexGuard<'_, ToldOfLanes> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Receives on the link; the question goes to the holder of the transfer.
async fn receive(
    link: Link,
    sink: Sink,
    control: Control,
    events: mpsc::Sender<TransferEvent>,
    answer: Waiting,
) -> Result<Summary, TransferError> {
    let consent = move |offer: Offer| async move {
        let (out, said) = oneshot::channel();
        if let Ok(mut answer) = answer.lock() {
            *answer = Some(out);
        }
        let _ = events.try_send(TransferEvent::Offered(offer));
        said.await.unwrap_or(false)
    };
    transfer::receive(link, sink, consent, control).await
}
