//! Shared folders: `rdv receive --listen --share` and `rdv shared`.

use std::fs;
use std::os::unix::fs::symlink;

use rdv_tests::files::{sha256, write_random};
use rdv_tests::process::{ERR, Person, Run, assert_nothing_raw};
use serde_json::Value;

use crate::accounts::{host, user};
use crate::desk::{HostRun, assert_nothing_in};

/// Bob shares a folder with alice; what is beside it and behind links in it is nobody's business.
fn sharing(host: &HostRun) -> (Person, Run) {
    let bob = user(host, "bob");
    fs::create_dir_all(bob.path("shared/photos")).expect("room on the disk");
    fs::write(bob.path("shared/fox.txt"), "the quick brown fox").expect("room on the disk");
    fs::write(bob.path("shared/.key"), "hidden").expect("room on the disk");
    write_random(&bob.path("shared/photos/日.jpg"), "photo", 300_001);
    fs::write(bob.path("secret"), "secret").expect("room on the disk");
    symlink(bob.path("secret"), bob.path("shared/link.txt")).expect("room on the disk");
    symlink(bob.home(), bob.path("shared/up")).expect("room on the disk");
    let mut run = bob.run([
        "receive",
        "--listen",
        "--json",
        "-o",
        "in",
        "--share",
        "shared",
        "--share-with",
        "A lice",
        "carol",
    ]);
    let told = run.event("sharing");
    assert_eq!(told["with"], serde_json::json!(["A lice", "carol"]));
    run.line_with(ERR, "A lice\", \"carol\" and nobody else");
    run.event("listening");
    (bob, run)
}

fn shared(who: &Person, more: &[&str]) -> Run {
    who.run(["shared", "bob"].iter().chain(more))
}

fn names(events: &[Value]) -> Vec<&str> {
    let entries = events.iter().filter(|event| event["event"] == "shared");
    entries.filter_map(|entry| entry["name"].as_str()).collect()
}

#[test]
fn what_is_shared_is_listed_for_people_and_for_programs() {
    let host = host();
    let alice = user(&host, "alice");
    let (_bob, mut bobs) = sharing(&host);
    let listed = shared(&alice, &["--json"]).finish().expect_code(0);
    let events = listed.events();
    assert_eq!(names(&events), ["fox.txt", "photos"]);
    let fox = events.iter().find(|event| event["name"] == "fox.txt");
    let fox = fox.expect("the file");
    assert_eq!((&fox["bytes"], &fox["folder"]), (&19.into(), &false.into()));
    assert!(fox["mtime"].as_u64() > Some(1_600_000_000), "{fox}");
    let result = listed.result();
    assert_eq!(
        (&result["path"], &result["security"]),
        (&"direct".into(), &"encrypted".into())
    );
    let looked = bobs.event("fetched");
    assert_eq!(
        (&looked["peer"], &looked["name"], &looked["ok"]),
        (&"alice".into(), &Value::Null, &true.into()),
        "{looked}"
    );

    let table = shared(&alice, &[]).finish().expect_code(0);
    assert_nothing_raw(&table.out);
    let lines: Vec<&str> = table.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", table.out);
    assert!(lines[0].starts_with("        19  20") && lines[0].ends_with("Z  \"fox.txt\""));
    assert!(lines[1].ends_with("\"photos/\""), "{}", table.out);
    assert!(table.err.contains("NOT VERIFIED"), "{}", table.err);
    let below = shared(&alice, &["photos/", "--json"]).finish();
    assert_eq!(names(&below.expect_code(0).events()), ["photos/日.jpg"]);
}

#[test]
fn a_file_is_fetched_and_told_on_both_sides() {
    let host = host();
    let alice = user(&host, "alice");
    let (bob, mut bobs) = sharing(&host);
    let got = shared(&alice, &["photos/日.jpg", "-o", "out", "--json"]);
    let got = got.finish().expect_code(0);
    let file = alice.path("out/日.jpg");
    assert_eq!(sha256(&file), sha256(&bob.path("shared/photos/日.jpg")));
    let result = got.result();
    assert_eq!(
        (&result["files"], &result["bytes"], &result["security"]),
        (&1.into(), &300_001.into(), &"encrypted".into())
    );
    let told = bobs.event("fetched");
    assert_eq!(
        (&told["peer"], &told["name"], &told["ok"], &told["bytes"]),
        (
            &"alice".into(),
            &"photos/日.jpg".into(),
            &true.into(),
            &300_001.into()
        )
    );
    bobs.line_with(ERR, "\"alice\" fetched \"photos/日.jpg\"");
    assert_nothing_in(&bob.path("in"));

    // The name is taken now; and nobody is overwritten unasked.
    let args = ["photos/日.jpg", "-o", "out", "--if-exists", "fail"];
    let taken = shared(&alice, &args).finish().expect_code(8);
    assert!(taken.err.contains("日.jpg"), "{}", taken.err);
}

