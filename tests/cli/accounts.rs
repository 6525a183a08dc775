//! Accounts: signing on, sending to a name, listening.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use rdv_tests::files::{
    assert_same_tree, sha256, tree, without_execute_bits, write_many, write_random,
};
use rdv_tests::process::{ERR, Person, Run};
use serde_json::Value;

use crate::desk::{HostRun, assert_nothing_in, person, small_file};

/// A host with accounts.
pub(crate) fn host() -> HostRun {
    HostRun::start(&[])
}

/// Makes an account and gives its passwords, as the host prints them.
pub(crate) fn account(host: &HostRun, name: &str, more: &[&str]) -> Value {
    let mut args = vec!["host", "user", "add", name, "--json"];
    args.extend(more);
    let ended = host.owner.run(args).finish().expect_code(0);
    let made = ended.events().into_iter();
    let mut made = made.filter(|event| event["password"].is_string());
    made.next().expect("a password")
}

/// Puts the password where nobody sees it on a command line.
fn password_file(owner: &Person, made: &Value) {
    let password = made["password"].as_str().expect("a string");
    fs::write(owner.path("password"), format!("{password}\n")).expect("room on the disk");
}

fn login<'a>(host: &'a str, name: &'a str) -> [&'a str; 7] {
    [
        "account",
        "login",
        name,
        "--host",
        host,
        "--password-file",
        "password",
    ]
}

/// Somebody with an account who is signed on to it.
pub(crate) fn user(host: &HostRun, name: &str) -> Person {
    let owner = person();
    password_file(&owner, &account(host, name, &[]));
    let address = host.address.to_string();
    owner.run(login(&address, name)).finish().expect_code(0);
    fs::remove_file(owner.path("password")).expect("the password file");
    owner
}

/// A listener that is signed on.
pub(crate) fn listen(owner: &Person, more: &[&str]) -> Run {
    let mut args = vec!["receive", "--listen", "--json", "-o", "in"];
    args.extend(more);
    let mut run = owner.run(args);
    run.event("listening");
    run
}

fn send<'a>(owner: &Person, to: &'a str, more: &[&'a str]) -> Run {
    let mut args = vec!["send", "--json", "--to", to];
    args.extend(more);
    owner.run(args)
}

fn of_kind(events: &[Value], kind: &str) -> Vec<Value> {
    let fitting = events.iter().filter(|event| event["event"] == kind);
    fitting.cloned().collect()
}

#[test]
fn a_password_is_tried_before_it_is_kept() {
    let host = host();
    let address = host.address.to_string();
    let alice = person();
    let made = account(&host, "alice", &[]);
    fs::write(alice.path("password"), "not the password\n").unwrap();
    let refused = alice.run(login(&address, "alice")).finish().expect_code(12);
    assert!(refused.err.contains("password"), "{}", refused.err);
    let kept = alice.path(".local/state/rdv/accounts.json");
    assert!(!kept.exists());

    password_file(&alice, &made);
    alice.run(login(&address, "Ali CE")).finish().expect_code(0);
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let listed = alice.run(["account", "list"]).finish().expect_code(0);
    assert_eq!(listed.out, format!("\"alice\" at {address}\n"));

    // The same again is no second account.
    alice.run(login(&address, "alice")).finish().expect_code(0);
    let listed = alice
        .run(["account", "list", "--json"])
        .finish()
        .expect_code(0);
    assert_eq!(of_kind(&listed.events(), "account").len(), 1);

    alice.run(["account", "logout"]).finish().expect_code(0);
    assert!(!fs::read_to_string(&kept).unwrap().contains("alice"));
    small_file(&alice, "a");
    let nobody = send(&alice, "bob", &["a"]).finish().expect_code(2);
    assert!(nobody.err.contains("rdv account login"), "{}", nobody.err);
}

