//! What the machine orders of sockets, and what happens to them.

use std::net::SocketAddr;
use std::time::Duration;

use rdv_proto::rendezvous::{
    AttemptError, AttemptId, Carrier, ConversationId, Input, Network, Protocol, RelayPolicy,
    Security,
};

use super::sites::Wanted;
use super::{Driver, now};
use crate::transport::attempt::legacy::LegacyOrder;
use crate::transport::attempt::{Arrival, NativeOrder, Origin, Report, SecureOrder};
use crate::transport::gather;
use crate::transport::opening::Terms;
use crate::transport::site::{Dialer, SiteEvent};

/// A channel that comes back so long after the network gave cause for doubt was away because of that.
const UNSETTLED: Duration = Duration::from_secs(30);

impl Driver {
    /// Opens sockets. What cannot be had is left out: the machine goes on with what there is.
    pub(super) fn gather(
        &mut self,
        id: ConversationId,
        generation: u32,
        addresses: bool,
        fresh: bool,
    ) {
        let wanted = Wanted {
            addresses,
            fresh,
            old: self.jobs.old_service(&id).is_some(),
        };
        if let Err(error) = self.sites.open(id.clone(), generation, wanted) {
            tracing::debug!(%error, "no sockets");
            let nothing = Input::Gathered {
                id,
                generation,
                listen_port: None,
                candidates: Vec::new(),
                network: Network::default(),
                complete: true,
            };
            self.endpoint.handle_input(now(), nothing);
        }
    }

    /// Opens sockets for somebody who is likely to come. The relay alone: no listener, no packet to anybody else (S-11).
    pub(super) fn prepare(&mut self) {
        if self.setup.relay_policy != RelayPolicy::Only {
            self.sites.prepare();
        }
    }

    /// Closes them again if nobody is waited for any more.
    pub(super) fn put_away(&mut self) {
        if !self.jobs.any_expected() {
            self.sites.put_away();
        }
    }

    /// This machine has another address, or another way out.
    pub(super) fn network_changed(&mut self) {
        tracing::debug!("the network has changed");
        // Before the machine says anything: it shall not go into a connection that is dead.
        self.doubt();
        self.endpoint.config_mut().interfaces = gather::own_subnets();
        self.input(Input::NetworkChanged);
    }

    /// What a link says of its lanes.
    pub(super) fn of_link(&mut self, input: Input) {
        if let Input::LaneSilent { attempt, .. } | Input::Failed { attempt, .. } = &input {
            self.attempts.lane_failed(*attempt);
            self.doubt();
        }
        self.input(input);
    }

    /// The connection to the host may have died with what gave cause for doubt.
    fn doubt(&mut self) {
        self.unsettled = Some(now());
        self.setup.signaling.doubt();
    }

    /// The signalling channel was away for a moment. If that was because of the network, what we said of it may be lost.
    pub(super) fn restored(&mut self) {
        let unsettled = self
            .unsettled
            .take()
            .is_some_and(|since| now().saturating_duration_since(since) < UNSETTLED);
        if unsettled {
            tracing::debug!("the signalling channel is back");
            self.input(Input::NetworkChanged);
        }
    }

    pub(super) fn dial(
        &mut self,
        id: &ConversationId,
        attempt: AttemptId,
        generation: u32,
        to: SocketAddr,
        carrier: Carrier,
    ) {
        let dialer = self.sites.dialer(id, generation);
        let origin = match (carrier, dialer) {
            (Carrier::Tcp | Carrier::TcpOpen, _) if !self.may_use_tcp(id) => None,
            (Carrier::Tcp, _) => return self.attempts.dial_tcp(id, attempt, to),
            (Carrier::TcpOpen, Some(dialer)) => Some(Origin::TcpOpen { dialer, to }),
            (Carrier::Quic, Some(dialer)) => self.quic(id, dialer, to),
            (_, None) => None,
        };
        match origin {
            Some(origin) => self.attempts.begin(id, attempt, origin),
            None => self.cannot(attempt),
        }
    }

    fn may_use_tcp(&self, id: &ConversationId) -> bool {
        self.setup.roads.tcp || self.jobs.old_service(id).is_some()
    }

