//! The words of a code stay between the two people (S-26), and the logs stay clean (S-24).

use std::fs;

use rdv_tests::process::Run;

use crate::desk::{HostRun, person, small_file};

/// The command line of a process and of all that it started, as any user of the machine can read it.
fn command_lines(run: &Run) -> String {
    let mut all = String::new();
    for entry in fs::read_dir("/proc").expect("a process list").flatten() {
        let status = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `pid (name) state parent …`; the name may hold anything but is followed by the last `)`.
        let parent = status
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        let own = entry.file_name().to_str() == Some(run.pid().to_string().as_str());
        if own || parent == Some(run.pid()) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            all.push_str(&String::from_utf8_lossy(&line));
            all.push('\n');
        }
    }
    assert!(!all.is_empty());
    all
}

/// Lines in which the words stand, together or each for itself.
fn lines_with_words<'a>(text: &'a str, words: &[&str]) -> Vec<&'a str> {
    let tells = |line: &&str| {
        let found = line
            .split(|c: char| !c.is_ascii_alphabetic())
            .filter(|part| words.contains(part))
            .count();
        found >= 2
    };
    text.lines().filter(tells).collect()
}

#[test]
fn the_words_are_in_no_command_line_and_no_log() {
    let host = HostRun::start(&["-vv"]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["-vv", "a"]));
    let code = sender.code();
    let words: Vec<&str> = code.split('-').skip(1).collect();
    assert!(
        lines_with_words(&command_lines(&sender), &words).is_empty(),
        "the sender's command line tells the words"
    );
    let mut receiver = bob.run_with_input(
        host.args("receive", &["-vv", "--yes", "--json", "-o", "out"]),
        &code,
    );
    receiver.event("connected");
    assert!(
        lines_with_words(&command_lines(&receiver), &words).is_empty(),
        "the receiver's command line tells the words"
    );
    let received = receiver.finish().expect_code(0);
    let sent = sender.finish().expect_code(0);
    for ended in [&sent, &received] {
        assert!(
            ended.err.contains("signed on"),
            "there is a log: {}",
            ended.err
        );
    }
    let said = lines_with_words(&received.err, &words);
    assert!(
        said.is_empty(),
        "the receiver's log tells the words: {said:?}"
    );
    // The sender shows the code to its user, and that is all.
    let said: Vec<_> = lines_with_words(&sent.err, &words)
        .into_iter()
        .filter(|line| !line.starts_with("Code: ") && !line.starts_with("The other side runs:"))
        .collect();
    assert!(
        said.is_empty(),
        "the sender's log tells the words: {said:?}"
    );
    let host = host.stop();
    let said = lines_with_words(&host.err, &words);
    assert!(said.is_empty(), "the host's log tells the words: {said:?}");
}

#[test]
fn neither_log_nor_words_of_a_failed_try_tell_the_words() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "-vv", "a"]);
    let code = sender.code();
    let tried = crate::desk::wrong(&code);
    let received = bob
        .run_with_input(["receive", "-vv", "--yes", "-o", "out"], &tried)
        .finish()
        .expect_code(5);
    sender.finish().expect_code(5);
    let words: Vec<&str> = code.split('@').next().unwrap().split('-').skip(1).collect();
    let said = lines_with_words(&received.err, &words);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_code_on_the_command_line_is_taken_with_a_warning() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let received = bob.run(["receive", "--yes", &code]).finish().expect_code(0);
    sender.finish().expect_code(0);
    assert!(received.err.contains("command line"), "{}", received.err);
}

#[test]
fn nothing_is_left_in_the_home_folder_that_tells_the_words() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    bob.run_with_input(["receive", "--yes"], &code)
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    let words: Vec<&str> = code.split('@').next().unwrap().split('-').skip(1).collect();
    for owner in [&alice, &bob] {
        for path in rdv_tests::files::tree(owner.home()).into_keys() {
            let content = fs::read(owner.path(&path)).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            assert!(
                lines_with_words(&content, &words).is_empty(),
                "{}",
                path.display()
            );
        }
    }
}
