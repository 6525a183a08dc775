//! An address that changes in the middle of a transfer.

use rdv_tests::netlab::Netlab;

use crate::world::{Plan, World, file_of};

/// The machine gets another address in its network, as one does that moves from one cable to another.
fn readdress(lab: &Netlab, side: &str) {
    let old = lab.address(side, "host4").to_string();
    let info: serde_json::Value =
        serde_json::from_str(&lab.netlab(&["info", side])).expect("JSON of netlab");
    let (net, _) = old.rsplit_once('.').expect("an IPv4 address");
    let gateway = info["gw4"]
        .as_str()
        .map_or_else(|| format!("{net}.254"), str::to_owned);
    for change in [
        vec!["addr", "del", &format!("{old}/24"), "dev", "eth0"],
        vec!["addr", "add", &format!("{net}.77/24"), "dev", "eth0"],
        vec!["route", "replace", "default", "via", &gateway],
    ] {
        lab.run(side, &[&["ip"][..], &change].concat());
    }
}

/// Both lines carry 50 Mbit/s, and the change comes after a quarter of the file.
fn changed(sides: [&str; 2], flags: &[&str], change: impl Fn(&Netlab)) {
    let Some(world) = World::new(&sides.map(|side| format!("{side},rate=50mbit"))) else {
        return;
    };
    let file = file_of(64);
    let mut going = world.begin(&Plan::new("a", "b", &file).flags(flags));
    going.arrived(16 << 20);
    change(&world.lab);
    let done = going.finish();
    assert!(done.path().is_some(), "{sides:?}\n{}", done.report());
}

#[test]
fn another_address_of_the_receiver_does_not_end_a_transfer() {
    changed(["A=open", "B=open"], &[], |lab| readdress(lab, "b"));
    changed(["A=eim", "B=eim"], &[], |lab| readdress(lab, "b"));
}

#[test]
fn another_address_of_the_sender_does_not_end_a_transfer() {
    changed(["A=open", "B=open"], &[], |lab| readdress(lab, "a"));
    changed(["A=eim", "B=eim"], &[], |lab| readdress(lab, "a"));
}

#[test]
fn another_public_address_does_not_end_a_transfer() {
    changed(["A=eim", "B=eim"], &[], |lab| {
        lab.netlab(&["renumber", "a"]);
    });
    changed(["A=eim", "B=eim"], &[], |lab| {
        lab.netlab(&["renumber", "b"]);
    });
}

#[test]
fn another_address_does_not_end_a_relayed_transfer() {
    let kinds = ["A=symmetric", "B=symmetric"];
    changed(kinds, &[], |lab| readdress(lab, "a"));
    changed(kinds, &["--relay", "only"], |lab| readdress(lab, "b"));
}

#[test]
fn another_address_does_not_end_a_transfer_over_tcp() {
    let kinds = ["A=open", "B=udp-blocked"];
    changed(kinds, &[], |lab| readdress(lab, "a"));
    changed(kinds, &[], |lab| readdress(lab, "b"));
}

#[test]
fn a_router_that_forgets_everything_does_not_end_a_transfer() {
    changed(["A=eim", "B=eim"], &[], |lab| {
        lab.netlab(&["flush", "a", "b"]);
    });
}

#[test]
fn a_network_that_begins_to_block_udp_does_not_end_a_transfer() {
    changed(["A=eim", "B=eim"], &[], |lab| {
        lab.netlab(&["set", "A=udp-blocked"]);
    });
}
