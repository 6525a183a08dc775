//! Transfers from the driver's side: which conversation serves which, and how each ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdv_proto::rendezvous::{ConversationId, EndReason};
use rdv_proto::trust::Session;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::outcome;
use crate::error::{By, Error};
use crate::handle::{EVENTS_MAX, TransferEvent};
use crate::transfer::{self, Control, Offer, Sink, Source, Summary, TransferError};
use crate::transport::Link;
use crate::trust::Identity;

/// How long after the loss of its lane a peer's cancel may come and tell why.
const REASON_TIME: Duration = Duration::from_secs(1);

/// Names a transfer within one engine; for a code it is the machine's expectation, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobId(pub(crate) u64);

/// Which way the files go.
pub(crate) enum Direction {
    Send(Source),
    Receive(Sink),
}

/// What a transfer will run on, until it starts.
enum Payload {
    Send(Walk),
    Receive(Sink),
}

/// A source that is being listed while its owner still waits for somebody, so that what cannot be sent is found early.
struct Walk {
    /// Ends the waiting: whatever state the list is in, the transfer takes over.
    start: oneshot::Sender<()>,
    /// `None`: it cannot be sent, which was reported.
    source: JoinHandle<Option<Source>>,
}

impl Walk {
    fn begin(mut source: Source, job: JobId, ended: mpsc::Sender<TransferEnded>) -> Self {
        let (start, started) = oneshot::channel();
        let source = tokio::spawn(async move {
            tokio::pin!(started);
            tokio::select! {
                _ = &mut started => return Some(source),
                ready = source.ready() => if let Err(error) = ready {
                    let outcome = Err(TransferError::Source(error));
                    let _ = ended.send(TransferEnded { job, outcome }).await;
                    return None;
                },
            }
            // Dropped unstarted, the source goes with it.
            started.await.ok().map(|()| source)
        });
        Self { start, source }
    }

    async fn source(self) -> Option<Source> {
        let _ = self.start.send(());
        self.source.await.ok().flatten()
    }
}

/// A transfer task has come to its end, or a source turned out to be none.
pub(crate) struct TransferEnded {
    pub(crate) job: JobId,
    pub(crate) outcome: Result<Summary, TransferError>,
}

type Waiting = Arc<Mutex<Option<oneshot::Sender<bool>>>>;

struct Job {
    /// Taken when the transfer starts.
    payload: Option<Payload>,
    receives: bool,
    identity: Arc<Identity>,
    conversation: Option<ConversationId>,
    verified: bool,
    found: bool,
    events: mpsc::Sender<TransferEvent>,
    control: Control,
    answer: Waiting,
    /// Why it was called off while it ran; whatever its task says, that was the reason.
    called_off: Option<By>,
}

impl Job {
    /// The channel holds more events than a transfer has, so that a handle that nobody reads blocks nothing.
    fn tell(&self, event: TransferEvent) {
        let _ = self.events.try_send(event);
    }

    fn running(&self) -> bool {
        self.payload.is_none()
    }
}

/// What the handle of a new transfer needs.
pub(crate) struct Opened {
    pub(crate) job: JobId,
    pub(crate) events: mpsc::Receiver<TransferEvent>,
    pub(crate) control: Control,
    pub(crate) answer: Waiting,
}

/// What a transfer leaves behind at its end.
pub(crate) struct Over {
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) had_lane: bool,
}

pub(crate) struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    by_conversation: BTreeMap<ConversationId, JobId>,
    next: u64,
    ended: mpsc::Sender<TransferEnded>,
}

impl Jobs {
    pub(crate) fn new(ended: mpsc::Sender<TransferEnded>) -> Self {
        Self {
            jobs: BTreeMap::new(),
            by_conversation: BTreeMap::new(),
            next: 1,
            ended,
        }
    }

    pub(crate) fn open(
        &mut self,
        direction: Direction,
        identity: Arc<Identity>,
        conversation: Option<ConversationId>,
        verified: bool,
    ) -> Opened {
        let job = JobId(self.next);
        self.next += 1;
        let (events_out, events) = mpsc::channel(EVENTS_MAX);
        let control = Control::new();
        let answer = Waiting::default();
        if let Some(id) = &conversation {
            self.by_conversation.insert(id.clone(), job);
        }
        self.jobs.insert(
            job,
            Job {
                receives: matches!(direction, Direction::Receive(_)),
                payload: Some(match direction {
                    Direction::Send(source) => {
                        Payload::Send(Walk::begin(source, job, self.ended.clone()))
                    }
                    Direction::Receive(sink) => Payload::Receive(sink),
                }),
                identity,
                conversation,
                verified,
                found: false,
                events: events_out,
                control: control.clone(),
                answer: Arc::clone(&answer),
                called_off: None,
            },
        );
        Opened {
            job,
            events,
            control,
            answer,
        }
    }

    /// Somebody proposed with the code of this transfer.
    pub(crate) fn matched(&mut self, job: JobId, id: ConversationId) {
        if let Some(found) = self.jobs.get_mut(&job) {
            found.conversation = Some(id.clone());
            self.by_conversation.insert(id, job);
        }
    }

