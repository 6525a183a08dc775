//! The table of attempts and listeners: what the machine ordered, as tasks and sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rdv_proto::rendezvous::{
    AttemptError, AttemptId, Config, ConversationId, Input, Network, RelayCandidate,
};
use rdv_proto::wire::rendezvous::Cookie;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Setup;
use crate::transport::attempt::{Arrival, Attempt, Origin, Proven, Report, SecureOrder};
use crate::transport::connect::Route;
use crate::transport::gather;
use crate::transport::join::Join;

/// How many reports may wait for the driver; an attempt with more to say waits.
const REPORTS_MAX: usize = 64;

/// How long a listener rests after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Attempts {
    config: Arc<Config>,
    running: BTreeMap<AttemptId, Attempt>,
    listeners: BTreeMap<ConversationId, Listener>,
    arrivals: mpsc::Receiver<Arrival>,
    out: mpsc::Sender<Arrival>,
}

/// The accept loops of one conversation; dropped, the port is closed.
struct Listener {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Attempts {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let (out, arrivals) = mpsc::channel(REPORTS_MAX);
        Self {
            config,
            running: BTreeMap::new(),
            listeners: BTreeMap::new(),
            arrivals,
            out,
        }
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
            Report::RelayCreated { attempt, relay } => Input::RelayCreated { attempt, relay },
            Report::Connected { attempt } => Input::Connected { attempt },
            Report::Heard { attempt } => Input::Heard { attempt },
            Report::Secured { attempt, lane } => {
                self.keep(attempt, lane);
                Input::Secured {
                    attempt,
                    round_trip: None,
                }
            }
            Report::Nominated { attempt, lane } => {
                self.keep(attempt, Some(lane));
                Input::Nominated { attempt }
            }
            Report::Failed { attempt, error } => {
                self.running.remove(&attempt);
                Input::Failed { attempt, error }
            }
        }
    }

    fn keep(&mut self, attempt: AttemptId, lane: Option<Box<Proven>>) {
        // An attempt that was hung up meanwhile is no longer in the table; its lane closes here.
        if let Some(running) = self.running.get_mut(&attempt) {
            running.lane = lane;
        }
    }

    /// The lane of an attempt that was proven, and whether we connected; the attempt is over with it.
    pub(crate) fn take_lane(&mut self, attempt: AttemptId) -> Option<(Box<Proven>, bool)> {
        let mut running = self.running.remove(&attempt)?;
        Some((running.lane.take()?, running.connector))
    }

    pub(crate) fn hang_up(&mut self, attempt: AttemptId) {
        self.running.remove(&attempt);
    }

    pub(crate) fn stop_listening(&mut self, id: &ConversationId) {
        self.listeners.remove(id);
    }

    pub(crate) fn dial(&mut self, attempt: AttemptId, to: SocketAddr) {
        self.spawn(attempt, Origin::Dial(to));
    }

    pub(crate) fn accepted(&mut self, attempt: AttemptId, stream: TcpStream) {
        self.spawn(attempt, Origin::Accepted(stream));
    }

    /// `cookie`: that of the conversation, if an old client is to join with it.
    pub(crate) fn relay_create(
        &mut self,
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
            attempt,
            Origin::RelayCreate {
                directory,
                name,
                cookie: cookie.unwrap_or_else(|| Cookie(crate::random::bytes())),
                service,
                legacy: cookie.is_some(),
            },
        );
    }

    pub(crate) fn relay_join(
        &mut self,
        attempt: AttemptId,
        service: Uuid,
        relay: RelayCandidate,
        setup: &Setup,
    ) {
        let name = setup.signaling.local_name();
        let config = Arc::clone(&self.config);
        let join = Join {
            route: Route::default(),
            relay,
            config,
            directory: setup.relays.clone(),
            name,
            service,
        };
        self.spawn(attempt, Origin::RelayJoin(join));
    }

    pub(crate) fn secure(&mut self, attempt: AttemptId, order: SecureOrder) {
        if let Some(running) = self.running.get_mut(&attempt) {
            running.secure(order);
        }
    }

    fn spawn(&mut self, attempt: AttemptId, origin: Origin) {
        self.running
            .insert(attempt, Attempt::spawn(attempt, origin, self.out.clone()));
    }

    /// Opens the listener of a conversation and lists our own addresses. What cannot be had is left out: the machine goes on
    /// with what there is.
    pub(crate) fn gather(
        &mut self,
        id: ConversationId,
        generation: u32,
        addresses: bool,
        loopback: bool,
    ) -> Input {
        let (listeners, port) = match gather::listen() {
            Ok(open) => open,
            Err(error) => {
                tracing::debug!(%error, "cannot listen");
                return Input::Gathered {
                    id,
                    generation,
                    listen_port: None,
                    candidates: Vec::new(),
                    network: Network::default(),
                    complete: true,
                };
            }
        };
        let candidates = if addresses {
            gather::own_addresses(port, loopback)
        } else {
            Vec::new()
        };
        let accept = |listener| tokio::spawn(accept_loop(id.clone(), listener, self.out.clone()));
        let tasks = listeners.into_iter().map(accept).collect();
        self.listeners.insert(id.clone(), Listener { tasks });
        Input::Gathered {
            id,
            generation,
            listen_port: Some(port),
            candidates,
            network: Network::default(),
            complete: true,
        }
    }
}

async fn accept_loop(id: ConversationId, listener: TcpListener, out: mpsc::Sender<Arrival>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if out
                    .send(Arrival::Incoming {
                        id: id.clone(),
                        stream,
                        from,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, or the connection died in the queue: give others a moment.
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
