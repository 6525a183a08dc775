//! Names and links that an enemy made.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use rdv_tests::files::{assert_same_tree, tree, write_random};

use crate::desk::{assert_nothing_in, person, small_file};

#[test]
fn a_name_that_must_not_travel_is_named_and_nothing_goes_out() {
    // What it is called here, and a piece of it that must be said.
    let names: [(OsString, &str); 11] = [
        ("esc\u{1b}[31mape".into(), "ape"),
        ("line\nbreak".into(), "break"),
        ("bidi\u{202e}fdp.exe".into(), "bidi"),
        ("zero\u{200b}width".into(), "zero"),
        ("back\\slash".into(), "slash"),
        ("C:evil".into(), "evil"),
        ("NUL.txt".into(), "NUL"),
        ("dot at the end.".into(), "dot"),
        ("space at the end ".into(), "space"),
        (OsString::from_vec(b"latin-\xe9-1".to_vec()), "latin"),
        ("c1\u{9b}2J".into(), "c1"),
    ];
    for (name, said) in names {
        for inside in [false, true] {
            let alice = person();
            let top = if inside {
                OsString::from("folder")
            } else {
                name.clone()
            };
            if inside {
                fs::create_dir(alice.path("folder")).unwrap();
                small_file(&alice, "folder/fine");
                fs::write(alice.path("folder").join(&name), "x").unwrap();
            } else {
                fs::write(alice.path(&name), "x").unwrap();
            }
            // That nothing raw comes out is checked for every run.
            let ended = alice.run(["send".into(), "--".into(), top]).finish();
            assert_eq!(ended.code, Some(8), "{name:?}, inside: {inside}: {ended:?}");
            assert!(ended.err.contains(said), "{name:?} is named: {}", ended.err);
        }
    }
}

#[test]
fn two_names_that_are_one_elsewhere_are_refused() {
    let alice = person();
    fs::create_dir(alice.path("folder")).unwrap();
    small_file(&alice, "folder/Readme");
    small_file(&alice, "folder/README");
    let ended = alice.run(["send", "folder"]).finish().expect_code(8);
    assert!(ended.err.to_lowercase().contains("readme"), "{}", ended.err);
}

#[test]
fn a_decomposed_name_arrives_composed() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "Zoe\u{308}");
    let mut sender = alice.run(["send", "Zoe\u{308}"]);
    let code = sender.code();
    bob.run(["receive", "--yes", &code]).finish().expect_code(0);
    sender.finish().expect_code(0);
    assert!(bob.path("Zo\u{eb}").exists());
}

#[test]
fn devices_pipes_and_sockets_are_not_sent() {
    let alice = person();
    let _socket = std::os::unix::net::UnixListener::bind(alice.path("socket")).unwrap();
    for odd in ["socket", "/dev/null"] {
        let ended = alice.run(["send", odd]).finish().expect_code(8);
        assert!(ended.err.contains(odd), "{}", ended.err);
    }
}

#[test]
fn a_link_under_the_final_name_is_not_followed() {
    for what in ["rename", "overwrite"] {
        let (alice, bob) = (person(), person());
        small_file(&alice, "a");
        fs::create_dir(bob.path("out")).unwrap();
        fs::write(bob.path("victim"), "precious").unwrap();
        symlink(bob.path("victim"), bob.path("out/a")).unwrap();
        let mut sender = alice.run(["send", "a"]);
        let code = sender.code();
        let received = bob
            .run(["receive", "--yes", "--if-exists", what, "-o", "out", &code])
            .finish();
        sender.finish();
        assert!(matches!(received.code, Some(0 | 8)), "{what}: {received:?}");
        assert_eq!(
            fs::read_to_string(bob.path("victim")).unwrap(),
            "precious",
            "{what}"
        );
    }
}

#[test]
fn a_dangling_link_under_the_final_name_makes_nothing_outside() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    fs::create_dir(bob.path("out")).unwrap();
    symlink(bob.path("made outside"), bob.path("out/a")).unwrap();
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    bob.run(["receive", "--yes", "-o", "out", &code]).finish();
    sender.finish();
    assert!(!bob.path("made outside").exists());
}

#[test]
fn links_under_the_names_of_part_files_are_not_followed() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    fs::create_dir(bob.path("out")).unwrap();
    fs::write(bob.path("victim"), "precious").unwrap();
    for part in [".a.rdv-part", ".a.rdv-part.record", ".a (1).rdv-part"] {
        symlink(bob.path("victim"), bob.path("out").join(part)).unwrap();
    }
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    let received = bob.run(["receive", "--yes", "-o", "out", &code]).finish();
    sender.finish();
    assert!(matches!(received.code, Some(0 | 8)), "{received:?}");
    assert_eq!(fs::read_to_string(bob.path("victim")).unwrap(), "precious");
}

