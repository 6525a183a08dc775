//! What is kept of transfers, and the flags that choose their ways.

use std::fs;

use rdv_tests::files::write_random;
use rdv_tests::process::Person;
use serde_json::Value;

use crate::desk::{HostRun, person, small_file, text};

/// Sends a file from one person to another at a host; both ends' results.
fn transfer(host: &HostRun, alice: &Person, bob: &Person, flags: &[&str], code: i32) -> [Value; 2] {
    let file = alice.path("a.bin");
    write_random(&file, "report", 300_000);
    let args = host.args("send", &[&["--json"], flags, &[text(&file)]].concat());
    let mut sender = alice.run(args);
    let words = sender.event("code")["code"]
        .as_str()
        .expect("a code")
        .to_owned();
    let args = [&["--json", "--yes", "-o", "out"], flags, &[words.as_str()]].concat();
    let received = bob
        .run(host.args("receive", &args))
        .finish()
        .expect_code(code);
    let sent = sender.finish().expect_code(code);
    [sent.result(), received.result()]
}

/// The record that `transfers show` prints for programs.
fn record(of: &Person, id: &str) -> Value {
    let shown = of
        .run(["transfers", "show", id, "--json"])
        .finish()
        .expect_code(0);
    let events = shown.events();
    assert_eq!(events.len(), 3, "{}", shown.out);
    assert_eq!(events[0]["event"], "hello");
    assert_eq!(shown.result()["ok"], true);
    events[1].clone()
}

fn id_of(result: &Value) -> &str {
    result["transfer_id"].as_str().expect("an id")
}

#[test]
fn a_relayed_transfer_is_kept_with_what_was_tried_and_says_why() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    let results = transfer(&host, &alice, &bob, &["--relay", "only"], 0);
    for (who, verb, result) in [
        (&alice, "send", &results[0]),
        (&bob, "receive", &results[1]),
    ] {
        assert_eq!(result["path"], "relay");
        assert_eq!(result["carrier"], Value::Null);
        assert_eq!(result["punched"], false);
        assert_eq!(result["remote"], host.address.to_string());
        assert!(result["relay_ms"].is_u64(), "{result}");
        let record = record(who, id_of(result));
        assert_eq!(record["event"], "transfer");
        assert_eq!(record["id"], result["transfer_id"]);
        assert_eq!(record["verb"], verb);
        assert_eq!((&record["ok"], &record["exit"]), (&true.into(), &0.into()));
        assert_eq!(record["bytes"], 300_000);
        assert_eq!(record["paths"][0]["path"], "relay");
        assert!(
            record["why"][0]
                .as_str()
                .unwrap()
                .starts_with("The relay carried it")
        );
    }
    let shown = alice
        .run(["transfers", "show", id_of(&results[0])])
        .finish()
        .expect_code(0);
    for part in [
        "(send)",
        "relay 127.0.0.1",
        "What was tried",
        "The relay carried it",
    ] {
        assert!(shown.out.contains(part), "{part} in\n{}", shown.out);
    }
    let listed = alice.run(["transfers"]).finish().expect_code(0);
    assert_eq!(listed.out.lines().count(), 1);
    assert!(listed.out.starts_with(id_of(&results[0])), "{}", listed.out);
}

#[test]
fn a_failed_transfer_is_kept_and_told_of_unless_quiet_was_asked_for() {
    let host = HostRun::start(&[]);
    for quiet in [false, true] {
        let (alice, bob) = (person(), person());
        let file = small_file(&alice, "a");
        let mut sender = alice.run(host.args("send", &["--relay", "never", text(&file)]));
        let code = sender.code();
        let mut args = vec!["--relay", "only", "--yes", "-o", "out"];
        if quiet {
            args.push("--quiet");
        }
        args.push(&code);
        let received = bob.run(host.args("receive", &args)).finish().expect_code(6);
        sender.finish().expect_code(6);
        let kept = fs::read_dir(bob.path(".local/state/rdv/transfers")).unwrap();
        let names: Vec<_> = kept.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let id = names[0]
            .to_str()
            .unwrap()
            .trim_end_matches(".json")
            .to_owned();
        let hint = format!("See why: rdv transfers show {id}");
        assert_eq!(received.err.contains(&hint), !quiet, "{}", received.err);
        let record = record(&bob, &id);
        assert_eq!((&record["ok"], &record["exit"]), (&false.into(), &6.into()));
        assert!(record["reason"].is_string());
        assert_eq!(record["path"], Value::Null);
    }
}

#[test]
fn a_direct_transfer_gives_no_hint_and_tells_its_carrier() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    let results = transfer(&host, &alice, &bob, &["--no-udp"], 0);
    for result in &results {
        assert_eq!(result["path"], "direct");
        // Whoever dials first, or both at once.
        let carrier = result["carrier"].as_str().expect("a carrier");
        assert!(carrier.starts_with("tcp"), "{carrier}");
        assert_eq!(result["relay_ms"], 0);
        assert!(result["remote"].is_string());
    }
}

#[test]
fn an_id_that_is_not_kept_is_a_clear_error() {
    let bob = person();
    for id in ["1a2b3c4d", "nonsense", "../../etc/passwd", ""] {
        let ended = bob.run(["transfers", "show", id]).finish().expect_code(2);
        assert!(ended.err.contains("there is no transfer"), "{}", ended.err);
        assert!(ended.err.contains("rdv transfers"), "{}", ended.err);
    }
    let ended = bob.run(["transfers"]).finish().expect_code(0);
    assert_eq!(ended.out, "");
}

#[test]
fn bad_ways_are_refused_in_clear_words() {
    let bob = person();
    let cases: [(&[&str], &str); 10] = [
        (&["--bind", "192.0.2.77"], "not"),
        (&["--bind", "here"], "--bind"),
        (&["--port", "0"], "port"),
        (&["--port", "9-8"], "first port"),
        (&["--external", "example.org"], "IP address"),
        (&["--external", "192.0.2.1:0"], "IP address"),
        (&["--proxy", "http://me:secret@192.0.2.1:80"], "socks5://"),
        (&["--proxy", "socks5://me:secret@192.0.2.1"], "socks5://"),
        (
            &["--proxy", "socks5://192.0.2.1:1080", "--port", "50000"],
            "cannot be used with",
        ),
        (&["--relay", "perhaps"], "--relay"),
    ];
    for (flags, part) in cases {
        let args = [
            &["receive", "--yes", "--host", "127.0.0.1:9"],
            flags,
            &["7-otter-cake-verse"],
        ];
        let ended = bob.run(args.concat()).finish().expect_code(2);
        assert!(ended.err.contains(part), "{flags:?}: {}", ended.err);
        assert!(!ended.err.contains("secret"), "{flags:?}: {}", ended.err);
    }
    let file = small_file(&bob, "a");
    let args = ["send", "--proxy", "socks5://127.0.0.1:9", text(&file)];
    let ended = bob.run(args).finish().expect_code(2);
    assert!(ended.err.contains("--host"), "{}", ended.err);
}
