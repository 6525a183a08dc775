//! Transfers from the driver's side: which conversation serves which, and how each ended.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use rdv_proto::rendezvous::{ConversationId, EndReason, LegacySecurity};
use rdv_proto::wire::rendezvous::{CancelReason, NakCode};
use rdv_proto::wire::text::ScreenName;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::job::{
    Begin, Direction, Job, JobId, Old, Opened, Over, Payload, Preparation, Prepared, Proposing,
    Ready, Task, TransferEnded,
};
use super::legacy::LegacyWork;
use super::outcome;
use super::pace::Pace;
use super::run::{Carried, Fault, Running, Told, Waiting, Work, tell_change};
use super::walk::Walk;
use crate::error::{By, Error};
use crate::handle::{EVENTS_MAX, TransferEvent};
use crate::report::Log;
use crate::signaling::BoxFuture;
use crate::transfer::{Control, Source, Summary, TransferError};
use crate::transport::Path;
use crate::transport::opening::Opening;
use crate::trust::{Identity, KnownPeers};

pub(crate) struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    by_conversation: BTreeMap<ConversationId, JobId>,
    next: u64,
    known_peers: Option<KnownPeers>,
    ended: mpsc::Sender<TransferEnded>,
    ready: mpsc::Sender<Ready>,
}

impl Jobs {
    pub(crate) fn new(
        known_peers: Option<KnownPeers>,
        ended: mpsc::Sender<TransferEnded>,
        ready: mpsc::Sender<Ready>,
    ) -> Self {
        Self {
            jobs: BTreeMap::new(),
            by_conversation: BTreeMap::new(),
            next: 1,
            known_peers,
            ended,
            ready,
        }
    }

    /// Opens a transfer of our own kind.
    pub(crate) fn open(&mut self, direction: Direction, begin: Begin) -> Opened {
        let job = JobId(self.next);
        let receives = matches!(direction, Direction::Receive(_));
        let payload = match direction {
            Direction::Send(source) => Payload::Send(Walk::begin(source, job, self.ended.clone())),
            Direction::Receive(sink) => Payload::Receive(sink),
        };
        self.insert(Control::new(), payload, receives, begin, None)
    }

    /// Opens a transfer that an old client has proposed.
    pub(crate) fn open_proposed(
        &mut self,
        work: LegacyWork,
        id: &ConversationId,
        begin: Begin,
    ) -> Opened {
        let old = Old {
            peer: id.peer.clone(),
            security: LegacySecurity::Required,
            next: None,
            done: None,
            pace: Pace::new(Instant::now()),
        };
        self.insert(
            Control::new(),
            Payload::Legacy(work),
            true,
            begin,
            Some(old),
        )
    }

    /// Opens a transfer to an old client, which is proposed when it is ready ([`Jobs::ready`]).
    pub(crate) fn open_proposing(
        &mut self,
        peer: ScreenName,
        security: LegacySecurity,
        begin: Begin,
        prepare: impl FnOnce(Control) -> Preparation,
    ) -> Opened {
        let control = Control::new();
        let payload = self.prepare(JobId(self.next), prepare(control.clone()));
        let old = Old {
            peer,
            security,
            next: None,
            done: None,
            pace: Pace::new(Instant::now()),
        };
        self.insert(control, payload, false, begin, Some(old))
    }

    fn insert(
        &mut self,
        control: Control,
        payload: Payload,
        receives: bool,
        begin: Begin,
        old: Option<Old>,
    ) -> Opened {
        let job = JobId(self.next);
        self.next += 1;
        let (events_out, events) = mpsc::channel(EVENTS_MAX);
        let answer = Waiting::default();
        let log = Log::begin(Instant::now().into_std());
        if let Some(id) = &begin.conversation {
            self.by_conversation.insert(id.clone(), job);
        }
        let opened = Opened {
            job,
            events,
            control: control.clone(),
            answer: Arc::clone(&answer),
            log: log.clone(),
        };
        self.jobs.insert(
            job,
            Job {
                payload: Some(payload),
                receives,
                begin,
                old,
                found: false,
                events: events_out,
                control,
                answer,
                told: Told::default(),
                log,
                called_off: None,
            },
        );
        opened
    }

    fn prepare(&self, job: JobId, preparation: Preparation) -> Payload {
        let ready = self.ready.clone();
        Payload::Preparing(Task(tokio::spawn(async move {
            let outcome = preparation.await;
            let _ = ready.send(Ready { job, outcome }).await;
        })))
    }

