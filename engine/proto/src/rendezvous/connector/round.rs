//! One round: the addresses of one generation of both sides, and when each is tried.
//!
//! Both sides number their generations alike: a proposal of a new one is answered with one of the
//! same number, so that old mappings of routers do not matter any more.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::limits::{
    DIAL_PACE, DIALS_OPEN_MAX, OFFERED_MAX, OPENER_HOLD_EXTRA, OPENER_HOLD_MIN,
    OPENER_HOLD_UNKNOWN, QUIC_AT_ONCE, QUIC_OPEN_MAX, QUIC_PACE, ROUND, ROUNDS_OFTEN,
    SIMULTANEOUS_OPEN_AFTER, SIMULTANEOUS_OPEN_MAX, TCP_HEAD_START,
};
use super::super::probing::Probing;
use super::super::{Carrier, Protocol};
use super::pairs::{Pair, interleaved};

/// How many dials of ours are under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open {
    pub(super) quic: usize,
    pub(super) tcp: usize,
}

/// One round.
pub(super) struct Round {
    pub(super) generation: u32,
    /// When the peer was told of our side of it, and how often.
    pub(super) told: Option<Instant>,
    pub(super) tellings: usize,
    /// When the peer told us of its side.
    pub(super) heard: Option<Instant>,
    /// We knew where the peer is before it could know where we are.
    acts_first: bool,
    /// Round trip through the host, if it was measured before.
    signalling: Option<Duration>,
    pub(super) probing: Option<Probing>,
    known: Vec<(Protocol, SocketAddr)>,
    quic: VecDeque<Pair>,
    quic_begun: usize,
    next_quic: Option<Instant>,
    tcp: VecDeque<Pair>,
    next_tcp: Option<Instant>,
    /// Both sides dial at once.
    both: VecDeque<Pair>,
    both_known: Vec<SocketAddr>,
    next_both: Option<Instant>,
    /// Where handshakes were begun because a probe came from there, once for each.
    pub(super) sources: Vec<SocketAddr>,
    /// Nothing new is begun any more.
    pub(super) over: bool,
}

impl Round {
    pub(super) fn new(generation: u32, signalling: Option<Duration>) -> Self {
        Self {
            generation,
            told: None,
            tellings: 0,
            heard: None,
            acts_first: false,
            signalling,
            probing: None,
            known: Vec::new(),
            quic: VecDeque::new(),
            quic_begun: 0,
            next_quic: None,
            tcp: VecDeque::new(),
            next_tcp: None,
            both: VecDeque::new(),
            both_known: Vec::new(),
            next_both: None,
            sources: Vec::new(),
            over: false,
        }
    }

    /// The peer was told where we are.
    pub(super) fn has_told(&mut self, now: Instant) {
        self.told.get_or_insert(now);
        self.tellings += 1;
        if let Some(probing) = &mut self.probing {
            probing.told(now);
        }
    }

    /// The peer told us where it is.
    pub(super) fn has_heard(&mut self, now: Instant) {
        if self.heard.is_none() {
            self.heard = Some(now);
            self.acts_first = self.told.is_none();
        }
    }

    pub(super) fn acts_first(&self) -> bool {
        self.acts_first
    }

    /// How long the peer took to answer, if we told it first.
    pub(super) fn answered_after(&self) -> Option<Duration> {
        let (told, heard) = (self.told?, self.heard?);
        (!self.acts_first).then(|| heard.saturating_duration_since(told))
    }

    /// When the round is over if nothing came of it. `None`: it has not begun.
    pub(super) fn end(&self) -> Option<Instant> {
        let begun = self.told.into_iter().chain(self.heard).max();
        // The first two are the longer ones: they find most of what can be found.
        let life = if self.generation < 2 {
            ROUND
        } else {
            ROUNDS_OFTEN
        };
        begun.map(|at| at + life)
    }

    /// Queues addresses that are not known yet, best first. `quic`: we are to dial over UDP.
    pub(super) fn offer(&mut self, now: Instant, pairs: &[Pair], quic: bool) {
        let mut new = Vec::new();
        for pair in pairs.iter().filter(|pair| !pair.needs_both()) {
            let (protocol, address) = (pair.protocol, pair.address);
            let of_protocol = |known: &&(Protocol, _)| known.0 == protocol;
            let room = self.known.iter().filter(of_protocol).count() < OFFERED_MAX;
            if room && !self.known.contains(&(protocol, address)) {
                self.known.push((protocol, address));
                new.push(*pair);
            }
        }
        let (udp, tcp): (Vec<_>, Vec<_>) = new
            .into_iter()
            .partition(|pair| pair.protocol == Protocol::Udp);
        if quic {
            self.quic.extend(udp);
        }
        if let Some(best) = tcp.first()
            && self.next_tcp.is_none()
        {
            let udp = self
                .known
                .iter()
                .any(|(protocol, _)| *protocol == Protocol::Udp);
            let head_start = if best.near || !udp {
                Duration::ZERO
            } else {
                TCP_HEAD_START
            };
            self.next_tcp = Some(now + head_start);
        }
        self.tcp.extend(interleaved(tcp));
    }

