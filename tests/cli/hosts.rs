//! Through a host and a relay of their own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rdv_tests::files::{
    assert_same_tree, sha256, tree, without_execute_bits, write_many, write_random,
};
use rdv_tests::process::{ERR, Ended, LONG, Person};
use rdv_tests::tap::Tap;

use crate::desk::{HostRun, address_in, assert_nothing_in, big_bytes, person, small_file};

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("a bound port")
}

/// Sends `what` from one to the other over `host`; returns how it ended for both.
fn pass(host: &HostRun, alice: &Person, bob: &Person, what: &str, more: &[&str]) -> (Ended, Ended) {
    let mut args = vec!["--json", what];
    args.extend(more);
    let mut sender = alice.run(host.args("send", &args)).patient(LONG);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    assert!(
        !code.contains('@'),
        "both know the host, so the short form will do: {code}"
    );
    let mut args = vec!["--json", "--yes", "-o", "out", code.as_str()];
    args.extend(more);
    let received = bob.run(host.args("receive", &args)).patient(LONG).finish();
    (sender.finish(), received)
}

/// A host whose relay is on its own port, with a tap in front of that.
fn host_with_tapped_relay(tap: impl FnOnce(SocketAddr) -> Tap) -> (HostRun, Tap) {
    let relay = free_address();
    let tap = tap(relay);
    let (listen, public) = (relay.to_string(), tap.address().to_string());
    (
        HostRun::start(&["--relay-listen", &listen, "--relay-public", &public]),
        tap,
    )
}

#[test]
fn a_big_file_goes_through_the_relay_alone() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    let file = alice.path("big.bin");
    write_random(&file, "relayed", big_bytes());
    let (sent, received) = pass(&host, &alice, &bob, "big.bin", &["--relay", "only"]);
    for ended in [sent, received] {
        let ended = ended.expect_code(0);
        assert_eq!(ended.result()["path"], "relay");
        assert_eq!(ended.result()["security"], "verified");
        assert!(ended.peak_rss_kib < 64 * 1024, "{} KiB", ended.peak_rss_kib);
    }
    assert_eq!(sha256(&bob.path("out/big.bin")), sha256(&file));
}

#[test]
fn a_relay_sees_neither_name_nor_bytes() {
    let (host, tap) = host_with_tapped_relay(Tap::before);
    let (alice, bob) = (person(), person());
    let file = alice.path("a very telling name.bin");
    let length = 16 << 20;
    write_random(&file, "relayed", length);
    let (sent, received) = pass(
        &host,
        &alice,
        &bob,
        "a very telling name.bin",
        &["--relay", "only"],
    );
    sent.expect_code(0);
    received.expect_code(0);
    assert_eq!(
        sha256(&bob.path("out/a very telling name.bin")),
        sha256(&file)
    );
    assert!(tap.heard_bytes() as u64 > length, "all of it went this way");
    let content = fs::read(&file).unwrap();
    assert!(!tap.heard(b"telling name"), "the relay saw the name");
    for at in (0..content.len() - 24).step_by(1 << 20) {
        assert!(
            !tap.heard(&content[at..at + 24]),
            "the relay saw bytes of the file"
        );
    }
}

#[test]
fn one_turned_bit_at_the_relay_ends_the_transfer() {
    // Behind the handshake, in the middle of the bytes.
    for at in [3000, 1 << 20] {
        let (host, _tap) = host_with_tapped_relay(|relay| Tap::turning_a_bit(relay, at));
        let (alice, bob) = (person(), person());
        write_random(&alice.path("a"), "turned", 8 << 20);
        let mut sender = alice.run(host.args("send", &["--relay", "only", "a"]));
        let code = sender.code();
        let received = bob
            .run(host.args("receive", &["--relay", "only", "--yes", "-o", "out", &code]))
            .finish();
        assert_ne!(received.code, Some(0), "bit {at}: {received:?}");
        assert_ne!(sender.finish().code, Some(0));
        assert!(!bob.path("out/a").exists());
    }
}

#[test]
fn ten_thousand_files_go_through_the_relay_of_the_host() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    write_many(&alice.path("many"), 10_000);
    let (sent, received) = pass(&host, &alice, &bob, "many", &["--relay", "only"]);
    assert_eq!(sent.expect_code(0).result()["path"], "relay");
    assert_eq!(received.expect_code(0).result()["path"], "relay");
    assert_same_tree(
        &without_execute_bits(tree(&alice.path("many"))),
        &tree(&bob.path("out/many")),
    );
}

#[test]
fn one_who_wants_the_relay_is_enough() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let host = HostRun::start(&[]);
    let mut sender = alice.run(host.args("send", &["--json", "--relay", "only", "a"]));
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let received = bob
        .run(host.args("receive", &["--json", "--yes", "-o", "out", &code]))
        .finish()
        .expect_code(0);
    assert_eq!(received.result()["path"], "relay");
    assert_eq!(sender.finish().expect_code(0).result()["path"], "relay");
}

#[test]
fn a_host_lets_the_two_meet_directly() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let (sent, received) = pass(&host, &alice, &bob, "a", &["--relay", "never"]);
    assert_eq!(sent.expect_code(0).result()["path"], "direct");
    assert_eq!(received.expect_code(0).result()["path"], "direct");
}

#[test]
fn only_the_relay_and_never_the_relay_find_no_path() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["--relay", "only", "a"]));
    let code = sender.code();
    let received = bob
        .run(host.args(
            "receive",
            &["--relay", "never", "--yes", "-o", "out", &code],
        ))
        .finish();
    let sent = sender.finish();
    for ended in [sent, received] {
        ended.expect_code(6);
    }
    assert_nothing_in(&bob.path("out"));
}