#[test]
fn a_host_that_is_not_there_or_no_host_of_ours_is_told() {
    let alice = person();
    fs::write(alice.path("password"), "anything\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // An old host: it greets at once, without TLS. One of ours may be asked again, as it might not have heard us in time.
    let serve = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut all = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            let _ = stream.write_all(b"\x2a\x01\0\0\0\x04\0\0\0\x01");
            let _ = stream.read_to_end(&mut heard);
            match &heard[..] {
                b"end" => return all,
                _ => all.push(heard),
            }
        }
    });
    let refused = alice.run(login(&address, "alice")).finish().expect_code(12);
    assert!(refused.err.contains("--plain-host"), "{}", refused.err);
    let mut last = TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut last, b"end").unwrap();
    last.shutdown(std::net::Shutdown::Write).unwrap();
    let heard = serve.join().unwrap();
    assert!(!heard.is_empty());
    for heard in heard {
        assert_eq!(heard.first(), Some(&0x16), "TLS and nothing else");
    }
    let gone = alice.run(login(&address, "alice")).finish().expect_code(12);
    assert!(gone.err.contains("cannot be reached"), "{}", gone.err);
}

#[test]
fn two_of_ours_send_by_name_with_our_own_service() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    write_many(&alice.path("many"), 300);
    write_random(&alice.path("big.bin"), "by name", 3_000_001);
    let bobs = listen(&bob, &["--from", "ALICE", "--yes", "--count", "2"]);
    let sent = send(&alice, "bob", &["--relay", "never", "many", "big.bin"])
        .finish()
        .expect_code(0);
    let result = sent.result();
    assert_eq!(
        (&result["path"], &result["security"]),
        (&"direct".into(), &"unverified".into())
    );
    let text = send(&alice, "B o b", &["--text", "hello"]).finish();
    text.expect_code(0);
    let received = bobs.finish().expect_code(0);
    let last = received.result();
    assert_eq!(
        (&last["transfers"], &last["path"], &last["security"]),
        (&2.into(), &"direct".into(), &"unverified".into())
    );
    assert_eq!(last["bytes"], result["bytes"].as_u64().unwrap() + 5);
    let events = received.events();
    let offers = of_kind(&events, "offer");
    assert_eq!(offers[0]["peer"], "alice");
    assert_eq!(offers[0]["service"], "native");
    assert_eq!(offers[0]["files"], 301);
    assert_eq!(offers[0]["names"].as_array().unwrap().len(), 20);
    let ends = of_kind(&events, "transfer");
    assert_eq!(ends.len(), 2);
    for end in &ends {
        assert_eq!((&end["ok"], &end["exit"]), (&true.into(), &0.into()));
        assert_eq!(
            (&end["peer"], &end["path"]),
            (&"alice".into(), &"direct".into())
        );
        assert_eq!(end["security"], "unverified");
    }
    assert_eq!(of_kind(&events, "text")[0]["text"], "hello");
    assert!(received.err.contains("NOT VERIFIED"), "{}", received.err);
    assert!(received.err.contains("more"), "{}", received.err);
    assert_eq!(
        sha256(&bob.path("in/big.bin")),
        sha256(&alice.path("big.bin"))
    );
    assert_same_tree(
        &without_execute_bits(tree(&alice.path("many"))),
        &tree(&bob.path("in/many")),
    );
}

#[test]
fn one_side_without_our_service_gets_the_old_one_over_tls() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    write_random(&alice.path("a.bin"), "oft", 1_000_001);
    small_file(&alice, "naïve 文件.txt");
    for (ours, theirs) in [(&["--no-native"][..], &[][..]), (&[], &["--no-native"])] {
        let mut more = vec!["--from", "alice", "--yes", "--count", "2"];
        more.extend(theirs);
        let bobs = listen(&bob, &more);
        let mut more = vec!["a.bin", "naïve 文件.txt"];
        more.extend(ours);
        let sent = send(&alice, "bob", &more).finish().expect_code(0);
        assert_eq!(sent.result()["security"], "encrypted");
        let received = bobs.finish().expect_code(0);
        let events = received.events();
        let offers = of_kind(&events, "offer");
        assert_eq!(offers[0]["service"], "send_file");
        assert_eq!(offers[0]["name"], "a.bin");
        assert_eq!(offers[1]["name"], "naïve 文件.txt");
        for end in of_kind(&events, "transfer") {
            assert_eq!(
                (&end["ok"], &end["security"]),
                (&true.into(), &"encrypted".into())
            );
        }
        for name in ["a.bin", "naïve 文件.txt"] {
            let got = bob.path("in").join(name);
            assert_eq!(sha256(&got), sha256(&alice.path(name)));
            fs::remove_file(got).unwrap();
        }
    }
}

