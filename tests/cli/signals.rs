//! Ctrl-C: 130 here, 4 on the other side within two seconds, whenever it is pressed.

use std::fs::File;
use std::time::{Duration, Instant};

use rdv_tests::process::{Person, Run, Signal};

use crate::desk::{person, small_file};

/// The other side knows within this time.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Long enough to be caught in the middle; a hole costs no disk to read.
const LONG_FILE: u64 = 4 << 30;

fn long_file(owner: &Person) {
    File::create(owner.path("long"))
        .expect("a new file")
        .set_len(LONG_FILE)
        .expect("a size");
}

/// Interrupts `here`, and expects `there` to hear of it.
#[track_caller]
fn interrupt(mut here: Run, there: Run) {
    let pressed = Instant::now();
    here.ctrl_c();
    let there = there.finish().expect_code(4);
    let here = here.finish().expect_code(130);
    assert!(
        there.at - pressed < TOLD_WITHIN,
        "the other side needed {:?}",
        there.at - pressed
    );
    assert!(
        here.at - pressed < TOLD_WITHIN,
        "this side needed {:?}",
        here.at - pressed
    );
}

/// Waits until bytes have passed.
fn under_way(run: &mut Run) {
    run.event_with("progress", |event| event["bytes"].as_u64() > Some(0));
}

#[test]
fn before_anybody_came() {
    let alice = person();
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    sender.code();
    let pressed = Instant::now();
    sender.ctrl_c();
    let ended = sender.finish().expect_code(130);
    assert!(ended.at - pressed < TOLD_WITHIN);
}

#[test]
fn while_the_code_is_still_to_come() {
    for signal in [Signal::INT, Signal::TERM] {
        let bob = person();
        let pipe = bob.path("code");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo runs").success());
        let receiver = bob.run(["receive", "--yes", "--code-file", "code"]);
        // Opens when the other end does.
        let _open = File::options().write(true).open(&pipe).expect("a reader");
        receiver.signal(signal);
        let expected = if signal == Signal::INT { 130 } else { 143 };
        receiver.finish().expect_code(expected);
    }
}

#[test]
fn while_looking_for_a_number() {
    let bob = person();
    let mut receiver = bob.run_on_terminal(["receive", "--yes", "1-otter-verse-otter"]);
    receiver.expect("Looking");
    receiver.ctrl_c();
    receiver.finish().expect_code(130);
}

#[test]
fn a_terminate_signal_is_143_and_told_like_the_other() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    receiver.expect("[y/N]");
    sender.signal(Signal::TERM);
    sender.finish().expect_code(143);
    receiver.finish().expect_code(4);
}

#[test]
fn by_the_receiver_as_soon_as_the_other_was_found() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    receiver.expect("Found");
    interrupt(receiver, sender);
}

#[test]
fn by_the_sender_as_soon_as_the_other_was_found() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "--json", "a"]);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    sender.event("peer_found");
    interrupt(sender, receiver);
}

#[test]
fn by_the_receiver_at_the_question() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    receiver.expect("[y/N]");
    interrupt(receiver, sender);
}

#[test]
fn by_the_sender_while_the_other_thinks() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    receiver.expect("[y/N]");
    interrupt(sender, receiver);
}

#[test]
fn by_the_receiver_in_the_middle() {
    let (alice, bob) = (person(), person());
    long_file(&alice);
    let mut sender = alice.run(["send", "long"]);
    let code = sender.code();
    let mut receiver = bob.run(["receive", "--json", "--yes", "-o", "out", &code]);
    under_way(&mut receiver);
    interrupt(receiver, sender);
    assert!(!bob.path("out/long").exists());
}

#[test]
fn by_the_sender_in_the_middle() {
    let (alice, bob) = (person(), person());
    long_file(&alice);
    let mut sender = alice.run(["send", "--json", "long"]);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let receiver = bob.run(["receive", "--yes", "-o", "out", &code]);
    under_way(&mut sender);
    interrupt(sender, receiver);
    assert!(!bob.path("out/long").exists());
}