    /// The other side answered. Told once, also if its lane tells it first.
    pub(crate) fn peer_found(&mut self, id: &ConversationId) {
        let Some(job) = self
            .by_conversation
            .get(id)
            .and_then(|job| self.jobs.get_mut(job))
        else {
            return;
        };
        if !std::mem::replace(&mut job.found, true) {
            job.tell(TransferEvent::PeerFound {
                peer: id.peer.clone(),
            });
        }
    }

    pub(crate) fn identity(&self, id: &ConversationId) -> Option<Arc<Identity>> {
        self.of(id).map(|job| Arc::clone(&job.identity))
    }

    fn of(&self, id: &ConversationId) -> Option<&Job> {
        self.jobs.get(self.by_conversation.get(id)?)
    }

    /// Hands the lane over: from here on the bytes are the transfer's.
    pub(crate) fn start(&mut self, id: &ConversationId, link: Link, session: &Session) {
        self.peer_found(id);
        let Some(&job_id) = self.by_conversation.get(id) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&job_id) else {
            return;
        };
        let Some(payload) = job.payload.take() else {
            return;
        };
        job.tell(TransferEvent::Connected {
            path: link.path.clone(),
            peer_key: session.peer_key_hash(),
            verified: job.verified,
        });
        let control = job.control.clone();
        let events = job.events.clone();
        let answer = Arc::clone(&job.answer);
        let ended = self.ended.clone();
        tokio::spawn(async move {
            let outcome = match payload {
                Payload::Send(walk) => match walk.source().await {
                    Some(source) => send(link, source, control.clone()).await,
                    // Its end was reported when it was found.
                    None => return,
                },
                Payload::Receive(sink) => {
                    receive(link, sink, control.clone(), events, answer).await
                }
            };
            if matches!(outcome, Err(TransferError::LinkLost(_))) {
                // The peer's reason may still be on its way through the host.
                let _ = tokio::time::timeout(REASON_TIME, control.cancelled()).await;
            }
            let _ = ended
                .send(TransferEnded {
                    job: job_id,
                    outcome,
                })
                .await;
        });
    }

    /// A transfer is over. Returns what is over with it.
    pub(crate) fn transfer_ended(&mut self, ended: TransferEnded) -> Option<Over> {
        let job = self.remove(ended.job)?;
        let had_lane = job.running();
        let outcome = match ended.outcome {
            Ok(summary) => Ok(summary),
            Err(error) => Err(match job.called_off {
                Some(by) => Error::Cancelled { by },
                None => outcome::of_transfer(error, job.receives),
            }),
        };
        job.tell(TransferEvent::Ended(outcome));
        Some(Over {
            conversation: job.conversation,
            had_lane,
        })
    }

    /// The machine has ended a conversation.
    pub(crate) fn conversation_ended(
        &mut self,
        id: &ConversationId,
        reason: &EndReason,
        candidates_exchanged: bool,
    ) {
        let Some(&job_id) = self.by_conversation.get(id) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&job_id) else {
            return;
        };
        if job.running() {
            // The task ends it, so that what is whole by now stays whole and nothing else stays.
            job.called_off.get_or_insert(By::Peer);
            job.control.cancel_by_peer();
            return;
        }
        let error = outcome::of_conversation(reason, candidates_exchanged);
        self.end(job_id, error);
    }

    /// Ends a transfer that has no lane.
    pub(crate) fn end(&mut self, job: JobId, error: Error) {
        if let Some(job) = self.remove(job) {
            job.tell(TransferEvent::Ended(Err(error)));
        }
    }

    /// Marks a transfer as called off by our user. Returns its conversation, if it has one by now.
    pub(crate) fn cancel(&mut self, job_id: JobId) -> Option<ConversationId> {
        let job = self.jobs.get_mut(&job_id)?;
        job.called_off.get_or_insert(By::Us);
        let conversation = job.conversation.clone();
        if job.running() {
            job.control.cancel();
        } else if conversation.is_none() {
            self.end(job_id, Error::Cancelled { by: By::Us });
        }
        conversation
    }

    /// Every transfer that has no lane yet, with its conversation.
    pub(crate) fn without_lane(&self) -> Vec<(JobId, Option<ConversationId>)> {
        self.jobs
            .iter()
            .filter(|(_, job)| !job.running())
            .map(|(id, job)| (*id, job.conversation.clone()))
            .collect()
    }

    /// All transfers.
    pub(crate) fn all(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }

    fn remove(&mut self, job: JobId) -> Option<Job> {
        let job = self.jobs.remove(&job)?;
        if let Some(id) = &job.conversation {
            self.by_conversation.remove(id);
        }
        Some(job)
    }
}

/// Sends over the link, from the nomination to the last acknowledgement.
async fn send(link: Link, source: Source, control: Control) -> Result<Summary, TransferError> {
    let lane = link.open().await.map_err(TransferError::LinkLost)?;
    transfer::send(lane, source, control).await
}

/// Receives over the link; the question goes to the holder of the transfer.
async fn receive(
    link: Link,
    sink: Sink,
    control: Control,
    events: mpsc::Sender<TransferEvent>,
    answer: Waiting,
) -> Result<Summary, TransferError> {
    let lane = link.open().await.map_err(TransferError::LinkLost)?;
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
