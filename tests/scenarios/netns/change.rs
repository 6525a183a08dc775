//! An address that changes in the middle of a transfer.

use std::time::Duration;

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

/// The machine leaves its network for that of `c`, as one does that goes from a cable to Wi-Fi: another interface, address and router.
fn rehome(lab: &Netlab, side: &str) {
    let (machine, router) = (lab.namespace(side), lab.namespace("c.r"));
    let info: serde_json::Value =
        serde_json::from_str(&lab.netlab(&["info", "c"])).expect("JSON of netlab");
    let gateway = info["gw4"].as_str().expect("a network with a router");
    let (net, _) = gateway.rsplit_once('.').expect("an IPv4 address");
    let radio = format!(
        "link add radio netns {machine} type veth peer name guest netns {router}
         -n {router} link set guest master lan up"
    );
    for line in radio.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        lab.run("inet", &[&["ip"][..], &words].concat());
    }
    for line in [
        &format!("addr add {net}.99/24 dev radio"),
        "link set radio up",
        "link set eth0 down",
        &format!("route replace default via {gateway}"),
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        lab.run(side, &[&["ip"][..], &words].concat());
    }
}

/// Both lines carry 50 Mbit/s; the change comes after a quarter of the file, when it goes over a path of kind `first`.
fn changed(sides: &[&str], first: &str, flags: &[&str], change: impl Fn(&Netlab)) {
    let sides: Vec<String> = sides
        .iter()
        .map(|side| format!("{side},rate=50mbit"))
        .collect();
    let Some(world) = World::new(&sides) else {
        return;
    };
    let file = file_of(64);
    let mut going = world.begin(&Plan::new("a", "b", &file).flags(flags));
    going.goes_over(first);
    going.arrived(16 << 20);
    change(&world.lab);
    let done = going.finish();
    done.expect_whole();
}

#[test]
fn another_address_of_the_receiver_does_not_end_a_transfer() {
    changed(&["A=open", "B=open"], "direct", &[], |lab| {
        readdress(lab, "b")
    });
    changed(&["A=eim", "B=eim"], "direct", &[], |lab| {
        readdress(lab, "b")
    });
}

#[test]
fn another_address_of_the_sender_does_not_end_a_transfer() {
    changed(&["A=open", "B=open"], "direct", &[], |lab| {
        readdress(lab, "a")
    });
    changed(&["A=eim", "B=eim"], "direct", &[], |lab| {
        readdress(lab, "a")
    });
}

#[test]
fn another_public_address_does_not_end_a_transfer() {
    changed(&["A=eim", "B=eim"], "direct", &[], |lab| {
        lab.netlab(&["renumber", "a"]);
    });
    changed(&["A=eim", "B=eim"], "direct", &[], |lab| {
        lab.netlab(&["renumber", "b"]);
    });
}

#[test]
fn another_address_does_not_end_a_relayed_transfer() {
    let kinds = &["A=symmetric", "B=symmetric"];
    changed(kinds, "relay", &[], |lab| readdress(lab, "a"));
    changed(kinds, "relay", &["--relay", "only"], |lab| {
        readdress(lab, "b")
    });
}

#[test]
fn another_address_does_not_end_a_transfer_over_tcp() {
    let kinds = &["A=open", "B=udp-blocked"];
    changed(kinds, "direct", &[], |lab| readdress(lab, "a"));
    changed(kinds, "direct", &[], |lab| readdress(lab, "b"));
}

#[test]
fn a_router_that_forgets_everything_does_not_end_a_transfer() {
    changed(&["A=eim", "B=eim"], "direct", &[], |lab| {
        lab.netlab(&["flush", "a", "b"]);
    });
}

#[test]
fn a_network_that_begins_to_block_udp_does_not_end_a_transfer() {
    changed(&["A=eim", "B=eim"], "direct", &[], |lab| {
        lab.netlab(&["set", "A=udp-blocked"]);
    });
}

#[test]
fn who_moves_to_another_network_keeps_the_transfer() {
    let kinds = &["A=eim", "B=eim", "C=eim"];
    changed(kinds, "direct", &[], |lab| rehome(lab, "b"));
    changed(kinds, "direct", &[], |lab| rehome(lab, "a"));
}

/// Four seconds in which all packets vanish.
#[test]
fn a_silent_outage_does_not_end_a_transfer() {
    changed(&["A=eim", "B=eim"], "direct", &[], |lab| {
        lab.netlab(&["link", "b", "down"]);
        // What is tested is time without a packet.
        std::thread::sleep(Duration::from_secs(4));
        lab.netlab(&["link", "b", "up"]);
    });
}
