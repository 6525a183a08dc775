//! `rdv host user`: accounts from the command line, beside a host that runs or not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rdv_tests::files::tree;
use rdv_tests::process::{ERR, Ended, Person};
use serde_json::Value;

use crate::desk::{HostRun, person, text};

fn user(owner: &Person, args: &[&str]) -> Ended {
    owner.run(["host", "user"].iter().chain(args)).finish()
}

/// What a verb prints with `--json`: one object, and nothing else.
#[track_caller]
fn object(owner: &Person, args: &[&str]) -> Value {
    let ended = user(owner, args).expect_code(0);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines.len(), 1, "one line: {}", ended.out);
    serde_json::from_str(lines[0]).expect("JSON")
}

/// The folder of the default host of a person.
fn state_of(owner: &Person) -> std::path::PathBuf {
    let found = tree(owner.home())
        .into_keys()
        .map(|name| owner.path(name))
        .find(|path| path.ends_with("host.db"));
    let database = found.expect("a database in the home folder");
    database.parent().expect("a folder").to_owned()
}

#[test]
fn a_password_is_shown_once_and_for_old_clients_another_one() {
    let alice = person();
    let added = user(&alice, &["add", "Alice Smith", "--legacy"]).expect_code(0);
    let lines: Vec<&str> = added.out.lines().collect();
    let [account, password, legacy] = lines[..] else {
        panic!("three lines: {}", added.out)
    };
    assert_eq!(account, "Account: Alice Smith");
    let password = password.strip_prefix("Password: ").expect("a password");
    let legacy = legacy
        .strip_prefix("Password for old clients: ")
        .expect("another one");
    assert_eq!((password.len(), legacy.len()), (16, 16));
    assert_ne!(password, legacy);
    assert!(added.err.contains("shown once"), "{}", added.err);
    let listed = user(&alice, &["list"]).expect_code(0);
    for secret in [password, legacy] {
        assert!(!listed.out.contains(secret) && !added.err.contains(secret));
    }
}

