//! Everything that does not work out: the exit code, a sentence, and nothing written.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::desk::{HostRun, assert_nothing_in, person, small_file, wrong};

/// Both sides know within this time that the code was wrong.
const WRONG_CODE_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_wrong_code_ends_both_and_burns_it() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let began = Instant::now();
    let received = bob
        .run(["receive", &wrong(&code), "--yes", "-o", "out"])
        .finish()
        .expect_code(5);
    let sent = sender.finish().expect_code(5);
    for ended in [&received, &sent] {
        assert!(
            ended.at - began < WRONG_CODE_WITHIN,
            "took {:?}",
            ended.at - began
        );
    }
    assert!(
        sent.err.contains("someone tried a wrong code"),
        "{}",
        sent.err
    );
    assert!(
        received.err.contains("the code is wrong"),
        "{}",
        received.err
    );
    assert_nothing_in(&bob.path("out"));
    bob.run(["receive", &code, "--yes", "-o", "out"])
        .finish()
        .expect_code(3);
    assert_nothing_in(&bob.path("out"));
}

#[test]
fn a_wrong_code_at_a_host_is_burnt_there_too() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["a"]));
    let code = sender.code();
    let began = Instant::now();
    let received = bob
        .run(host.args("receive", &[&wrong(&code), "--yes", "-o", "out"]))
        .finish()
        .expect_code(5);
    let sent = sender.finish().expect_code(5);
    for ended in [&received, &sent] {
        assert!(
            ended.at - began < WRONG_CODE_WITHIN,
            "took {:?}",
            ended.at - began
        );
    }
    bob.run(host.args("receive", &[&code, "--yes", "-o", "out"]))
        .finish()
        .expect_code(3);
    assert_nothing_in(&bob.path("out"));
}

#[test]
fn a_code_works_once() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["a"]));
    let code = sender.code();
    bob.run(host.args("receive", &[&code, "--yes", "-o", "out"]))
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    bob.run(host.args("receive", &[&code, "--yes", "-o", "again"]))
        .finish()
        .expect_code(3);
    assert_nothing_in(&bob.path("again"));
}

#[test]
fn an_unknown_number_is_nobody() {
    let host = HostRun::start(&[]);
    let bob = person();
    let ended = bob
        .run(host.args("receive", &["4711-otter-verse-otter", "--yes", "-o", "out"]))
        .finish()
        .expect_code(3);
    assert!(ended.err.contains("rdv: "), "a sentence: {}", ended.err);
    assert_nothing_in(&bob.path("out"));
}

#[test]
fn a_number_that_nobody_announces_is_nobody() {
    let bob = person();
    let ended = bob
        .run(["receive", "1-otter-verse-otter", "--yes", "-o", "out"])
        .finish()
        .expect_code(3);
    assert!(
        ended.err.contains("--host") || ended.err.contains('@'),
        "it says what else to do: {}",
        ended.err
    );
}

#[test]
fn a_host_that_is_not_there_is_named_with_advice() {
    // A port that was free a moment ago.
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let alice = person();
    small_file(&alice, "a");
    let ended = alice
        .run(["send", "--host", &gone, "a"])
        .finish()
        .expect_code(12);
    assert!(
        ended.err.contains(&gone),
        "the host is named: {}",
        ended.err
    );
    assert!(ended.out.is_empty(), "no code was shown");
    let ended = person()
        .run(["receive", "--host", &gone, "--yes", "7-otter-verse-otter"])
        .finish()
        .expect_code(12);
    assert!(ended.err.contains(&gone), "{}", ended.err);
    let ended = alice
        .run(["send", "--host", "host.invalid:5190", "a"])
        .finish()
        .expect_code(12);
    assert!(ended.err.contains("host.invalid"), "{}", ended.err);
}

#[test]
fn a_host_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let alice = person();
    small_file(&alice, "a");
    alice
        .run([
            "send",
            "--host",
            &silent.local_addr().unwrap().to_string(),
            "a",
        ])
        .finish()
        .expect_code(12);
}

#[test]
fn a_missing_source_is_said_before_any_code() {
    let alice = person();
    let ended = alice.run(["send", "not there.txt"]).finish().expect_code(8);
    assert!(ended.err.contains("not there.txt"), "{}", ended.err);
    assert!(ended.out.is_empty());
}

#[test]
fn an_output_folder_that_cannot_be_is_a_file_problem() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    small_file(&bob, "in the way");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let ended = bob
        .run(["receive", "--yes", "-o", "in the way/out", &code])
        .finish()
        .expect_code(8);
    assert!(ended.err.contains("in the way"), "{}", ended.err);
    // That was found before anybody was met: the code is still good.
    bob.run(["receive", "--yes", "-o", "out", &code])
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
}

#[test]
fn bad_usage_is_two() {
    let bob = person();
    let cases: [&[&str]; 8] = [
        &["send"],
        &["send", "--text", "x", "and a path"],
        &["send", "--relay", "maybe", "a"],
        &["send", "--expire", "soon", "a"],
        &["receive", "--yes", "not a code"],
        &["receive", "--yes", "99999999-otter-verse-otter"],
        &["receive", "7-otter-verse-otter"],
        &["frobnicate"],
    ];
    for args in cases {
        let ended = bob.run(args).finish().expect_code(2);
        assert!(!ended.err.is_empty(), "{args:?} is explained");
    }
}

#[test]
fn a_code_that_nobody_uses_expires() {
    let alice = person();
    small_file(&alice, "a");
    let ended = alice
        .run(["send", "--expire", "1s", "a"])
        .finish()
        .expect_code(3);
    assert!(ended.err.contains("expired"), "{}", ended.err);
    let host = HostRun::start(&[]);
    let ended = alice
        .run(host.args("send", &["--expire", "1s", "a"]))
        .finish()
        .expect_code(3);
    assert!(ended.err.contains("expired"), "{}", ended.err);
}

#[test]
fn a_time_limit_is_kept() {
    let alice = person();
    small_file(&alice, "a");
    alice
        .run(["send", "--timeout", "1s", "a"])
        .finish()
        .expect_code(124);
}

#[test]
fn completions_and_help_are_payload() {
    let bob = person();
    for shell in ["bash", "zsh", "fish"] {
        let ended = bob.run(["completions", shell]).finish().expect_code(0);
        assert!(ended.out.contains("receive"), "{shell}");
        assert!(ended.err.is_empty());
    }
    assert!(
        bob.run(["--help"])
            .finish()
            .expect_code(0)
            .out
            .contains("Exit codes")
    );
    assert!(
        bob.run(["--version"])
            .finish()
            .expect_code(0)
            .out
            .starts_with("rdv ")
    );
}

#[test]
fn a_code_may_live_longer_than_any_clock() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "--expire", "500000000000y", "a"]);
    let code = sender.code();
    bob.run(["receive", "--yes", &code]).finish().expect_code(0);
    sender.finish().expect_code(0);
}
