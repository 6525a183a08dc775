//! Dials, probes, and connections that come in.

use std::net::SocketAddr;

use super::super::candidate::Judge;
use super::super::common::Common;
use super::super::desk::{Context, Try};
use super::super::limits::{
    DIAL_LIFE, DIALS_MAX, HANDSHAKES_PER_SOURCE_MAX, OPENER_TTL, QUIC_LIFE, QUIC_OPEN_MAX, ROUND,
    SIMULTANEOUS_OPEN_LIFE,
};
use super::super::probing::{ProbeSetup, Probing};
use super::super::{
    AttemptError, AttemptId, CandidateKind, Carrier, Mapping, Output, Protocol, RelayPolicy,
    Security, TriedSource,
};
use super::Connector;
use super::lanes::{Admission, Lane, Stage, Way};
use super::outlook::{has_known_tcp_port, wants_simultaneous_open};
use super::pairs::{both_dial, pairs};
use super::round::Open;
use crate::trust::BindCarrier;

/// What is dialled.
struct Target {
    to: SocketAddr,
    carrier: Carrier,
    source: TriedSource,
    near: bool,
}

impl Target {
    /// Whether routers have to be opened from the inside for it.
    fn is_punched(&self) -> bool {
        let reflexive = matches!(
            self.source,
            TriedSource::Candidate(CandidateKind::REFLEXIVE) | TriedSource::PeerReflexive
        );
        self.carrier == Carrier::TcpOpen || (self.carrier == Carrier::Quic && reflexive)
    }
}