#[test]
fn nobody_there_is_3_and_both_look_the_same() {
    let host = host();
    let alice = user(&host, "alice");
    account(&host, "bob", &[]);
    small_file(&alice, "a");
    for peer in ["bob", "no such name"] {
        let ended = send(&alice, peer, &["a"]).finish().expect_code(3);
        assert_eq!(ended.result()["exit"], 3);
        assert!(ended.err.contains("not signed on"), "{}", ended.err);
    }
}

#[test]
fn f_1_nobody_hears_of_a_list_that_cannot_be_sent() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    fs::create_dir(alice.path("folder")).unwrap();
    fs::write(alice.path("folder/CON"), "x").unwrap();
    small_file(&alice, "a");
    let bobs = listen(&bob, &["--yes", "--from", "alice", "--count", "1"]);
    let ended = send(&alice, "bob", &["folder"]).finish().expect_code(8);
    assert!(ended.err.contains("CON"), "{}", ended.err);
    send(&alice, "bob", &["a"]).finish().expect_code(0);
    let events = bobs.finish().expect_code(0).events();
    let told = ["offer", "refused", "connected", "transfer"];
    let told = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .filter(|kind| told.contains(kind));
    assert_eq!(
        told.collect::<Vec<_>>(),
        ["connected", "offer", "transfer"],
        "the folder was not even offered"
    );
}

#[test]
fn what_nobody_can_be_asked_about_is_declined_and_listening_goes_on() {
    let host = host();
    let (alice, bob, carol) = (
        user(&host, "alice"),
        user(&host, "bob"),
        user(&host, "carol"),
    );
    small_file(&alice, "a");
    small_file(&carol, "c");
    let mut bobs = listen(&bob, &["--yes", "--from", "carol", "--count", "1"]);
    for service in [&["a"][..], &["a", "--no-native"]] {
        let refused = send(&alice, "bob", service).finish().expect_code(4);
        assert_eq!(refused.result()["exit"], 4);
    }
    let refused = bobs.event("refused");
    assert_eq!(
        (&refused["peer"], &refused["exit"]),
        (&"alice".into(), &4.into())
    );
    bobs.line_with(ERR, "Declined what \"alice\" offered");
    assert_nothing_in(&bob.path("in"));
    send(&carol, "bob", &["c"]).finish().expect_code(0);
    let ended = bobs.finish().expect_code(0);
    let result = ended.result();
    assert_eq!(result["transfers"], 1);
    assert_eq!(result["path"], "direct");
    assert!(result["security"].is_string(), "{result}");

    // Without --yes, and without a terminal, that is everybody.
    let mut bobs = listen(&bob, &["--from", "carol"]);
    send(&carol, "bob", &["c"]).finish().expect_code(4);
    bobs.event("refused");
    bobs.ctrl_c();
    bobs.finish().expect_code(130);
}

#[test]
fn s_25_a_person_is_asked_all_that_there_is_to_decide() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    fs::create_dir(alice.path("d")).unwrap();
    for number in 0..25 {
        fs::write(alice.path(format!("d/{number:02}.txt")), "x").unwrap();
    }
    fs::write(alice.path("d/zz.exe"), "MZ").unwrap();
    // A stranger, and our own service: first whether to connect, then what for.
    let mut bobs = bob.run_on_terminal(["receive", "--listen", "-o", "in", "--count", "1"]);
    bobs.expect("waiting for files");
    let sender = send(&alice, "bob", &["d"]);
    let asked = bobs.expect("Connect? [y/N]");
    assert!(
        asked.contains("alice") && asked.contains("NOT VERIFIED"),
        "{asked}"
    );
    bobs.type_line("y");
    let asked = bobs.expect("Accept? [y/N]");
    for needed in ["NOT VERIFIED", "26 files", "00.txt", "and 7 more", "zz.exe"] {
        assert!(asked.contains(needed), "{needed} in {asked}");
    }
    bobs.type_line("n");
    sender.finish().expect_code(4);
    assert_nothing_in(&bob.path("in"));

    // An old client: one question.
    let sender = send(&alice, "bob", &["d/00.txt", "--no-native"]);
    let asked = bobs.expect("Accept? [y/N]");
    for needed in ["alice", "encrypted, NOT VERIFIED", "1 file", "00.txt"] {
        assert!(asked.contains(needed), "{needed} in {asked}");
    }
    bobs.type_line("yes");
    sender.finish().expect_code(0);
    bobs.finish().expect_code(0);
    assert!(bob.path("in/00.txt").exists());
}

