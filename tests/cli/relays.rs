//! Host and relays in processes of their own, which share nothing but a key.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use rdv_proto::relay::{Ticket, TicketKey};
use rdv_proto::wire::ars::{Command, ErrorCode, Frame, TLV_TICKET};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::files::{sha256, tree, write_random};
use rdv_tests::process::{ERR, LONG, Person, Run};

use crate::desk::{HostRun, address_in, assert_nothing_in, person, small_file, text};
use crate::killed::assert_only_whole_files;

const COOKIE: Cookie = Cookie(*b"TRYST01\0");

/// A `rdv relay` that has a key.
struct RelayRun {
    run: Run,
    address: SocketAddr,
    _owner: Person,
}

impl RelayRun {
    fn start(key: &str) -> Self {
        let owner = person();
        write_key(&owner, key);
        let args = ["relay", "--key", "relay.key", "--listen", "127.0.0.1:0"];
        let mut run = owner.run(args);
        let address = address_in(&run.line_with(ERR, "Relay on"));
        Self {
            run,
            address,
            _owner: owner,
        }
    }
}

fn write_key(owner: &Person, key: &str) {
    let path = owner.path("relay.key");
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Who will run a host, and the key of its relays as it is printed.
fn operator() -> (Person, String) {
    let owner = person();
    let printed = owner.run(["host", "relay-key"]).finish().expect_code(0);
    let key = printed.out.trim().to_owned();
    assert_eq!(key.len(), 64, "{key:?}");
    let again = owner.run(["host", "relay-key"]).finish().expect_code(0);
    assert_eq!(again.out.trim(), key, "it is made once");
    (owner, key)
}

/// A host that knows these relays.
fn host(owner: Person, relays: &[&RelayRun]) -> HostRun {
    let addresses: Vec<_> = relays
        .iter()
        .map(|relay| relay.address.to_string())
        .collect();
    let args: Vec<_> = addresses
        .iter()
        .flat_map(|address| ["--relay", address])
        .collect();
    HostRun::start_at(owner, "127.0.0.1:0", &args)
}

/// The bytes of a key that was printed.
fn key_in(printed: &str) -> TicketKey {
    let mut key = [0; 32];
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&printed[2 * place..2 * place + 2], 16).unwrap();
    }
    TicketKey::new(key)
}

fn in_seconds(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().saturating_add_signed(seconds)
}

fn ticket() -> Ticket {
    Ticket {
        account: ScreenName::new("7").unwrap(),
        expires_unix_s: in_seconds(60),
        cookie: None,
        budget: 1 << 20,
    }
}

