//! `kill -9` at any time: under a final name stands nothing or the whole file, and the other side ends by itself.

use std::fs::File;

use rdv_tests::files::{Entry, Tree, tree, write_many, write_random};
use rdv_tests::process::Run;

use crate::desk::{HostRun, person};

/// Points of a transfer that both sides tell of.
#[derive(Debug, Clone, Copy)]
enum Point {
    Found,
    Connected,
    FirstBytes,
    Half,
    LastBytes,
}

const POINTS: [Point; 5] = [
    Point::Found,
    Point::Connected,
    Point::FirstBytes,
    Point::Half,
    Point::LastBytes,
];

/// Waits for the point, or for the end if it was over too soon.
fn wait_for(point: Point, run: &mut Run) {
    run.event_or_result(|event| match point {
        Point::Found => event["event"] == "peer_found",
        Point::Connected => event["event"] == "connected",
        Point::FirstBytes => event["event"] == "progress" && event["bytes"].as_u64() > Some(0),
        Point::Half => {
            event["event"] == "progress"
                && event["bytes"].as_u64() > event["total"].as_u64().map(|all| all / 2)
        }
        Point::LastBytes => {
            event["event"] == "progress"
                && event["bytes"].as_u64() > Some(0)
                && event["bytes"] == event["total"]
        }
    });
}

/// Part files are marked as such; whatever has a final name must be what was sent.
#[track_caller]
pub(crate) fn assert_only_whole_files(sent: &Tree, arrived: &Tree, when: &str) {
    for (path, entry) in arrived {
        let Entry::File { length, sha256, .. } = entry else {
            continue;
        };
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with('.') && name.contains(".rdv-part") {
            continue;
        }
        match sent.get(path) {
            Some(Entry::File {
                length: whole,
                sha256: right,
                ..
            }) if length == whole && sha256 == right => {}
            other => panic!(
                "{when}: {} has {length} bytes under a final name, sent was {other:?}",
                path.display()
            ),
        }
    }
}

/// Sends a file and a folder, kills one side at `point`.
fn kill_at(point: Point, kill_receiver: bool) {
    let (alice, bob) = (person(), person());
    write_random(&alice.path("one.bin"), "one", 48 << 20);
    write_many(&alice.path("many"), 400);
    let sent = tree(alice.home());
    let mut sender = alice.run(["send", "--json", "one.bin", "many"]);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let receiver = bob.run(["receive", "--json", "--yes", "-o", "out", &code]);
    let (mut victim, survivor) = if kill_receiver {
        (receiver, sender)
    } else {
        (sender, receiver)
    };
    wait_for(point, &mut victim);
    victim.kill();
    let survivor = survivor.finish();
    let when = format!("{point:?}, receiver killed: {kill_receiver}");
    let arrived = tree(&bob.path("out"));
    assert_only_whole_files(&sent, &arrived, &when);
    if survivor.code == Some(0) {
        // Killed after all was done and said.
        for path in sent
            .keys()
            .filter(|path| path.starts_with("one.bin") || path.starts_with("many"))
        {
            assert!(
                arrived.contains_key(path),
                "{when}: {} is missing",
                path.display()
            );
        }
    } else {
        assert!(survivor.signal.is_none(), "{when}");
        assert!(
            survivor.err.contains("rdv: "),
            "{when}: the survivor says why: {}",
            survivor.err
        );
    }
}

#[test]
fn the_receiver_dies() {
    for point in POINTS {
        kill_at(point, true);
    }
}

#[test]
fn the_sender_dies() {
    for point in POINTS {
        kill_at(point, false);
    }
}

#[test]
fn the_host_dies_and_the_bytes_go_on() {
    let (alice, bob) = (person(), person());
    File::create(alice.path("long"))
        .unwrap()
        .set_len(512 << 20)
        .unwrap();
    let host = HostRun::start(&[]);
    let mut sender = alice.run(host.args("send", &["--relay", "never", "long"]));
    let code = sender.code();
    let mut receiver = bob.run(host.args("receive", &["--json", "--yes", "-o", "out", &code]));
    receiver.event_with("progress", |event| event["bytes"].as_u64() > Some(0));
    drop(host);
    receiver.finish().expect_code(0);
    sender.finish().expect_code(0);
    assert_eq!(bob.path("out/long").metadata().unwrap().len(), 512 << 20);
}
