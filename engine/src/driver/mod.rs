//! The one task that owns the rendezvous machine: feeds it inputs and carries out its outputs.
//!
//! Decisions are the machine's (`rdv_proto::rendezvous`), bytes the transfer's; this room only connects them. Control plane
//! and data plane meet once, when a proven lane is handed to the transfer by value.

mod attempts;
mod jobs;
mod orders;
mod outbox;
mod outcome;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdv_proto::rendezvous::{
    AttemptError, AttemptId, Config, ConversationId, Endpoint, Event, Input, Output, RelayPolicy,
    Security,
};
use rdv_proto::wire::rendezvous::CancelReason;
use rdv_proto::wire::service;
use tokio::sync::mpsc;

use self::attempts::Attempts;
pub(crate) use self::jobs::{Direction, JobId};
use self::jobs::{Jobs, Over, TransferEnded};
pub(crate) use self::orders::Command;
use self::outbox::Outbox;
use crate::engine::Proposal;
use crate::error::Error;
use crate::signaling::{Incoming, RelayDirectory, Signaling, SignalingError};
use crate::transport::attempt::Arrival;
use crate::transport::{Link, gather};
use crate::trust::Identity;

/// What the engine was built with.
pub(crate) struct Setup {
    pub(crate) signaling: Arc<dyn Signaling>,
    pub(crate) relays: Option<Arc<dyn RelayDirectory>>,
    pub(crate) relay_policy: RelayPolicy,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) host_on_this_machine: bool,
    pub(crate) seen_as: Option<Ipv4Addr>,
    pub(crate) never_dial: BTreeSet<SocketAddr>,
    pub(crate) codes_only: bool,
}

impl Setup {
    pub(crate) fn new(signaling: Arc<dyn Signaling>) -> Self {
        Self {
            signaling,
            relays: None,
            relay_policy: RelayPolicy::Auto,
            identity: None,
            host_on_this_machine: false,
            seen_as: None,
            never_dial: BTreeSet::new(),
            codes_only: false,
        }
    }
}

/// How long the last messages may take to leave when the engine ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Driver {
    endpoint: Endpoint,
    setup: Setup,
    commands: mpsc::Receiver<Command>,
    weak_commands: mpsc::WeakSender<Command>,
    proposals: mpsc::Sender<Proposal>,
    attempts: Attempts,
    jobs: Jobs,
    outbox: Outbox,
    ended: mpsc::Receiver<TransferEnded>,
    signaling_lost: bool,
}

impl Driver {
    pub(crate) fn new(
        setup: Setup,
        commands: mpsc::Receiver<Command>,
        weak_commands: mpsc::WeakSender<Command>,
        proposals: mpsc::Sender<Proposal>,
    ) -> Self {
        let config = Config {
            services: match setup.codes_only {
                true => BTreeSet::new(),
                false => BTreeSet::from([service::NATIVE]),
            },
            first_word_decides: setup.codes_only,
            interfaces: gather::own_subnets(),
            verified: setup.seen_as,
            host_is_local: setup.host_on_this_machine,
            infrastructure: setup.never_dial.iter().copied().collect(),
            relay_known: setup.relays.is_some(),
            ..Config::default()
        };
        let (ended_out, ended) = mpsc::channel(16);
        Self {
            endpoint: Endpoint::new(setup.signaling.local_name(), config.clone()),
            attempts: Attempts::new(Arc::new(config)),
            jobs: Jobs::new(ended_out),
            outbox: Outbox::spawn(Arc::clone(&setup.signaling)),
            setup,
            commands,
            weak_commands,
            proposals,
            ended,
            signaling_lost: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let signaling = Arc::clone(&self.setup.signaling);
        loop {
            self.drain();
            let timeout = self.endpoint.poll_timeout();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                arrival = self.attempts.next() => self.arrived(arrival),
                Some(ended) = self.ended.recv() => self.transfer_ended(ended),
                incoming = signaling.recv(), if !self.signaling_lost => self.incoming(incoming),
                () = sleep_until(timeout) => self.input(Input::Timeout),
            }
        }
        self.shut_down().await;
    }

    fn input(&mut self, input: Input) {
        self.endpoint.handle_input(now(), input);
        self.drain();
    }