    /// A QUIC dial, which has to know the keys beforehand.
    fn quic(&self, id: &ConversationId, dialer: Dialer, to: SocketAddr) -> Option<Origin> {
        Some(Origin::Quic {
            dialer,
            to,
            session: Box::new(self.endpoint.session(id)?.clone()),
            identity: self.jobs.identity(id)?,
        })
    }

    pub(super) fn probe(
        &self,
        id: &ConversationId,
        generation: u32,
        to: SocketAddr,
        ttl: Option<u8>,
        datagram: &[u8],
    ) {
        let Some(dialer) = self.sites.dialer(id, generation) else {
            return;
        };
        if let Err(error) = dialer.send_probe(to, datagram, ttl) {
            tracing::trace!(%error, "a probe did not leave");
        }
    }

    pub(super) fn secure(
        &mut self,
        id: &ConversationId,
        attempt: AttemptId,
        tls_client: bool,
        security: Security,
    ) {
        match self.secure_order(id, tls_client, security) {
            Some(order) => self.attempts.secure(attempt, order),
            None => self.cannot(attempt),
        }
    }

    /// An order that cannot be carried out.
    fn cannot(&mut self, attempt: AttemptId) {
        let error = AttemptError::Local;
        let failed = Input::Failed { attempt, error };
        self.endpoint.handle_input(now(), failed);
    }

    fn secure_order(
        &self,
        id: &ConversationId,
        tls_client: bool,
        security: Security,
    ) -> Option<SecureOrder> {
        let identity = self.jobs.identity(id)?;
        let (tls, zero_cookie_counts) = match security {
            Security::Native(session) => {
                return Some(SecureOrder::Native(NativeOrder {
                    session,
                    identity,
                    tls_client,
                }));
            }
            Security::LegacyTls { zero_cookie_counts } => (Some(identity), zero_cookie_counts),
            Security::Plain { zero_cookie_counts } => (None, zero_cookie_counts),
        };
        let (_, opening) = self.jobs.old_service(id)?;
        let terms = Terms {
            connector: tls_client,
            zero_cookie_counts,
        };
        Some(SecureOrder::Legacy(LegacyOrder {
            tls,
            terms,
            opening,
        }))
    }

    pub(super) fn arrived(&mut self, arrival: Arrival) {
        let input = match arrival {
            Arrival::Report(report) => {
                self.note(&report);
                self.attempts.reported(report)
            }
            Arrival::Site {
                id,
                event: SiteEvent::Tcp { .. },
                ..
            } if !self.may_use_tcp(&id) => return,
            Arrival::Site {
                id,
                generation,
                event,
            } => self.happened(id, generation, event),
        };
        self.input(input);
    }

    /// What the report of a transfer says of its attempts beside how they end.
    fn note(&self, report: &Report) {
        let (Report::Secured { attempt, .. } | Report::RelayCreated { attempt, .. }) = report
        else {
            return;
        };
        let conversation = self.attempts.conversation(*attempt);
        let Some(log) = conversation.and_then(|id| self.jobs.log(id)) else {
            return;
        };
        match report {
            Report::RelayCreated { relay, .. } => log.relay(&relay.address),
            _ => log.proven(now()),
        }
    }

    fn happened(&mut self, id: ConversationId, generation: u32, event: SiteEvent) -> Input {
        let (from, carrier, origin) = match event {
            SiteEvent::Found(mut found) => {
                if !self.may_use_tcp(&id) {
                    found.listen_port = None;
                    found.candidates.retain(|one| one.protocol == Protocol::Udp);
                }
                if let Some(log) = self.jobs.log(&id) {
                    log.own(&found.candidates, found.network);
                }
                return Input::Gathered {
                    id,
                    generation,
                    listen_port: found.listen_port,
                    candidates: found.candidates,
                    network: found.network,
                    complete: found.complete,
                };
            }
            SiteEvent::Datagram(datagram) => {
                return Input::Datagram {
                    id,
                    generation,
                    from: datagram.from,
                    bytes: datagram.bytes,
                };
            }
            SiteEvent::Tcp { stream, from } => (from, Carrier::Tcp, Origin::Accepted(stream)),
            SiteEvent::Quic(incoming) => (
                incoming.remote(),
                Carrier::Quic,
                Origin::AcceptedQuic(incoming),
            ),
        };
        let attempt = self.endpoint.new_attempt();
        self.attempts.begin(&id, attempt, origin);
        Input::Incoming {
            id,
            attempt,
            from,
            carrier,
        }
    }
}
