//! The task of a transfer: judges the other end's key, says how the lane is, moves the bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdv_proto::trust::Fingerprint;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{mpsc, oneshot};

use super::legacy::{Opened, Run};
use super::walk::Walk;
use crate::error::Error;
use crate::handle::TransferEvent;
use crate::security::Security;
use crate::transfer::{self, Control, Offer, Sink, Summary, TransferError};
use crate::transport::attempt::{Proof, Proven};
use crate::transport::{Lane, Link, Path};
use crate::trust::KnownPeers;

/// How long after the loss of its lane a peer's cancel may come and tell why.
const REASON_TIME: Duration = Duration::from_secs(1);

/// Where the answer to an offer is waited for.
pub(super) type Waiting = Arc<Mutex<Option<oneshot::Sender<bool>>>>;

/// What was last said of the lanes of a transfer.
pub(super) type Told = Arc<Mutex<Option<(Path, Security)>>>;

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
    pub(super) proven: Proven,
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
        let security = match self.judge().await {
            Ok(security) => security,
            Err(refused) => return Some(Err(Fault::Refused(refused))),
        };
        self.tell(security);
        let control = self.control.clone();
        let outcome = self.work().await?;
        if matches!(outcome, Err(TransferError::LinkLost(_))) {
            // The peer's reason may still be on its way through the host.
            let _ = tokio::time::timeout(REASON_TIME, control.cancelled()).await;
        }
        Some(outcome.map_err(Fault::Transfer))
    }

    /// How safe the lane is, and whether it may be used at all (S-07).
    async fn judge(&self) -> Result<Security, Error> {
        let (key, tls_alone) = match &self.proven.proof {
            Proof::Native(session) => (session.peer_key_hash(), false),
            Proof::Legacy { key: Some(key), .. } => (*key, true),
            Proof::Legacy { key: None, .. } => return Ok(Security::Plain),
        };
        let key = Fingerprint::of(&key);
        let verified = match &self.known_peers {
            // Names of transfers with a code do not last.
            _ if self.by_code => true,
            Some(known_peers) => known_peers.met(&self.peer, key).await?,
            None => false,
        };
        Ok(match (tls_alone, verified) {
            (true, _) => Security::Encrypted { key },
            (false, true) => Security::Verified { key },
            (false, false) => Security::Unverified { key },
        })
    }

    /// Says how the lane is, unless that was said of the one before. The channel holds more events than a transfer has, so that
    /// a handle that nobody reads blocks nothing.
    fn tell(&self, security: Security) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let as_before = told
            .as_ref()
            .is_some_and(|(path, before)| path.kind == self.path.kind && *before == security);
        if !as_before {
            *told = Some((self.path.clone(), security));
            let path = self.path.clone();
            let _ = self
                .events
                .try_send(TransferEvent::Connected { path, security });
        }
    }

    async fn work(self) -> Option<Result<Summary, TransferError>> {
        let Self {
            proven,
            work,
            control,
            events,
            answer,
            ..
        } = self;
        let Proven { lane, proof } = proven;
        Some(match (work, proof) {
            (Work::Send(walk), Proof::Native(session)) => {
                // Without a source its end was reported already.
                let source = walk.source().await?;
                match open(Link::new(lane, &session)).await {
                    Ok(lane) => transfer::send(lane, source, control).await,
                    Err(error) => Err(error),
                }
            }
            (Work::Receive(sink), Proof::Native(session)) => {
                match open(Link::new(lane, &session)).await {
                    Ok(lane) => receive(lane, sink, control, events, answer).await,
                    Err(error) => Err(error),
                }
            }
            (Work::Legacy(run), Proof::Legacy { first, .. }) => {
                run(Opened { lane, first }, control).await
            }
            // The machine secures a conversation as it was begun.
            (Work::Legacy(_), Proof::Native(_)) | (_, Proof::Legacy { .. }) => Err(
                TransferError::LinkLost(std::io::ErrorKind::InvalidData.into()),
            ),
        })
    }
}

/// The lane of a link, nominated.
async fn open(link: Link) -> Result<Lane, TransferError> {
    link.open().await.map_err(TransferError::LinkLost)
}

/// Receives on the lane; the question goes to the holder of the transfer.
async fn receive(
    lane: Lane,
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
    transfer::receive(lane, sink, consent, control).await
}
