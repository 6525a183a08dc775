//! The task of a transfer: judges the other end's key, says how the lane is, moves the bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdv_proto::rendezvous::AttemptId;
use rdv_proto::trust::{Fingerprint, Role, Session};
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{mpsc, oneshot};

use super::legacy::{Opened, Run};
use super::walk::Walk;
use crate::error::Error;
use crate::handle::TransferEvent;
use crate::report::Log;
use crate::security::Security;
use crate::transfer::{self, Control, Offer, Sink, Summary, TransferError};
use crate::transport::attempt::{Proof, Proven};
use crate::transport::{Lane, Link, Path, PathKind};
use crate::trust::{KnownPeers, known_peers::was_secure};

/// How long after the loss of its lane a peer's cancel may come and tell why.
const REASON_TIME: Duration = Duration::from_secs(1);

/// Where the answer to an offer is waited for.
pub(super) type Waiting = Arc<Mutex<Option<oneshot::Sender<bool>>>>;

/// What was last said of the lanes of a transfer.
pub(super) type Told = Arc<Mutex<Option<(PathKind, Security)>>>;

/// What a transfer runs on.
pub(super) enum Work {
    Send(Walk),
    Receive(Sink),
    Legacy(Run),
}

/// A transfer with its lane.
pub(super) struct Running {
    pub(super) peer: ScreenName,
    pub(super) path: Path,
    pub(super) attempt: AttemptId,
    pub(super) proven: Proven,
    pub(super) work: Work,
    /// A code has proven who the peer is.
    pub(super) by_code: bool,
    pub(super) known_peers: Option<KnownPeers>,
    pub(super) events: mpsc::Sender<TransferEvent>,
    pub(super) control: Control,
    pub(super) answer: Waiting,
    pub(super) told: Told,
    pub(super) log: Log,
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
            attempt,
            proven: Proven { lane, proof },
            work,
            by_code,
            known_peers,
            events,
            control,
            answer,
            told,
            log,
        } = self;
        let proven_key = Key::of(&proof);
        let security = match judge(&peer, proven_key, by_code, known_peers).await {
            Ok(security) => security,
            Err(refused) => return Some(Err(Fault::Refused(refused))),
        };
        log.path(tokio::time::Instant::now().into_std(), path.clone());
        tell(&told, &events, path, security);
        let outcome = match (work, proof) {
            (Work::Send(walk), Proof::Native(session)) => {
                // Without a source its end was reported already.
                let source = walk.source().await?;
                let link = link(attempt, lane, &session);
                transfer::send(link, source, control.clone()).await
            }
            (Work::Receive(sink), Proof::Native(session)) => {
                let link = link(attempt, lane, &session);
                receive(link, sink, control.clone(), events, answer).await
            }
            (Work::Legacy(run), Proof::Legacy { first, .. }) => {
                run(Opened { lane, first }, control.clone()).await
            }
            // The machine secures a conversation as it was begun.
            (Work::Legacy(_), Proof::Native(_)) | (_, Proof::Legacy { .. }) => Err(
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
    fn of(proof: &Proof) -> Self {
        match proof {
            Proof::Native(session) => Self::Bound(session.peer_key_hash()),
            Proof::Legacy { key: Some(key), .. } => Self::Shown(*key),
            Proof::Legacy { key: None, .. } => Self::Plain,
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
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let as_before = told
        .as_ref()
        .is_some_and(|(kind, before)| *kind == path.kind && *before == security);
    if !as_before {
        *told = Some((path.kind, security));
        let _ = events.try_send(TransferEvent::Connected { path, security });
    }
}

/// The link of a transfer. It has one lane; without that one it is over.
fn link(attempt: AttemptId, lane: Lane, session: &Session) -> Link {
    Link::new(attempt, lane, session.role() == Role::Answerer).0
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
