//! What operators see of a host and a relay, and how these start and stop under a service manager.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rdv_tests::files::{sha256, write_random};
use rdv_tests::process::{ERR, LONG, PATIENCE, Person, Run, Signal};
use serde_json::Value;

use crate::desk::{address_in, big_bytes, person, small_file};

/// The answer to `GET path`: its status, and its body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    say(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"),
    )
}

fn say(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the port for the operator");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    // A server that refuses may hang up while it is still being talked to.
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}

/// Asks until the answer is this one; each question is an event, and nothing else tells.
fn wait_for(address: SocketAddr, path: &str, status: u16, text: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (code, body) = get(address, path);
        if code == status && body.contains(text) {
            return;
        }
        assert!(Instant::now() < end, "{path}: {code} {body}");
        std::thread::yield_now();
    }
}

/// The value of a series.
fn metric(address: SocketAddr, series: &str) -> f64 {
    let (_, text) = get(address, "/metrics");
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("{series} in {text}"));
    line.rsplit(' ')
        .next()
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

/// `rdv host` that tells its metrics: where these are, and where it is.
fn host_with_metrics(owner: &Person, more: &[&str]) -> (Run, SocketAddr, SocketAddr) {
    let args = [
        "host",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ];
    let mut run = owner.run(args.iter().chain(more)).patient(LONG);
    let host = address_in(&run.line_with(ERR, "Host on"));
    let told = run
        .line_with(ERR, "Metrics on")
        .replace("http://", "")
        .replace("/metrics", "");
    let metrics = address_in(&told);
    run.line_with(ERR, "Accounts:");
    (run, host, metrics)
}

#[test]
fn metrics_health_and_readiness_are_told_over_http() {
    let owner = person();
    let (_run, host, metrics) = host_with_metrics(&owner, &[]);
    assert_eq!(get(metrics, "/healthz"), (200, "ok\n".to_owned()));
    wait_for(metrics, "/readyz", 200, "ready");
    assert_eq!(metric(metrics, "rdv_refused_total{limit=\"queue\"}"), 0.0);
    assert_eq!(metric(metrics, "rdv_draining"), 0.0);
    // Nobody signs on with these.
    let mut stranger = TcpStream::connect(host).expect("the host");
    stranger
        .write_all(b"\x2a\x02\xff\xff\xff\xff")
        .expect("a frame that is too long");
    let mut answer = Vec::new();
    stranger.read_to_end(&mut answer).expect("the end");
    assert!(
        answer.starts_with(b"\x2a\x01"),
        "a greeting first: {answer:?}"
    );
    assert_eq!(metric(metrics, "rdv_refused_total{limit=\"frame\"}"), 1.0);
    assert_eq!(
        metric(metrics, "rdv_connections_total{transport=\"plain\"}"),
        1.0
    );
    assert_eq!(get(metrics, "/").0, 404);
    assert_eq!(
        say(metrics, "POST /metrics HTTP/1.1\r\nHost: here\r\n\r\n").0,
        405
    );
}

#[test]
fn metrics_are_not_told_to_other_machines_unless_the_operator_says_so() {
    let owner = person();
    let args = ["host", "--listen", "127.0.0.1:0", "--metrics", "0.0.0.0:0"];
    let refused = owner.run(args).finish().expect_code(2);
    assert!(refused.err.contains("--metrics-for-all"), "{}", refused.err);
    let mut run = owner.run(args.iter().chain(&["--metrics-for-all"]));
    run.line_with(ERR, "Metrics on");
}

#[test]
fn those_who_only_occupy_the_operators_port_do_not_shut_it() {
    let owner = person();
    let (_run, _, metrics) = host_with_metrics(&owner, &[]);
    let silent: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(metrics).expect("a connection"))
        .collect();
    assert_eq!(get(metrics, "/healthz").0, 200);
    drop(silent);
    let long = format!(
        "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    assert_ne!(say(metrics, &long).0, 200);
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000));
    assert_ne!(say(metrics, &many).0, 200);
    assert_eq!(get(metrics, "/healthz").0, 200);
}

