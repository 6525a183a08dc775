//! A stranger who finds the open port first, fifty times, neither wins nor ends the transfer (S-12).

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use rdv::oscar::{Client, SignOn};
use rdv::signaling::Signaling;
use rdv::trust::HostTrust;
use rdv::{Code, Engine, RelayPolicy, ScreenName, Sink, SinkOptions};
use rdv_tests::gate::Gated;
use rdv_tests::ports::listening;
use rdv_tests::process::PATIENCE;

use crate::desk::{HostRun, person, small_file};

#[test]
fn fifty_strangers_at_the_open_port_do_not_matter() {
    let host = HostRun::start(&[]);
    let alice = person();
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["--json", "--relay", "never", "a"]));
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let code = Code::parse(&code).unwrap();
    let out = tempfile::tempdir().unwrap();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let received = runtime.block_on(async {
        let address = host.address.to_string();
        let client = Client::connect(&address, &HostTrust::AcceptAny, SignOn::Join, PATIENCE)
            .await
            .unwrap();
        let (gate, channel) = Gated::new(client);
        let engine = Engine::builder(channel)
            .host_on_this_machine(true)
            .relay_policy(RelayPolicy::Never)
            .never_dial([host.address])
            .build();
        let peer = ScreenName::new(code.number().to_string()).unwrap();
        let receiving = engine
            .fetch_with_code(
                peer,
                code.words().clone(),
                Sink::folder(out.path(), SinkOptions::default()).unwrap(),
            )
            .await
            .unwrap();

        // When the sender has answered, its door is open; its answer waits at the gate, so that nobody it is meant for knows.
        let deadline = Instant::now() + PATIENCE;
        let mut ports = listening(sender.pid());
        while ports.is_empty() {
            assert!(Instant::now() < deadline, "the sender opens a port");
            tokio::task::yield_now().await;
            ports = listening(sender.pid());
        }
        let mut strangers = Vec::new();
        for number in 0..50 {
            for &port in &ports {
                let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let words: &[u8] = match number % 5 {
                    0 => b"",
                    1 => b"GET / HTTP/1.1\r\n\r\n",
                    2 => &[0x16, 3, 1, 0x40, 0, 1],
                    3 => &[0xFF; 4096],
                    _ => b"OFT2\x01\x00\x01\x01",
                };
                // It may have hung up already.
                let _ = stranger.write_all(words);
                strangers.push(stranger);
            }
        }
        gate.open();
        let received = tokio::time::timeout(PATIENCE, receiving.finish(|_| true))
            .await
            .expect("an end");
        drop(strangers);
        engine.close().await;
        received
    });
    assert_eq!(received.unwrap().files, 1);
    assert_eq!(sender.finish().expect_code(0).result()["path"], "direct");
    assert_eq!(
        fs::read_to_string(out.path().join("a")).unwrap(),
        "this is a\n"
    );
}

#[test]
fn s_11_who_wants_the_relay_alone_opens_no_door() {
    let host = HostRun::start(&["--relay-listen", "127.0.0.1:0"]);
    for relay in ["only", "auto"] {
        let (alice, bob) = (person(), person());
        small_file(&alice, "a");
        let mut sender = alice.run(host.args("send", &["--json", "--relay", relay, "a"]));
        let code = sender.event("code")["code"]
            .as_str()
            .expect("a string")
            .to_owned();
        let args = ["--relay", relay, "-o", "out", &code];
        let mut receiver = bob.run_on_terminal(host.args("receive", &args));
        receiver.expect("[y/N]");
        sender.event("connected");
        // Otherwise the door is open as long as the transfer lives, for the peer may need it again.
        for pid in [sender.pid(), receiver.pid()] {
            assert_eq!(listening(pid).is_empty(), relay == "only", "{relay}");
        }
        receiver.type_line("y");
        receiver.finish().expect_code(0);
        sender.finish().expect_code(0);
    }
}

/// The host has bound the number to the stranger, so that nobody else can use the code any more.
#[test]
fn s_06_whoever_speaks_first_to_a_number_uses_it_up_and_the_sender_is_told() {
    let host = HostRun::start(&[]);
    let native = [
        0x7d, 0x6b, 0x8a, 0x52, 0x3c, 0x1e, 0x4f, 0x0a, 0x9b, 0x47, 0xd2, 0xe5, 0x61, 0x0c, 0x98,
        0xaf,
    ];
    for (service, sequence) in [(native, 1), (native, 2), ([0x5A; 16], 1)] {
        let alice = person();
        small_file(&alice, "a");
        let mut sender = alice.run(host.args("send", &["--json", "a"]));
        let code = sender.event("code")["code"]
            .as_str()
            .expect("a string")
            .to_owned();
        let code = Code::parse(&code).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let stranger = runtime.block_on(async {
            let address = host.address.to_string();
            let stranger = Client::connect(&address, &HostTrust::AcceptAny, SignOn::Join, PATIENCE)
                .await
                .unwrap();
            let number = ScreenName::new(code.number().to_string()).unwrap();
            // A proposal with nothing but its number.
            let head = [&[6, 0, 0][..], b"STRANGER", &service].concat();
            let body = [&head[..], &[0, 0x0A, 0, 2, 0, sequence]].concat();
            stranger.send(number, body.into(), false).await.unwrap();
            stranger
        });
        let ended = sender.finish().expect_code(5);
        assert!(
            ended.err.contains("used up"),
            "{service:?} {sequence}: {}",
            ended.err
        );
        drop(stranger);
    }
}

#[test]
fn who_wants_the_relay_only_opens_no_port() {
    let host = HostRun::start(&[]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["--json", "--relay", "only", "a"]));
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let mut receiver =
        bob.run_on_terminal(host.args("receive", &["--relay", "only", "-o", "out", &code]));
    receiver.expect("[y/N]");
    for pid in [sender.pid(), receiver.pid()] {
        assert_eq!(listening(pid), BTreeSet::new());
    }
    receiver.type_line("y");
    receiver.finish().expect_code(0);
    sender.finish().expect_code(0);
}