    /// Queues addresses that both sides dial at once over TCP.
    pub(super) fn offer_both(&mut self, now: Instant, pairs: &[Pair], at_once: bool) {
        for pair in pairs {
            let room = self.both_known.len() < SIMULTANEOUS_OPEN_MAX;
            if room && !self.both_known.contains(&pair.address) {
                self.both_known.push(pair.address);
                self.both.push_back(*pair);
            }
        }
        let after = if at_once {
            Duration::ZERO
        } else {
            SIMULTANEOUS_OPEN_AFTER
        };
        self.next_both.get_or_insert(now + after);
    }

    /// Takes the next dial whose time has come.
    pub(super) fn next(&mut self, now: Instant, open: Open) -> Option<(Pair, Carrier)> {
        if self.quic_due(open).is_some_and(|at| at <= now) {
            self.quic_begun += 1;
            if self.quic_begun >= QUIC_AT_ONCE {
                self.next_quic = Some(now + QUIC_PACE);
            }
            return Some((self.quic.pop_front()?, Carrier::Quic));
        }
        if self.tcp_due(open).is_some_and(|at| at <= now) {
            self.next_tcp = Some(now + DIAL_PACE);
            return Some((self.tcp.pop_front()?, Carrier::Tcp));
        }
        if self.both_due().is_some_and(|at| at <= now) {
            return Some((self.both.pop_front()?, Carrier::TcpOpen));
        }
        None
    }

    /// When the next dial begins, or the next probe goes out.
    pub(super) fn due(&self, open: Open) -> Option<Instant> {
        let dials = [self.quic_due(open), self.tcp_due(open), self.both_due()];
        let probe = self.probing.as_ref().and_then(Probing::due);
        dials.into_iter().flatten().chain(probe).min()
    }

    fn quic_due(&self, open: Open) -> Option<Instant> {
        if self.quic.is_empty() || open.quic >= QUIC_OPEN_MAX {
            return None;
        }
        let from = self.heard.filter(|_| !self.acts_first);
        let from = from.or_else(|| self.hold_end())?;
        Some(self.next_quic.map_or(from, |next| next.max(from)))
    }

    /// Who acts first only opens its own router until the peer has opened its own.
    fn hold_end(&self) -> Option<Instant> {
        let hold = self
            .signalling
            .map_or(OPENER_HOLD_UNKNOWN, |rtt| rtt + OPENER_HOLD_EXTRA);
        self.told.map(|told| told + hold.max(OPENER_HOLD_MIN))
    }

    fn tcp_due(&self, open: Open) -> Option<Instant> {
        let free = !self.tcp.is_empty() && open.tcp < DIALS_OPEN_MAX;
        self.next_tcp.filter(|_| free)
    }

    fn both_due(&self) -> Option<Instant> {
        self.next_both.filter(|_| !self.both.is_empty())
    }

    /// A dial failed: the next one need not wait for its turn.
    pub(super) fn dial_failed(&mut self, now: Instant) {
        self.next_tcp = self.next_tcp.map(|at| at.min(now));
    }

    /// Takes a handshake out of the queue: it begins for another reason.
    pub(super) fn take_quic(&mut self, from: SocketAddr) -> Option<Pair> {
        let place = self.quic.iter().position(|pair| pair.address == from)?;
        self.quic.remove(place)
    }

    /// Whether the peer named that address as one of its listener.
    pub(super) fn is_listener(&self, address: SocketAddr) -> bool {
        self.known.contains(&(Protocol::Tcp, address)) || self.both_known.contains(&address)
    }

    /// Whether dials are waiting for their turn.
    pub(super) fn is_waiting(&self) -> bool {
        !(self.quic.is_empty() && self.tcp.is_empty() && self.both.is_empty())
    }

    /// Whether anything of the peer was ever to be tried.
    pub(super) fn has_pairs(&self) -> bool {
        !(self.known.is_empty() && self.both_known.is_empty())
    }

    /// Nothing more is begun over that protocol.
    pub(super) fn close(&mut self, protocol: Protocol) {
        match protocol {
            Protocol::Tcp => {
                self.tcp.clear();
                self.both.clear();
            }
            Protocol::Udp => {
                self.quic.clear();
                if let Some(probing) = &mut self.probing {
                    probing.stop();
                }
            }
        }
    }

    /// Nothing more is begun.
    pub(super) fn finish(&mut self) {
        self.close(Protocol::Tcp);
        self.close(Protocol::Udp);
        self.over = true;
    }
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Round")
            .field("generation", &self.generation)
            .field("told", &self.told)
            .field("heard", &self.heard)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
