//! Rules of the simulated network that the table does not show one by one.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdv_tests::simnet::kinds::Kind;
use rdv_tests::simnet::packet::Load;
use rdv_tests::simnet::{HostId, Line, Net, Notice};

const PORT: u16 = 40_000;

fn two(a: Kind, b: Kind, line: Line) -> (Net, [HostId; 2]) {
    let mut net = Net::new(3);
    let hosts = [a, b].map(|kind| net.add(kind, line));
    for host in hosts {
        net.bind(host, PORT);
    }
    (net, hosts)
}

fn outside(net: &Net, host: HostId) -> SocketAddr {
    SocketAddr::from((net.seen_at(host).expect("an address"), PORT))
}

fn send(net: &mut Net, host: HostId, to: SocketAddr, ttl: Option<u8>) {
    net.send(host, PORT, to, ttl, Bytes::from_static(b"x"));
}

/// Runs for a while; says which datagrams hosts got, and from where.
fn heard(net: &mut Net, time: Duration) -> Vec<(HostId, SocketAddr)> {
    let end = net.now() + time;
    let mut heard = Vec::new();
    while net.now() < end {
        for notice in net.advance(end) {
            if let Notice::Datagram { host, from, .. } = notice {
                heard.push((host, from));
            }
        }
    }
    heard
}

#[test]
fn a_datagram_of_four_hops_opens_the_own_router_and_does_not_reach_the_other() {
    for (ttl, trapped) in [(Some(4), false), (Some(6), true)] {
        let (mut net, [a, b]) = two(Kind::Eim, Kind::EimAccept, Line::default());
        let (to_a, to_b) = (outside(&net, a), outside(&net, b));
        send(&mut net, a, to_b, ttl);
        assert_eq!(heard(&mut net, Duration::from_secs(1)), []);
        send(&mut net, b, to_a, None);
        // A trapped router gives its host another port, which the other router does not know.
        let expected = if trapped { vec![] } else { vec![(a, to_b)] };
        assert_eq!(heard(&mut net, Duration::from_secs(1)), expected);
    }
}

#[test]
fn a_binding_dies_when_nothing_uses_it() {
    let (mut net, [a, b]) = two(Kind::Eim, Kind::Open, Line::default());
    let (to_a, to_b) = (outside(&net, a), outside(&net, b));
    send(&mut net, a, to_b, None);
    assert_eq!(heard(&mut net, Duration::from_secs(29)), [(b, to_a)]);
    send(&mut net, b, to_a, None);
    assert_eq!(heard(&mut net, Duration::from_secs(31)), [(a, to_b)]);
    send(&mut net, b, to_a, None);
    assert_eq!(heard(&mut net, Duration::from_secs(1)), []);
}

#[test]
fn a_line_loses_and_reorders_the_same_packets_for_the_same_seed() {
    let line = Line {
        jitter: Duration::from_millis(30),
        loss_percent: 20,
        ..Line::default()
    };
    let run = || {
        let (mut net, [a, b]) = two(Kind::Open, Kind::Open, line);
        let to = outside(&net, b);
        for number in 0..100_u8 {
            net.send(a, PORT, to, None, Bytes::copy_from_slice(&[number]));
        }
        let mut order = Vec::new();
        while net.next_at().is_some() {
            for notice in net.advance(Duration::from_secs(1)) {
                if let Notice::Datagram { bytes, .. } = notice {
                    order.push(bytes[0]);
                }
            }
        }
        order
    };
    let order = run();
    assert_eq!(order, run());
    assert!((50..80).contains(&order.len()), "{} of 100", order.len());
    assert!(!order.is_sorted());
}

#[test]
fn neighbours_reach_each_other_inside_and_not_over_their_router() {
    let (mut net, [a, _]) = two(Kind::FullCone, Kind::Open, Line::default());
    let neighbour = net.add_neighbour(a, [192, 168, 0, 11].into());
    net.bind(neighbour, PORT);
    let inside = SocketAddr::new(net.addresses(neighbour)[0], PORT);
    let over = outside(&net, a);
    send(&mut net, a, inside, None);
    send(&mut net, neighbour, over, None);
    let got = heard(&mut net, Duration::from_secs(1));
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].0, neighbour);
}

#[test]
fn private_addresses_lead_nowhere_outside() {
    let (mut net, [a, b]) = two(Kind::Open, Kind::Eim, Line::default());
    let inner = SocketAddr::new(net.addresses(b)[0], PORT);
    send(&mut net, a, inner, None);
    assert_eq!(heard(&mut net, Duration::from_secs(1)), []);
    assert!(matches!(net.sent[0].packet.load, Load::Udp(_)));
}
