use std::collections::BTreeMap;

use super::*;
use crate::wire::stun::{Class, Stun};

const KEY: [u8; 32] = [7; 32];

#[allow(clippy::disallowed_methods)]
fn any_instant() -> Instant {
    Instant::now()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn peer(last: u8) -> SocketAddr {
    SocketAddr::from(([11, 11, 2, last], 40_000))
}

fn setup(controller: bool) -> ProbeSetup {
    ProbeSetup {
        key: KEY,
        controller,
        generation: 0,
        own_mapping: Mapping::Independent,
        openers: !controller,
        ttl: 4,
        seed: 1,
        signalling_rtt: Some(ms(200)),
        local: Vec::new(),
    }
}

/// One side, and what it sent: when since the beginning, to where, with which life.
struct Track {
    probing: Probing,
    start: Instant,
    now: Instant,
    sent: Vec<(u128, SocketAddr, Option<u8>)>,
    packets: Vec<(SocketAddr, Bytes)>,
}

impl Track {
    fn new(setup: ProbeSetup) -> Self {
        let start = any_instant();
        Self {
            probing: Probing::new(setup),
            start,
            now: start,
            sent: Vec::new(),
            packets: Vec::new(),
        }
    }

    fn pairs(&mut self, addresses: &[SocketAddr]) {
        self.probing.pairs(self.now, addresses);
        self.drain();
    }

    fn told(&mut self) {
        self.probing.told(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some((to, ttl, packet)) = self.probing.poll_send(self.now) {
            let at = self.now.duration_since(self.start).as_millis();
            self.sent.push((at, to, ttl));
            self.packets.push((to, packet));
        }
        let due = self.probing.due();
        assert!(due.is_none_or(|due| due > self.now), "due and not sent");
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.probing.due().filter(|due| *due <= end) {
            self.now = due;
            self.drain();
        }
        self.now = end;
    }

    fn hear(&mut self, from: SocketAddr, packet: &[u8]) -> Option<Heard> {
        let heard = self.probing.datagram(self.now, from, packet);
        self.drain();
        heard
    }

    fn times(&self, to: SocketAddr) -> Vec<u128> {
        let sent = self.sent.iter().filter(|(_, other, _)| *other == to);
        sent.map(|(at, ..)| *at).collect()
    }
}

/// A request as the other side makes it.
fn request(controller: bool, number: u32) -> Bytes {
    from_generation(controller, 0, number)
}

fn from_generation(controller: bool, generation: u32, number: u32) -> Bytes {
    let signature = Signature {
        key: KEY,
        generation,
        controller,
        seed: 99,
    };
    signature.request(number).1
}

fn heard(from: SocketAddr, peer_reflexive: bool) -> Option<Heard> {
    Some(Heard {
        from,
        peer_reflexive,
    })
}

#[test]
fn new_pairs_begin_5_ms_apart_in_the_order_given() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1), peer(2), peer(3)]);
    track.wait(ms(24));
    let sent = [(0, peer(1), None), (5, peer(2), None), (10, peer(3), None)];
    assert_eq!(track.sent, sent);
}

#[test]
fn a_probe_is_repeated_ever_more_slowly_for_three_seconds() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    track.wait(ms(10_000));
    let times = [0, 25, 75, 175, 375, 775, 1275, 1775, 2275, 2775];
    assert_eq!(track.times(peer(1)), times);
    assert_eq!(track.probing.due(), None);
}

#[test]
fn no_two_probes_are_alike() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1), peer(2)]);
    track.wait(ms(10_000));
    let mut packets: Vec<_> = track.packets.iter().map(|(_, packet)| packet).collect();
    packets.sort();
    packets.dedup();
    assert_eq!(packets.len(), track.sent.len());
}

#[test]
fn at_most_12_probes_go_to_an_address_and_150_in_a_round() {
    let mut track = Track::new(setup(false));
    track.told();
    let all: Vec<_> = (1..=30).map(peer).collect();
    track.pairs(&all);
    track.wait(ms(60_000));
    let mut counts: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for (_, to, _) in &track.sent {
        *counts.entry(*to).or_default() += 1;
    }
    assert_eq!(counts.len(), ADDRESSES_TRIED_MAX, "eight addresses");
    assert!(counts.values().all(|count| *count == 12), "{counts:?}");
    assert!(track.sent.len() <= 150);
}

