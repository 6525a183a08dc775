//! UDP probes: which of the peer's addresses is probed when, and what a probe of the peer shows.
//!
//! Probes open our own NAT, find the way through the peer's, and tell sources that nobody announced
//! (a symmetric NAT is reached no other way). They steer attempts and never choose lanes: what they
//! claim is believed only as far as to send a few packets to an address.
//!
//! * **Pace.** New pairs 5 ms apart, best first; each again after 25, 50, 100, 200 and 400 ms, then each 500 ms,
//!   for 3 s; 12 probes a pair, 150 in all.
//! * **Openers.** The side that acts first begins with two datagrams of a short life and is then silent: they open
//!   its own NAT without reaching the peer's router, where a packet that comes before the peer has sent
//!   one may spoil the peer's mapping ("conntrack trap"). It goes on when it hears the peer, or when the peer must have
//!   begun. Not with a mapping that depends on the destination (it has to be *seen* to be of use), and not inside
//!   a network of ours.
//! * **Sources.** Any authentic probe, request or answer, shows that the way is open in both directions. At most four
//!   sources that nobody announced are taken up, at IP addresses that were announced or at one other.
//!
//! One [`Probing`] serves one generation of own candidates, that is one socket, in one round.

mod packet;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::packet::{Probe, Signature, TransactionId};
use super::limits::{
    ADDRESSES_TRIED_MAX, OPENER_HOLD_EXTRA, OPENER_HOLD_MIN, OPENER_HOLD_UNKNOWN, OPENERS,
    PEER_REFLEXIVE_MAX, PROBE_LIFE, PROBE_PACE, PROBE_REPEATS, PROBE_REPEATS_LATER,
    PROBES_PER_PAIR_MAX, PROBES_PER_ROUND_MAX, TRANSACTIONS_REMEMBERED_MAX,
};
use super::{Mapping, Subnet};

/// What probing is to know from the start.
#[derive(Clone)]
pub(super) struct ProbeSetup {
    /// Probe key of the session.
    pub(super) key: [u8; 32],
    /// Whether we are the controller.
    pub(super) controller: bool,
    /// Generation of our candidates: which socket this is.
    pub(super) generation: u32,
    /// How our NAT maps UDP, as far as it is known.
    pub(super) own_mapping: Mapping,
    /// Whether we act first, so that openers are called for.
    pub(super) openers: bool,
    /// Hops that an opener lives.
    pub(super) ttl: u8,
    /// Makes transaction ids of this run differ from those of all others.
    pub(super) seed: u64,
    /// Round trip between the peers through the host, if it was measured.
    pub(super) signalling_rtt: Option<Duration>,
    /// Networks of our own interfaces.
    pub(super) local: Vec<Subnet>,
}

/// An authentic probe of the peer came from there: the way to that address is open in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) from: SocketAddr,
    /// Whether nobody announced that address.
    pub(super) peer_reflexive: bool,
}

/// The probes of one generation of own candidates.
pub(super) struct Probing {
    setup: ProbeSetup,
    signature: Signature,
    pairs: Vec<Pair>,
    /// Addresses without port at which unannounced sources are expected, beside those of pairs.
    expected: Vec<IpAddr>,
    told: Option<Instant>,
    /// When the last new pair begins.
    last_start: Option<Instant>,
    requests: u32,
    /// Requests of ours that have no answer yet, and where they went. Never more than `requests`.
    unanswered: Vec<(TransactionId, SocketAddr)>,
    /// Requests of the peer that were answered.
    seen: VecDeque<(TransactionId, SocketAddr)>,
    answers: VecDeque<(Instant, SocketAddr, Bytes)>,
    /// Newest generation of the peer.
    peer_generation: u32,
    stopped: bool,
}

/// One address of the peer.
#[derive(Debug)]
struct Pair {
    address: SocketAddr,
    announced: bool,
    /// How much later than the first pair this one goes on after the openers.
    lag: Duration,
    sent: u32,
    plan: Plan,
}

/// What is to be sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// So many openers are out, the next is due then.
    Opening { out: u32, next: Instant },
    /// All openers are out: silence.
    Holding,
    /// So many full probes are out since, the next is due then.
    Probing {
        out: usize,
        since: Instant,
        next: Instant,
    },
    /// Nothing any more: confirmed, or given up.
    Done,
}

impl Probing {
    /// Nothing is sent before addresses are known.
    pub(super) fn new(setup: ProbeSetup) -> Self {
        let signature = Signature {
            key: setup.key,
            generation: setup.generation,
            controller: setup.controller,
            seed: setup.seed,
        };
        Self {
            setup,
            signature,
            pairs: Vec::new(),
            expected: Vec::new(),
            told: None,
            last_start: None,
            requests: 0,
            unanswered: Vec::new(),
            seen: VecDeque::new(),
            answers: VecDeque::new(),
            peer_generation: 0,
            stopped: false,
        }
    }