#[test]
fn a_question_about_what_was_withdrawn_goes_away() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    small_file(&alice, "a");
    let mut bobs = bob.run_on_terminal(["receive", "--listen", "-o", "in", "--count", "1"]);
    bobs.expect("waiting for files");
    for service in [&["a"][..], &["a", "--no-native"]] {
        let mut sender = send(&alice, "bob", service);
        bobs.expect("[y/N]");
        sender.ctrl_c();
        sender.finish().expect_code(130);
        bobs.expect("cancelled");
    }
    let sender = send(&alice, "bob", &["a", "--no-native"]);
    bobs.expect("Accept? [y/N]");
    bobs.type_line("y");
    sender.finish().expect_code(0);
    bobs.finish().expect_code(0);
}

#[test]
fn a_listener_survives_its_host_and_is_there_again() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    small_file(&alice, "a");
    let mut bobs = listen(&bob, &["--from", "alice", "--yes", "--count", "1"]);
    let host = host.restart();
    bobs.event("offline");
    bobs.line_with(ERR, "signing on again");
    // Signed on once more, not the line of before.
    let mut sender = send(&alice, "bob", &["a"]).finish();
    while sender.code == Some(3) {
        sender = send(&alice, "bob", &["a"]).finish();
    }
    sender.expect_code(0);
    let ended = bobs.finish().expect_code(0);
    assert_eq!(of_kind(&ended.events(), "listening").len(), 2);
    assert!(bob.path("in/a").exists());
    drop(host);
}

#[test]
fn of_two_sessions_of_an_account_one_takes_a_transfer() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    small_file(&alice, "a");
    small_file(&bob, "b");
    let more = ["--from", "alice", "--yes"];
    let args = |folder: &'static str| {
        let mut args = vec!["receive", "--listen", "--json", "-o", folder];
        args.extend(more);
        args
    };
    let (mut first, mut second) = (bob.run(args("one")), bob.run(args("two")));
    first.event("listening");
    second.event("listening");
    send(&alice, "bob", &["a"]).finish().expect_code(0);
    let copies = ["one/a", "two/a"].map(|path| bob.path(path).exists());
    assert_eq!(copies.iter().filter(|&&there| there).count(), 1);

    // A third session that sends does not take what comes.
    let mut alices = listen(&alice, &["--from", "bob", "--yes", "--count", "1"]);
    send(&bob, "alice", &["b"]).finish().expect_code(0);
    alices.event("transfer");
    alices.finish().expect_code(0);
    let ends: Vec<Value> = [first, second]
        .into_iter()
        .flat_map(|mut run| {
            run.ctrl_c();
            of_kind(&run.finish().expect_code(130).events(), "transfer")
        })
        .collect();
    // The slower one may have heard of it too late to begin anything.
    let taken = ends.iter().filter(|end| end["ok"] == true).count();
    assert_eq!(taken, 1, "{ends:?}");
    let late = ends.iter().filter(|end| end["ok"] == false);
    assert!(late.clone().all(|end| end["exit"] == 13), "{ends:?}");
}

#[test]
fn several_send_at_a_time() {
    let host = host();
    let bob = user(&host, "bob");
    let senders: Vec<Person> = (0..3).map(|n| user(&host, &format!("sender{n}"))).collect();
    let mut more = vec!["--yes", "--count", "3"];
    for name in ["sender0", "sender1", "sender2"] {
        more.extend(["--from", name]);
    }
    let bobs = listen(&bob, &more);
    let runs: Vec<Run> = (0..)
        .zip(&senders)
        .map(|(n, sender)| {
            let name = format!("from{n}.bin");
            write_random(&sender.path(&name), &name, 5_000_000);
            send(sender, "bob", &[&name])
        })
        .collect();
    for run in runs {
        run.finish().expect_code(0);
    }
    bobs.finish().expect_code(0);
    for (n, sender) in (0..).zip(&senders) {
        let name = format!("from{n}.bin");
        assert_eq!(
            sha256(&bob.path(format!("in/{name}"))),
            sha256(&sender.path(&name))
        );
    }
}