#[test]
fn the_limit_of_a_round_holds_whatever_the_pairs_ask_for() {
    let mut track = Track::new(setup(true));
    track.probing.requests = PROBES_PER_ROUND_MAX - 3;
    track.pairs(&[peer(1)]);
    track.wait(ms(10_000));
    assert_eq!(track.sent.len(), 3);
    assert_eq!(track.probing.due(), None, "no timer for what is not sent");
}

#[test]
fn the_side_that_acts_first_sends_two_openers_and_is_silent_until_the_peer_has_begun() {
    let mut track = Track::new(setup(false));
    track.pairs(&[peer(1), peer(2)]);
    track.wait(ms(10));
    track.told();
    track.wait(ms(260));
    let openers = [
        (0, peer(1), Some(4)),
        (5, peer(2), Some(4)),
        (25, peer(1), Some(4)),
        (30, peer(2), Some(4)),
        // 10 + 200 + 50
        (260, peer(1), None),
        (265, peer(2), None),
    ];
    assert_eq!(track.sent, openers);
}

#[test]
fn the_silence_lasts_150_ms_at_least_and_250_if_nothing_is_known() {
    for (rtt, end) in [(Some(ms(3)), 150), (None, 250), (Some(ms(900)), 950)] {
        let mut track = Track::new(ProbeSetup {
            signalling_rtt: rtt,
            ..setup(false)
        });
        track.told();
        track.pairs(&[peer(1)]);
        track.wait(ms(end));
        assert_eq!(track.times(peer(1)), [0, 25, u128::from(end)], "{rtt:?}");
    }
}

#[test]
fn the_silence_does_not_end_before_our_candidates_went_out() {
    let mut track = Track::new(setup(false));
    track.pairs(&[peer(1)]);
    track.wait(ms(5_000));
    assert_eq!(track.sent.len(), 2);
    assert_eq!(track.probing.due(), None);
    track.told();
    track.wait(ms(250));
    assert_eq!(track.times(peer(1)), [0, 25, 5_250]);
}

#[test]
fn the_silence_ends_where_the_peer_is_heard_and_there_alone() {
    let mut track = Track::new(setup(false));
    track.told();
    track.pairs(&[peer(1), peer(2)]);
    track.wait(ms(100));
    assert_eq!(
        track.hear(peer(1), &request(true, 0)),
        heard(peer(1), false)
    );
    track.wait(ms(30));
    // The answer, a probe, its first repetition.
    assert_eq!(track.times(peer(1)), [0, 25, 100, 100, 125]);
    assert_eq!(track.times(peer(2)), [5, 30]);
}

#[test]
fn a_symmetric_side_the_controller_and_local_networks_need_no_openers() {
    let local = Subnet {
        address: [11, 11, 2, 99].into(),
        prefix_bits: 24,
    };
    for setup in [
        setup(true),
        ProbeSetup {
            own_mapping: Mapping::Dependent,
            ..setup(false)
        },
        ProbeSetup {
            local: vec![local],
            ..setup(false)
        },
    ] {
        let mut track = Track::new(setup);
        track.pairs(&[peer(1)]);
        track.wait(ms(25));
        assert_eq!(track.sent, [(0, peer(1), None), (25, peer(1), None)]);
    }
}

#[test]
fn a_side_without_nat_sends_openers_too() {
    let mut track = Track::new(ProbeSetup {
        own_mapping: Mapping::Open,
        ttl: 6,
        ..setup(false)
    });
    track.pairs(&[peer(1)]);
    assert_eq!(track.sent, [(0, peer(1), Some(6))]);
}

