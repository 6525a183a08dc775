//! Transfers that one of the two does not want, or no longer.

use std::path::PathBuf;

use rdv_tests::files::{tree, write_random};
use rdv_tests::process::{Ended, LONG, Person, Run};
use rdv_tests::purple::PurpleUser;

use crate::lab::{Lab, Road, Side, purple_receiver, rdv_receiver, text};

/// Of the file that is stopped half-way.
const BYTES: u64 = 64 << 20;
/// What gets through before the wall lets nothing more through: the transfer hangs there until somebody stops it.
const HALF: u64 = BYTES / 2;

/// Exit codes of `rdv`.
const OTHER_SIDE: i32 = 4;
const INTERRUPTED: i32 = 130;

/// That of `purple-peer` if the other side ended it.
const FAILED: i32 = 1;

fn file(path: PathBuf, bytes: u64) -> String {
    write_random(&path, "stopped", bytes);
    text(&path).to_owned()
}

fn rdv_sends(alice: &Person, file: &str) -> Run {
    let args = [
        "send",
        "--to",
        Side::Bob.account(),
        "--allow-plain",
        "--json",
        file,
    ];
    alice.run(args).patient(LONG)
}

fn purple_sends(alice: &PurpleUser, file: &str, more: &[&str]) -> Run {
    let mut args = vec!["--send", Side::Bob.account(), file];
    args.extend(more);
    alice.run(args).patient(LONG)
}

/// Waits until bytes of the file have moved.
fn moving(run: &mut Run, event: &str) {
    // `purple-peer` and `rdv` call the number the same.
    run.event_with(event, |told| {
        told["bytes"].as_u64().is_some_and(|bytes| bytes > 0)
    });
}

/// The transfer that a listening `rdv` saw end badly.
fn ended_badly(run: &mut Run) -> serde_json::Value {
    run.event_with("transfer", |told| told["ok"] == false)
}

fn has_event(ended: &Ended, name: &str) -> bool {
    ended.events().iter().any(|event| event["event"] == name)
}

fn assert_no_file_in(folder: PathBuf) {
    let there = tree(&folder);
    assert!(there.is_empty(), "nothing half-done is left: {there:?}");
}

#[test]
fn libpurple_declines_and_rdv_ends_with_4() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob));
    let file = file(alice.path("file"), 1000);
    let receiver = purple_receiver(&bob, &["--decline"]);
    let sent = rdv_sends(&alice, &file).finish().expect_code(OTHER_SIDE);
    assert_eq!(sent.result()["ok"], false);
    receiver.finish().expect_code(0);
}

#[test]
fn rdv_declines_and_libpurple_hears_of_it() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let file = file(alice.path("file"), 1000);
    let from = Side::Alice.account();
    let args = [
        "receive",
        "--listen",
        "--from",
        from,
        "--allow-plain",
        "-o",
        "in",
    ];
    let mut receiver = bob.run_on_terminal(args);
    receiver.expect("waiting for files");
    let sender = purple_sends(&alice, &file, &[]);
    receiver.expect("[y/N]");
    receiver.type_line("n");
    let sent = sender.finish().expect_code(FAILED);
    assert!(has_event(&sent, "xfer-cancel-remote"), "{}", sent.out);
    receiver.ctrl_c();
    receiver.finish();
    assert_no_file_in(bob.path("in"));
}

#[test]
fn libpurple_cancels_what_it_sends_half_way() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let file = file(alice.path("file"), BYTES);
    let mut receiver = rdv_receiver(&bob, Side::Alice.account(), &[]);
    let sent = purple_sends(&alice, &file, &["--cancel-after-bytes", "1048576"])
        .finish()
        .expect_code(0);
    assert!(has_event(&sent, "xfer-cancel-local"), "{}", sent.out);
    assert_eq!(ended_badly(&mut receiver)["exit"], OTHER_SIDE);
    receiver.ctrl_c();
    receiver.finish().expect_code(INTERRUPTED);
    assert_no_file_in(bob.path("in"));
}

#[test]
fn libpurple_cancels_what_it_receives_half_way() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob));
    let file = file(alice.path("file"), BYTES);
    let receiver = purple_receiver(&bob, &["--cancel-after-bytes", "1048576"]);
    rdv_sends(&alice, &file).finish().expect_code(OTHER_SIDE);
    let received = receiver.finish().expect_code(0);
    assert!(
        has_event(&received, "xfer-cancel-local"),
        "{}",
        received.out
    );
}

#[test]
fn rdv_cancels_what_it_sends_half_way() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob));
    let file = file(alice.path("file"), BYTES);
    lab.bobs_wall.stall_after(HALF);
    let mut receiver = purple_receiver(&bob, &[]);
    let mut sender = rdv_sends(&alice, &file);
    moving(&mut receiver, "xfer-progress");
    moving(&mut sender, "progress");
    sender.ctrl_c();
    sender.finish().expect_code(INTERRUPTED);
    let received = receiver.finish().expect_code(FAILED);
    assert!(
        has_event(&received, "xfer-cancel-remote"),
        "{}",
        received.out
    );
}

#[test]
fn rdv_cancels_what_it_receives_half_way() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let file = file(alice.path("file"), BYTES);
    lab.bobs_wall.stall_after(HALF);
    let mut receiver = rdv_receiver(&bob, Side::Alice.account(), &[]);
    let sender = purple_sends(&alice, &file, &[]);
    moving(&mut receiver, "progress");
    receiver.ctrl_c();
    receiver.finish().expect_code(INTERRUPTED);
    let sent = sender.finish().expect_code(FAILED);
    assert!(has_event(&sent, "xfer-cancel-remote"), "{}", sent.out);
    assert_no_file_in(bob.path("in"));
}

#[test]
fn libpurple_withdraws_its_offer_while_rdv_asks() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let file = file(alice.path("file"), 1000);
    let from = Side::Alice.account();
    let args = [
        "receive",
        "--listen",
        "--from",
        from,
        "--allow-plain",
        "-o",
        "in",
    ];
    let mut receiver = bob.run_on_terminal(args);
    receiver.expect("waiting for files");
    let sender = purple_sends(&alice, &file, &["--cancel-after-ms", "1500"]);
    receiver.expect("[y/N]");
    sender.finish().expect_code(0);
    receiver.expect("cancelled");
    receiver.ctrl_c();
    receiver.finish();
}
