//! Addresses that a peer may name but nobody may be sent to (S-10).

use std::net::SocketAddr;

use crate::world::{Plan, World, file_of};

/// Named by the peer, whatever they are.
const FORBIDDEN: [&str; 18] = [
    "0.0.0.0:5000",
    "10.0.0.5:5000",
    "100.64.9.9:5000",
    "127.0.0.1:5000",
    "127.0.0.1:443",
    "169.254.1.1:5000",
    "172.16.3.4:5000",
    "192.168.99.5:5000",
    "224.0.0.251:5353",
    "239.255.255.250:1900",
    "240.0.0.1:5000",
    "255.255.255.255:5000",
    "11.11.9.9:22",
    "11.11.9.9:25",
    "11.11.9.9:6379",
    "11.11.9.9:11211",
    "11.11.9.9:53",
    "11.11.9.9:80",
];

/// Counts what leaves the node for anybody but host, relay and peer.
const WATCH: &str = "table inet watch {
    counter others { }
    chain out {
        type filter hook output priority 0; policy accept;
        meta l4proto != { tcp, udp } accept
        ip daddr { 11.11.0.1, 11.11.0.2, 11.11.1.1 } accept
        counter name others
    }
}";

#[test]
fn s_10_forbidden_addresses_in_a_proposal_cause_no_packet() {
    let Some(world) = World::new(&["A=open", "B=open"]) else {
        return;
    };
    world.lab.nft("b", WATCH);
    let others = || world.lab.counter("b", "inet watch", "others");
    let file = file_of(1);
    for address in FORBIDDEN {
        let named: SocketAddr = address.parse().expect("an address and a port");
        let sender = ["--external", address];
        let plan = Plan {
            sender: &sender,
            receiver: &["--no-port-mapping"],
            ..Plan::new("a", "b", &file)
        };
        world.begin(&plan).finish().expect_path("direct");
        assert_eq!(others(), 0, "after a proposal with {named}");
    }
    // One that may be tried is tried.
    let plan = Plan {
        sender: &["--external", "11.11.9.9:5000"],
        receiver: &["--no-port-mapping"],
        ..Plan::new("a", "b", &file)
    };
    world.begin(&plan).finish().expect_path("direct");
    assert!(others() > 0, "the counter counts");
}
