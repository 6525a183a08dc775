//! Lanes on their way from the table of attempts to the transfers.

use std::net::SocketAddr;

use rdv_proto::rendezvous::{
    self, AttemptError, AttemptId, ConversationId, Input, MoveReason, RelayAddress,
};

use super::run::Carried;
use super::{Driver, now};
use crate::transport::attempt::{Proof, Proven};
use crate::transport::{Path, PathKind};

impl Driver {
    /// The machine establishes only what was proven, and what was proven left its lane with us.
    pub(super) fn established(
        &mut self,
        id: &ConversationId,
        attempt: AttemptId,
        path: &rendezvous::Path,
    ) {
        let Some((proven, connector)) = self.attempts.take_lane(attempt) else {
            return self.lane_is_gone(attempt);
        };
        let (Some(log), Some(control)) = (self.jobs.log(id), self.jobs.control(id)) else {
            return;
        };
        let Proven { lane, proof } = *proven;
        let path = self.path(id, connector, path, lane.remote());
        log.path(now(), attempt, path.clone());
        let carried = match proof {
            Proof::Native(session) => {
                let id = id.clone();
                let link = self.links.open(id, attempt, lane, control, log);
                Carried::Link { link, session }
            }
            Proof::Legacy { first, key } => Carried::Lane { lane, first, key },
        };
        self.jobs.start(id, carried, path);
    }

    /// A further lane takes over from the one before.
    pub(super) fn moved(
        &mut self,
        id: &ConversationId,
        attempt: AttemptId,
        path: &rendezvous::Path,
        why: MoveReason,
    ) {
        tracing::debug!(attempt = attempt.0, ?why, "the transfer moves");
        let path = match self.attempts.take_lane(attempt) {
            Some((proven, connector)) => {
                let path = self.path(id, connector, path, proven.lane.remote());
                self.links.add(id, attempt, proven.lane);
                path
            }
            // It carried the transfer before.
            None if self.links.prefer(id, attempt) => {
                let remote = match path {
                    rendezvous::Path::Direct { address, .. } => Some(*address),
                    rendezvous::Path::Relay(Some(RelayAddress::Socket(address))) => Some(*address),
                    rendezvous::Path::Relay(_) => None,
                };
                self.path(id, false, path, remote)
            }
            None => return self.lane_is_gone(attempt),
        };
        self.abandoned.remove(id);
        if let Some(log) = self.jobs.log(id) {
            log.path(now(), attempt, path.clone());
        }
        self.jobs.moved(id, path);
    }

    /// It broke between its proof and now.
    fn lane_is_gone(&mut self, attempt: AttemptId) {
        let error = AttemptError::Closed;
        let failed = Input::Failed { attempt, error };
        self.endpoint.handle_input(now(), failed);
    }

    /// Which way a lane takes, as people are told. `connector`: we dialled.
    fn path(
        &self,
        id: &ConversationId,
        connector: bool,
        path: &rendezvous::Path,
        remote: Option<SocketAddr>,
    ) -> Path {
        let old = self.jobs.old_service(id).is_some();
        match path {
            rendezvous::Path::Relay(_) => Path {
                kind: PathKind::Relay,
                carrier: None,
                punched: false,
                remote,
            },
            rendezvous::Path::Direct {
                carrier, punched, ..
            } => Path {
                // Old clients: the one that was proposed to dials, unless it cannot.
                kind: match old && self.jobs.is_initiator(id) == connector {
                    true => PathKind::Redirect,
                    false => PathKind::Direct,
                },
                carrier: Some(*carrier),
                punched: *punched,
                remote,
            },
        }
    }
}