#[test]
fn s_07_another_key_under_a_known_name_is_refused_until_it_is_forgotten() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    small_file(&alice, "a");
    let transfer = |code: i32| {
        let mut bobs = listen(&bob, &["--from", "alice", "--yes"]);
        let sent = send(&alice, "bob", &["a"]).finish().expect_code(code);
        bobs.event("transfer");
        bobs.ctrl_c();
        bobs.finish();
        sent
    };
    transfer(0);
    let keys = fs::read_to_string(alice.path(".local/state/rdv/known_peers")).unwrap();
    assert!(keys.starts_with("bob@127.0.0.1:"), "{keys}");
    fs::remove_file(bob.path(".local/state/rdv/key.pem")).unwrap();
    let refused = transfer(5);
    for needed in ["another key", "rdv contact forget"] {
        assert!(refused.err.contains(needed), "{}", refused.err);
    }
    alice
        .run(["contact", "forget", "bob"])
        .finish()
        .expect_code(0);
    transfer(0);
}

#[test]
fn a_fingerprint_that_was_compared_makes_a_peer_verified() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    small_file(&alice, "a");
    let listed = bob
        .run(["account", "list", "--json"])
        .finish()
        .expect_code(0);
    let key = of_kind(&listed.events(), "key")[0]["fingerprint"].clone();
    let key = key.as_str().unwrap();
    alice.run(["contact", "add", "bob"]).finish().expect_code(0);
    alice
        .run(["contact", "verify", "bob", key])
        .finish()
        .expect_code(0);
    let contacts = alice.run(["contact", "list"]).finish().expect_code(0);
    assert_eq!(contacts.out, format!("\"bob\"  verified  {key}\n"));
    let bobs = listen(&bob, &["--from", "alice", "--yes", "--count", "1"]);
    let sent = send(&alice, "bob", &["a"]).finish().expect_code(0);
    assert_eq!(sent.result()["security"], "verified");
    bobs.finish().expect_code(0);
    let other = alice.run(["account", "list", "--json"]).finish();
    let other = of_kind(&other.events(), "key")[0]["fingerprint"].clone();
    let other = other.as_str().unwrap().to_owned();
    let refused = alice.run(["contact", "verify", "bob", &other]).finish();
    refused.expect_code(5);
}

#[test]
fn contacts_are_kept_by_account_and_may_be_taken_from() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    small_file(&alice, "a");
    bob.run(["contact", "remove", "alice"])
        .finish()
        .expect_code(1);
    let added = bob.run(["contact", "add", "Ali Ce", "--allow-plain"]);
    let added = added.finish().expect_code(0);
    assert!(added.err.contains("NOT ENCRYPTED"), "{}", added.err);
    let listed = bob
        .run(["contact", "list", "--json"])
        .finish()
        .expect_code(0);
    let contact = &of_kind(&listed.events(), "contact")[0];
    assert_eq!(
        (&contact["name"], &contact["allow_plain"]),
        (&"Ali Ce".into(), &true.into())
    );
    let bobs = listen(&bob, &["--yes", "--count", "1"]);
    send(&alice, "bob", &["a"]).finish().expect_code(0);
    bobs.finish().expect_code(0);
    bob.run(["contact", "remove", "alice"])
        .finish()
        .expect_code(0);
    let nobody = bob.run(["receive", "--listen", "--yes", "-o", "in"]);
    let nobody = nobody.finish().expect_code(2);
    assert!(nobody.err.contains("--from"), "{}", nobody.err);
}

#[test]
fn which_of_several_accounts_is_meant_must_be_said() {
    let (one, two) = (host(), host());
    let alice = user(&one, "alice");
    password_file(&alice, &account(&two, "alice", &[]));
    let address = two.address.to_string();
    alice.run(login(&address, "alice")).finish().expect_code(0);
    small_file(&alice, "a");
    let unclear = send(&alice, "bob", &["a"]).finish().expect_code(2);
    assert!(unclear.err.contains("--account"), "{}", unclear.err);
    let label = format!("alice@{address}");
    for more in [["--account", label.as_str()], ["--host", address.as_str()]] {
        let mut args = vec!["a"];
        args.extend(more);
        send(&alice, "bob", &args).finish().expect_code(3);
    }
}

