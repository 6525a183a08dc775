//! Every pair of clients of which one at least is libpurple, over every road, with every kind of file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::LazyLock;

use rdv_tests::files::{sha256, write_random};
use rdv_tests::process::{Ended, LONG};
use tempfile::TempDir;

use crate::lab::{Lab, Road, Side, arrived, purple_receiver, rdv_receiver, text};

/// What is sent: one byte; an odd number of bytes; a lot; a name outside ASCII.
struct Files {
    _folder: TempDir,
    all: Vec<(PathBuf, [u8; 32])>,
    bytes: u64,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let folder = TempDir::new().expect("temporary folder");
    let all: Vec<_> = [
        ("one.bin", 1),
        ("odd.bin", (1 << 20) + 1),
        ("naïve файл 日本.bin", 5000),
        ("large.bin", 200 << 20),
    ]
    .into_iter()
    .map(|(name, length)| {
        let path = folder.path().join(name);
        write_random(&path, name, length);
        let hash = sha256(&path);
        (path, hash)
    })
    .collect();
    Files {
        bytes: all
            .iter()
            .map(|(path, _)| {
                File::open(path)
                    .and_then(|file| file.metadata())
                    .expect("a file")
                    .len()
            })
            .sum(),
        _folder: folder,
        all,
    }
});

impl Files {
    #[track_caller]
    fn assert_arrived_in(&self, folder: PathBuf) {
        for (sent, hash) in &self.all {
            let there = arrived(folder.clone(), sent);
            assert_eq!(sha256(&there), *hash, "{}", there.display());
        }
        let there = rdv_tests::files::tree(&folder);
        assert_eq!(there.len(), self.all.len(), "nothing else: {there:?}");
    }

    fn count(&self) -> u64 {
        self.all.len() as u64
    }
}

fn purple_to_rdv(road: Road) {
    let Some(lab) = Lab::new(road) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let count = FILES.count().to_string();
    let receiver = rdv_receiver(&bob, Side::Alice.account(), &["--count", &count]);
    send_all_with_purple(&alice);
    let received = receiver.finish().expect_code(0);
    FILES.assert_arrived_in(bob.path("in"));
    let transfers: Vec<_> = received
        .events()
        .into_iter()
        .filter(|event| event["event"] == "transfer")
        .collect();
    assert_eq!(transfers.len(), FILES.all.len());
    for transfer in transfers {
        assert_eq!(transfer["ok"], true, "{transfer}");
        assert_eq!(transfer["path"], road.path(), "{transfer}");
        assert_eq!(transfer["security"], "plain", "{transfer}");
    }
    lab.assert_road(road, FILES.count(), FILES.bytes);
}

fn rdv_to_purple(road: Road) {
    let Some(lab) = Lab::new(road) else {
        return;
    };
    let (alice, bob) = (lab.rdv(Side::Alice), lab.purple(Side::Bob));
    let count = FILES.count().to_string();
    let receiver = purple_receiver(&bob, &["--recv-count", &count]);
    for (file, _) in &FILES.all {
        let args = [
            "send",
            "--to",
            Side::Bob.account(),
            "--allow-plain",
            "--json",
            text(file),
        ];
        let sent = alice.run(args).patient(LONG).finish().expect_code(0);
        assert_eq!(sent.result()["path"], road.path());
        assert_eq!(sent.result()["security"], "plain");
    }
    receiver.finish().expect_code(0);
    FILES.assert_arrived_in(bob.path("in"));
    lab.assert_road(road, FILES.count(), FILES.bytes);
}

fn purple_to_purple(road: Road) {
    let Some(lab) = Lab::new(road) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.purple(Side::Bob));
    let count = FILES.count().to_string();
    let receiver = purple_receiver(&bob, &["--recv-count", &count]);
    send_all_with_purple(&alice);
    receiver.finish().expect_code(0);
    FILES.assert_arrived_in(bob.path("in"));
    lab.assert_road(road, FILES.count(), FILES.bytes);
}

fn send_all_with_purple(alice: &rdv_tests::purple::PurpleUser) -> Ended {
    let mut args = vec!["--timeout", "150"];
    for (file, _) in &FILES.all {
        args.extend(["--send", Side::Bob.account(), text(file)]);
    }
    alice.run(args).patient(LONG).finish().expect_code(0)
}

#[test]
fn libpurple_sends_to_rdv_which_connects() {
    purple_to_rdv(Road::Direct);
}

#[test]
fn libpurple_that_cannot_be_reached_sends_to_rdv() {
    purple_to_rdv(Road::Redirect);
}

#[test]
fn libpurple_sends_to_rdv_over_the_relay_if_neither_can_be_reached() {
    purple_to_rdv(Road::Relay);
}

#[test]
fn rdv_sends_to_libpurple_which_connects() {
    rdv_to_purple(Road::Direct);
}

#[test]
fn rdv_that_cannot_be_reached_sends_to_libpurple() {
    rdv_to_purple(Road::Redirect);
}

#[test]
fn rdv_sends_to_libpurple_over_the_relay_if_neither_can_be_reached() {
    rdv_to_purple(Road::Relay);
}

#[test]
fn libpurple_sends_to_libpurple_which_connects() {
    purple_to_purple(Road::Direct);
}

#[test]
fn libpurple_that_cannot_be_reached_sends_to_libpurple() {
    purple_to_purple(Road::Redirect);
}

#[test]
fn libpurple_sends_to_libpurple_over_our_relay_if_neither_can_be_reached() {
    purple_to_purple(Road::Relay);
}
