//! Two machines on one switch, and a machine without a network: network namespaces stand in for them.

use rdv_tests::files::{sha256, write_random};
use rdv_tests::netns::Namespaces;
use rdv_tests::process::{LONG, Run};

use crate::desk::{HostRun, big_bytes, person, small_file, text};

fn short_code(sender: &mut Run) -> String {
    sender.expect("Code: ");
    sender.expect("\r\n").trim().to_owned()
}

#[test]
fn the_short_code_is_enough_between_two_machines_on_one_switch() {
    let Some(net) = Namespaces::on_one_bridge() else {
        return;
    };
    let (alice, bob) = (
        person().in_namespace(net.name("a")),
        person().in_namespace(net.name("b")),
    );
    let file = alice.path("big.bin");
    write_random(&file, "switch", big_bytes());
    let mut sender = alice.run_on_terminal(["send", text(&file)]).patient(LONG);
    let code = short_code(&mut sender);
    assert!(!code.contains('@'), "{code}");
    let received = bob
        .run(["receive", "--json", "--yes", "-o", "out", &code])
        .patient(LONG)
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    assert_eq!(received.result()["path"], "direct");
    assert_eq!(sha256(&bob.path("out/big.bin")), sha256(&file));
}

#[test]
fn the_long_code_is_enough_between_two_machines_on_one_switch() {
    let Some(net) = Namespaces::on_one_bridge() else {
        return;
    };
    let (alice, bob) = (
        person().in_namespace(net.name("a")),
        person().in_namespace(net.name("b")),
    );
    let file = alice.path("a.bin");
    write_random(&file, "switch", 1 << 20);
    let mut sender = alice.run(["send", text(&file)]);
    let code = sender.code();
    assert!(code.contains("10.77.0.1:"), "{code}");
    assert!(
        !code.contains("127.0.0.1"),
        "loopback is of no use to another machine: {code}"
    );
    let received = bob
        .run(["receive", "--json", "--yes", "-o", "out", &code])
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    assert_eq!(received.result()["path"], "direct");
    assert_eq!(sha256(&bob.path("out/a.bin")), sha256(&file));
}

#[test]
fn loopback_alone_is_enough_for_two_terminals() {
    let Some(net) = Namespaces::loopback_only() else {
        return;
    };
    let (alice, bob) = (
        person().in_namespace(net.name("l")),
        person().in_namespace(net.name("l")),
    );
    let file = alice.path("a.bin");
    write_random(&file, "lonely", 1 << 20);
    for short in [false, true] {
        let (mut sender, code);
        if short {
            sender = alice.run_on_terminal(["send", text(&file)]);
            code = short_code(&mut sender);
        } else {
            sender = alice.run(["send", text(&file)]);
            code = sender.code();
        }
        let out = if short { "short" } else { "long" };
        bob.run(["receive", "--yes", "-o", out, &code])
            .finish()
            .expect_code(0);
        sender.finish().expect_code(0);
        assert_eq!(sha256(&bob.path(out).join("a.bin")), sha256(&file));
    }
}

#[test]
fn where_no_direct_way_exists_the_relay_carries_it() {
    let Some(net) = Namespaces::with_only_a_host_between() else {
        return;
    };
    let _host = HostRun::start_at(person().in_namespace(net.name("h")), "0.0.0.0:5190", &[]);
    let (alice, bob) = (
        person().in_namespace(net.name("a")),
        person().in_namespace(net.name("b")),
    );
    small_file(&alice, "a");
    let mut sender = alice.run(["send", "--host", "203.0.113.5", "--json", "a"]);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let receiver = bob.run([
        "receive",
        "--host",
        "203.0.113.5:5190",
        "--json",
        "--yes",
        "-o",
        "out",
        &code,
    ]);
    let received = receiver.finish().expect_code(0);
    assert_eq!(received.result()["path"], "relay");
    assert_eq!(sender.finish().expect_code(0).result()["path"], "relay");
    assert!(bob.path("out/a").exists());

    let mut sender = alice.run(["send", "--host", "203.0.113.5", "--relay", "never", "a"]);
    let code = sender.code();
    let receiver = bob.run([
        "receive",
        "--host",
        "203.0.113.5",
        "--relay",
        "never",
        "--yes",
        "-o",
        "no",
        &code,
    ]);
    receiver.finish().expect_code(6);
    sender.finish().expect_code(6);
}