    /// What is to be proposed now that a rendezvous was made ready. If it cannot be, that ends the transfer.
    pub(crate) fn ready(&mut self, ready: Ready) -> Option<Proposing> {
        let Ready {
            job: job_id,
            outcome,
        } = ready;
        let job = self.jobs.get_mut(&job_id)?;
        let receives = job.receives;
        let Prepared { cookie, work, next } = match outcome {
            Ok(prepared) => prepared,
            Err(error) => {
                self.end(job_id, outcome::of_transfer(error, receives));
                return None;
            }
        };
        let old = job.old.as_mut()?;
        old.next = next;
        let proposing = Proposing {
            id: ConversationId {
                peer: old.peer.clone(),
                cookie,
            },
            service: work.service,
            tags: work.tags.clone(),
            security: old.security,
        };
        job.payload = Some(Payload::Legacy(work));
        self.matched(job_id, proposing.id.clone());
        Some(proposing)
    }

    /// Somebody proposed with the code of this transfer, or we have proposed for it.
    pub(crate) fn matched(&mut self, job: JobId, id: ConversationId) {
        if let Some(found) = self.jobs.get_mut(&job) {
            found.begin.conversation = Some(id.clone());
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
        if !mem::replace(&mut job.found, true) {
            job.log.peer(&id.peer);
            job.tell(TransferEvent::PeerFound {
                peer: id.peer.clone(),
            });
        }
    }

    pub(crate) fn identity(&self, id: &ConversationId) -> Option<Arc<Identity>> {
        self.of(id).map(|job| Arc::clone(&job.begin.identity))
    }

    /// The service of an old client that a conversation is for, and its first words.
    pub(crate) fn old_service(&self, id: &ConversationId) -> Option<(Uuid, Arc<dyn Opening>)> {
        match self.of(id)?.payload.as_ref()? {
            Payload::Legacy(work) => Some((work.service, Arc::clone(&work.opening))),
            _ => None,
        }
    }

    /// Whether we have proposed this.
    pub(crate) fn is_initiator(&self, id: &ConversationId) -> bool {
        self.of(id).is_some_and(|job| job.begin.initiator)
    }

    fn of(&self, id: &ConversationId) -> Option<&Job> {
        self.jobs.get(self.by_conversation.get(id)?)
    }

    /// Hands over what carries the bytes: from here on they are the transfer's.
    pub(super) fn start(&mut self, id: &ConversationId, carried: Carried, path: Path) {
        self.peer_found(id);
        let Some(&job_id) = self.by_conversation.get(id) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&job_id) else {
            return;
        };
        let work = match job.payload.take() {
            Some(Payload::Send(walk)) => Work::Send(walk),
            Some(Payload::Receive(sink)) => Work::Receive(sink),
            Some(Payload::Legacy(work)) => Work::Legacy(work.run),
            // A lane comes after what is proposed, and once.
            Some(Payload::Preparing(_)) | None => return,
        };
        let running = Running {
            peer: id.peer.clone(),
            path,
            carried,
            work,
            by_code: job.begin.by_code,
            known_peers: self.known_peers.clone(),
            events: job.events.clone(),
            control: job.control.clone(),
            answer: Arc::clone(&job.answer),
            told: Arc::clone(&job.told),
        };
        let ended = self.ended.clone();
        tokio::spawn(async move {
            if let Some(outcome) = running.run().await {
                let job = job_id;
                let _ = ended.send(TransferEnded { job, outcome }).await;
            }
        });
    }

    /// The bytes go another way from now on.
    pub(super) fn moved(&self, id: &ConversationId, path: Path) {
        if let Some(job) = self.of(id) {
            tell_change(&job.told, &job.events, path);
        }
    }

    /// The conversation that serves a transfer now.
    pub(super) fn conversation(&self, job: JobId) -> Option<ConversationId> {
        self.jobs.get(&job)?.begin.conversation.clone()
    }

    /// The cords to the transfer that a conversation is for.
    pub(super) fn control(&self, id: &ConversationId) -> Option<Control> {
        self.of(id).map(|job| job.control.clone())
    }

    /// The report of the transfer that a conversation is for.
    pub(super) fn log(&self, id: &ConversationId) -> Option<Log> {
        self.of(id).map(|job| job.log.clone())
    }

    /// A transfer is over, or one rendezvous of it. Returns what is over with it.
    pub(crate) fn transfer_ended(&mut self, ended: TransferEnded) -> Option<Over> {
        let job_id = ended.job;
        let outcome = match ended.outcome {
            Ok(summary) => {
                let job = self.jobs.get_mut(&job_id)?;
                let summary = job.add(summary);
                let next = job.old.as_mut().and_then(|old| old.next.take());
                match (next, job.called_off) {
                    (Some(next), None) => {
                        return self.go_on(job_id, summary, next).map(Over::Finished);
                    }
                    // What is across by now stays across, but it is not all.
                    (Some(_), Some(by)) => Err(Fault::Refused(Error::Cancelled { by })),
                    (None, _) => Ok(summary),
                }
            }
            Err(fault) => Err(fault),
        };
        let job = self.remove(job_id)?;
        let over = over(&job, outcome.as_ref().err());
        let outcome = outcome.map_err(|fault| match (job.called_off, fault) {
            (Some(by), _) => Error::Cancelled { by },
            (None, Fault::Transfer(error)) => outcome::of_transfer(error, job.receives),
            (None, Fault::Refused(error)) => error,
        });
        job.log.ended(Instant::now().into_std());
        job.tell(TransferEvent::Ended(outcome));
        Some(over)
    }

