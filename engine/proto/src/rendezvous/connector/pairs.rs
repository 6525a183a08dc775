//! Which of the peer's addresses are tried, and in which order.

use std::net::SocketAddr;

use super::super::candidate::Judge;
use super::super::limits::ADDRESSES_TRIED_MAX;
use super::super::sealed::Whereabouts;
use super::super::{CandidateKind, LocalCandidate, Mapping, Protocol};

/// An address of the peer that passed the filters (S-10), and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) address: SocketAddr,
    pub(super) protocol: Protocol,
    pub(super) kind: CandidateKind,
    /// In a network of ours, or on this machine.
    pub(super) near: bool,
    /// Larger is better. Orders the beginning of attempts only.
    pub(super) preference: i32,
}

impl Pair {
    /// Whether it only answers those who dial at the same time.
    pub(super) fn needs_both(&self) -> bool {
        self.protocol == Protocol::Tcp && self.kind == CandidateKind::REFLEXIVE
    }
}

/// Filters and ranks what the peer named: at most eight of each protocol, the best of each kind
/// among them. Equal addresses count once.
pub(super) fn pairs(judge: &Judge<'_>, theirs: &[LocalCandidate]) -> Vec<Pair> {
    let mut all: Vec<Pair> = Vec::new();
    for named in theirs {
        let Some(pair) = pair(judge, named) else {
            continue;
        };
        let same = all
            .iter_mut()
            .find(|known| (known.address, known.protocol) == (pair.address, pair.protocol));
        match same {
            Some(known) if known.preference < pair.preference => *known = pair,
            Some(_) => {}
            None => all.push(pair),
        }
    }
    all.sort_by_key(|pair| -pair.preference);
    let mut chosen = Vec::new();
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        chosen.extend(best(all.iter().filter(|pair| pair.protocol == protocol)));
    }
    chosen.sort_by_key(|pair| -pair.preference);
    chosen
}

/// The best eight, and of each kind the best one.
fn best<'a>(ranked: impl Iterator<Item = &'a Pair>) -> Vec<Pair> {
    let mut kinds = Vec::new();
    let (first_of_kind, others): (Vec<_>, Vec<_>) = ranked.partition(|pair| {
        let new = !kinds.contains(&pair.kind);
        if new {
            kinds.push(pair.kind);
        }
        new
    });
    let chosen = first_of_kind.into_iter().chain(others);
    chosen.take(ADDRESSES_TRIED_MAX).copied().collect()
}

fn pair(judge: &Judge<'_>, named: &LocalCandidate) -> Option<Pair> {
    let LocalCandidate { kind, protocol, .. } = *named;
    let address = judge.admit(named.address)?;
    let of_family = |own: &&LocalCandidate| own.address.is_ipv4() == address.is_ipv4();
    let own = || judge.own.iter().filter(of_family);
    let speaking = || own().filter(|own| own.protocol == protocol);
    let possible = match protocol {
        // Without a socket of ours there is nothing to send from.
        Protocol::Udp => speaking().next().is_some(),
        // Dialling takes no listener.
        Protocol::Tcp => judge.own.is_empty() || own().next().is_some(),
    };
    if !possible {
        return None;
    }
    let ours = speaking().map(|own| worth(own.kind)).max();
    let ours = ours.unwrap_or(worth(CandidateKind::HOST));
    let near = judge.is_near(address.ip());
    let bonus = match (near, protocol) {
        (true, Protocol::Tcp) => 404,
        (true, Protocol::Udp) => 400,
        (false, Protocol::Udp) => 2,
        (false, Protocol::Tcp) => 0,
    };
    let family = if address.is_ipv6() { 4 } else { 0 };
    Some(Pair {
        address,
        protocol,
        kind,
        near,
        preference: ours.min(worth(kind)) * 8 + family + bonus,
    })
}

fn worth(kind: CandidateKind) -> i32 {
    match kind {
        CandidateKind::LOOPBACK => 125,
        CandidateKind::HOST => 120,
        CandidateKind::MAPPED | CandidateKind::FORWARDED => 110,
        CandidateKind::REFLEXIVE => 100,
        _ => 60,
    }
}

/// Which of the pairs are dialled while the peer dials us: where its router gives its listener the
/// port that it told, or has none to give.
pub(super) fn both_dial(pairs: &[Pair], theirs: &Whereabouts) -> Vec<Pair> {
    let of_kind = |kind: CandidateKind| {
        let of_kind = pairs
            .iter()
            .filter(move |pair| pair.protocol == Protocol::Tcp && pair.kind == kind);
        of_kind.copied().collect::<Vec<_>>()
    };
    let kinds = match theirs.network.tcp {
        Mapping::Open => [CandidateKind::REFLEXIVE, CandidateKind::HOST],
        _ => [CandidateKind::REFLEXIVE, CandidateKind::VERIFIED],
    };
    let mut found = kinds.into_iter().map(of_kind);
    found.find(|found| !found.is_empty()).unwrap_or_default()
}

/// Families in turn, the better one first (RFC 8305 section 4).
pub(super) fn interleaved(ranked: Vec<Pair>) -> Vec<Pair> {
    let Some(first) = ranked.first().map(|pair| pair.address.is_ipv4()) else {
        return ranked;
    };
    let len = ranked.len();
    let (mut one, mut other): (Vec<_>, Vec<_>) = ranked
        .into_iter()
        .rev()
        .partition(|pair| pair.address.is_ipv4() == first);
    let mut mixed = Vec::with_capacity(len);
    while !(one.is_empty() && other.is_empty()) {
        mixed.extend(one.pop());
        mixed.extend(other.pop());
    }
    mixed
}