    /// Carries out what the machine has decided; nothing else may go in before the queue is empty.
    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { to, body, host_ack } => self.outbox.push(to, body, host_ack),
                Output::Gather { id, addresses, .. } => {
                    let input =
                        self.attempts
                            .gather(id, addresses, self.setup.host_on_this_machine);
                    self.endpoint.handle_input(now(), input);
                }
                Output::StopListening { id } => self.attempts.stop_listening(&id),
                Output::Dial { attempt, to, .. } => self.attempts.dial(attempt, to),
                Output::RelayCreate { attempt, .. } => {
                    self.attempts.relay_create(attempt, &self.setup)
                }
                Output::RelayJoin { attempt, relay, .. } => {
                    self.attempts.relay_join(attempt, relay, &self.setup)
                }
                Output::Secure {
                    id,
                    attempt,
                    tls_client,
                    session,
                } => self.secure(&id, attempt, tls_client, session),
                // USE is the transfer's first frame on the lane: see `Link::open`.
                Output::Nominate { .. } => {}
                Output::HangUp { attempt } => self.attempts.hang_up(attempt),
                Output::Event(event) => self.event(event),
                other => tracing::warn!(?other, "an order that this driver does not know"),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Matched { expectation, id } => self.jobs.matched(JobId(expectation), id),
            Event::Keyed { id } => self.jobs.peer_found(&id),
            Event::Proposed { id, .. } => self.proposed(id),
            // The machine establishes only what was proven, and what was proven left its lane with us.
            Event::Established {
                id, attempt, path, ..
            } => match self.attempts.take_lane(attempt) {
                Some((lane, session)) => {
                    self.jobs
                        .start(&id, Link::new(lane, &session, &path), &session)
                }
                None => self.endpoint.handle_input(
                    now(),
                    Input::Failed {
                        attempt,
                        error: AttemptError::Closed,
                    },
                ),
            },
            Event::Ended {
                id,
                reason,
                candidates_exchanged,
            } => {
                self.attempts.stop_listening(&id);
                self.jobs
                    .conversation_ended(&id, &reason, candidates_exchanged);
            }
            Event::Expired { expectation } => self.jobs.end(JobId(expectation), Error::CodeExpired),
            _ => {}
        }
    }

    /// Native conversations only: the engine proposes and welcomes no other.
    fn secure(
        &mut self,
        id: &ConversationId,
        attempt: AttemptId,
        tls_client: bool,
        security: Security,
    ) {
        match (self.jobs.identity(id), security) {
            (Some(identity), Security::Native(session)) => {
                self.attempts.secure(attempt, session, identity, tls_client)
            }
            _ => self.endpoint.handle_input(
                now(),
                Input::Failed {
                    attempt,
                    error: AttemptError::Local,
                },
            ),
        }
    }

    fn proposed(&mut self, id: ConversationId) {
        let proposal = Proposal {
            id,
            commands: self.weak_commands.clone(),
            answered: false,
        };
        // If nobody listens, or too many wait, dropping it declines.
        let _ = self.proposals.try_send(proposal);
    }

    fn arrived(&mut self, arrival: Arrival) {
        let input = match arrival {
            Arrival::Report(report) => self.attempts.reported(report),
            Arrival::Incoming { id, stream, from } => {
                let attempt = self.endpoint.new_attempt();
                self.attempts.accepted(attempt, stream);
                Input::Incoming { id, attempt, from }
            }
        };
        self.input(input);
    }

    fn incoming(&mut self, incoming: Result<Incoming, SignalingError>) {
        match incoming {
            Ok(Incoming::Message { from, body }) => self.input(Input::Signal { from, body }),
            Ok(Incoming::Undelivered { to, cookie, code }) => {
                self.input(Input::Undelivered { to, cookie, code })
            }
            Err(error) => {
                tracing::info!(%error, "the signalling channel is gone");
                self.signaling_lost = true;
                self.give_up_negotiating();
            }
        }
    }

    /// Running transfers don't need the signalling channel; whatever still negotiates does.
    fn give_up_negotiating(&mut self) {
        for (job, conversation) in self.jobs.without_lane() {
            self.jobs.end(job, Error::Signaling(SignalingError::Closed));
            self.forget(job, conversation);
        }
    }

    fn transfer_ended(&mut self, ended: TransferEnded) {
        let job = ended.job;
        match self.jobs.transfer_ended(ended) {
            // A source that cannot be sent ends what was begun for it, and the other side hears of it.
            Some(Over {
                conversation: Some(id),
                had_lane: false,
            }) => {
                self.input(Input::Cancel {
                    id,
                    reason: CancelReason::USER,
                });
            }
            Some(Over {
                conversation: Some(id),
                had_lane: true,
            }) => self.input(Input::Finished { id }),
            Some(Over {
                conversation: None, ..
            }) => self.input(Input::Unexpect { expectation: job.0 }),
            None => {}
        }
    }

    /// Cancels everything and lets the last messages go out: the other sides want to know.
    async fn shut_down(mut self) {
        for job in self.jobs.all() {
            self.cancel(job);
        }
        self.drain();
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, async {
            while !self.jobs.all().is_empty() {
                match self.ended.recv().await {
                    Some(ended) => self.transfer_ended(ended),
                    None => break,
                }
            }
        })
        .await;
        self.drain();
        self.outbox.flush(FLUSH_TIMEOUT).await;
    }
}

/// The machine's clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
