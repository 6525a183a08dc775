//! Two endpoints between places of every kind: what comes about, how soon, and what is left afterwards.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use rdv_proto::rendezvous::RelayPolicy;
use rdv_proto::wire::stun::{Class, Stun, is_stun};
use rdv_tests::netpair::{Ground, NetPair, SERVER_PORT};
use rdv_tests::pair::{ALICE, BOB};
use rdv_tests::simnet::kinds::Kind;
use rdv_tests::simnet::packet::Load;

use super::table::measured;

/// How long a search goes on at least once the relay carries the conversation.
const SEARCH: Duration = Duration::from_secs(30);

/// What the laboratory measured between the two, whoever is named first.
pub(super) fn cell_of(a: Kind, b: Kind) -> String {
    let mut table = measured();
    let (a, b) = (a.name().to_owned(), b.name().to_owned());
    let cell = table.remove(&(a.clone(), b.clone()));
    cell.or_else(|| table.remove(&(b, a)))
        .expect("all pairs are in the table")
}

/// Whether the laboratory says that the two can talk directly.
pub(super) fn can_be_direct(a: Kind, b: Kind) -> bool {
    cell_of(a, b) != "-"
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Runs until the search is over or both are on a direct lane, and a bit.
fn run(pair: &mut NetPair, direct: bool) {
    pair.run_until_met(Duration::from_secs(20));
    let end = pair.now() + SEARCH;
    while direct && pair.now() < end && pair.time_to_direct().is_none() {
        pair.run_for(ms(50));
    }
    pair.run_for(Duration::from_secs(8));
}

/// What is true of each run.
fn check(pair: &mut NetPair, direct: bool) {
    pair.assert_together(direct);
    assert_limits(pair);
    pair.finish();
}

/// No address is probed more often than is allowed, and nothing goes anywhere before the addresses do.
fn assert_limits(pair: &NetPair) {
    let told = pair.candidates_told().expect("a message");
    let hosts = [pair.sides[ALICE].host, pair.sides[BOB].host];
    let mut asked: BTreeMap<(SocketAddr, SocketAddr), usize> = BTreeMap::new();
    let mut by_socket: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for sent in &pair.net.sent {
        let (from, to) = (sent.packet.from, sent.packet.to);
        if !hosts.contains(&sent.host) || (to.port() == SERVER_PORT && is_server(to.ip())) {
            continue;
        }
        assert!(
            sent.at >= told,
            "{to} at {:?}, before consent: {}",
            sent.at,
            pair.story()
        );
        if let Load::Udp(bytes) = &sent.packet.load
            && is_stun(bytes)
            && Stun::decode(bytes).is_ok_and(|stun| stun.class == Class::Request)
        {
            *asked.entry((from, to)).or_default() += 1;
            *by_socket.entry(from).or_default() += 1;
        }
    }
    for ((from, to), count) in asked {
        assert!(
            count <= 12,
            "{count} probes from {from} to {to}: {}",
            pair.story()
        );
    }
    for (from, count) in by_socket {
        assert!(count <= 150, "{count} probes from {from}: {}", pair.story());
    }
}

fn is_server(ip: IpAddr) -> bool {
    ip == IpAddr::from([11, 11, 0, 1]) || ip == IpAddr::from([11, 11, 0, 2])
}

#[test]
fn a_direct_lane_results_exactly_where_the_laboratory_says_that_it_can() {
    let mut wrong = Vec::new();
    for a in Kind::ALL {
        for b in Kind::ALL {
            let direct = can_be_direct(a, b);
            let mut pair = NetPair::meet(Ground::between(a, b));
            run(&mut pair, direct);
            let found = pair.in_use(ALICE).map(|(_, _, path)| path.is_direct());
            if found == Some(direct) {
                check(&mut pair, direct);
            } else {
                wrong.push(format!("{} x {}: {}", a.name(), b.name(), pair.story()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_in_one_network_meet_there() {
    for kind in [
        Kind::Eim,
        Kind::Symmetric,
        Kind::CgnatSym,
        Kind::UdpBlocked,
        Kind::Tcp443Only,
    ] {
        let mut pair = NetPair::meet(Ground {
            one_lan: true,
            ..Ground::between(kind, kind)
        });
        run(&mut pair, true);
        check(&mut pair, true);
    }
}

#[test]
fn with_ipv6_on_both_sides_nat_is_out_of_the_picture() {
    for (a, b) in [
        (Kind::Symmetric, Kind::Symmetric),
        (Kind::Eim, Kind::CgnatSym),
    ] {
        let mut pair = NetPair::meet(Ground {
            ipv6: true,
            ..Ground::between(a, b)
        });
        run(&mut pair, true);
        check(&mut pair, true);
    }
}

#[test]
fn without_a_relay_both_know_within_15_seconds_that_there_is_no_way() {
    for (a, b) in [
        (Kind::Symmetric, Kind::Symmetric),
        (Kind::Eim, Kind::Tcp443Only),
    ] {
        let mut pair = NetPair::meet(Ground {
            relay: [RelayPolicy::Never; 2],
            ..Ground::between(a, b)
        });
        pair.run_for(Duration::from_secs(17));
        assert!(
            pair.ended(ALICE).is_some() && pair.ended(BOB).is_some(),
            "{}",
            pair.story()
        );
        pair.assert_nothing_left();
    }
}

#[test]
fn whoever_wants_only_the_relay_sends_no_packet_to_the_peer() {
    let mut pair = NetPair::meet(Ground {
        relay: [RelayPolicy::Only; 2],
        ..Ground::between(Kind::Open, Kind::Open)
    });
    run(&mut pair, false);
    pair.assert_together(false);
    assert!(
        pair.net
            .sent
            .iter()
            .all(|sent| is_server(sent.packet.to.ip()))
    );
    pair.finish();
}

#[test]
fn addresses_that_are_forbidden_get_no_packet_at_all() {
    let forbidden: Vec<SocketAddr> = [
        "127.0.0.1:5000",
        "10.1.2.3:5000",
        "169.254.1.1:5000",
        "224.0.0.1:5000",
        "11.11.7.7:25",
        "0.0.0.0:5000",
        "[::ffff:10.1.2.3]:5000",
    ]
    .map(|address| address.parse().expect("an address"))
    .to_vec();
    for named in [ALICE, BOB] {
        let mut ground = Ground::between(Kind::Eim, Kind::Eim);
        ground.named[named] = forbidden.clone();
        let mut pair = NetPair::meet(ground);
        run(&mut pair, true);
        pair.assert_together(true);
        for sent in &pair.net.sent {
            let to = sent.packet.to;
            assert!(!forbidden.contains(&to), "a packet to {to}");
            assert_ne!(to.ip(), IpAddr::from([10, 1, 2, 3]));
        }
        pair.finish();
    }
}

pub(super) fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

prop_compose! {
    fn ground()(
        kinds in (kind(), kind()),
        round_trip in prop::sample::select(vec![4_u64, 20, 80, 250]),
        loss in 0_u32..=10,
        jitter in 0_u64..=20,
        skew in (0_u64..=2_000, 0_u64..=2_000),
        twice in prop::sample::select(vec![0_u32, 0, 50]),
        prepared in any::<bool>(),
        seed in any::<u64>(),
    ) -> Ground {
        let mut ground = Ground::between(kinds.0, kinds.1)
            .with_round_trip(ms(round_trip))
            .with_loss(loss);
        for line in &mut ground.lines {
            line.jitter = ms(jitter);
        }
        Ground {
            skew: [ms(skew.0), ms(skew.1)],
            jitter: ms(jitter * 5),
            twice_percent: twice,
            prepared,
            seed,
            ..ground
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Loss is per line and direction: two of 10 % lose nearly one packet of five.
    #[test]
    fn whatever_the_network_does_both_end_on_the_same_and_the_right_lane(ground in ground()) {
        let direct = can_be_direct(ground.kinds[0], ground.kinds[1]);
        let mut pair = NetPair::meet(ground);
        run(&mut pair, direct);
        check(&mut pair, direct);
    }
}

/// The controller chooses TCP and a moment later QUIC; the word of the first is late, and comes when the other side has
/// taken QUIC.
#[test]
fn a_choice_that_overtakes_another_does_not_part_the_two() {
    let ground = Ground::between(Kind::InBlocked, Kind::Open)
        .with_round_trip(ms(4))
        .with_loss(1);
    let mut pair = NetPair::meet(Ground {
        skew: [ms(101), ms(0)],
        prepared: false,
        seed: 9_795_451_864_867_965_699,
        ..ground
    });
    run(&mut pair, true);
    assert_eq!(
        (pair.carried(ALICE).len(), pair.carried(BOB).len()),
        (1, 2),
        "this seed does not show it any more: {}",
        pair.story()
    );
    check(&mut pair, true);
}