    /// Our candidates of this generation went out. Silence after openers ends a while after it.
    pub(super) fn told(&mut self, now: Instant) {
        self.told.get_or_insert(now);
    }

    /// The generation of the candidates that the peer announced: probes of older ones do not count any more.
    pub(super) fn peer_generation(&mut self, generation: u32) {
        self.peer_generation = self.peer_generation.max(generation);
    }

    /// Addresses without port at which a peer-reflexive source is expected: the peer's verified one, those of its TCP
    /// candidates.
    pub(super) fn expect_from(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            if self.expected.len() < 2 * ADDRESSES_TRIED_MAX && !self.expected.contains(&address) {
                self.expected.push(address);
            }
        }
    }

    /// UDP addresses that the peer announced and that passed the filters, best first. Those that are known already
    /// change nothing; at most eight count.
    pub(super) fn pairs(&mut self, now: Instant, addresses: &[SocketAddr]) {
        if self.stopped {
            return;
        }
        for &address in addresses {
            let announced = self.pairs.iter().filter(|pair| pair.announced).count();
            if let Some(known) = self.pairs.iter_mut().find(|pair| pair.address == address) {
                known.announced |= announced < ADDRESSES_TRIED_MAX;
            } else if announced < ADDRESSES_TRIED_MAX {
                let start = self.next_start(now);
                let plan = if self.wants_openers(address.ip()) {
                    Plan::Opening {
                        out: 0,
                        next: start,
                    }
                } else {
                    Plan::probing(start)
                };
                self.pairs.push(Pair {
                    address,
                    announced: true,
                    lag: PROBE_PACE * u32::try_from(announced).unwrap_or(u32::MAX),
                    sent: 0,
                    plan,
                });
            }
        }
    }

    /// A datagram came from there: an address that passed the filters for foreign ones, in its plain form. Queues the
    /// answer to a request. `None`: it says nothing, and nothing is answered.
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Heard> {
        if self.stopped {
            return None;
        }
        let probe = self.signature.read(datagram)?;
        if probe.generation < self.peer_generation {
            return None;
        }
        let asked = if probe.is_answer {
            Some(self.asked(&probe)?)
        } else if self.is_replayed(&probe, from) {
            return None;
        } else {
            None
        };
        if !self.take_up(now, from) {
            return None;
        }
        self.peer_generation = probe.generation;
        if let Some((index, to)) = asked {
            self.unanswered.swap_remove(index);
            for pair in &mut self.pairs {
                if pair.address == to || pair.address == from {
                    pair.plan = Plan::Done;
                }
            }
        } else {
            self.answer(now, &probe, from);
        }
        let pair = self.pairs.iter_mut().find(|pair| pair.address == from)?;
        if matches!(pair.plan, Plan::Opening { .. } | Plan::Holding) {
            pair.plan = Plan::probing(now);
        }
        Some(Heard {
            from,
            peer_reflexive: !pair.announced,
        })
    }

    /// The next datagram whose time has come: to where, with which life if not the usual one. Ask until there is none.
    pub(super) fn poll_send(&mut self, now: Instant) -> Option<(SocketAddr, Option<u8>, Bytes)> {
        if let Some((_, to, answer)) = self.answers.pop_front() {
            return Some((to, None, answer));
        }
        if self.requests >= PROBES_PER_ROUND_MAX {
            return None;
        }
        let due = |index: usize, pair: &Pair| Some((self.pair_due(pair)?, index));
        let pairs = self.pairs.iter().enumerate();
        let (due, index) = pairs
            .filter_map(|(index, pair)| due(index, pair))
            .min()
            .filter(|(due, _)| *due <= now)?;
        let ttl = self.setup.ttl;
        let pair = self.pairs.get_mut(index)?;
        let ttl = pair.advance(now.max(due)).then_some(ttl);
        let to = pair.address;
        let (transaction, request) = self.signature.request(self.requests);
        self.requests += 1;
        self.unanswered.push((transaction, to));
        Some((to, ttl, request))
    }

    /// When there is something to send.
    pub(super) fn due(&self) -> Option<Instant> {
        let answer = self.answers.front().map(|(at, ..)| *at);
        if self.requests >= PROBES_PER_ROUND_MAX {
            return answer;
        }
        let requests = self.pairs.iter().filter_map(|pair| self.pair_due(pair));
        requests.chain(answer).min()
    }

    /// Nothing is sent or answered any more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.pairs.clear();
        self.answers.clear();
        self.unanswered.clear();
        self.seen.clear();
    }

    fn pair_due(&self, pair: &Pair) -> Option<Instant> {
        match pair.plan {
            Plan::Opening { next, .. } | Plan::Probing { next, .. } => Some(next),
            Plan::Holding => {
                let hold = self
                    .setup
                    .signalling_rtt
                    .map_or(OPENER_HOLD_UNKNOWN, |rtt| rtt + OPENER_HOLD_EXTRA)
                    .max(OPENER_HOLD_MIN);
                Some(self.told? + hold + pair.lag)
            }
            Plan::Done => None,
        }
    }

    fn wants_openers(&self, to: IpAddr) -> bool {
        let near = to.is_loopback() || self.setup.local.iter().any(|subnet| subnet.contains(to));
        self.setup.openers && self.setup.own_mapping != Mapping::Dependent && !near
    }

    /// New pairs begin at a distance from each other.
    fn next_start(&mut self, now: Instant) -> Instant {
        let start = self
            .last_start
            .map_or(now, |last| now.max(last + PROBE_PACE));
        self.last_start = Some(start);
        start
    }

    /// Which of our open requests this answers: its place and where it went.
    fn asked(&self, answer: &Probe) -> Option<(usize, SocketAddr)> {
        let mut open = self.unanswered.iter().enumerate();
        open.find(|(_, (transaction, _))| *transaction == answer.transaction)
            .map(|(index, (_, to))| (index, *to))
    }

    /// Whether this very request came before. The copy that a stranger sends from elsewhere does not spoil the
    /// original, if that comes from an announced address.
    fn is_replayed(&self, request: &Probe, from: SocketAddr) -> bool {
        let announced = self.is_announced(from);
        let mut seen = self.seen.iter();
        seen.any(|(transaction, source)| {
            *transaction == request.transaction && (*source == from || !announced)
        })
    }

    fn is_announced(&self, address: SocketAddr) -> bool {
        let mut pairs = self.pairs.iter();
        pairs.any(|pair| pair.address == address && pair.announced)
    }

    /// Whether that source is among the pairs, or may be added to them.
    fn take_up(&mut self, now: Instant, from: SocketAddr) -> bool {
        if self.pairs.iter().any(|pair| pair.address == from) {
            return true;
        }
        let told = |ip: IpAddr| {
            let mut announced = self.pairs.iter().filter(|pair| pair.announced);
            self.expected.contains(&ip) || announced.any(|pair| pair.address.ip() == ip)
        };
        let reflexive = || self.pairs.iter().filter(|pair| !pair.announced);
        let another_stranger = reflexive()
            .map(|pair| pair.address.ip())
            .any(|ip| !told(ip) && ip != from.ip());
        if reflexive().count() >= PEER_REFLEXIVE_MAX || (!told(from.ip()) && another_stranger) {
            return false;
        }
        self.pairs.push(Pair {
            address: from,
            announced: false,
            lag: Duration::ZERO,
            sent: 0,
            plan: Plan::probing(now),
        });
        true
    }

    fn answer(&mut self, now: Instant, request: &Probe, from: SocketAddr) {
        if self.seen.len() >= TRANSACTIONS_REMEMBERED_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((request.transaction, from));
        // Whoever fills this does not ask for what is sent.
        if self.answers.len() < ADDRESSES_TRIED_MAX + PEER_REFLEXIVE_MAX {
            let answer = self.signature.answer(request.transaction, from);
            self.answers.push_back((now, from, answer));
        }
    }
}