#[test]
fn a_relay_can_run_elsewhere() {
    let (carol, dave) = (person(), person());
    let mut relay = carol.run(["relay", "--open", "--listen", "127.0.0.1:0"]);
    let address = address_in(&relay.line_with(ERR, "Relay on")).to_string();
    let host = HostRun::start_at(dave, "127.0.0.1:0", &["--relay", &address]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let (sent, received) = pass(&host, &alice, &bob, "a", &["--relay", "only"]);
    assert_eq!(sent.expect_code(0).result()["path"], "relay");
    assert_eq!(received.expect_code(0).result()["path"], "relay");
}

#[test]
fn the_environment_can_name_the_host() {
    let host = HostRun::start(&[]);
    let alice = person().with_env("RDV_HOST", host.address.to_string());
    let bob = person().with_env("RDV_HOST", host.address.to_string());
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "a"]);
    let code = sender.code();
    bob.run(["receive", "--yes", &code]).finish().expect_code(0);
    sender.finish().expect_code(0);
}

#[test]
fn a_host_keeps_its_key_and_another_key_at_its_place_is_refused() {
    let host = HostRun::start(&[]);
    let (address, fingerprint) = (host.address.to_string(), host.fingerprint.clone());
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let (sent, received) = pass(&host, &alice, &bob, "a", &[]);
    sent.expect_code(0);
    received.expect_code(0);

    // The same host, started again: same key, nobody is troubled.
    let host = host.restart();
    assert_eq!(host.fingerprint, fingerprint);
    fs::remove_dir_all(bob.path("out")).unwrap();
    let (sent, received) = pass(&host, &alice, &bob, "a", &[]);
    sent.expect_code(0);
    received.expect_code(0);

    // Somebody else at the same place.
    host.stop();
    let other = HostRun::start_at(person(), &address, &[]);
    assert_ne!(other.fingerprint, fingerprint);
    let ended = alice.run(other.args("send", &["a"])).finish();
    assert!(matches!(ended.code, Some(5 | 12)), "{ended:?}");
    assert!(ended.out.is_empty(), "no code was shown: {}", ended.out);
    for needed in [
        fingerprint.as_str(),
        other.fingerprint.as_str(),
        "known_hosts",
    ] {
        assert!(
            ended.err.contains(needed),
            "{needed} is missing in: {}",
            ended.err
        );
    }
}

#[test]
fn a_host_key_that_is_given_must_be_shown() {
    let host = HostRun::start(&[]);
    let other = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let (sent, received) = pass(&host, &alice, &bob, "a", &["--host-key", &host.fingerprint]);
    sent.expect_code(0);
    received.expect_code(0);
    let ended = person_with_file()
        .run(host.args("send", &["--host-key", &other.fingerprint, "a"]))
        .finish();
    assert!(matches!(ended.code, Some(5 | 12)), "{ended:?}");
    assert!(ended.out.is_empty());
    let ended = person_with_file()
        .run(host.args("send", &["--host-key", "not a fingerprint", "a"]))
        .finish();
    assert!(matches!(ended.code, Some(2)), "{ended:?}");
}

fn person_with_file() -> Person {
    let person = person();
    small_file(&person, "a");
    person
}

#[test]
fn a_host_takes_a_certificate_of_ones_own() {
    let maker = HostRun::start(&["--state", "state"]);
    let made = find_pem(&maker.owner.path("state"));
    let Some((cert, key)) = made else {
        panic!("the host keeps a certificate and its key in PEM files")
    };
    let host = HostRun::start(&["--tls-cert", &cert, "--tls-key", &key]);
    assert_eq!(host.fingerprint, maker.fingerprint);
}

/// The certificate and the key that a host has made.
fn find_pem(state: &Path) -> Option<(String, String)> {
    let (mut cert, mut key) = (None, None);
    for path in tree(state).into_keys().map(|path| state.join(path)) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let path = path.to_str()?.to_owned();
        if text.contains("PRIVATE KEY") {
            key = Some(path);
        } else if text.contains("BEGIN CERTIFICATE") {
            cert = Some(path);
        }
    }
    cert.zip(key)
}

#[test]
fn the_key_of_a_host_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let host = HostRun::start(&["--state", "state"]);
    let state = host.owner.path("state");
    for path in tree(&state).into_keys().map(|path| state.join(path)) {
        if fs::read_to_string(&path).is_ok_and(|text| text.contains("PRIVATE KEY")) {
            assert_eq!(
                path.metadata().unwrap().permissions().mode() & 0o077,
                0,
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn two_transfers_at_one_host_do_not_mix() {
    let host = HostRun::start(&[]);
    let people: Vec<_> = (0..2).map(|_| (person(), person())).collect();
    let mut senders = Vec::new();
    for (index, (alice, _)) in people.iter().enumerate() {
        fs::write(alice.path("a"), format!("from {index}")).unwrap();
        let mut sender = alice.run(host.args("send", &["a"]));
        let code = sender.code();
        senders.push((sender, code));
    }
    for ((_, bob), (_, code)) in people.iter().zip(&senders).rev() {
        bob.run(host.args("receive", &["--yes", code]))
            .finish()
            .expect_code(0);
    }
    for (index, ((sender, _), (_, bob))) in senders.into_iter().zip(&people).enumerate() {
        sender.finish().expect_code(0);
        assert_eq!(
            fs::read_to_string(bob.path("a")).unwrap(),
            format!("from {index}")
        );
    }
}