impl Connector {
    fn judge<'a>(&'a self, context: &'a Context<'_>) -> Judge<'a> {
        Judge {
            config: context.config,
            peer_verified: None,
            own: self.ground.candidates(),
        }
    }

    fn speaks_quic(&self) -> bool {
        self.session.speaks(BindCarrier::Quic)
    }

    /// How many dials of ours are under way.
    pub(super) fn open(&self) -> Open {
        let count = |carrier| {
            let open = |_, lane: &Lane| lane.is_open_dial(carrier);
            self.ground.lanes.which(open).len()
        };
        Open {
            quic: count(Carrier::Quic),
            tcp: count(Carrier::Tcp),
        }
    }

    /// Queues what the peer named of the current generation, as far as our own side can go there.
    pub(super) fn offer_pairs(&mut self, common: &Common, context: &Context<'_>) {
        let current = self.theirs.generation == self.round.generation;
        let open = self.round.heard.is_some() && !self.round.over && current;
        if !open || common.relay == RelayPolicy::Only {
            return;
        }
        let mut pairs = pairs(&self.judge(context), &self.theirs.candidates);
        if !self.speaks_quic() {
            pairs.retain(|pair| pair.protocol == Protocol::Tcp);
        }
        let udp = pairs.iter().filter(|pair| pair.protocol == Protocol::Udp);
        let udp: Vec<_> = udp.map(|pair| pair.address).collect();
        let tcp = self.theirs.candidates.iter();
        let tcp: Vec<_> = tcp
            .filter_map(|named| Some(self.judge(context).admit(named.address)?.ip()))
            .collect();
        if let Some(probing) = &mut self.round.probing {
            probing.peer_generation(self.theirs.generation);
            probing.expect_from(tcp);
            probing.pairs(context.now, &udp);
        }
        self.round.offer(context.now, &pairs, self.controller);
        let ours = self.ground.whereabouts();
        if has_known_tcp_port(&ours) {
            let both = both_dial(&pairs, &self.theirs);
            let at_once = wants_simultaneous_open(&ours, &self.theirs);
            self.round.offer_both(context.now, &both, at_once);
        }
    }

    /// Probing begins when there is a socket and somebody to probe, or to be probed by.
    pub(super) fn prepare_probing(&mut self, common: &Common, context: &Context<'_>) {
        let known = self.round.told.is_some() || self.round.heard.is_some();
        let possible = self.speaks_quic()
            && self.ground.has_udp()
            && common.relay != RelayPolicy::Only
            && !self.round.over;
        if !known || !possible || self.round.probing.is_some() {
            return;
        }
        let key = self.session.probe_key();
        let generation = self.round.generation;
        let (seed, _) = key.split_first_chunk().expect("8 of 32 bytes");
        let mut probing = Probing::new(ProbeSetup {
            key,
            controller: self.controller,
            generation,
            own_mapping: self.ground.network().udp,
            openers: self.round.acts_first(),
            ttl: OPENER_TTL[usize::from(generation > 0)],
            seed: u64::from_be_bytes(*seed) ^ u64::from(generation),
            signalling_rtt: self.signalling,
            local: context.config.interfaces.clone(),
        });
        if let Some(told) = self.round.told {
            probing.told(told);
        }
        self.round.probing = Some(probing);
        self.offer_pairs(common, context);
    }

    /// Begins the dials whose time has come, and sends the probes that are due.
    pub(super) fn start_due(&mut self, common: &Common, context: &mut Context<'_>) {
        while let Some((pair, carrier)) = self.round.next(context.now, self.open()) {
            let target = Target {
                to: pair.address,
                carrier,
                source: TriedSource::Candidate(pair.kind),
                near: pair.near,
            };
            self.dial(common, context, &target);
        }
        let generation = self.round.generation;
        let Some(probing) = &mut self.round.probing else {
            return;
        };
        while let Some((to, ttl, datagram)) = probing.poll_send(context.now) {
            context.desk.push(Output::Probe {
                id: common.id.clone(),
                generation,
                to,
                ttl,
                datagram,
            });
        }
    }

    fn dial(&mut self, common: &Common, context: &mut Context<'_>, target: &Target) {
        if self.dials >= DIALS_MAX {
            return;
        }
        self.dials += 1;
        let Target { to, carrier, .. } = *target;
        let life = match carrier {
            Carrier::Tcp => DIAL_LIFE,
            Carrier::TcpOpen => SIMULTANEOUS_OPEN_LIFE,
            Carrier::Quic if self.round.is_waiting() => QUIC_LIFE,
            Carrier::Quic => ROUND,
        };
        let what = Try::Direct(to, carrier, target.source);
        let attempt = context.desk.new_attempt(&common.id, what);
        let way = Way::Dialled(to, carrier);
        let lane = Lane::opening(way, Some(context.now + life));
        let lane = lane.over(target.near, target.is_punched());
        self.ground.lanes.insert(attempt, lane);
        context.desk.push(Output::Dial {
            id: common.id.clone(),
            attempt,
            generation: self.round.generation,
            to,
            carrier,
        });
    }

    /// A datagram came in that may be a probe.
    pub(super) fn datagram(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        generation: u32,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        let admitted = self.judge(context).admit(from);
        let (Some(from), Some(probing)) = (admitted, &mut self.round.probing) else {
            return;
        };
        if generation != self.round.generation {
            return;
        }
        let heard = probing.datagram(context.now, from, bytes);
        if heard.is_some() && self.controller {
            self.dial_source(common, context, from);
        }
    }

    /// The way to that address is open: a handshake begins there at once. One that was begun
    /// before may have been lost on the way, so that it does not count.
    fn dial_source(&mut self, common: &Common, context: &mut Context<'_>, from: SocketAddr) {
        let to_there =
            |lane: &Lane| lane.carrier() == Some(Carrier::Quic) && lane.address() == Some(from);
        let lanes = &self.ground.lanes;
        let begun = self.round.sources.iter().filter(|known| **known == from);
        let begun = begun.count();
        let under_way =
            lanes.any(|lane| to_there(lane) && (begun > 0 || lane.stage != Stage::Opening));
        if under_way || begun >= HANDSHAKES_PER_SOURCE_MAX || self.is_settled() {
            return;
        }
        if self.open().quic >= QUIC_OPEN_MAX {
            let opening =
                |_, lane: &Lane| lane.is_open_dial(Carrier::Quic) && lane.stage == Stage::Opening;
            let Some(oldest) = lanes.which(opening).first().copied() else {
                return;
            };
            self.ground.hang_up(context, oldest);
        }
        self.round.sources.push(from);
        let waiting = self.round.take_quic(from);
        let mut named = self.theirs.candidates.iter();
        let kind = waiting.map(|pair| pair.kind).or_else(|| {
            let same = named.find(|named| named.protocol == Protocol::Udp && named.address == from);
            same.map(|named| named.kind)
        });
        let target = Target {
            to: from,
            carrier: Carrier::Quic,
            source: kind.map_or(TriedSource::PeerReflexive, TriedSource::Candidate),
            near: self.judge(context).is_near(from.ip()),
        };
        self.dial(common, context, &target);
    }

    /// Somebody connected to our listener or socket.
    pub(super) fn incoming(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        from: SocketAddr,
        carrier: Carrier,
    ) {
        // The controller is who dials over QUIC.
        let unexpected = carrier == Carrier::Quic && (self.controller || !self.speaks_quic());
        if unexpected || self.is_settled() || common.relay == RelayPolicy::Only {
            context.desk.hang_up(attempt);
            return;
        }
        let judge = self.judge(context);
        let near = judge.is_near(from.ip().to_canonical());
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        // From the port of the peer's listener: it dials at the same time as we are to do.
        let carrier = match carrier {
            Carrier::Tcp if self.round.is_listener(from) => Carrier::TcpOpen,
            carrier => carrier,
        };
        let punched = match carrier {
            Carrier::Tcp => false,
            Carrier::TcpOpen => true,
            Carrier::Quic => !near && !self.is_reachable_over_udp(),
        };
        let lane = Lane::opening(Way::Accepted(from, carrier), None).over(near, punched);
        match self.ground.lanes.accept(context.now, attempt, lane) {
            Admission::Admitted => {}
            Admission::InPlaceOf(silent) => context.desk.hang_up(silent),
            Admission::Refused => {
                context.desk.hang_up(attempt);
                return;
            }
        }
        let tls_client = carrier == Carrier::TcpOpen && self.controller;
        self.secure(common, context, attempt, tls_client);
    }

    /// Whether anybody can send to our socket without having been sent to.
    fn is_reachable_over_udp(&self) -> bool {
        let opened = [CandidateKind::MAPPED, CandidateKind::FORWARDED];
        let mut own = self.ground.candidates().iter();
        self.ground.network().udp == Mapping::Open
            || own.any(|own| own.protocol == Protocol::Udp && opened.contains(&own.kind))
    }

    /// An attempt is up.
    pub(super) fn connected(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
    ) {
        let Some(way) = self.ground.lanes.connected(context.now, attempt) else {
            return;
        };
        let tls_client = match way {
            Way::Dialled(_, Carrier::TcpOpen) => self.controller,
            Way::Dialled(..) | Way::Joined(_) => true,
            Way::Accepted(..) | Way::Created => false,
        };
        self.secure(common, context, attempt, tls_client);
    }

    fn secure(
        &self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        tls_client: bool,
    ) {
        context.desk.push(Output::Secure {
            id: common.id.clone(),
            attempt,
            tls_client,
            session: Security::Native(self.session.clone()),
        });
    }

    /// An attempt is over.
    pub(super) fn failed(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        error: AttemptError,
    ) {
        let lane = self.ground.failed(context, attempt, error);
        if let Some(Carrier::Tcp) = lane.as_ref().and_then(Lane::carrier) {
            self.round.dial_failed(context.now);
        }
        if self.lane.current == Some(attempt) {
            self.lane_lost(common, context, error);
        }
    }

    /// Hangs up what takes too long.
    pub(super) fn give_up_overdue(&mut self, context: &mut Context<'_>) {
        let before = self.open().tcp;
        self.ground.give_up_overdue(context);
        if self.open().tcp < before {
            self.round.dial_failed(context.now);
        }
    }
}