#[test]
fn two_files_are_fetched_in_turn() {
    let host = host();
    let alice = user(&host, "alice");
    let (bob, mut bobs) = sharing(&host);
    let args = ["fox.txt", "photos/日.jpg", "-o", "out", "--json"];
    let got = shared(&alice, &args).finish().expect_code(0);
    for (from, to) in [("fox.txt", "fox.txt"), ("photos/日.jpg", "日.jpg")] {
        let (from, to) = (bob.path("shared").join(from), alice.path("out").join(to));
        assert_eq!(sha256(&from), sha256(&to));
        assert!(bobs.event("fetched")["ok"] == true);
    }
    let result = got.result();
    assert_eq!(
        (&result["files"], &result["bytes"]),
        (&2.into(), &300_020.into())
    );
    let saved = result["saved"].as_array().expect("a list");
    assert_eq!(saved.len(), 2, "{result}");
}

#[test]
fn to_a_stranger_it_is_as_if_nothing_were_shared() {
    let host = host();
    let mallory = user(&host, "mallory");
    let (_bob, mut bobs) = sharing(&host);
    let refused = shared(&mallory, &["--json"]).finish().expect_code(10);
    let with_share = refused.result()["reason"].clone();
    let told = bobs.event("refused");
    assert_eq!(told["peer"], "mallory");
    let refused = shared(&mallory, &["fox.txt", "-o", "out"]).finish();
    refused.expect_code(10);
    assert_nothing_in(&mallory.path("out"));
    bobs.ctrl_c();
    let ended = bobs.finish();
    assert!(
        !ended
            .events()
            .iter()
            .any(|event| event["event"] == "fetched"),
        "{}",
        ended.out
    );

    // The same word as from somebody who shares nothing.
    let dave = user(&host, "dave");
    let _daves = crate::accounts::listen(&dave, &[]);
    let without = mallory.run(["shared", "dave", "--json"]).finish();
    let without = without.expect_code(10).result()["reason"].clone();
    let (with_share, without) = (with_share.to_string(), without.to_string());
    assert_eq!(with_share.replace("bob", "dave"), without);
}

#[test]
fn nothing_outside_the_folder_and_nothing_behind_a_link_is_to_be_had() {
    let host = host();
    let alice = user(&host, "alice");
    let (_bob, _bobs) = sharing(&host);
    for path in [
        "../secret",
        "up/secret",
        "link.txt",
        ".key",
        "photos/../../secret",
    ] {
        let refused = shared(&alice, &[path, "-o", "out"]).finish().expect_code(1);
        assert!(refused.err.contains("shares no"), "{path}: {}", refused.err);
    }
    for folder in ["../", "up/"] {
        shared(&alice, &[folder]).finish().expect_code(1);
    }
    // A folder is no file.
    shared(&alice, &["photos", "-o", "out"])
        .finish()
        .expect_code(2);
    assert_nothing_in(&alice.path("out"));
}

#[test]
fn a_share_is_for_somebody_and_a_folder() {
    let host = host();
    let bob = user(&host, "bob");
    fs::create_dir(bob.path("shared")).expect("room on the disk");
    for args in [
        &["receive", "--listen", "--share", "shared"][..],
        &["receive", "--listen", "--share-with", "alice"],
        &["receive", "--share", "shared", "--share-with", "alice"],
    ] {
        bob.run(args).finish().expect_code(2);
    }
    let missing = ["receive", "--listen", "--share", "no", "--share-with", "a"];
    let refused = bob.run(missing).finish().expect_code(8);
    assert!(refused.err.contains("cannot share"), "{}", refused.err);
}
