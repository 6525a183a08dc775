//! On a pseudo-terminal: the short code, the question, what a person sees.

use std::fs;

use rdv_tests::files::{sha256, write_random};
use rdv_tests::process::{LONG, Run};

use crate::desk::{assert_nothing_in, big_bytes, person, small_file, text};

/// The short code as a person reads it off the screen.
fn read_code(sender: &mut Run) -> String {
    sender.expect("Code: ");
    let line = sender.expect("\r\n");
    line.trim().to_owned()
}

#[test]
fn a_person_reads_the_short_code_and_another_types_it() {
    let (alice, bob) = (person(), person());
    let file = alice.path("holiday.bin");
    write_random(&file, "holiday", big_bytes());
    let mut sender = alice.run_on_terminal(["send", text(&file)]).patient(LONG);
    let code = read_code(&mut sender);
    assert!(!code.contains('@'), "people get the short form: {code}");
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out"]).patient(LONG);
    receiver.expect("Code:");
    receiver.type_line(&code);
    let question = receiver.expect("[y/N]");
    assert!(question.contains("\"holiday.bin\""), "{question}");
    assert!(question.contains("iB"), "the size is told: {question}");
    assert!(question.contains("verified"), "{question}");
    receiver.type_line("y");
    let received = receiver.finish().expect_code(0);
    let sent = sender.finish().expect_code(0);
    assert_eq!(sha256(&bob.path("out/holiday.bin")), sha256(&file));
    for ended in [sent, received] {
        assert!(
            ended.out.contains("direct"),
            "the path is shown: {}",
            ended.out
        );
        assert!(
            ended.out.contains("BLAKE3"),
            "the summary has the hash: {}",
            ended.out
        );
    }
}

#[test]
fn a_slip_of_the_finger_is_asked_again() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run_on_terminal(["send", "a"]);
    let code = read_code(&mut sender);
    let mut receiver = bob.run_on_terminal(["receive", "--yes"]);
    receiver.expect("Code:");
    receiver.type_line("hello");
    receiver.expect("Code:");
    let (number, words) = code.split_once('-').expect("a number and words");
    let (first, rest) = words.split_once('-').expect("three words");
    receiver.type_line(&format!("{number}-{first}qx-{rest}"));
    let seen = receiver.expect("Code:");
    assert!(
        seen.contains(&format!("{first}qx")),
        "the wrong word is named: {seen}"
    );
    receiver.type_line(&code.replace('-', " "));
    receiver.finish().expect_code(0);
    sender.finish().expect_code(0);
    assert!(bob.path("a").exists());
}

#[test]
fn no_is_no_on_both_sides() {
    for answer in ["n", "", "what"] {
        let (alice, bob) = (person(), person());
        small_file(&alice, "a");
        let mut sender = alice.run(["send", "a"]);
        let code = sender.code();
        let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
        receiver.expect("[y/N]");
        receiver.type_line(answer);
        receiver.finish().expect_code(4);
        sender.finish().expect_code(4);
        assert_nothing_in(&bob.path("out"));
    }
}

#[test]
fn hidden_and_executable_names_are_marked_in_the_question() {
    let (alice, bob) = (person(), person());
    fs::create_dir(alice.path("stuff")).unwrap();
    small_file(&alice, "stuff/.bashrc");
    let mut sender = alice.run(["send", "stuff"]);
    let code = sender.code();
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    let question = receiver.expect("[y/N]");
    let line = question
        .lines()
        .find(|line| line.contains(".bashrc"))
        .expect("the name is shown");
    assert!(line.contains("  ["), "a mark stands behind it: {line}");
    receiver.type_line("n");
    receiver.finish().expect_code(4);
    sender.finish().expect_code(4);
}

#[test]
fn a_text_cannot_draw_on_the_terminal() {
    let (alice, bob) = (person(), person());
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[31mred\u{202e}txt.exe\u{9b}2J";
    let mut sender = alice.run(["send", "--text", evil]);
    let code = sender.code();
    let received = bob
        .run_on_terminal(["receive", "--yes", &code])
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    assert!(
        received.out.contains("red"),
        "the text is shown: {:?}",
        received.out
    );
    for raw in ["\u{1b}]0", "\u{1b}[31m", "\u{202e}", "\u{9b}"] {
        assert!(
            !received.out.contains(raw),
            "{raw:?} came out raw: {:?}",
            received.out
        );
    }
}
