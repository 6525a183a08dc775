//! The one task that owns the rendezvous machine: feeds it inputs and carries out its outputs.
//!
//! Decisions are the machine's (`rdv_proto::rendezvous`), bytes the transfer's; this room only connects them. Control plane
//! and data plane meet once, when a proven lane is handed to the transfer by value.

mod abandoned;
mod attempts;
mod files;
mod job;
mod jobs;
mod lanes;
mod legacy;
mod links;
mod offers;
mod orders;
mod outbox;
mod outcome;
mod pace;
mod roads;
mod run;
mod setup;
mod sites;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdv_proto::rendezvous::{self, Config, ConversationId, Endpoint, Event, Input, Output};
use rdv_proto::wire::service;
use tokio::sync::mpsc;
use uuid::Uuid;

use self::abandoned::Abandoned;
use self::attempts::Attempts;
pub(crate) use self::job::{Direction, JobId, Prepared};
use self::job::{Over, Proposing, Ready, TransferEnded};
use self::jobs::Jobs;
pub(crate) use self::legacy::{LegacyWork, Opened};
use self::links::Links;
use self::offers::Offered;
pub(crate) use self::orders::{AcceptAs, Command, Prepare, ProposalId, Verdict, new_cookie};
use self::outbox::Outbox;
pub(crate) use self::setup::Setup;
use self::sites::Sites;
use crate::error::Error;
use crate::proposal::{Proposal, Refused};
use crate::share::Served;
use crate::signaling::{Incoming, SignalingError};
use crate::transport::connect::Route;
use crate::transport::{gather, network};

/// How long the last messages may take to leave when the engine ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the driver tells of what others want.
pub(crate) struct Exits {
    pub(crate) proposals: mpsc::Sender<Proposal>,
    pub(crate) refused: mpsc::Sender<Refused>,
    pub(crate) served: mpsc::Sender<Served>,
}