    /// Makes the next rendezvous of a transfer ready. Returns the conversation that has served.
    fn go_on(
        &mut self,
        job_id: JobId,
        so_far: Summary,
        next: Preparation,
    ) -> Option<ConversationId> {
        let due = self.jobs.get_mut(&job_id)?.old.as_mut()?.pace.next();
        let next = async move {
            sleep_until(due).await;
            next.await
        };
        let payload = self.prepare(job_id, Box::pin(next));
        let job = self.jobs.get_mut(&job_id)?;
        job.payload = Some(payload);
        job.old.as_mut()?.done = Some(so_far);
        let served = job.begin.conversation.take()?;
        self.by_conversation.remove(&served);
        Some(served)
    }

    /// The machine has ended a conversation. Returns the transfer that is to be proposed again, in the words of old clients.
    pub(crate) fn conversation_ended(
        &mut self,
        id: &ConversationId,
        reason: &EndReason,
        candidates_exchanged: bool,
    ) -> Option<JobId> {
        let job_id = *self.by_conversation.get(id)?;
        let job = self.jobs.get_mut(&job_id)?;
        if job.running() {
            if matches!(reason, EndReason::LinkLost(_)) {
                // Its link knows, and ends it.
                return None;
            }
            // The task ends it, so that what is whole by now stays whole and nothing else stays.
            job.called_off.get_or_insert(By::Peer);
            job.control.cancel_by_peer();
            return None;
        }
        let unknown_there = matches!(
            reason,
            EndReason::Undeliverable { code: 9 } | EndReason::Refused(Some(NakCode::UNSUPPORTED))
        );
        if unknown_there && job.begin.fallback.is_some() {
            self.by_conversation.remove(id);
            return Some(job_id);
        }
        let error = match &job.old {
            Some(_) => {
                let unanswered = job.begin.initiator && !job.found;
                outcome::of_old_conversation(reason, candidates_exchanged, unanswered)
            }
            None => outcome::of_conversation(reason, candidates_exchanged),
        };
        self.end(job_id, error);
        None
    }

    /// Turns a transfer of our own kind that was not understood into one for an old client.
    pub(crate) fn fall_back(
        &mut self,
        job_id: JobId,
        prepare: impl FnOnce(BoxFuture<'static, Option<Source>>, bool, Control) -> Preparation,
    ) {
        let Some(job) = self.jobs.get_mut(&job_id) else {
            return;
        };
        let (Some(fallback), Some(Payload::Send(walk)), Some(id)) = (
            job.begin.fallback.take(),
            job.payload.take(),
            job.begin.conversation.take(),
        ) else {
            return;
        };
        job.old = Some(Old {
            peer: id.peer,
            security: fallback.security,
            next: None,
            done: None,
            pace: Pace::new(Instant::now()),
        });
        let source = Box::pin(walk.source());
        let preparation = prepare(source, fallback.batch, job.control.clone());
        let payload = self.prepare(job_id, preparation);
        if let Some(job) = self.jobs.get_mut(&job_id) {
            job.payload = Some(payload);
        }
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
        let conversation = job.begin.conversation.clone();
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
            .map(|(id, job)| (*id, job.begin.conversation.clone()))
            .collect()
    }

    /// Whether there is any transfer.
    pub(super) fn any(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether somebody is waited for, who has the words of a code.
    pub(super) fn any_expected(&self) -> bool {
        let mut jobs = self.jobs.values();
        jobs.any(|job| job.begin.by_code && job.begin.conversation.is_none())
    }

    /// All transfers.
    pub(crate) fn all(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }

    fn remove(&mut self, job: JobId) -> Option<Job> {
        let job = self.jobs.remove(&job)?;
        if let Some(id) = &job.begin.conversation {
            self.by_conversation.remove(id);
        }
        Some(job)
    }
}

/// What the end of a transfer means to its conversation.
fn over(job: &Job, fault: Option<&Fault>) -> Over {
    let Some(id) = job.begin.conversation.clone() else {
        return Over::Unexpect;
    };
    match fault {
        // A source that cannot be sent ends what was begun for it, and the other side hears of it.
        _ if !job.running() => Over::Cancel(id, CancelReason::USER),
        Some(Fault::Refused(_)) => Over::Cancel(id, CancelReason::UNKNOWN),
        // On a lane of our own kind the reason was told there. To an old client a CANCEL is the only way to tell it; one whose
        // connection broke may come back.
        Some(Fault::Transfer(error)) if job.old.is_some() && told_by_cancel(error) => {
            Over::Cancel(id, CancelReason::UNKNOWN)
        }
        _ => Over::Finished(id),
    }
}

fn told_by_cancel(error: &TransferError) -> bool {
    !matches!(error, TransferError::LinkLost(_))
}