/// Says that to the relay; the connection and what it answers.
fn ask(relay: &RelayRun, command: Command) -> (TcpStream, Command) {
    let mut stream = TcpStream::connect(relay.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(&Frame::new(command).encode()).unwrap();
    let answer = hear(&mut stream);
    (stream, answer)
}

/// The next frame, and nothing behind it.
fn hear(stream: &mut TcpStream) -> Command {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut frame = BytesMut::from(&length[..]);
    frame.resize(2 + usize::from(u16::from_be_bytes(length)), 0);
    stream.read_exact(&mut frame[2..]).unwrap();
    Frame::decode(&mut frame).unwrap().unwrap().command
}

fn create(cookie: Cookie, ticket: Bytes) -> Command {
    Command::Create {
        name: ScreenName::new("alice").unwrap(),
        cookie,
        tlvs: TlvList::new().with(TLV_TICKET, ticket),
    }
}

/// Two who are joined with one ticket.
fn pair(relay: &RelayRun, ticket: &Bytes) -> (TcpStream, TcpStream) {
    let (mut alice, created) = ask(relay, create(COOKIE, ticket.clone()));
    let Command::Created { token, .. } = created else {
        panic!("{created:?}")
    };
    let join = Command::Join {
        name: ScreenName::new("bob").unwrap(),
        token,
        cookie: COOKIE,
        tlvs: TlvList::new().with(TLV_TICKET, ticket.clone()),
    };
    let (bob, ready) = ask(relay, join);
    assert_eq!(ready, Command::Ready);
    assert_eq!(hear(&mut alice), Command::Ready);
    (alice, bob)
}

/// Both in the middle of a long transfer over a relay, and the address of that.
fn half_way(host: &HostRun, alice: &Person, bob: &Person) -> (Run, Run, SocketAddr) {
    write_random(&alice.path("long.bin"), "relayed", 160 << 20);
    let more = ["--json", "--relay", "only", "long.bin"];
    let mut sender = alice.run(host.args("send", &more)).patient(LONG);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("a string")
        .to_owned();
    let more = ["--json", "--yes", "--relay", "only", "-o", "out", &code];
    let mut receiver = bob.run(host.args("receive", &more)).patient(LONG);
    let connected = receiver.event("connected");
    assert_eq!(connected["path"], "relay");
    let over = connected["remote"].as_str().expect("an address");
    let over = over.parse().expect("an address");
    receiver.event_with("progress", |event| {
        event["bytes"].as_u64() > event["total"].as_u64().map(|all| all / 4)
    });
    (sender, receiver, over)
}

#[test]
fn a_host_and_a_relay_share_nothing_but_a_key() {
    let (owner, key) = operator();
    let relay = RelayRun::start(&key);
    let host = host(owner, &[&relay]);
    let (alice, bob) = (person(), person());
    let file = small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["--json", "--relay", "only", "a"]));
    let code = sender.event("code")["code"].as_str().unwrap().to_owned();
    let more = ["--json", "--yes", "--relay", "only", "-o", "out", &code];
    let received = bob.run(host.args("receive", &more)).finish();
    for ended in [sender.finish(), received] {
        let result = ended.expect_code(0).result();
        assert_eq!(result["path"], "relay");
        assert_eq!(result["remote"], relay.address.to_string());
    }
    assert_eq!(sha256(&bob.path("out/a")), sha256(&file));
}

#[test]
fn tickets_of_a_host_with_another_key_are_of_no_use() {
    let (owner, _) = operator();
    let (_, other) = operator();
    let relay = RelayRun::start(&other);
    let host = host(owner, &[&relay]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["--relay", "only", "a"]));
    let code = sender.code();
    let more = ["--yes", "--relay", "only", "-o", "out", &code];
    let received = bob.run(host.args("receive", &more)).finish();
    for ended in [sender.finish(), received] {
        ended.expect_code(6);
    }
    assert_nothing_in(&bob.path("out"));
}

#[test]
fn a_relay_refuses_each_bad_ticket_with_its_own_error() {
    let (_, key) = operator();
    let relay = RelayRun::start(&key);
    let key = key_in(&key);
    let good = key.issue(&ticket(), [1; 12]);
    let mut forged = good.to_vec();
    // A larger budget.
    forged[35] ^= 0x01;
    let expired = Ticket {
        expires_unix_s: in_seconds(-1),
        ..ticket()
    };
    let other = Ticket {
        cookie: Some(Cookie(*b"TRYST02\0")),
        ..ticket()
    };
    let foreign = TicketKey::new([0; 32]).issue(&ticket(), [1; 12]);
    for (bad, code) in [
        (forged.into(), ErrorCode::TICKET_FORGED),
        (key.issue(&expired, [2; 12]), ErrorCode::TICKET_EXPIRED),
        (foreign, ErrorCode::TICKET_FOREIGN),
        (key.issue(&other, [3; 12]), ErrorCode::TICKET_COOKIE),
    ] {
        let (mut stream, answer) = ask(&relay, create(COOKIE, bad));
        assert_eq!(answer, Command::Error(code));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{code:?}");
    }
    // Once it had its pair it is spent, and so is its budget in time.
    let (mut alice, mut bob) = pair(&relay, &good);
    let replayed = create(Cookie([2; 8]), good.clone());
    let (_, answer) = ask(&relay, replayed.clone());
    assert_eq!(answer, Command::Error(ErrorCode::TICKET_SPENT));
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        bob.set_read_timeout(Some(LONG)).unwrap();
        let _ = bob.read_to_end(&mut got);
        got.len()
    });
    let _ = alice.write_all(&vec![7; 2 << 20]);
    let got = reading.join().unwrap();
    assert!(
        (1 << 20..(1 << 20) + (512 << 10)).contains(&got),
        "{got} bytes came through"
    );
    drop(alice);
    let (_, answer) = ask(&relay, replayed);
    assert_eq!(answer, Command::Error(ErrorCode::BUDGET_SPENT));
}

