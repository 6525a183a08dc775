//! Decisions of the native policy one by one. Whole conversations, and networks, are in the tests of
//! the workspace.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::candidate::Judge;
use super::super::limits::ROUND;
use super::super::sealed::Whereabouts;
use super::super::{
    AttemptError, AttemptId, CandidateKind, Carrier, Config, LocalCandidate, Mapping, Network,
    Protocol, Subnet,
};
use super::lanes::{Admission, Lane, Lanes, Way};
use super::outlook::{is_hopeless, wants_simultaneous_open};
use super::pairs::{Pair, both_dial, interleaved, pairs};
use super::round::{Open, Round};

#[allow(clippy::disallowed_methods)]
fn any_instant() -> Instant {
    Instant::now()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn candidate(protocol: Protocol, text: &str, kind: CandidateKind) -> LocalCandidate {
    LocalCandidate {
        address: address(text),
        kind,
        protocol,
    }
}

fn tcp(text: &str, kind: CandidateKind) -> LocalCandidate {
    candidate(Protocol::Tcp, text, kind)
}

fn udp(text: &str, kind: CandidateKind) -> LocalCandidate {
    candidate(Protocol::Udp, text, kind)
}

fn lan() -> Config {
    let interfaces = vec![Subnet {
        address: [192, 168, 1, 10].into(),
        prefix_bits: 24,
    }];
    Config {
        interfaces,
        ..Config::default()
    }
}

fn own() -> Vec<LocalCandidate> {
    vec![
        udp("192.168.1.10:4000", CandidateKind::HOST),
        tcp("192.168.1.10:4000", CandidateKind::HOST),
        udp("[2001:db8::a]:4000", CandidateKind::HOST),
        tcp("[2001:db8::a]:4000", CandidateKind::HOST),
    ]
}

fn paired(own: &[LocalCandidate], theirs: &[LocalCandidate]) -> Vec<Pair> {
    let config = lan();
    let judge = Judge {
        config: &config,
        peer_verified: None,
        own,
    };
    pairs(&judge, theirs)
}

fn shown(pairs: &[Pair]) -> Vec<String> {
    let shown = |pair: &Pair| format!("{:?} {} {}", pair.protocol, pair.address, pair.preference);
    pairs.iter().map(shown).collect()
}

/// The table of kinds, with what family, protocol and a common network add.
#[test]
fn pairs_are_ranked_by_kind_family_protocol_and_nearness() {
    use CandidateKind as Kind;
    let theirs = [
        tcp("203.0.113.1:5000", Kind::VERIFIED),
        udp("203.0.113.2:5000", Kind::REFLEXIVE),
        udp("203.0.113.3:5000", Kind::MAPPED),
        tcp("203.0.113.3:5000", Kind::FORWARDED),
        udp("[2001:db8::1]:5000", Kind::HOST),
        tcp("[2001:db8::1]:5000", Kind::HOST),
        udp("192.168.1.9:5000", Kind::HOST),
        tcp("192.168.1.9:5000", Kind::HOST),
    ];
    assert_eq!(
        shown(&paired(&own(), &theirs)),
        [
            "Tcp 192.168.1.9:5000 1364",
            "Udp 192.168.1.9:5000 1360",
            "Udp [2001:db8::1]:5000 966",
            "Tcp [2001:db8::1]:5000 964",
            "Udp 203.0.113.3:5000 882",
            "Tcp 203.0.113.3:5000 880",
            "Udp 203.0.113.2:5000 802",
            "Tcp 203.0.113.1:5000 480",
        ]
    );
}

#[test]
fn a_pair_takes_one_family_and_one_protocol() {
    let theirs = [
        udp("[2001:db8::1]:5000", CandidateKind::HOST),
        udp("203.0.113.1:5000", CandidateKind::HOST),
        tcp("203.0.113.1:5000", CandidateKind::HOST),
    ];
    let only = |own: &[LocalCandidate]| {
        let pairs = paired(own, &theirs);
        pairs
            .iter()
            .map(|pair| (pair.protocol, pair.address.is_ipv4()))
            .collect::<Vec<_>>()
    };
    let v4_tcp = [tcp("192.168.1.10:4000", CandidateKind::HOST)];
    assert_eq!(only(&v4_tcp), [(Protocol::Tcp, true)], "no socket for UDP");
    let v6_udp = [udp("[2001:db8::a]:4000", CandidateKind::HOST)];
    assert_eq!(only(&v6_udp), [(Protocol::Udp, false)]);
    assert_eq!(only(&[]), [(Protocol::Tcp, true)], "no listener is needed");
}

#[test]
fn s_10_eight_are_tried_and_the_best_of_each_kind() {
    let mut theirs: Vec<_> = (1..=16)
        .map(|n| udp(&format!("203.0.113.{n}:5000"), CandidateKind::HOST))
        .collect();
    theirs.push(udp("203.0.113.99:5000", CandidateKind::VERIFIED));
    theirs.push(udp("203.0.113.1:5000", CandidateKind::REFLEXIVE));
    let chosen = paired(&own(), &theirs);
    assert_eq!(chosen.len(), 8);
    let last = chosen.last().expect("eight");
    assert_eq!(last.kind, CandidateKind::VERIFIED);
    let first = |pair: &&Pair| pair.address == address("203.0.113.1:5000");
    assert_eq!(chosen.iter().filter(first).count(), 1, "counted once");
}

#[test]
fn s_10_a_peer_that_tells_ever_more_addresses_makes_one_round_dial_no_more_than_sixteen() {
    let (now, mut round) = (any_instant(), Round::new(0, None));
    for told in 0..20 {
        let theirs: Vec<_> = (1..=8)
            .map(|n| tcp(&format!("203.0.{told}.{n}:5000"), CandidateKind::HOST))
            .collect();
        round.offer(now, &paired(&own(), &theirs), true);
    }
    let later = |n: u64| now + ms(60_000 * n);
    let dialled = (1..=200).filter(|n| round.next(later(*n), Open::default()).is_some());
    assert_eq!(dialled.count(), 16);
}

#[test]
fn tcp_dials_take_the_families_in_turn() {
    let theirs = [
        tcp("[2001:db8::1]:5000", CandidateKind::HOST),
        tcp("[2001:db8::2]:5000", CandidateKind::HOST),
        tcp("203.0.113.1:5000", CandidateKind::HOST),
    ];
    let mixed = interleaved(paired(&own(), &theirs));
    let v6: Vec<_> = mixed.iter().map(|pair| pair.address.is_ipv6()).collect();
    assert_eq!(v6, [true, false, true]);
}

fn whereabouts(
    udp: Mapping,
    tcp: Mapping,
    candidates: impl IntoIterator<Item = LocalCandidate>,
) -> Whereabouts {
    Whereabouts {
        candidates: candidates.into_iter().collect(),
        network: Network { udp, tcp },
        ..Whereabouts::default()
    }
}

#[test]
fn what_cannot_be_direct_is_known_from_both_networks() {
    use Mapping::{Blocked, Dependent, Independent, Open, Unknown};
    let hopeless = |ours: Mapping, theirs: Mapping| {
        let (ours, theirs) = (
            whereabouts(ours, Unknown, []),
            whereabouts(theirs, Unknown, []),
        );
        let both = [
            is_hopeless(&ours, &theirs, false),
            is_hopeless(&theirs, &ours, false),
        ];
        assert_eq!(both[0], both[1], "both come to the same");
        both[0]
    };
    for (ours, theirs, expected) in [
        (Dependent, Dependent, true),
        (Blocked, Dependent, true),
        (Blocked, Blocked, true),
        (Blocked, Independent, true),
        (Dependent, Independent, false),
        (Independent, Independent, false),
        (Open, Dependent, false),
        (Open, Blocked, false),
        (Unknown, Unknown, false),
        (Unknown, Dependent, false),
    ] {
        assert_eq!(hopeless(ours, theirs), expected, "{ours:?} and {theirs:?}");
    }
}

#[test]
fn a_common_network_a_mapping_ipv6_or_known_tcp_ports_give_hope() {
    use Mapping::{Dependent, Independent, Unknown};
    let plain = || whereabouts(Dependent, Unknown, []);
    assert!(is_hopeless(&plain(), &plain(), false));
    assert!(!is_hopeless(&plain(), &plain(), true));
    let mapped = udp("203.0.113.1:5000", CandidateKind::MAPPED);
    let mapped = whereabouts(Dependent, Unknown, [mapped]);
    assert!(!is_hopeless(&plain(), &mapped, false));
    let v6 = |text| whereabouts(Dependent, Unknown, [udp(text, CandidateKind::HOST)]);
    assert!(!is_hopeless(
        &v6("[2001:db8::1]:5"),
        &v6("[2001:db8::2]:5"),
        false
    ));
    assert!(is_hopeless(&v6("[2001:db8::1]:5"), &plain(), false));
    let known = || whereabouts(Dependent, Independent, []);
    assert!(!is_hopeless(&known(), &known(), false));
    assert!(is_hopeless(&known(), &plain(), false), "one is not enough");
}

#[test]
fn both_dial_at_once_where_udp_is_out_of_the_question() {
    use Mapping::{Blocked, Dependent, Independent};
    let host = || udp("192.0.2.1:5000", CandidateKind::HOST);
    let side = |mapping| whereabouts(mapping, Independent, [host()]);
    for (ours, theirs, wanted) in [
        (Blocked, Independent, true),
        (Independent, Blocked, true),
        (Dependent, Dependent, true),
        (Dependent, Independent, false),
        (Independent, Independent, false),
    ] {
        let wants = wants_simultaneous_open(&side(ours), &side(theirs));
        assert_eq!(wants, wanted, "{ours:?} and {theirs:?}");
    }
    let no_udp = whereabouts(Independent, Independent, []);
    assert!(wants_simultaneous_open(&no_udp, &side(Independent)));
}

#[test]
fn at_once_dialled_is_the_outer_port_or_that_of_an_open_host() {
    let theirs = [
        tcp("203.0.113.1:5000", CandidateKind::HOST),
        tcp("203.0.113.2:5001", CandidateKind::VERIFIED),
        tcp("203.0.113.2:6001", CandidateKind::REFLEXIVE),
    ];
    let targets = |theirs: &[LocalCandidate], mapping: Mapping| {
        let whereabouts = whereabouts(Mapping::Blocked, mapping, theirs.to_vec());
        let both = both_dial(&paired(&own(), theirs), &whereabouts);
        both.iter()
            .map(|pair| pair.address.port())
            .collect::<Vec<_>>()
    };
    assert_eq!(targets(&theirs, Mapping::Independent), [6001]);
    assert_eq!(targets(&theirs[..2], Mapping::Open), [5000]);
    assert_eq!(targets(&theirs[..2], Mapping::Independent), [5001]);
    assert_eq!(targets(&theirs[..1], Mapping::Unknown), [0_u16; 0]);
}

/// A round with its dials: when each began.
struct Track {
    round: Round,
    start: Instant,
    now: Instant,
    open: Open,
    begun: Vec<(u128, Carrier, u16)>,
}

impl Track {
    fn new() -> Self {
        let start = any_instant();
        Self {
            round: Round::new(0, None),
            start,
            now: start,
            open: Open::default(),
            begun: Vec::new(),
        }
    }

    fn offer(&mut self, protocol: Protocol, count: u16, controller: bool) {
        let named: Vec<_> = (0..count)
            .map(|n| {
                candidate(
                    protocol,
                    &format!("203.0.113.1:{}", 5000 + n),
                    CandidateKind::HOST,
                )
            })
            .collect();
        let pairs = paired(&own(), &named);
        self.round.offer(self.now, &pairs, controller);
    }

    /// Everything that is due until then.
    fn run(&mut self, milliseconds: u64) {
        let end = self.start + ms(milliseconds);
        loop {
            while let Some((pair, carrier)) = self.round.next(self.now, self.open) {
                let at = (self.now - self.start).as_millis();
                self.begun.push((at, carrier, pair.address.port()));
                match carrier {
                    Carrier::Quic => self.open.quic += 1,
                    _ => self.open.tcp += 1,
                }
            }
            match self.round.due(self.open).filter(|due| *due <= end) {
                Some(due) => {
                    assert!(due > self.now, "what is due stays due");
                    self.now = due;
                }
                None => break,
            }
        }
        self.now = end;
    }

    fn times(&self, wanted: Carrier) -> Vec<u128> {
        let begun = self.begun.iter();
        begun
            .filter(|(_, carrier, _)| *carrier == wanted)
            .map(|(at, ..)| *at)
            .collect()
    }
}

#[test]
fn two_handshakes_begin_at_once_the_others_50_ms_apart_and_four_are_open() {
    let mut track = Track::new();
    track.round.has_told(track.now);
    track.round.has_heard(track.now);
    track.offer(Protocol::Udp, 6, true);
    track.run(3_000);
    assert_eq!(track.times(Carrier::Quic), [0, 0, 50, 100]);
    track.open.quic -= 1;
    track.run(3_100);
    assert_eq!(track.times(Carrier::Quic).len(), 5, "a place is free");
}

#[test]
fn only_the_controller_dials_over_udp() {
    let mut track = Track::new();
    track.round.has_told(track.now);
    track.round.has_heard(track.now);
    track.offer(Protocol::Udp, 3, false);
    track.run(3_000);
    assert!(track.begun.is_empty());
    assert!(track.round.has_pairs());
}

#[test]
fn who_acts_first_dials_when_the_peer_has_opened_its_router() {
    let mut track = Track::new();
    track.round = Round::new(1, Some(ms(200)));
    track.round.has_heard(track.now);
    track.offer(Protocol::Udp, 1, true);
    track.run(40);
    assert!(track.begun.is_empty(), "the peer does not know of us yet");
    track.round.has_told(track.now);
    track.run(3_000);
    assert_eq!(
        track.times(Carrier::Quic),
        [290],
        "told, 200 ms and 50 more"
    );
}

#[test]
fn tcp_dials_begin_250_ms_apart_after_udp_and_three_are_open() {
    let mut track = Track::new();
    track.round.has_told(track.now);
    track.round.has_heard(track.now);
    track.offer(Protocol::Udp, 1, true);
    track.offer(Protocol::Tcp, 5, true);
    track.run(2_000);
    assert_eq!(track.times(Carrier::Tcp), [100, 350, 600]);
    track.open.tcp -= 1;
    track.round.dial_failed(track.now);
    track.run(2_001);
    assert_eq!(track.times(Carrier::Tcp), [100, 350, 600, 2_000]);
}

#[test]
fn tcp_does_not_wait_for_udp_that_nobody_has_nor_in_one_network() {
    let mut track = Track::new();
    track.offer(Protocol::Tcp, 1, true);
    track.run(1);
    assert_eq!(track.times(Carrier::Tcp), [0]);
    let mut track = Track::new();
    let theirs = [
        udp("192.168.1.9:5000", CandidateKind::HOST),
        tcp("192.168.1.9:5000", CandidateKind::HOST),
    ];
    track.round.offer(track.now, &paired(&own(), &theirs), true);
    track.run(1);
    assert_eq!(track.times(Carrier::Tcp), [0]);
}

#[test]
fn dialling_at_once_waits_600_ms_for_udp_unless_that_is_blocked() {
    for (at_once, expected) in [(true, 0), (false, 600)] {
        let mut track = Track::new();
        let theirs = [tcp("203.0.113.1:5000", CandidateKind::REFLEXIVE)];
        let pairs = paired(&own(), &theirs);
        track.round.offer(track.now, &pairs, true);
        track.round.offer_both(track.now, &pairs, at_once);
        track.round.offer_both(track.now, &pairs, at_once);
        track.run(2_000);
        assert_eq!(
            track.begun,
            [(expected, Carrier::TcpOpen, 5000)],
            "and never as a plain dial"
        );
    }
}

#[test]
fn addresses_that_come_later_begin_at_once_and_known_ones_never_again() {
    let mut track = Track::new();
    track.round.has_told(track.now);
    track.round.has_heard(track.now);
    track.offer(Protocol::Udp, 1, true);
    track.run(1_000);
    track.offer(Protocol::Udp, 2, true);
    track.run(1_001);
    assert_eq!(track.times(Carrier::Quic), [0, 1_000]);
}

#[test]
fn a_round_ends_four_seconds_after_both_sides_know_of_it() {
    let mut track = Track::new();
    assert_eq!(track.round.end(), None);
    track.round.has_told(track.start);
    track.round.has_heard(track.start + ms(70));
    assert_eq!(track.round.end(), Some(track.start + ms(70) + ROUND));
    assert_eq!(track.round.answered_after(), Some(ms(70)));
    track.offer(Protocol::Udp, 3, true);
    track.round.finish();
    track.run(5_000);
    assert!(track.begun.is_empty());
}

#[test]
fn the_ninth_stranger_takes_the_place_of_the_oldest_silent_one() {
    let now = any_instant();
    let mut lanes = Lanes::default();
    let mut accept = |number| {
        let way = Way::Accepted(address("192.0.2.1:5000"), Carrier::Quic);
        lanes.accept(now, AttemptId(number), Lane::opening(way, None))
    };
    for number in 0..8 {
        assert_eq!(accept(number), Admission::Admitted);
    }
    assert_eq!(accept(8), Admission::InPlaceOf(AttemptId(0)));
    for number in 1..=8 {
        lanes.heard(AttemptId(number));
    }
    let way = Way::Accepted(address("192.0.2.1:5000"), Carrier::Tcp);
    let ninth = lanes.accept(now, AttemptId(9), Lane::opening(way, None));
    assert_eq!(ninth, Admission::Refused, "all are talking");
    assert_eq!(lanes.due(), Some(now + Duration::from_secs(10)));
}

#[test]
fn a_peer_that_proves_lane_after_lane_is_stopped_at_eight() {
    let now = any_instant();
    let mut lanes = Lanes::default();
    let lane = || {
        let way = Way::Accepted(address("192.0.2.1:5000"), Carrier::Tcp);
        Lane::opening(way, None)
    };
    for number in 0..8 {
        lanes.accept(now, AttemptId(number), lane());
        assert!(lanes.proven(AttemptId(number), None));
        assert!(!lanes.proven(AttemptId(number), None), "once");
    }
    assert_eq!(lanes.accept(now, AttemptId(8), lane()), Admission::Refused);
}

#[test]
fn what_strangers_do_is_no_error_of_ours() {
    let now = any_instant();
    let mut lanes = Lanes::default();
    let way = Way::Accepted(address("192.0.2.1:5000"), Carrier::Tcp);
    lanes.accept(now, AttemptId(1), Lane::opening(way, None));
    lanes.failed(AttemptId(1), AttemptError::NotTls);
    assert_eq!(lanes.last_error(), None);
    let way = Way::Dialled(address("192.0.2.1:5000"), Carrier::Tcp);
    lanes.insert(AttemptId(2), Lane::opening(way, Some(now)));
    assert_eq!(lanes.overdue(now), [AttemptId(2)]);
    lanes.failed(AttemptId(2), AttemptError::Refused);
    assert_eq!(lanes.last_error(), Some(AttemptError::Refused));
}
