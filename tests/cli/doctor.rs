//! `rdv doctor`: what it says of networks that are known.

use std::net::TcpListener;
use std::time::Duration;

use rdv_tests::netlab::{Netlab, PUBLIC, PUBLIC_2};
use rdv_tests::process::Ended;
use rdv_tests::socks::{ToPeers, Wall};
use serde_json::Value;

use crate::desk::{HostRun, person};

/// The finding of that name.
#[track_caller]
fn finding(ended: &Ended, name: &str) -> Value {
    let found = ended
        .events()
        .into_iter()
        .find(|event| event["event"] == "finding" && event["name"] == name);
    found.unwrap_or_else(|| panic!("no finding {name} in\n{}", ended.out))
}

#[test]
fn a_host_is_examined_over_tls_tcp_and_udp_and_its_relay_and_clock_as_well() {
    let host = HostRun::start(&[]);
    let args = host.args("doctor", &["--json", "--no-port-mapping"]);
    let ended = person().run(args).finish().expect_code(0);
    for (name, at) in [
        ("host_tcp", &host.address),
        ("host_udp", &host.address),
        ("relay_tcp", &host.address),
        ("relay_udp", &host.address),
    ] {
        let value = &finding(&ended, name)["value"];
        assert_eq!(value["ok"], true, "{name}: {value}");
        assert_eq!(value["at"], at.to_string(), "{name}");
        assert!(value["ms"].is_u64(), "{name}: {value}");
        let seen = value["seen_as"].as_str().unwrap_or_default();
        assert!(seen.starts_with("127.0.0.1:"), "{name}: {value}");
    }
    assert_eq!(finding(&ended, "host_tls")["value"]["ok"], true);
    let versions = &finding(&ended, "versions")["value"];
    assert!(versions["client"].is_string(), "{versions}");
    let host_version = versions["host"].as_str().unwrap_or_default();
    assert!(host_version.starts_with("rdv-host "), "{versions}");
    let ahead = &finding(&ended, "clock")["value"]["host_ahead_ms"];
    assert!(
        ahead.as_i64().is_some_and(|ms| ms.abs() < 5_000),
        "one clock: {ahead}"
    );
    // Two ports of one address: whether strangers are let in takes two addresses.
    assert_eq!(
        finding(&ended, "udp_filtering")["value"],
        "address_dependent_or_less"
    );
    assert_eq!(
        finding(&ended, "port_mapping")["value"],
        serde_json::json!([])
    );
    for name in ["addresses", "ipv6", "udp_mapping", "verdict"] {
        finding(&ended, name);
    }
    for event in ended
        .events()
        .iter()
        .filter(|event| event["event"] == "finding")
    {
        for field in ["text", "means"] {
            let sentence = event[field].as_str().unwrap_or_default();
            assert!(!sentence.is_empty(), "{event}");
        }
    }
    assert_eq!(ended.result()["ok"], true);
}

#[test]
fn without_a_host_it_says_what_it_cannot_know() {
    let ended = person()
        .run(["doctor", "--no-port-mapping"])
        .finish()
        .expect_code(0);
    for part in [
        "versions",
        "own addresses",
        "IPv6",
        "port mapping",
        "not tested",
    ] {
        assert!(ended.out.contains(part), "{part} in\n{}", ended.out);
    }
    assert!(ended.err.contains("--host"), "{}", ended.err);
    let json = person()
        .run(["doctor", "--json", "--no-port-mapping"])
        .finish()
        .expect_code(0);
    assert_eq!(finding(&json, "udp_filtering")["value"], "not_tested");
    assert_eq!(json.events()[0]["event"], "hello");
    assert_eq!(json.result()["ok"], true);
}

