//! Roads beside the table: narrow, of another family, and next door.

use rdv_tests::netlab::{PUBLIC, PUBLIC_V6};

use crate::world::{Plan, World, file_of};

#[test]
fn one_port_443_is_enough_for_host_and_relay() {
    let host = format!("{PUBLIC}:443");
    let sides = ["A=tcp-443-only", "B=tcp-443-only"];
    let Some(world) = World::with_host(&sides, &host, &["--listen", &host]) else {
        return;
    };
    let file = file_of(3);
    let done = world.begin(&Plan::new("a", "b", &file)).finish();
    done.expect_path("relay");
}

#[test]
fn port_443_of_two_addresses_is_enough() {
    let Some(world) = World::new(&["A=tcp-443-only", "B=tcp-443-only"]) else {
        return;
    };
    let file = file_of(3);
    let done = world.begin(&Plan::new("a", "b", &file)).finish();
    done.expect_path("relay");
}

#[test]
fn without_udp_anywhere_the_way_is_tcp() {
    for (sides, path) in [
        (["A=open", "B=eim"], "direct"),
        (["A=udp-blocked", "B=eim"], "direct"),
        (["A=udp-blocked", "B=symmetric"], "relay"),
    ] {
        let Some(world) = World::new(&sides.map(|side| format!("{side},rate=20mbit"))) else {
            return;
        };
        let rules = "table inet quiet {
            chain road {
                type filter hook forward priority 0; policy accept;
                meta l4proto udp drop
            }
        }";
        world.lab.nft("inet", rules);
        let file = file_of(12);
        let done = world.begin(&Plan::new("a", "b", &file)).finish();
        done.expect_path(path);
        if path == "direct" {
            done.expect_carrier(&["tcp", "tcp_open"]);
        }
    }
}

#[test]
fn two_who_have_ipv6_alone_talk_directly() {
    let host = format!("[{PUBLIC_V6}]:443");
    for sides in [["A=v6only", "B=v6only"], ["A=v6only+6o", "B=v6only"]] {
        let Some(world) = World::with_host(&sides, &host, &["--listen", "[::]:443"]) else {
            return;
        };
        let file = file_of(3);
        let done = world.begin(&Plan::new("a", "b", &file)).finish();
        done.expect_path("direct");
    }
}

/// One who has IPv4 alone, and one who has both, and knows the host by an IPv4 address or by a name that has both.
#[test]
fn ipv4_alone_talks_directly_with_both() {
    let v4 = format!("{PUBLIC}:443");
    let named = "meet.example:443";
    let file = file_of(3);
    for (dual, turned) in [(v4.as_str(), false), (named, false), (named, true)] {
        let sides = ["A=eim", "B=eim+6"];
        let Some(world) = World::with_host(&sides, &v4, &["--listen", "[::]:443"]) else {
            return;
        };
        let names = format!("{PUBLIC_V6} meet.example\n{PUBLIC} meet.example\n");
        world.lab.hosts("b", &names);
        let hosts = [["--host", &v4], ["--host", dual]];
        let [(from, sender), (to, receiver)] = if turned {
            [("b", &hosts[1]), ("a", &hosts[0])]
        } else {
            [("a", &hosts[0]), ("b", &hosts[1])]
        };
        let done = world
            .begin(&Plan {
                sender,
                receiver,
                ..Plan::new(from, to, &file)
            })
            .finish();
        done.expect_path("direct");
    }
}

/// They have no family in common: the relay has both.
#[test]
fn ipv4_alone_and_ipv6_alone_meet_at_the_relay() {
    let (v4, v6) = (format!("{PUBLIC}:443"), format!("[{PUBLIC_V6}]:443"));
    let sides = ["A=eim", "B=v6only"];
    let Some(world) = World::with_host(&sides, &v4, &["--listen", "[::]:443"]) else {
        return;
    };
    let file = file_of(3);
    let done = world
        .begin(&Plan {
            sender: &["--host", &v4],
            receiver: &["--host", &v6],
            ..Plan::new("a", "b", &file)
        })
        .finish();
    done.expect_path("relay");
}

#[test]
fn the_same_private_address_on_both_sides_is_no_trouble() {
    let Some(world) = World::new(&["A=eim", "B=eim", "overlap"]) else {
        return;
    };
    let file = file_of(3);
    let done = world.begin(&Plan::new("a", "b", &file)).finish();
    done.expect_path("direct");
    done.expect_carrier(&["quic"]);
}

#[test]
fn two_in_one_lan_talk_over_tcp_without_leaving_it() {
    for sides in [
        ["A=eim", "B=lan-a"],
        ["A=symmetric", "B=lan-a"],
        ["A=tcp-443-only", "B=lan-a"],
    ] {
        let Some(world) = World::new(&sides) else {
            return;
        };
        // Long enough for the two carriers to be compared.
        let file = file_of(64);
        let done = world.begin(&Plan::new("a", "b", &file)).finish();
        done.expect_path("direct");
        done.expect_carrier(&["tcp"]);
        let remote = done.field("remote");
        let remote = remote.as_str().expect("an address");
        let neighbour = world.lab.address("a", "host4").to_string();
        assert!(
            remote.starts_with(&neighbour),
            "{remote} is not {neighbour}: {}",
            done.report()
        );
    }
}

#[test]
fn two_on_one_machine_talk_over_tcp() {
    let Some(world) = World::new(&["A=eim"]) else {
        return;
    };
    let file = file_of(64);
    let done = world.begin(&Plan::new("a", "a", &file)).finish();
    done.expect_path("direct");
    done.expect_carrier(&["tcp"]);
}

#[test]
fn a_narrow_tunnel_on_the_way_carries_it_directly() {
    for sides in [
        ["A=eim,mtu=1280", "B=eim"],
        ["A=eim", "B=open,mtu=1280"],
        ["A=eim,mtu=1280", "B=eim,mtu=1400"],
    ] {
        let Some(world) = World::new(&sides) else {
            return;
        };
        let file = file_of(16);
        let done = world.begin(&Plan::new("a", "b", &file)).finish();
        done.expect_path("direct");
    }
}