#[test]
fn what_makes_no_sense_is_bad_usage() {
    let alice = person();
    small_file(&alice, "a");
    for args in [
        &["receive", "--from", "bob"][..],
        &["receive", "--count", "1"],
        &["receive", "--listen", "--count", "0"],
        &["receive", "--listen", "7-otter-cake-verse"],
        &["receive", "--listen", "-o", "in"],
        &["send", "--batch", "a"],
        &["send", "--to", "", "a"],
        &["account", "login", "alice"],
        &["contact", "list"],
        &["contact", "add", "bob"],
    ] {
        alice.run(args).finish().expect_code(2);
    }
}

#[test]
fn ctrl_c_tells_the_other_side_and_signs_off() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    write_random(&alice.path("big"), "interrupted", 400_000_000);
    let mut bobs = listen(&bob, &["--from", "alice", "--yes"]);
    let sender = send(&alice, "bob", &["big"]);
    bobs.event("progress");
    bobs.ctrl_c();
    let ended = bobs.finish().expect_code(130);
    assert_eq!(ended.result()["exit"], 130);
    sender.finish().expect_code(4);
    assert!(!bob.path("in/big").exists());
    small_file(&alice, "a");
    send(&alice, "bob", &["a"]).finish().expect_code(3);
}

#[test]
fn s_26_a_password_is_in_no_log_and_in_no_file_but_its_own() {
    let host = HostRun::start(&["-vv"]);
    let alice = person();
    let made = account(&host, "alice", &["--legacy"]);
    password_file(&alice, &made);
    let address = host.address.to_string();
    let mut args = login(&address, "alice").to_vec();
    args.push("-vv");
    let logged_in = alice.run(&args).finish().expect_code(0);
    small_file(&alice, "a");
    let sent = alice
        .run(["send", "-vv", "--to", "bob", "a"])
        .finish()
        .expect_code(3);
    fs::write(alice.path("password"), "a wrong secret").unwrap();
    let refused = alice.run(&args).finish().expect_code(12);
    fs::remove_file(alice.path("password")).unwrap();
    let said = host.stop();
    for secret in [
        &made["password"],
        &made["legacy_password"],
        &"a wrong secret".into(),
    ] {
        let secret = secret.as_str().unwrap();
        for ended in [&logged_in, &sent, &refused, &said] {
            assert!(!ended.err.contains(secret) && !ended.out.contains(secret));
        }
        for path in tree(alice.home()).into_keys() {
            let content = fs::read(alice.path(&path)).unwrap_or_default();
            let told = String::from_utf8_lossy(&content).contains(secret);
            let own = path.ends_with("accounts.json") && *secret == made["password"];
            assert_eq!(told, own, "{}", path.display());
        }
    }
    assert!(
        sent.err.contains("signed on"),
        "there is a log: {}",
        sent.err
    );
}

/// Each file has a rendezvous of its own, and the host refuses proposals that come too fast.
#[test]
fn more_files_than_a_host_takes_proposals_at_once_reach_an_old_client() {
    let host = host();
    let (alice, bob) = (user(&host, "alice"), user(&host, "bob"));
    fs::create_dir(alice.path("d")).expect("room on the disk");
    for n in 0..11 {
        fs::write(alice.path(format!("d/{n}")), "x").expect("room on the disk");
    }
    let listener = listen(&bob, &["--from", "alice", "--yes", "--count", "11"]);
    let began = Instant::now();
    let sent = send(&alice, "bob", &["d", "--no-native"])
        .finish()
        .expect_code(0);
    let took = began.elapsed().as_secs_f64();
    let result = of_kind(&sent.events(), "result").remove(0);
    assert_eq!(result["files"], 11);
    assert!(result["seconds"].as_f64().expect("a number") <= took);
    let ended = listener.finish().expect_code(0);
    assert_eq!(of_kind(&ended.events(), "transfer").len(), 11);
}
