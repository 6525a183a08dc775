//! A router that maps ports on request: asked, used, and given back.

use crate::world::{Plan, World, file_of};

/// Whether the router has made a way through for anybody.
fn mappings(world: &World) -> usize {
    let rules = world
        .lab
        .run("a.r", &["nft", "list", "table", "inet", "miniupnpd"]);
    rules.matches("dnat").count()
}

#[test]
fn a_mapped_port_makes_two_symmetric_networks_talk_directly_and_is_given_back() {
    let sides = ["A=symmetric+upnp,rate=20mbit", "B=symmetric,rate=20mbit"];
    let Some(world) = World::new(&sides) else {
        return;
    };
    let file = file_of(12);
    for (from, to) in [("a", "b"), ("b", "a")] {
        let mut going = world.begin(&Plan::new(from, to, &file));
        going.arrived(8 << 20);
        assert!(mappings(&world) > 0, "one is in use");
        let done = going.finish();
        done.expect_path("direct");
        assert_eq!(mappings(&world), 0, "nothing is left\n{}", done.report());
    }
}

#[test]
fn a_mapping_is_given_back_after_ctrl_c() {
    let sides = ["A=symmetric+upnp,rate=20mbit", "B=symmetric,rate=20mbit"];
    let Some(world) = World::new(&sides) else {
        return;
    };
    let file = file_of(64);
    let mut going = world.begin(&Plan::new("a", "b", &file));
    going.arrived(2 << 20);
    assert!(mappings(&world) > 0, "one is in use");
    going.sending.ctrl_c();
    going.sending.finish().expect_code(130);
    assert_eq!(mappings(&world), 0, "nothing is left");
}

#[test]
fn no_mapping_is_made_where_none_shall_be() {
    let Some(world) = World::new(&["A=symmetric+upnp,rate=20mbit", "B=symmetric"]) else {
        return;
    };
    let file = file_of(3);
    let plan = Plan::new("a", "b", &file).flags(&["--no-port-mapping"]);
    let mut going = world.begin(&plan);
    going.arrived(1 << 20);
    assert_eq!(mappings(&world), 0);
    going.finish().expect_path("relay");
}
