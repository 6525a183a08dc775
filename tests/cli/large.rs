//! Much of it: one big file, many small ones.

use std::fs;

use rdv_tests::disk::SmallDisk;
use rdv_tests::files::{
    assert_same_tree, sha256, tree, without_execute_bits, write_many, write_random,
};

use rdv_tests::process::LONG;

use crate::desk::{big_bytes, person, text};

/// What a side may hold in RAM, whatever the size of the file.
const RSS_MAX_KIB: u64 = 64 * 1024;

#[test]
fn a_big_file_arrives_whole_in_little_memory() {
    let (alice, bob) = (person(), person());
    let file = alice.path("big.bin");
    write_random(&file, "big", big_bytes());
    let mut sender = alice.run(["send", "--json", text(&file)]).patient(LONG);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let receiver = bob
        .run(["receive", "--json", "--yes", "-o", "out", &code])
        .patient(LONG);
    let received = receiver.finish().expect_code(0);
    let sent = sender.finish().expect_code(0);
    assert_eq!(sha256(&bob.path("out/big.bin")), sha256(&file));
    assert_eq!(received.result()["bytes"], big_bytes());
    for (who, ended) in [("sender", sent), ("receiver", received)] {
        assert!(ended.peak_rss_kib > 0, "memory was looked at");
        assert!(
            ended.peak_rss_kib < RSS_MAX_KIB,
            "{who}: {} KiB",
            ended.peak_rss_kib
        );
    }
}

#[test]
fn ten_thousand_files_arrive_identical() {
    let (alice, bob) = (person(), person());
    let folder = alice.path("many");
    write_many(&folder, 10_000);
    let sent_tree = tree(&folder);
    assert!(sent_tree.len() > 10_000);
    let mut sender = alice.run(["send", "--json", "many"]).patient(LONG);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let receiver = bob
        .run(["receive", "--json", "--yes", "-o", "out", &code])
        .patient(LONG);
    let received = receiver.finish().expect_code(0);
    let sent = sender.finish().expect_code(0);
    assert_same_tree(
        &without_execute_bits(sent_tree),
        &tree(&bob.path("out/many")),
    );
    assert_eq!(received.result()["files"], 10_000);
    assert_eq!(
        tree(&bob.path("out"))
            .keys()
            .filter(|path| path.components().count() == 1)
            .count(),
        1
    );
    for (who, ended) in [("sender", sent), ("receiver", received)] {
        assert!(
            ended.peak_rss_kib < RSS_MAX_KIB,
            "{who}: {} KiB",
            ended.peak_rss_kib
        );
    }
}

#[test]
fn a_source_that_changes_while_it_is_sent_is_an_error_and_never_a_mixture() {
    let (alice, bob) = (person(), person());
    let file = alice.path("log");
    write_random(&file, "before", 64 << 20);
    let mut sender = alice.run(["send", "--json", text(&file)]);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    receiver.expect("[y/N]");
    // The size was announced; now the file gets shorter.
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    receiver.type_line("y");
    let received = receiver.finish();
    let sent = sender.finish();
    assert_eq!(sent.code, Some(8), "{sent:?}");
    assert_ne!(received.code, Some(0), "{received:?}");
    assert!(!bob.path("out/log").exists());
}

#[test]
fn a_disk_that_is_too_small_is_said_before_anything_is_written() {
    let (alice, bob) = (person(), person());
    let Some(_disk) = SmallDisk::mount(&bob.path("out"), 4) else {
        return;
    };
    write_random(&alice.path("a"), "too much", 8 << 20);
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let received = bob
        .run(["receive", "--yes", "-o", "out", &code])
        .finish()
        .expect_code(8);
    assert!(received.err.contains("free"), "{}", received.err);
    assert_ne!(sender.finish().code, Some(0));
    assert!(tree(&bob.path("out")).is_empty());
}

#[test]
fn a_disk_that_becomes_full_is_one_clear_error() {
    let (alice, bob) = (person(), person());
    let Some(_disk) = SmallDisk::mount(&bob.path("out"), 12) else {
        return;
    };
    write_random(&alice.path("a"), "just fits", 8 << 20);
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    receiver.expect("[y/N]");
    // Somebody else is faster.
    write_random(&bob.path("out/other"), "in the way", 10 << 20);
    receiver.type_line("y");
    let received = receiver.finish().expect_code(8);
    assert!(received.out.contains("rdv: "), "{}", received.out);
    assert_ne!(sender.finish().code, Some(0));
    assert!(!bob.path("out/a").exists());
}