#[test]
fn a_host_whose_relays_are_gone_is_not_ready() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr());
    let nobody = nobody.expect("a port that was free").to_string();
    let owner = person();
    let (_run, _, metrics) = host_with_metrics(&owner, &["--relay", &nobody]);
    wait_for(metrics, "/readyz", 503, "no relay answers");
    assert_eq!(get(metrics, "/healthz").0, 200);
}

/// A big file under way through the relay of the host.
fn relayed(host: SocketAddr, alice: &Person, bob: &Person) -> (Run, Run) {
    write_random(&alice.path("big.bin"), "drained", 2 * big_bytes());
    let host = host.to_string();
    let more = ["--host", &host, "--relay", "only", "--json"];
    let mut sender = alice
        .run(["send", "big.bin"].iter().chain(&more))
        .patient(LONG);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let args = ["receive", "--yes", "-o", "out", code.as_str()];
    let receiver = bob.run(args.iter().chain(&more)).patient(LONG);
    sender.event_with("progress", |event| event["bytes"].as_u64() > Some(0));
    (sender, receiver)
}

#[test]
fn sigterm_lets_a_relayed_transfer_finish_and_begins_nothing_new() {
    let (owner, alice, bob, carol) = (person(), person(), person(), person());
    let (run, host, metrics) = host_with_metrics(&owner, &[]);
    let (sender, receiver) = relayed(host, &alice, &bob);
    receiver.signal(Signal::STOP);
    run.signal(Signal::TERM);
    wait_for(metrics, "/readyz", 503, "draining");
    small_file(&carol, "late");
    let late = carol.run(["send", "late", "--host", &host.to_string()]);
    let late = late.finish().expect_code(12);
    assert!(late.err.contains("host"), "{}", late.err);
    receiver.signal(Signal::CONT);
    sender.finish().expect_code(0);
    receiver.finish().expect_code(0);
    assert_eq!(
        sha256(&bob.path("out/big.bin")),
        sha256(&alice.path("big.bin"))
    );
    run.finish().expect_code(0);
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let (owner, alice, bob) = (person(), person(), person());
    let config = owner.path("host.toml");
    std::fs::write(&config, "[host]\nrelay_time = \"10h\"\n").expect("a file");
    let (run, host, metrics) = host_with_metrics(&owner, &["--config", "host.toml"]);
    let (_sender, receiver) = relayed(host, &alice, &bob);
    receiver.signal(Signal::STOP);
    run.signal(Signal::TERM);
    wait_for(metrics, "/readyz", 503, "draining");
    let asked = Instant::now();
    run.signal(Signal::TERM);
    let ended = run.finish().expect_code(0);
    assert!(
        ended.at - asked < Duration::from_secs(10),
        "{:?}",
        ended.at - asked
    );
}

/// A socket as a service manager has it for notifications.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { socket, path }
    }

    /// Waits for a word.
    #[track_caller]
    fn hears(&self, word: &str) {
        let mut message = [0; 1024];
        loop {
            let length = self.socket.recv(&mut message).expect("a word in time");
            let said = String::from_utf8_lossy(&message[..length]);
            if said.lines().any(|line| line == word) {
                return;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_when_the_host_is_ready_lives_and_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = Manager::new(folder.path());
    let owner = person()
        .with_env("NOTIFY_SOCKET", &manager.path)
        .with_env("WATCHDOG_USEC", "200000");
    let run = owner.run(["host", "--listen", "127.0.0.1:0"]);
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    run.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    run.finish().expect_code(0);
}

/// Connects, and reads the greeting that a host gives to who is silent.
fn greeted(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).expect("a greeting");
    assert_eq!(greeting, [0x2A, 0x01]);
}

#[test]
fn who_connects_while_the_host_restarts_is_served_by_the_next_one() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    let owner = person();
    let start = || {
        let handed = socket.try_clone().expect("a second handle");
        owner.run_with_socket(["host", "--listen", "192.0.2.1:1"], handed, "host")
    };
    let mut first = start();
    let told = address_in(&first.line_with(ERR, "Host on"));
    assert_eq!(told, address, "the socket counts, not what is said");
    first.line_with(ERR, "Accounts:");
    greeted(&mut TcpStream::connect(address).expect("the first host"));
    first.signal(Signal::TERM);
    first.finish().expect_code(0);
    let mut waiting: Vec<TcpStream> = (0..10)
        .map(|_| TcpStream::connect(address).expect("the socket is still there"))
        .collect();
    let _second = start();
    waiting.iter_mut().for_each(greeted);
}

