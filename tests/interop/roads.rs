//! Other ways to meet: clients that always use the relay, and networks that swallow packets without a word.

use rdv_tests::files::{sha256, write_random};
use rdv_tests::process::LONG;
use rdv_tests::wall::Incoming;

use crate::lab::{Lab, Road, Side, purple_receiver, rdv_receiver, text};

const BYTES: u64 = 100_003;

fn purple_to_rdv(lab: &Lab, more: &[&str], road: Road) {
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let file = alice.path("file");
    write_random(&file, "roads", BYTES);
    let mut receiver = rdv_receiver(&bob, Side::Alice.account(), &["--count", "1"]);
    let mut args = vec!["--send", Side::Bob.account(), text(&file)];
    args.extend(more);
    alice.run(args).patient(LONG).finish().expect_code(0);
    let transfer = receiver.event("transfer");
    assert_eq!(transfer["path"], road.path(), "{transfer}");
    receiver.finish().expect_code(0);
    assert_eq!(sha256(&bob.path("in/file")), sha256(&file));
    lab.assert_road(road, 1, BYTES);
}

fn rdv_to_purple(lab: &Lab, more: &[&str], road: Road) {
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob));
    let file = alice.path("file");
    write_random(&file, "roads", BYTES);
    let receiver = purple_receiver(&bob, more);
    let to = Side::Bob.account();
    let sent = alice
        .run(["send", "--to", to, "--allow-plain", "--json", text(&file)])
        .patient(LONG)
        .finish()
        .expect_code(0);
    assert_eq!(sent.result()["path"], road.path());
    receiver.finish().expect_code(0);
    assert_eq!(sha256(&bob.path("in/file")), sha256(&file));
    lab.assert_road(road, 1, BYTES);
}

/// The first proposal names the relay.
#[test]
fn libpurple_that_always_uses_the_relay_sends_to_rdv() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    purple_to_rdv(&lab, &["--proxy-always"], Road::Relay);
}

/// The answer to a direct proposal names the relay.
#[test]
fn libpurple_that_always_uses_the_relay_receives_from_rdv() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    rdv_to_purple(&lab, &["--proxy-always"], Road::Relay);
}

#[test]
fn libpurple_behind_a_network_that_swallows_packets_sends_to_rdv() {
    let Some(lab) = Lab::with_walls(Incoming::Dropped, Incoming::Open) else {
        return;
    };
    purple_to_rdv(&lab, &[], Road::Redirect);
}

#[test]
fn rdv_behind_a_network_that_swallows_packets_sends_to_libpurple() {
    let Some(lab) = Lab::with_walls(Incoming::Dropped, Incoming::Open) else {
        return;
    };
    rdv_to_purple(&lab, &[], Road::Redirect);
}

#[test]
fn where_all_packets_are_swallowed_the_relay_carries_it() {
    let Some(lab) = Lab::with_walls(Incoming::Dropped, Incoming::Dropped) else {
        return;
    };
    rdv_to_purple(&lab, &[], Road::Relay);
}
