//! What libpurple is and what it cannot do, and what our side makes of that.

use std::fs;

use rdv_tests::files::{sha256, tree, write_random};
use rdv_tests::process::{LONG, Person};

use crate::lab::{Lab, Road, Side, purple_receiver, rdv_receiver, text};

fn rdv_send_args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "send",
        "--to",
        Side::Bob.account(),
        "--allow-plain",
        "--json",
    ];
    args.extend(more);
    args
}

fn file(owner: &Person, name: &str, bytes: u64) -> String {
    let path = owner.path(name);
    write_random(&path, name, bytes);
    text(&path).to_owned()
}

/// The plugin as it was shipped takes an offer only if the name stands in it twice.
#[test]
fn l_31_unmodified_libpurple_receives_from_rdv() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob).unmodified());
    let file = file(&alice, "naïve.bin", 100_003);
    let receiver = purple_receiver(&bob, &[]);
    alice.run(rdv_send_args(&[&file])).finish().expect_code(0);
    receiver.finish().expect_code(0);
    assert_eq!(
        sha256(&bob.path("in/naïve.bin")),
        sha256(&alice.path("naïve.bin"))
    );
}

/// libpurple drops an offer of 0 bytes without an answer, so `rdv` does not make one.
#[test]
fn an_empty_file_is_refused_before_anything_is_offered() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob));
    let file = file(&alice, "empty", 0);
    let mut receiver = purple_receiver(&bob, &[]);
    let sent = alice.run(rdv_send_args(&[&file])).finish();
    assert_eq!(
        sent.code,
        Some(8),
        "a problem of the local file: {}",
        sent.err
    );
    let reason = sent.result()["reason"].to_string();
    assert!(reason.contains("empty"), "{reason}");
    // What libpurple would have shown comes before the offer of another file.
    let other = self::file(&alice, "other", 10);
    alice.run(rdv_send_args(&[&other])).finish().expect_code(0);
    let offer = receiver.event("xfer-offer");
    assert_eq!(offer["name"], "other");
    receiver.finish().expect_code(0);
}

/// libpurple's own user interface does not offer an empty file, its programming interface does; ours takes it.
#[test]
fn an_empty_file_of_libpurple_arrives() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let empty = alice.path("empty");
    fs::write(&empty, "").expect("room on the disk");
    let mut receiver = rdv_receiver(&bob, Side::Alice.account(), &["--count", "1"]);
    let _sender = alice.run(["--send", Side::Bob.account(), text(&empty)]);
    let transfer = receiver.event("transfer");
    assert_eq!(transfer["ok"], true, "{transfer}");
    assert_eq!(
        fs::metadata(bob.path("in/empty")).expect("the file").len(),
        0
    );
}

/// In one transfer there can be one file only, so each has its own.
#[test]
fn many_files_go_to_libpurple_one_rendezvous_each() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob));
    let names = ["a", "b", "c"];
    let files: Vec<String> = names.iter().map(|name| file(&alice, name, 2001)).collect();
    let receiver = purple_receiver(&bob, &["--recv-count", "3"]);
    let paths: Vec<&str> = files.iter().map(String::as_str).collect();
    alice.run(rdv_send_args(&paths)).finish().expect_code(0);
    receiver.finish().expect_code(0);
    for name in names {
        assert_eq!(
            sha256(&bob.path("in").join(name)),
            sha256(&alice.path(name))
        );
    }
    lab.assert_road(Road::Direct, 3, 3 * 2001);
}

#[test]
fn icq_numbers_are_accounts_like_any_other() {
    for road in [Road::Direct, Road::Relay] {
        let Some(lab) = Lab::new(road) else {
            return;
        };
        let (alice, bob) = (lab.icq(Side::Alice), lab.icq(Side::Bob));
        let sent = alice.path("file");
        write_random(&sent, "icq", 100_003);
        let receiver = purple_receiver(&bob, &[]);
        alice
            .run(["--send", "100002", text(&sent)])
            .patient(LONG)
            .finish()
            .expect_code(0);
        receiver.finish().expect_code(0);
        assert_eq!(sha256(&bob.path("in/file")), sha256(&sent));
        lab.assert_road(road, 1, 100_003);
    }
}

/// Without `--allow-plain` nothing of the file leaves, in either direction.
#[test]
fn without_leave_nothing_goes_in_the_clear() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob));
    let file = file(&alice, "secret", 1000);
    let receiver = purple_receiver(&bob, &[]);
    let args = ["send", "--to", Side::Bob.account(), "--json", &file];
    alice.run(args).finish().expect_code(5);
    drop(receiver);
    assert!(tree(&bob.path("in")).is_empty());

    let out = fs::metadata(bob.path("in"));
    assert!(out.is_ok_and(|folder| folder.is_dir()));
}

#[test]
fn an_offer_in_the_clear_is_refused_without_leave_and_the_listener_goes_on() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let path = alice.path("file");
    write_random(&path, "plain", 1000);
    let mut receiver = bob.run([
        "receive",
        "--listen",
        "--from",
        Side::Alice.account(),
        "--yes",
        "--json",
        "-o",
        "in",
    ]);
    receiver.event("listening");
    let send = ["--send", Side::Bob.account(), text(&path)];
    alice.run(send).finish().expect_code(1);
    drop(receiver);
    assert!(tree(&bob.path("in")).is_empty(), "nothing came");

    let allowed = rdv_receiver(&bob, Side::Alice.account(), &["--count", "1"]);
    alice.run(send).finish().expect_code(0);
    let said = allowed.finish().expect_code(0);
    assert!(
        said.err.contains("NOT ENCRYPTED, NOT VERIFIED"),
        "{}",
        said.err
    );
}