#[test]
fn a_request_is_answered_with_its_id_and_the_source_that_we_see() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    let ask = request(false, 5);
    track.packets.clear();
    assert_eq!(track.hear(peer(1), &ask), heard(peer(1), false));
    let (to, answer) = &track.packets[0];
    assert_eq!(*to, peer(1));
    let (asked, answer_read) = (
        Stun::decode(&ask).expect("a request"),
        Stun::decode(answer).expect("an answer"),
    );
    assert_eq!(answer_read.class, Class::Success);
    assert_eq!(answer_read.transaction, asked.transaction);
    assert_eq!(answer_read.xor_mapped(), Some(peer(1)));
    assert!(Stun::verify(answer, &KEY));
}

#[test]
fn two_sides_confirm_each_other_and_fall_silent() {
    let (mut a, mut b) = (Track::new(setup(true)), Track::new(setup(true)));
    b.probing.setup.controller = false;
    b.probing.signature.controller = false;
    b.now = a.now;
    a.pairs(&[peer(2)]);
    b.pairs(&[peer(1)]);
    let mut heard = 0;
    for _ in 0..4 {
        for (_, packet) in std::mem::take(&mut a.packets) {
            heard += u32::from(b.hear(peer(1), &packet).is_some());
        }
        for (_, packet) in std::mem::take(&mut b.packets) {
            heard += u32::from(a.hear(peer(2), &packet).is_some());
        }
    }
    assert_eq!(heard, 4, "two requests, two answers");
    assert_eq!((a.probing.due(), b.probing.due()), (None, None));
}

#[test]
fn sources_that_nobody_announced_are_taken_up_at_announced_addresses_and_one_other() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    let other_port = address("11.11.2.1:50001");
    assert_eq!(
        track.hear(other_port, &request(false, 0)),
        heard(other_port, true)
    );
    let stranger = address("11.11.9.9:1025");
    assert_eq!(
        track.hear(stranger, &request(false, 1)),
        heard(stranger, true)
    );
    let second = address("11.11.9.10:1025");
    let before = track.sent.len();
    assert_eq!(track.hear(second, &request(false, 2)), None);
    assert_eq!(track.sent.len(), before, "not even answered");
    let same = address("11.11.9.9:1026");
    assert_eq!(track.hear(same, &request(false, 3)), heard(same, true));
    assert_eq!(track.times(same).len(), 2, "an answer and a probe at once");
}

#[test]
fn at_most_four_sources_are_taken_up() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    for number in 0..4_u16 {
        let from = SocketAddr::from(([11, 11, 2, 1], 50_000 + number));
        let packet = request(false, u32::from(number));
        assert_eq!(track.hear(from, &packet), heard(from, true));
    }
    let fifth = address("11.11.2.1:60000");
    assert_eq!(track.hear(fifth, &request(false, 9)), None);
    assert_eq!(track.times(fifth), []);
}

#[test]
fn a_source_counts_as_expected_at_the_verified_address_and_once_it_is_announced() {
    let mut track = Track::new(setup(true));
    track.probing.expect_from([address("11.11.7.7:1").ip()]);
    let verified = address("11.11.7.7:2000");
    assert_eq!(
        track.hear(verified, &request(false, 0)),
        heard(verified, true)
    );
    let early = peer(1);
    assert_eq!(track.hear(early, &request(false, 1)), heard(early, true));
    track.pairs(&[early]);
    assert_eq!(track.hear(early, &request(false, 2)), heard(early, false));
    let one_other = address("11.11.9.9:1025");
    assert_eq!(
        track.hear(one_other, &request(false, 3)),
        heard(one_other, true)
    );
}