#[test]
fn a_host_that_is_not_there_is_12_after_what_is_known_all_the_same() {
    // Bound and dropped, where no other test listens: nobody is there.
    let closed = TcpListener::bind("127.77.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ended = person()
        .run([
            "doctor",
            "--json",
            "--no-port-mapping",
            "--host",
            &closed.to_string(),
        ])
        .finish()
        .expect_code(12);
    finding(&ended, "addresses");
    assert_eq!(finding(&ended, "host_tcp")["value"]["ok"], false);
    assert_eq!(ended.result()["exit"], 12);
}

#[test]
fn without_udp_the_host_is_asked_over_tcp_alone() {
    let host = HostRun::start(&[]);
    let args = host.args("doctor", &["--json", "--no-port-mapping", "--no-udp"]);
    let ended = person().run(args).finish().expect_code(0);
    assert_eq!(finding(&ended, "host_tcp")["value"]["ok"], true);
    assert_eq!(finding(&ended, "udp_filtering")["value"], "not_tested");
    assert_eq!(finding(&ended, "udp_mapping")["value"], "not_tested");
    let udp = ended
        .events()
        .iter()
        .any(|event| event["name"] == "host_udp");
    assert!(!udp, "{}", ended.out);
    assert!(finding(&ended, "clock")["value"]["host_ahead_ms"].is_i64());
}

#[test]
fn behind_a_proxy_nobody_but_the_proxy_hears_from_this_machine() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay_udp = std::net::UdpSocket::bind(relay.local_addr().unwrap()).unwrap();
    let relay_at = relay.local_addr().unwrap().to_string();
    let host = HostRun::start(&["--relay-public", &relay_at]);
    // The host passes; whatever else is asked for is refused.
    let wall = Wall::build(Some(host.address), ToPeers::Cut, Duration::ZERO);
    let wall = runtime.block_on(wall);
    let proxy = format!("socks5://{}", wall.address());
    let args = host.args("doctor", &["--json", "--proxy", &proxy]);
    let ended = person().run(args).finish().expect_code(0);
    assert_eq!(finding(&ended, "host_tls")["value"]["ok"], true);
    assert_eq!(finding(&ended, "relay_tcp")["value"]["ok"], false);
    assert_eq!(finding(&ended, "verdict")["value"], "proxy");
    let looked = ["addresses", "udp_mapping", "port_mapping", "host_udp"];
    for event in ended.events() {
        assert!(!looked.iter().any(|name| event["name"] == *name), "{event}");
    }
    relay.set_nonblocking(true).unwrap();
    relay_udp.set_nonblocking(true).unwrap();
    assert!(relay.accept().is_err(), "the relay saw a connection");
    assert!(relay_udp.recv(&mut [0; 64]).is_err(), "the relay saw UDP");
}

#[test]
fn the_kinds_of_nat_are_told_apart() {
    let kinds = [
        ("open", "open", "endpoint_independent"),
        ("fullcone", "endpoint_independent", "endpoint_independent"),
        ("adf", "endpoint_independent", "address_dependent"),
        ("eim", "endpoint_independent", "address_and_port_dependent"),
        (
            "symmetric",
            "endpoint_dependent",
            "address_and_port_dependent",
        ),
        ("udp-blocked", "blocked", "no_udp"),
    ];
    for pair in kinds.chunks(2) {
        let [(a, ..), (b, ..)] = *pair else {
            panic!("two at a time")
        };
        let Some(lab) = Netlab::up(&[format!("A={a}"), format!("B={b}")]) else {
            return;
        };
        let server = person().in_namespace(lab.namespace("pub"));
        let address = format!("{PUBLIC}:443");
        // Two addresses with two ports, so that each kind of filtering shows.
        let more = [
            "--listen",
            &format!("{PUBLIC}:5190"),
            "--relay-listen",
            &format!("{PUBLIC_2}:443"),
        ];
        let _host = HostRun::start_at(server, &address, &more);
        for (side, (kind, mapping, filtering)) in ["a", "b"].iter().zip(pair) {
            let ended = person()
                .in_namespace(lab.namespace(side))
                .run(["doctor", "--json", "--host", &address])
                .finish()
                .expect_code(0);
            let value = |name: &str| finding(&ended, name)["value"].clone();
            assert_eq!(value("udp_mapping"), *mapping, "{kind}");
            assert_eq!(value("udp_filtering"), *filtering, "{kind}");
            assert_eq!(value("host_udp")["ok"], *kind != "udp-blocked", "{kind}");
            assert_eq!(value("relay_tcp")["ok"], true, "{kind}");
        }
    }
}