#[test]
fn a_relay_killed_half_way_is_replaced_by_another_one() {
    let (owner, key) = operator();
    let relays = [RelayRun::start(&key), RelayRun::start(&key)];
    let host = host(owner, &[&relays[0], &relays[1]]);
    let (alice, bob) = (person(), person());
    let (sender, receiver, over) = half_way(&host, &alice, &bob);
    let [first, second] = relays;
    let (victim, heir) = if first.address == over {
        (first, second)
    } else {
        (second, first)
    };
    assert_eq!(victim.address, over);
    victim.run.kill();
    for ended in [sender.finish(), receiver.finish()] {
        let ended = ended.expect_code(0);
        assert_eq!(ended.result()["path"], "relay");
        assert_eq!(ended.result()["remote"], heir.address.to_string());
    }
    assert_eq!(
        sha256(&bob.path("out/long.bin")),
        sha256(&alice.path("long.bin"))
    );
}

#[test]
fn a_relay_killed_half_way_without_another_one_is_a_clear_end() {
    let (owner, key) = operator();
    let relay = RelayRun::start(&key);
    let host = host(owner, &[&relay]);
    let (alice, bob) = (person(), person());
    let (sender, receiver, over) = half_way(&host, &alice, &bob);
    assert_eq!(relay.address, over);
    relay.run.kill();
    for ended in [sender.finish(), receiver.finish()] {
        assert!(matches!(ended.code, Some(1..)), "{ended:?}");
        assert!(ended.err.contains("rdv: "), "it says why: {}", ended.err);
    }
    let sent = tree(alice.home());
    assert_only_whole_files(&sent, &tree(&bob.path("out")), "the relay died");
    assert!(!bob.path("out/long.bin").exists());
}

#[test]
fn a_relay_that_dies_before_the_first_lane_is_replaced_by_another_one() {
    let (owner, key) = operator();
    let relays = [RelayRun::start(&key), RelayRun::start(&key)];
    let host = host(owner, &[&relays[0], &relays[1]]);
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(host.args("send", &["--json", "--relay", "only", "a"]));
    let code = sender.event("code")["code"].as_str().unwrap().to_owned();
    // The host still thinks that it lives, and has named one of them at each sign-on.
    let [victim, heir] = relays;
    victim.run.kill();
    let more = ["--json", "--yes", "--relay", "only", "-o", "out", &code];
    let received = bob.run(host.args("receive", &more)).finish();
    for ended in [sender.finish(), received] {
        let result = ended.expect_code(0).result();
        assert_eq!(result["remote"], heir.address.to_string());
    }
}

#[test]
fn a_key_is_private_and_a_relay_has_one_or_is_open() {
    let owner = person();
    write_key(&owner, &"7f".repeat(32));
    let path = owner.path("relay.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let args = ["relay", "--listen", "127.0.0.1:0", "--key"];
    let run = |file: &str| owner.run(args.iter().copied().chain([file])).finish();
    let exposed = run(text(&path)).expect_code(8);
    assert!(exposed.err.contains("chmod 600"), "{}", exposed.err);
    write_key(&owner, "not a key");
    run(text(&path)).expect_code(8);
    run("missing").expect_code(8);
    owner.run(&args[..3]).finish().expect_code(2);
}