#[test]
fn what_the_peer_did_not_make_is_dropped_unanswered() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    let before = track.sent.len();
    let good = request(false, 0);
    let mut forged = good.to_vec();
    *forged.last_mut().expect("bytes") ^= 1;
    let mut other_mark = good.to_vec();
    // Role and generation are signed, too.
    other_mark[27] ^= 1;
    let other_key = Signature {
        key: [8; 32],
        generation: 0,
        controller: false,
        seed: 0,
    };
    let no_mark = Stun::new(Class::Request, [1; 12]).encode_signed(&KEY);
    let unasked = Signature {
        key: KEY,
        ..other_key.clone()
    }
    .answer([3; 12], peer(1));
    let error = Stun::new(Class::Error, [1; 12])
        .with(crate::wire::stun::RDV_PROBE, vec![0; 5])
        .encode_signed(&KEY);
    let our_own = track.packets[0].1.clone();
    for (what, packet) in [
        ("nothing", &b""[..]),
        ("noise", b"\x00\x01 no STUN message at all"),
        ("cut", &good[..good.len() - 1]),
        ("forged", &forged),
        ("other mark", &other_mark),
        ("other key", &other_key.request(0).1),
        ("no mark", &no_mark),
        ("answer to nothing", &unasked),
        ("error", &error),
        ("our own, come back", &our_own),
    ] {
        assert_eq!(track.hear(peer(1), packet), None, "{what}");
    }
    assert_eq!(track.sent.len(), before);
    assert_eq!(track.hear(peer(1), &good), heard(peer(1), false));
}

#[test]
fn a_replayed_probe_does_nothing_from_wherever_it_comes() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    let ask = request(false, 0);
    assert!(track.hear(peer(1), &ask).is_some());
    let before = track.sent.len();
    assert_eq!(track.hear(peer(1), &ask), None);
    assert_eq!(track.hear(address("11.11.2.1:999"), &ask), None);
    assert_eq!(track.hear(address("11.11.9.9:9999"), &ask), None);
    assert_eq!(track.sent.len(), before);
}

#[test]
fn an_answer_counts_once() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    let asked = Stun::decode(&track.packets[0].1).expect("a request");
    let signature = Signature {
        key: KEY,
        generation: 0,
        controller: false,
        seed: 0,
    };
    let answer = signature.answer(asked.transaction, peer(9));
    assert_eq!(track.hear(peer(1), &answer), heard(peer(1), false));
    assert_eq!(track.hear(peer(1), &answer), None);
    assert_eq!(track.probing.due(), None, "it is confirmed");
}

#[test]
fn a_copy_that_is_faster_than_the_original_does_not_spoil_it() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    let ask = request(false, 0);
    let copied = address("11.11.9.9:9999");
    assert_eq!(track.hear(copied, &ask), heard(copied, true));
    assert_eq!(track.hear(peer(1), &ask), heard(peer(1), false));
    assert_eq!(track.hear(peer(1), &ask), None);
}

#[test]
fn probes_of_an_older_generation_of_the_peer_are_ignored() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    assert!(track.hear(peer(1), &from_generation(false, 0, 0)).is_some());
    track.probing.peer_generation(1);
    assert_eq!(track.hear(peer(1), &from_generation(false, 0, 1)), None);
    assert!(track.hear(peer(1), &from_generation(false, 1, 2)).is_some());
    // The probe of a further generation may be faster than the message that announces it.
    assert!(track.hear(peer(1), &from_generation(false, 2, 3)).is_some());
    assert_eq!(track.hear(peer(1), &from_generation(false, 1, 4)), None);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut track = Track::new(setup(true));
    track.pairs(&[peer(1)]);
    for number in 0..1_000 {
        let packet = request(false, number);
        let from = SocketAddr::from(([11, 11, 2, 1], 1_024 + u16::try_from(number).expect("few")));
        track.probing.datagram(track.now, from, &packet);
        track
            .probing
            .datagram(track.now, peer(1), &request(false, 2_000 + number));
    }
    let probing = &track.probing;
    assert_eq!(probing.seen.len(), TRANSACTIONS_REMEMBERED_MAX);
    assert!(probing.answers.len() <= 12);
    assert!(probing.pairs.len() <= 12);
    track.wait(ms(10_000));
    assert!(track.probing.unanswered.len() <= 150);
}

#[test]
fn after_the_stop_nothing_is_sent_answered_or_waited_for() {
    let mut track = Track::new(setup(false));
    track.told();
    track.pairs(&[peer(1)]);
    track.probing.stop();
    let before = track.sent.len();
    assert_eq!(track.hear(peer(1), &request(true, 0)), None);
    track.pairs(&[peer(2)]);
    track.wait(ms(10_000));
    assert_eq!(track.sent.len(), before);
    assert_eq!(track.probing.due(), None);
}
