//! What can be hoped for, from what both sides know of their networks (connectivity table 1.1).

use super::super::sealed::Whereabouts;
use super::super::{CandidateKind, Mapping, Protocol};

/// Whether a direct way cannot be: then the relay is taken without waiting. What is not known
/// counts as possible.
pub(super) fn is_hopeless(ours: &Whereabouts, theirs: &Whereabouts, common_network: bool) -> bool {
    let sides = [ours, theirs];
    if common_network || sides.iter().any(|side| is_reachable(side)) {
        return false;
    }
    let both_v6 = |protocol: Protocol| {
        sides.iter().all(|side| {
            let mut candidates = side.candidates.iter();
            candidates.any(|own| own.protocol == protocol && own.address.is_ipv6())
        })
    };
    if both_v6(Protocol::Udp) || both_v6(Protocol::Tcp) {
        return false;
    }
    !(udp_may_meet(ours.network.udp, theirs.network.udp) || tcp_may_meet(ours, theirs))
}

/// Whether anybody can come in there.
fn is_reachable(side: &Whereabouts) -> bool {
    let opened = [CandidateKind::MAPPED, CandidateKind::FORWARDED];
    let mut candidates = side.candidates.iter();
    candidates.any(|own| opened.contains(&own.kind))
        || [side.network.udp, side.network.tcp].contains(&Mapping::Open)
}

fn udp_may_meet(ours: Mapping, theirs: Mapping) -> bool {
    let both = [ours, theirs];
    !both.contains(&Mapping::Blocked) && both != [Mapping::Dependent; 2]
}

/// Both dial at once: each has to know its outer port.
fn tcp_may_meet(ours: &Whereabouts, theirs: &Whereabouts) -> bool {
    [ours, theirs].into_iter().all(has_known_tcp_port)
}

/// Whether the outer port of the listener is known, or our own one: then the peer can dial it
/// while we dial. A router that gives UDP another port for each destination does so with TCP.
pub(super) fn has_known_tcp_port(side: &Whereabouts) -> bool {
    let mut candidates = side.candidates.iter();
    let mut told = || {
        candidates.any(|own| own.protocol == Protocol::Tcp && own.kind == CandidateKind::REFLEXIVE)
    };
    match side.network.tcp {
        Mapping::Open | Mapping::Independent => true,
        Mapping::Dependent | Mapping::Blocked => false,
        Mapping::Unknown => side.network.udp != Mapping::Dependent && told(),
    }
}

/// Whether both sides dialling at once over TCP is called for: it takes longer than UDP and costs
/// more, but works where UDP does not.
pub(super) fn wants_simultaneous_open(ours: &Whereabouts, theirs: &Whereabouts) -> bool {
    let udp = [ours.network.udp, theirs.network.udp];
    let no_udp = [ours, theirs].iter().any(|side| {
        let mut candidates = side.candidates.iter();
        !candidates.any(|own| own.protocol == Protocol::Udp)
    });
    no_udp || udp.contains(&Mapping::Blocked) || udp == [Mapping::Dependent; 2]
}
