//! The table of attempts: what the machine ordered, as tasks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rdv_proto::rendezvous::{
    AttemptError, AttemptId, Config, ConversationId, Input, RelayCandidate,
};
use rdv_proto::wire::rendezvous::Cookie;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Setup;
use crate::transport::attempt::{Arrival, Attempt, Origin, Proven, Report, SecureOrder};
use crate::transport::connect::Route;
use crate::transport::failing::FailingRelays;
use crate::transport::join::Join;

/// How many reports may wait for the driver; an attempt with more to say waits.
const REPORTS_MAX: usize = 64;

pub(crate) struct Attempts {
    config: Arc<Config>,
    /// How TCP connections leave this machine.
    route: Route,
    running: BTreeMap<AttemptId, (ConversationId, Attempt)>,
    /// What carries, or is to carry, sessions that we made on relays.
    relays: BTreeMap<AttemptId, (ConversationId, String)>,
    failing: FailingRelays,
    arrivals: mpsc::Receiver<Arrival>,
    out: mpsc::Sender<Arrival>,
}

impl Attempts {
    pub(crate) fn new(config: Arc<Config>, route: Route) -> Self {
        let (out, arrivals) = mpsc::channel(REPORTS_MAX);
        Self {
            config,
            route,
            running: BTreeMap::new(),
            relays: BTreeMap::new(),
            failing: FailingRelays::default(),
            arrivals,
            out,
        }
    }

    /// Where sockets tell what happens to them.
    pub(crate) fn arrivals(&self) -> mpsc::Sender<Arrival> {
        self.out.clone()
    }

    /// The next thing that sockets have to say. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Arrival {
        match self.arrivals.recv().await {
            Some(arrival) => arrival,
            // We hold a sender ourselves, so the channel never closes.
            None => std::future::pending().await,
        }
    }

    /// Turns a report into the machine's input and keeps the lane that it may carry.
    pub(crate) fn reported(&mut self, report: Report) -> Input {
        match report {
            Report::RelayCreated {
                attempt,
                relay,
                known,
            } => {
                if let Some(id) = self.conversation(attempt) {
                    self.relays.insert(attempt, (id.clone(), known));
                }
                Input::RelayCreated { attempt, relay }
            }
            Report::Connected { attempt } => Input::Connected { attempt },
            Report::Heard { attempt } => Input::Heard { attempt },
            Report::Secured {
                attempt,
                lane,
                round_trip,
            } => {
                self.keep(attempt, lane);
                Input::Secured {
                    attempt,
                    round_trip,
                }
            }
            Report::Nominated {
                attempt,
                number,
                lane,
            } => {
                self.keep(attempt, Some(lane));
                Input::Nominated { attempt, number }
            }
            Report::Failed { attempt, error } => {
                self.running.remove(&attempt);
                self.relays.remove(&attempt);
                Input::Failed { attempt, error }
            }
        }
    }

    fn keep(&mut self, attempt: AttemptId, lane: Option<Box<Proven>>) {
        // An attempt that was hung up meanwhile is no longer in the table; its lane closes here.
        if let Some((_, running)) = self.running.get_mut(&attempt) {
            running.lane = lane;
        }
    }

    /// The lane of an attempt that was proven, and whether we connected; the attempt is over with it.
    pub(crate) fn take_lane(&mut self, attempt: AttemptId) -> Option<(Box<Proven>, bool)> {
        let (_, mut running) = self.running.remove(&attempt)?;
        Some((running.lane.take()?, running.connector))
    }

    pub(crate) fn hang_up(&mut self, attempt: AttemptId) {
        self.running.remove(&attempt);
        self.relays.remove(&attempt);
    }

    /// A lane broke, or nothing is heard on it. If a relay of ours carried it, another one may do better.
    pub(crate) fn lane_failed(&mut self, attempt: AttemptId) {
        if let Some((_, relay)) = self.relays.remove(&attempt) {
            self.failing.failed(&relay);
        }
    }

    /// A conversation is over: what broke off then is nobody's fault.
    pub(crate) fn ended(&mut self, ended: &ConversationId) {
        self.relays.retain(|_, (id, _)| id != ended);
    }

    /// Something direct: dialled, or accepted.
    pub(crate) fn begin(&mut self, id: &ConversationId, attempt: AttemptId, origin: Origin) {
        self.spawn(id, attempt, origin);
    }

    /// Dials a listener.
    pub(crate) fn dial_tcp(&mut self, id: &ConversationId, attempt: AttemptId, to: SocketAddr) {
        let route = self.route.clone();
        self.spawn(id, attempt, Origin::Tcp { route, to });
    }

    /// The conversation that an attempt is for.
    pub(crate) fn conversation(&self, attempt: AttemptId) -> Option<&ConversationId> {
        self.running.get(&attempt).map(|(id, _)| id)
    }

    /// `cookie`: that of the conversation, if an old client is to join with it.
    pub(crate) fn relay_create(
        &mut self,
        id: &ConversationId,
        attempt: AttemptId,
        service: Uuid,
        cookie: Option<Cookie>,
        setup: &Setup,
    ) {
        let Some(directory) = setup.relays.clone() else {
            let _ = self.out.try_send(Arrival::Report(Report::Failed {
                attempt,
                error: AttemptError::Local,
            }));
            return;
        };
        let name = setup.signaling.local_name();
        self.spawn(
            id,
            attempt,
            Origin::RelayCreate {
                route: self.route.clone(),
                directory,
                failing: self.failing.clone(),
                name,
                cookie: cookie.unwrap_or_else(|| Cookie(crate::random::bytes())),
                service,
                legacy: cookie.is_some(),
            },
        );
    }

    pub(crate) fn relay_join(
        &mut self,
        id: &ConversationId,
        attempt: AttemptId,
        service: Uuid,
        relay: RelayCandidate,
        setup: &Setup,
    ) {
        let name = setup.signaling.local_name();
        let config = Arc::clone(&self.config);
        let join = Join {
            route: self.route.clone(),
            relay,
            config,
            directory: setup.relays.clone(),
            name,
            service,
        };
        self.spawn(id, attempt, Origin::RelayJoin(join));
    }

    pub(crate) fn secure(&mut self, attempt: AttemptId, order: SecureOrder) {
        if let Some((_, running)) = self.running.get_mut(&attempt) {
            running.secure(order);
        }
    }

    fn spawn(&mut self, id: &ConversationId, attempt: AttemptId, origin: Origin) {
        let running = Attempt::spawn(attempt, origin, self.out.clone());
        self.running.insert(attempt, (id.clone(), running));
    }
}