#[test]
fn scripts_get_one_object() {
    let alice = person();
    let added = object(&alice, &["add", "Alice Smith", "--legacy", "--json"]);
    assert_eq!(added["name"], "Alice Smith");
    assert_eq!(added["password"].as_str().map(str::len), Some(16));
    assert_eq!(added["legacy_password"].as_str().map(str::len), Some(16));
    let added = object(&alice, &["add", "123456", "--legacy", "--json"]);
    assert_eq!(added["legacy_password"].as_str().map(str::len), Some(8));
    let added = object(&alice, &["add", "--json", "bob"]);
    assert_eq!(added["legacy_password"], Value::Null);
    fs::write(alice.path("secret"), "correct horse\nand more\n").unwrap();
    let added = object(
        &alice,
        &["add", "carol", "--json", "--password-file", "secret"],
    );
    assert_eq!(added["password"], Value::Null, "the owner knows it");
    let listed = user(&alice, &["list", "--json"]).expect_code(0);
    let names: Vec<String> = listed
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|account| account["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(names, ["123456", "Alice Smith", "bob", "carol"]);
}

#[test]
fn what_cannot_be_done_has_a_number_and_a_sentence() {
    let alice = person();
    user(&alice, &["add", "alice"]).expect_code(0);
    fs::write(alice.path("short"), "otter\n").unwrap();
    let cases: [(&[&str], i32, &str); 16] = [
        (&["add", "ALI ce"], 12, "already"),
        (&["add", "al"], 2, "3 to 16"),
        (&["add", "1alice"], 2, "starts with a letter"),
        (&["add", "guest one"], 2, "guests"),
        (&["add", "7"], 2, "10000"),
        (&["add", "bob", "--password-file", "short"], 2, "8 to 256"),
        (&["add", "bob", "--password-file", "nothing"], 8, "nothing"),
        (&["add", "bob", "--db", "mysql://localhost/x"], 2, "sqlite:"),
        (
            &["add", "bob", "--db", "sqlite:no/such/folder.db"],
            8,
            "no/such",
        ),
        (&["disable", "bob"], 3, "no account"),
        (&["enable", "bob"], 3, "no account"),
        (&["reset", "bob"], 3, "no account"),
        (&["reset-legacy", "bob"], 3, "no account"),
        (&["remove", "bob"], 3, "no account"),
        (&["show", "bob"], 3, "no account"),
        (&["confirm", "bob"], 3, "no account"),
    ];
    for (args, code, says) in cases {
        let ended = user(&alice, args).expect_code(code);
        assert!(ended.err.contains(says), "{args:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{args:?}");
        let with_json: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let told = user(&alice, &with_json).expect_code(code);
        assert_eq!(told.out.lines().count(), 1, "{args:?}: {}", told.out);
        assert_eq!(told.result()["exit"], code, "{args:?}");
        assert_eq!(told.result()["ok"], false, "{args:?}");
    }
    assert_eq!(
        user(&alice, &["list"]).expect_code(0).out.lines().count(),
        1
    );
    let help = user(&alice, &["--help"]).expect_code(0).out;
    assert!(
        help.contains("12  there is such an account already"),
        "{help}"
    );
}

#[test]
fn an_account_is_closed_opened_changed_and_removed() {
    let alice = person();
    object(&alice, &["add", "Alice", "--json"]);
    let list = || user(&alice, &["list"]).expect_code(0).out;
    user(&alice, &["disable", "alice"]).expect_code(0);
    assert!(list().contains("DISABLED"), "{}", list());
    user(&alice, &["enable", "A lice"]).expect_code(0);
    assert!(!list().contains("DISABLED"), "{}", list());
    let reset = object(&alice, &["reset", "alice", "--json"]);
    assert_eq!(reset["name"], "Alice");
    assert_eq!(reset["password"].as_str().map(str::len), Some(16));
    assert!(!list().contains("old clients"), "{}", list());
    let legacy = object(&alice, &["reset-legacy", "alice", "--json"]);
    assert_eq!(legacy["legacy_password"].as_str().map(str::len), Some(16));
    assert!(list().contains("old clients"), "{}", list());
    user(&alice, &["reset-legacy", "alice", "--revoke"]).expect_code(0);
    assert!(!list().contains("old clients"), "{}", list());
    user(&alice, &["remove", "alice"]).expect_code(0);
    assert_eq!(list(), "");
}

#[test]
fn an_operator_sees_what_is_stored_and_who_changed_it() {
    let alice = person();
    let wrong = user(&alice, &["add", "Alice", "--email", "nobody"]).expect_code(2);
    assert!(wrong.err.contains("name@example.org"), "{}", wrong.err);
    object(
        &alice,
        &["add", "Alice", "--email", "alice@lab.example", "--json"],
    );
    let shown = object(&alice, &["show", "a lice", "--json"]);
    assert_eq!(shown["name"], "Alice");
    assert_eq!(shown["email"], "alice@lab.example");
    assert_eq!(shown["state"], "active");
    assert_eq!(shown["confirmed"], true, "the operator vouches for it");
    assert_eq!(shown["email_pending"], Value::Null);
    assert_eq!(shown["frozen"], serde_json::json!([]));
    let told = user(&alice, &["show", "alice"]).expect_code(0).out;
    assert!(
        told.contains("Mail address: \"alice@lab.example\"\n"),
        "{told}"
    );
    assert!(!told.contains("NOT CONFIRMED"), "{told}");

    object(&alice, &["confirm", "alice", "--json"]);
    let unproven = ["add", "carol", "--email", "c@lab.example", "--unconfirmed"];
    user(&alice, &unproven).expect_code(0);
    let told = user(&alice, &["show", "carol"]).expect_code(0).out;
    assert!(told.contains("c@lab.example\"  NOT CONFIRMED\n"), "{told}");
    user(&alice, &["remove", "carol"]).expect_code(0);
    user(&alice, &["disable", "alice"]).expect_code(0);
    assert!(
        user(&alice, &["show", "alice"])
            .expect_code(0)
            .out
            .contains("State: disabled")
    );
    user(&alice, &["add", "bob"]).expect_code(0);
    user(&alice, &["remove", "alice"]).expect_code(0);
    let lines = |args: &[&str]| -> Vec<Value> {
        let out = user(&alice, args).expect_code(0).out;
        let lines = out.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let actions = |entries: &[Value]| -> Vec<String> {
        let entries = entries.iter();
        entries
            .map(|entry| entry["action"].as_str().expect("words").to_owned())
            .collect()
    };
    let all = lines(&["audit", "--json"]);
    assert_eq!(
        actions(&all),
        [
            "created",
            "confirmed",
            "created",
            "removed",
            "disabled",
            "created",
            "removed"
        ]
    );
    assert!(all.iter().all(|entry| entry["by"] == "operator"));
    // The lines outlive the account.
    let of_alice = lines(&["audit", "Ali CE", "--since", "1h", "--json"]);
    assert_eq!(of_alice.len(), 4, "{of_alice:?}");
    assert!(of_alice.iter().all(|entry| entry["name"] == "alice"));
    let told = user(&alice, &["audit", "bob"]).expect_code(0).out;
    assert!(
        told.ends_with("\"bob\"  created, by the operator\n"),
        "{told}"
    );
}

#[test]
fn s_31_what_is_kept_is_its_owners_alone() {
    let alice = person();
    user(&alice, &["add", "alice", "--legacy"]).expect_code(0);
    let folder = state_of(&alice);
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 2, "a database and a key");
    let key = state_of(&alice).join("host.db.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = user(&alice, &["list"]).expect_code(8);
    assert!(exposed.err.contains("chmod 600"), "{}", exposed.err);
}

/// What the host says of its accounts at the start.
fn accounts_line(owner: &Person, more: &[&str]) -> String {
    let args = ["host", "--listen", "127.0.0.1:0"];
    let mut run = owner.run(args.iter().chain(more));
    let line = run.line_with(ERR, "Accounts:");
    run.line_with(ERR, "Clients use it");
    run.kill();
    line
}

#[test]
fn a_host_says_which_accounts_it_serves() {
    let owner = person();
    let first = accounts_line(&owner, &[]);
    assert!(first.contains("Accounts: 0, in"), "{first}");
    user(&owner, &["add", "alice"]).expect_code(0);
    let second = accounts_line(&owner, &[]);
    assert!(second.contains("Accounts: 1, in"), "{second}");
    let elsewhere = format!("sqlite:{}", text(&owner.path("other.db")));
    let third = accounts_line(&owner, &["--db", &elsewhere]);
    assert!(third.contains("Accounts: 0, in"), "{third}");
    assert!(third.contains("other.db"), "{third}");
    assert!(owner.path("other.db.key").exists());
    let state = text(&owner.path("state")).to_owned();
    user(&owner, &["add", "bob", "--state", &state]).expect_code(0);
    let fourth = accounts_line(&owner, &["--state", &state]);
    assert!(fourth.contains("Accounts: 1, in"), "{fourth}");
}

#[test]
fn a_host_with_a_database_that_is_none_does_not_start() {
    let owner = person();
    fs::write(owner.path("junk.db"), "x".repeat(10_000)).unwrap();
    let args = ["host", "--listen", "127.0.0.1:0", "--db", "sqlite:junk.db"];
    let ended = owner.run(args).finish().expect_code(12);
    assert!(ended.err.contains("damaged"), "{}", ended.err);
    assert!(!owner.path("junk.db.key").exists());
}

#[test]
fn accounts_are_made_while_the_host_runs() {
    let host = HostRun::start(&[]);
    for n in 0..5 {
        let name = format!("account{n}");
        user(&host.owner, &["add", &name, "--legacy"]).expect_code(0);
    }
    let listed = user(&host.owner, &["list"]).expect_code(0);
    assert_eq!(listed.out.lines().count(), 5);
    let said = host.stop().err;
    assert!(!said.contains("WARN"), "{said}");
}

#[test]
fn flags_of_the_host_do_not_mix_with_its_verbs() {
    let owner = person();
    let args = ["host", "--listen", "127.0.0.1:0", "user", "list"];
    owner.run(args).finish().expect_code(2);
}

#[test]
fn a_host_off_port_5190_says_that_old_clients_cannot_use_its_relay() {
    let owner = person();
    let mut run = owner.run(["host", "--listen", "127.0.0.1:0", "--museum"]);
    run.line_with(ERR, "port 5190");
    run.line_with(ERR, "with --museum");
    run.kill();
}

#[test]
fn a_host_may_keep_its_accounts_on_a_server() {
    let Some(cluster) = rdv_tests::postgres::Cluster::start() else {
        return;
    };
    // Servers like this one ask for no password, but one may stand there.
    let url = cluster
        .database()
        .replace("user=postgres", "user=postgres&password=otter-on-a-raft");
    let host = HostRun::start(&["--db", &url]);
    let added = object(
        &host.owner,
        &["add", "alice", "--legacy", "--json", "--db", &url],
    );
    assert_eq!(added["name"], "alice");
    let listed = user(&host.owner, &["list", "--db", &url]).expect_code(0);
    assert!(listed.out.contains("alice"), "{}", listed.out);
    let key = tree(host.owner.home())
        .into_keys()
        .find(|name| name.ends_with("host.key"));
    let key = host.owner.path(key.expect("a key in the host's folder"));
    let mode = fs::metadata(key).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ended = host.stop();
    assert!(ended.err.contains("postgres:///"), "{}", ended.err);
    assert!(!ended.err.contains("otter"), "{}", ended.err);
}