#[test]
fn a_relay_takes_the_socket_that_it_is_given() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    let owner = person();
    let mut run = owner.run_with_socket(["relay", "--open"], socket, "relay");
    assert_eq!(address_in(&run.line_with(ERR, "Relay on")), address);
    run.signal(Signal::TERM);
    run.finish().expect_code(0);
}

#[test]
fn a_log_for_programs_is_json_alone_and_names_nobody() {
    let (owner, alice, bob) = (person(), person(), person());
    let (secret, file) = ("correct horse battery", "a very telling name");
    std::fs::write(owner.path("password"), secret).expect("a file");
    let add = [
        "host",
        "user",
        "add",
        "Alice Lab",
        "--password-file",
        "password",
    ];
    owner.run(add).finish().expect_code(0);
    let mut run = owner.run(["host", "--listen", "127.0.0.1:0", "--log", "json"]);
    let line = run.line_with(ERR, "Host on");
    let told: Value = serde_json::from_str(&line).expect("JSON");
    let host = address_in(told["message"].as_str().expect("a message"));
    run.line_with(ERR, "Accounts:");
    let host = HostArgs(host.to_string());
    small_file(&alice, file);
    let mut sender = alice.run(host.with(&["send", file, "--json"]));
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    bob.run(host.with(&["receive", "--yes", "-o", "out", &code]))
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    run.signal(Signal::TERM);
    let log = run.finish().expect_code(0).err;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let signed_on: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "signed on")
        .collect();
    assert_eq!(signed_on.len(), 2, "{log}");
    for line in signed_on {
        assert_eq!(line["from"], "127.0.0.0/24", "{line}");
        let account = line["account"].as_str().expect("a hash");
        assert!(
            account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{line}"
        );
    }
    let words: Vec<&str> = code.split('-').skip(1).collect();
    for told in words.into_iter().chain([secret, file, "Alice"]) {
        assert!(!log.contains(told), "{told:?} in {log}");
    }
}

/// A host that is named to clients.
struct HostArgs(String);

impl HostArgs {
    fn with<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--host", &self.0]].concat()
    }
}

#[test]
fn the_units_are_what_systemd_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let mut paths = Vec::new();
    for unit in [
        "rdv-host.service",
        "rdv-host.socket",
        "rdv-relay.service",
        "rdv-relay.socket",
    ] {
        let text = std::fs::read_to_string(units.join(unit)).expect("a unit");
        assert!(
            !unit.ends_with("service") || text.contains("Type=notify\n"),
            "{unit}"
        );
        let path = folder.path().join(unit);
        let text = text.replace("/usr/bin/rdv", env!("CARGO_BIN_EXE_rdv"));
        std::fs::write(&path, text).expect("room on the disk");
        paths.push(path);
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(&paths)
        .output();
    let verified = match verified {
        Ok(verified) => verified,
        Err(error) => {
            assert!(
                std::env::var_os("RDV_TESTS_SKIP_NOTHING").is_none(),
                "systemd-analyze is needed: {error}"
            );
            eprintln!(
                "SKIPPED: the units are not verified, for there is no systemd-analyze ({error})"
            );
            return;
        }
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("rdv-")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}
