//! Strangers change neither the outcome nor the time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::stun::{Class, RDV_PROBE, Stun, is_stun};
use rdv_tests::netpair::{Ground, NetPair, SERVER_PORT, STRANGE_QUIC};
use rdv_tests::pair::{ALICE, BOB};
use rdv_tests::simnet::kinds::Kind;
use rdv_tests::simnet::packet::Load;
use rdv_tests::simnet::{HostId, Line};

/// One step of the pace of TCP dials.
const STEP: Duration = Duration::from_millis(250);

/// What strangers do to both sides.
#[derive(Clone, Copy, Debug)]
enum Mischief {
    /// Fifty connect and say nothing.
    Connect,
    /// Fifty begin a QUIC handshake each and never go on.
    BeginQuic,
    /// Datagrams of all sorts, probes under another key among them.
    Noise,
    /// Every probe comes again, to where it went and to its sender, from elsewhere.
    Replay,
}

/// Where a side can be reached from outside without having asked.
fn doors(pair: &NetPair) -> Vec<SocketAddr> {
    let doors = [ALICE, BOB].into_iter().filter_map(|side| {
        let seen = pair.net.seen_at(pair.sides[side].host)?;
        Some(SocketAddr::from((seen, pair.first_port(side)?)))
    });
    doors.collect()
}

fn noise() -> Vec<Bytes> {
    let probe = Stun::new(Class::Request, [7; 12]).with(RDV_PROBE, vec![0, 0, 0, 0, 1]);
    vec![
        Bytes::from_static(b""),
        Bytes::from_static(b"\x00\x01"),
        Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"),
        Stun::request([9; 12]).encode(),
        probe.encode(),
        probe.encode_signed(&[0; 32]),
    ]
}

/// Time until both hold their first lane, and whether it is direct in the end.
fn outcome(kinds: [Kind; 2], mischief: Option<Mischief>) -> (Duration, bool) {
    let mut pair = NetPair::new(Ground::between(kinds[0], kinds[1]));
    let stranger = pair.net.add(Kind::Open, Line::default());
    let doors = doors(&pair);
    let pair = &mut pair;
    pair.introduce();
    let end = pair.now() + Duration::from_secs(9);
    let mut next = pair.now();
    let (mut replayed, mut port) = (pair.net.sent.len(), 20_000);
    while pair.step(end) {
        if let (Some(Mischief::Replay), true) = (mischief, pair.net.sent.len() > replayed) {
            replay(pair, stranger, &mut replayed);
        }
        if pair.now() < next || port >= 20_050 {
            continue;
        }
        next = pair.now() + Duration::from_millis(10);
        port += 1;
        for to in &doors {
            match mischief {
                Some(Mischief::Connect) => {
                    pair.net.dial(stranger, port, *to);
                }
                Some(Mischief::BeginQuic) => {
                    let packet = Bytes::from_static(&STRANGE_QUIC);
                    pair.net.send(stranger, port, *to, None, packet);
                }
                Some(Mischief::Noise) => {
                    for packet in noise() {
                        pair.net.send(stranger, port, *to, None, packet);
                    }
                }
                Some(Mischief::Replay) | None => {}
            }
        }
    }
    let time = pair.time_to_meet();
    let direct = pair
        .in_use(ALICE)
        .is_some_and(|(_, _, path)| path.is_direct());
    pair.assert_together(direct);
    let time = time.unwrap_or_else(|| panic!("no lane: {}", pair.story()));
    pair.finish();
    (time, direct)
}

/// Sends again what the two have sent since, to both ends.
fn replay(pair: &mut NetPair, stranger: HostId, replayed: &mut usize) {
    let hosts = [pair.sides[ALICE].host, pair.sides[BOB].host];
    let fresh = pair.net.sent.get(*replayed..).unwrap_or_default().to_vec();
    for sent in fresh {
        let Load::Udp(bytes) = sent.packet.load else {
            continue;
        };
        if hosts.contains(&sent.host) && sent.packet.to.port() != SERVER_PORT && is_stun(&bytes) {
            pair.net
                .send(stranger, 30_000, sent.packet.to, None, bytes.clone());
            let seen = pair
                .net
                .seen_at(sent.host)
                .map(|ip| (ip, sent.packet.from.port()));
            if let Some(sender) = seen {
                pair.net.send(stranger, 30_000, sender.into(), None, bytes);
            }
        }
    }
    *replayed = pair.net.sent.len();
}

#[test]
fn strangers_change_neither_the_lane_nor_the_time() {
    for kinds in [
        [Kind::Open, Kind::Open],
        [Kind::Open, Kind::Symmetric],
        [Kind::FullCone, Kind::Eim],
        [Kind::Dmz, Kind::UdpBlocked],
        [Kind::Eim, Kind::Eim],
        [Kind::Symmetric, Kind::Symmetric],
    ] {
        let (alone, direct) = outcome(kinds, None);
        for mischief in [
            Mischief::Connect,
            Mischief::BeginQuic,
            Mischief::Noise,
            Mischief::Replay,
        ] {
            let (time, still_direct) = outcome(kinds, Some(mischief));
            assert_eq!(still_direct, direct, "{kinds:?} {mischief:?}");
            assert!(
                time <= alone + STEP,
                "{kinds:?} {mischief:?}: {time:?} instead of {alone:?}"
            );
        }
    }
}