impl Plan {
    fn probing(start: Instant) -> Self {
        Self::Probing {
            out: 0,
            since: start,
            next: start,
        }
    }
}

impl Pair {
    /// Something goes out now. Says whether it is an opener.
    fn advance(&mut self, now: Instant) -> bool {
        self.sent += 1;
        let (plan, opener) = match self.plan {
            Plan::Opening { out, .. } if out + 1 < OPENERS => {
                let next = now + PROBE_REPEATS[0];
                (Plan::Opening { out: out + 1, next }, true)
            }
            Plan::Opening { .. } => (Plan::Holding, true),
            Plan::Holding => (Plan::probing(now).repeated(now), false),
            plan => (plan.repeated(now), false),
        };
        self.plan = if self.sent < PROBES_PER_PAIR_MAX {
            plan
        } else {
            Plan::Done
        };
        opener
    }
}

impl Plan {
    /// A full probe goes out now.
    fn repeated(self, now: Instant) -> Self {
        let Self::Probing { out, since, .. } = self else {
            return self;
        };
        let pause = PROBE_REPEATS.get(out).copied();
        let next = now + pause.unwrap_or(PROBE_REPEATS_LATER);
        if next > since + PROBE_LIFE {
            return Self::Done;
        }
        Self::Probing {
            out: out + 1,
            since,
            next,
        }
    }
}