#[test]
fn a_link_in_the_place_of_a_folder_is_refused() {
    for what in ["rename", "overwrite", "skip", "fail"] {
        let (alice, bob) = (person(), person());
        fs::create_dir_all(alice.path("folder/deep")).unwrap();
        small_file(&alice, "folder/deep/a");
        small_file(&alice, "folder/b");
        fs::create_dir(bob.path("elsewhere")).unwrap();
        fs::create_dir(bob.path("out")).unwrap();
        symlink(bob.path("elsewhere"), bob.path("out/folder")).unwrap();
        let mut sender = alice.run(["send", "folder"]);
        let code = sender.code();
        let received = bob
            .run(["receive", "--yes", "--if-exists", what, "-o", "out", &code])
            .finish();
        let sent = sender.finish();
        assert_nothing_in(&bob.path("elsewhere"));
        if received.code == Some(0) {
            // Then all of it must be somewhere else in the folder.
            assert_same_tree(
                &tree(&alice.path("folder")),
                &tree(&bob.path("out/folder (1)")),
            );
        } else {
            assert_eq!(received.code, Some(8), "{what}: {received:?}");
            assert!(received.err.contains("folder"), "{what}: {}", received.err);
            assert_ne!(sent.code, Some(0), "{what}");
        }
    }
}

#[test]
fn a_link_deeper_down_is_refused_too() {
    let (alice, bob) = (person(), person());
    fs::create_dir_all(alice.path("folder/deep")).unwrap();
    small_file(&alice, "folder/deep/a");
    fs::create_dir(bob.path("elsewhere")).unwrap();
    fs::create_dir_all(bob.path("out/folder")).unwrap();
    symlink(bob.path("elsewhere"), bob.path("out/folder/deep")).unwrap();
    let mut sender = alice.run(["send", "folder"]);
    let code = sender.code();
    let received = bob.run(["receive", "--yes", "-o", "out", &code]).finish();
    sender.finish();
    assert!(matches!(received.code, Some(0 | 8)), "{received:?}");
    assert_nothing_in(&bob.path("elsewhere"));
}

#[test]
fn a_link_planted_after_the_question_is_not_followed() {
    let (alice, bob) = (person(), person());
    fs::create_dir(alice.path("folder")).unwrap();
    write_random(&alice.path("folder/a"), "a", 1 << 20);
    fs::create_dir(bob.path("elsewhere")).unwrap();
    let mut sender = alice.run(["send", "folder"]);
    let code = sender.code();
    let mut receiver = bob.run_on_terminal(["receive", "-o", "out", &code]);
    receiver.expect("[y/N]");
    fs::create_dir_all(bob.path("out")).unwrap();
    symlink(bob.path("elsewhere"), bob.path("out/folder")).unwrap();
    receiver.type_line("y");
    let received = receiver.finish();
    sender.finish();
    assert!(matches!(received.code, Some(0 | 8)), "{received:?}");
    assert_nothing_in(&bob.path("elsewhere"));
}

#[test]
fn a_second_receiver_for_the_same_target_gets_an_error_or_a_name_of_its_own() {
    let (alice, carol, bob) = (person(), person(), person());
    write_random(&alice.path("a"), "alice's", 32 << 20);
    write_random(&carol.path("a"), "carol's", 32 << 20);
    let mut first = alice.run(["send", "a"]);
    let mut second = carol.run(["send", "a"]);
    let (one, two) = (first.code(), second.code());
    let one = bob.run(["receive", "--yes", "-o", "out", &one]);
    let two = bob.run(["receive", "--yes", "-o", "out", &two]);
    let (one, two) = (one.finish(), two.finish());
    assert!(
        one.code == Some(0) || two.code == Some(0),
        "{one:?}\n{two:?}"
    );
    let sent = [tree(alice.home()), tree(carol.home())];
    for (path, entry) in tree(&bob.path("out")) {
        let whole = sent
            .iter()
            .any(|sent| sent.values().any(|whole| *whole == entry));
        assert!(whole, "{} is a mixture", path.display());
    }
}

#[test]
fn what_is_not_sent_is_said() {
    let (alice, bob) = (person(), person());
    fs::create_dir(alice.path("d")).unwrap();
    small_file(&alice, "d/a");
    std::os::unix::fs::symlink("a", alice.path("d/link")).unwrap();
    let mut sender = alice.run(["send", "d"]);
    let code = sender.code();
    bob.run(["receive", "--yes", &code]).finish().expect_code(0);
    let sent = sender.finish().expect_code(0);
    assert!(sent.err.contains("Left out: 1"), "{}", sent.err);
}