pub(crate) struct Driver {
    endpoint: Endpoint,
    setup: Setup,
    commands: mpsc::Receiver<Command>,
    weak_commands: mpsc::WeakSender<Command>,
    exits: Exits,
    attempts: Attempts,
    jobs: Jobs,
    links: Links,
    sites: Sites,
    abandoned: Abandoned,
    /// Proposals of others that nobody has answered; the machine bounds them.
    offered: BTreeMap<ConversationId, Offered>,
    /// Of the last of them.
    serial: u64,
    outbox: Outbox,
    ended: mpsc::Receiver<TransferEnded>,
    ready: mpsc::Receiver<Ready>,
    signaling_lost: bool,
    /// When the network last gave cause for doubt.
    unsettled: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(
        setup: Setup,
        commands: mpsc::Receiver<Command>,
        weak_commands: mpsc::WeakSender<Command>,
        exits: Exits,
    ) -> Self {
        let config = Config {
            services: match setup.codes_only {
                true => BTreeSet::new(),
                false => setup.services.capabilities().into_iter().collect(),
            },
            only_outgoing: setup.only_outgoing,
            first_word_decides: setup.codes_only,
            interfaces: gather::own_subnets(),
            verified: setup.seen_as,
            host_is_local: setup.host_on_this_machine,
            infrastructure: setup.never_dial.iter().copied().collect(),
            relay_known: setup.relays.is_some(),
            ..Config::default()
        };
        let (ended_out, ended) = mpsc::channel(16);
        let (ready_out, ready) = mpsc::channel(16);
        let route = Route::default()
            .with_bind(setup.roads.bind)
            .with_socks(setup.roads.socks.clone());
        let name = setup.signaling.local_name();
        let attempts = Attempts::new(Arc::new(config.clone()), route);
        Self {
            endpoint: Endpoint::new(name, config),
            sites: Sites::new(&setup, attempts.arrivals()),
            attempts,
            abandoned: Abandoned::default(),
            jobs: Jobs::new(setup.known_peers.clone(), ended_out, ready_out),
            links: Links::default(),
            offered: BTreeMap::new(),
            serial: 0,
            outbox: Outbox::spawn(Arc::clone(&setup.signaling)),
            setup,
            commands,
            weak_commands,
            exits,
            ended,
            ready,
            signaling_lost: false,
            unsettled: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let signaling = Arc::clone(&self.setup.signaling);
        let mut network = network::watch();
        loop {
            self.drain();
            let timeout = self.endpoint.poll_timeout();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                arrival = self.attempts.next() => self.arrived(arrival),
                input = self.links.next() => self.of_link(input),
                Some(ended) = self.ended.recv() => self.transfer_ended(ended),
                Some(ready) = self.ready.recv() => self.ready(ready),
                incoming = signaling.recv(), if !self.signaling_lost => self.incoming(incoming),
                () = network.changed(), if self.jobs.any() => self.network_changed(),
                () = sleep_until(self.abandoned.next()) => self.given_up(),
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
                Output::Gather {
                    id,
                    generation,
                    addresses,
                    fresh,
                    ..
                } => self.gather(id, generation, addresses, fresh),
                Output::Retire { id, generation } => self.sites.retire(&id, generation),
                Output::StopListening { id } => self.sites.close(&id),
                Output::Dial {
                    id,
                    attempt,
                    generation,
                    to,
                    carrier,
                } => self.dial(&id, attempt, generation, to, carrier),
                Output::Probe {
                    id,
                    generation,
                    to,
                    ttl,
                    datagram,
                } => self.probe(&id, generation, to, ttl, &datagram),
                Output::RelayCreate {
                    id,
                    attempt,
                    cookie,
                } => {
                    let service = self.service(&id);
                    self.attempts
                        .relay_create(&id, attempt, service, cookie, &self.setup)
                }
                Output::RelayJoin { id, attempt, relay } => {
                    let service = self.service(&id);
                    self.attempts
                        .relay_join(&id, attempt, service, relay, &self.setup)
                }
                Output::Secure {
                    id,
                    attempt,
                    tls_client,
                    session,
                } => self.secure(&id, attempt, tls_client, session),
                // USE is the first frame on a lane: its link writes it.
                Output::Nominate {
                    attempt, number, ..
                } => self.links.nominated(attempt, number),
                Output::HangUp { attempt } => {
                    self.attempts.hang_up(attempt);
                    self.links.close(attempt);
                }
                Output::Event(event) => self.event(event),
                other => tracing::warn!(?other, "an order that this driver does not know"),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Matched { expectation, id } => self.jobs.matched(JobId(expectation), id),
            Event::Keyed { id } => self.jobs.peer_found(&id),
            Event::Proposed { id, offer } => self.proposed(id, &offer),
            Event::Refused { id, service, nak } => self.refused(id, service, nak),
            Event::Established {
                id, attempt, path, ..
            } => self.established(&id, attempt, &path),
            Event::Moved {
                id,
                attempt,
                path,
                why,
            } => self.moved(&id, attempt, &path, why),
            Event::Told { id } => {
                if let Some(log) = self.jobs.log(&id) {
                    log.told(now());
                }
            }
            Event::LaneLost { id } => self.lane_lost(id),
            Event::Tried { id, report } => {
                if let Some(log) = self.jobs.log(&id) {
                    log.tried(&report);
                }
            }
            Event::Ended {
                id,
                reason,
                candidates_exchanged,
            } => {
                self.sites.close(&id);
                self.links.ended(&id, &reason);
                self.attempts.ended(&id);
                self.abandoned.remove(&id);
                self.put_away();
                if let Some(offered) = self.offered.remove(&id) {
                    let why = outcome::of_proposal(&reason, candidates_exchanged);
                    let _ = offered.gone.send(why);
                }
                let again = self
                    .jobs
                    .conversation_ended(&id, &reason, candidates_exchanged);
                if let Some(job) = again {
                    self.fall_back(job);
                }
            }
            Event::Expired { expectation } => self.jobs.end(JobId(expectation), Error::CodeExpired),
            _ => {}
        }
    }

    /// The service that a conversation is for.
    fn service(&self, id: &ConversationId) -> Uuid {
        let old = self.jobs.old_service(id);
        old.map_or(service::NATIVE, |(service, _)| service)
    }

    /// What a transfer has made ready is proposed.
    fn ready(&mut self, ready: Ready) {
        if let Some(Proposing {
            id,
            service,
            tags,
            security,
        }) = self.jobs.ready(ready)
        {
            let proposal = rendezvous::Proposal::Legacy {
                service,
                service_tags: tags,
                security,
            };
            let relay = self.setup.relay_policy;
            self.input(Input::Propose {
                id,
                proposal,
                relay,
            });
        }
        if self.signaling_lost {
            self.give_up_negotiating();
        }
    }

    fn incoming(&mut self, incoming: Result<Incoming, SignalingError>) {
        match incoming {
            Ok(Incoming::Message { from, body }) => {
                self.hold_to(&from);
                self.input(Input::Signal { from, body })
            }
            Ok(Incoming::Restored) => self.restored(),
            Ok(Incoming::NewSession { peer }) => self.input(Input::NewSession { peer }),
            Ok(Incoming::Undelivered { to, cookie, code }) => {
                self.input(Input::Undelivered { to, cookie, code })
            }
            Err(error) => {
                tracing::info!(%error, "the signalling channel is gone");
                self.signaling_lost = true;
                self.give_up_negotiating();
                self.abandoned.signaling_lost(now());
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
        if let Some(id) = self.jobs.conversation(job) {
            self.links.forget(&id);
            self.abandoned.remove(&id);
        }
        match self.jobs.transfer_ended(ended) {
            Some(Over::Cancel(id, reason)) => self.input(Input::Cancel { id, reason }),
            Some(Over::Finished(id)) => self.input(Input::Finished { id }),
            Some(Over::Unexpect) => self.input(Input::Unexpect { expectation: job.0 }),
            None => {}
        }
        self.put_away();
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
        let Self {
            attempts,
            sites,
            outbox,
            ..
        } = self;
        // Nothing that sockets say is heard any more.
        drop(attempts);
        tokio::join!(sites.close_all(), outbox.flush(FLUSH_TIMEOUT));
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
