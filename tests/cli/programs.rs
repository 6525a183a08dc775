//! What scripts rely on, on the roads that are seldom taken: objects however it ends, payload that is not lost in silence.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::desk::{HostRun, person, small_file};

#[test]
fn every_end_has_one_hello_and_one_result() {
    let bob = person();
    small_file(&bob, "a");
    let cases: [(&[&str], i32); 9] = [
        (&["send", "--json"], 2),
        (&["send", "--json", "--bogus", "a"], 2),
        (&["send", "--json", "--expire", "soon", "a"], 2),
        (&["send", "--json", "--host", "192.0.2.1:99999", "a"], 2),
        (&["send", "--json", "not there"], 8),
        (&["receive", "--yes", "--relay", "maybe", "--json"], 2),
        (&["receive", "--yes", "--json", "no code"], 2),
        (&["receive", "--json", "7-otter-cake-verse"], 2),
        (
            &[
                "receive",
                "--yes",
                "--json",
                "-o",
                "a",
                "7-otter-cake-verse",
            ],
            8,
        ),
    ];
    for (args, code) in cases {
        let ended = bob.run(args).finish().expect_code(code);
        let told = ended.events();
        assert_eq!(told.len(), 2, "{args:?}: {}", ended.out);
        assert_eq!(told[0]["event"], "hello", "{args:?}");
        assert_eq!(told[1]["event"], "result", "{args:?}");
        assert_eq!(told[1]["exit"], code, "{args:?}");
        assert_eq!(told[1]["ok"], false, "{args:?}");
        assert!(
            told[1]["reason"]
                .as_str()
                .is_some_and(|why| !why.is_empty()),
            "{args:?} is explained"
        );
    }
    let help = bob
        .run(["send", "--json", "--help"])
        .finish()
        .expect_code(0);
    assert!(help.events().is_empty(), "help is for people");
}

#[test]
fn a_time_limit_counts_while_nobody_is_found_yet() {
    let bob = person();
    let began = Instant::now();
    let ended = bob
        .run(["receive", "--yes", "--timeout", "1s", "1-otter-cake-verse"])
        .finish()
        .expect_code(124);
    // The search alone takes five seconds.
    assert!(ended.at - began < Duration::from_secs(4));
    assert!(
        !ended.err.contains("was told"),
        "there was nobody to tell: {}",
        ended.err
    );
}

#[test]
fn what_is_no_host_is_bad_usage() {
    let bob = person();
    small_file(&bob, "a");
    for host in ["", ":5190", "192.0.2.1:99999"] {
        let ended = bob
            .run(["send", "--host", host, "a"])
            .finish()
            .expect_code(2);
        assert!(ended.out.is_empty());
    }
}

#[test]
fn options_may_stand_before_a_code_alone() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["a"]));
    let code = sender.code().replace('-', " ").to_uppercase();
    let host = host.address.to_string();
    bob.run(["-q", "--host", &host, "--yes", "-o", "out", &code])
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    assert!(bob.path("out/a").exists());
}

#[test]
fn a_text_that_cannot_be_written_is_a_failure() {
    let (alice, bob) = (person(), person());
    let mut sender = alice.run(["send", "--text", "do not lose me"]);
    let code = sender.code();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_rdv"))
        .args(["receive", "--yes", &code])
        .env("HOME", bob.home())
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(8));
    sender.finish().expect_code(0);
}

#[test]
fn a_reader_that_stops_reading_completions_is_no_crash() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for (stdout, code) in [
        (Stdio::from(writer), 0),
        (
            File::options()
                .write(true)
                .open("/dev/full")
                .unwrap()
                .into(),
            8,
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_rdv"))
            .args(["completions", "bash"])
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn what_is_left_out_is_told() {
    let (alice, bob) = (person(), person());
    fs::create_dir(alice.path("folder")).unwrap();
    small_file(&alice, "folder/a");
    std::os::unix::fs::symlink("a", alice.path("folder/link")).unwrap();
    let mut sender = alice.run(["send", "folder"]);
    let code = sender.code();
    bob.run(["receive", "--yes", &code]).finish().expect_code(0);
    let sent = sender.finish().expect_code(0);
    assert!(sent.err.contains("Left out: 1"), "{}", sent.err);
}

#[test]
fn a_link_that_leads_nowhere_is_no_output_folder_and_the_code_stays_good() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    std::os::unix::fs::symlink("nowhere", bob.path("out")).unwrap();
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    bob.run(["receive", "--yes", "-o", "out", &code])
        .finish()
        .expect_code(8);
    bob.run(["receive", "--yes", "-o", "elsewhere", &code])
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
}
