//! `rdv account create` and what follows, at a real host with a mail server beside it.

use std::fs;

use rdv_tests::post::Post;
use rdv_tests::process::{Ended, Person};
use serde_json::Value;

use crate::accounts::{account, user};
use crate::desk::{HostRun, person, text};

/// A host of somebody's own with these settings.
fn host_with(settings: &str) -> HostRun {
    let owner = person();
    let file = owner.path("host.toml");
    fs::write(&file, settings).expect("room on the disk");
    let file = text(&file).to_owned();
    HostRun::start_at(owner, "127.0.0.1:0", &["--config", &file])
}

/// One that sends mail there, lets people make accounts and delete them.
fn open_host(post: &Post) -> HostRun {
    host_with(&format!(
        "[mail]\nsmtp = \"smtp://{}\"\nfrom = \"host@lab.example\"\n[admin]\ndelete = true\nregistration = \"open\"\n",
        post.address()
    ))
}

fn run(owner: &Person, args: &[&str]) -> Ended {
    owner.run(["account"].iter().chain(args)).finish()
}

fn create<'a>(owner: &Person, host: &'a str, name: &'a str, more: &[&'a str]) -> Ended {
    fs::write(owner.path("new"), "correct horse\n").expect("room on the disk");
    let mut args = vec!["create", name, "--host", host, "--password-file", "new"];
    args.extend(more);
    run(owner, &args)
}

/// The event of that kind that a verb prints with `--json`.
#[track_caller]
fn event(owner: &Person, args: &[&str], kind: &str) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let ended = run(owner, &args).expect_code(0);
    assert_eq!(ended.result()["ok"], true);
    let events = ended.events().into_iter();
    let mut fitting = events.filter(|event| event["event"] == kind);
    fitting
        .next()
        .unwrap_or_else(|| panic!("{kind} in {}", ended.out))
}

/// Fails with this code, this name for programs, and these words for people.
#[track_caller]
fn refused(owner: &Person, args: &[&str], code: i32, name: &str, words: &str) {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let ended = run(owner, &args).expect_code(code);
    assert!(ended.err.contains(words), "{}", ended.err);
    assert!(ended.err.contains("; "), "what to do: {}", ended.err);
    assert_eq!(ended.result()["error"], name, "{}", ended.out);
}

fn kept(owner: &Person) -> String {
    fs::read_to_string(owner.path(".local/state/rdv/accounts.json")).unwrap_or_default()
}

#[test]
fn an_account_is_made_kept_and_told_about() {
    let mut post = Post::open();
    let host = open_host(&post);
    let address = host.address.to_string();
    let alice = person();
    let made = create(&alice, &address, "Alice", &["--email", "alice@lab.example"]);
    let made = made.expect_code(0);
    assert!(made.err.contains("account confirm"), "{}", made.err);
    let mail = post.next_mail();
    assert_eq!(mail.to, ["alice@lab.example"]);
    let info = event(&alice, &["info"], "account_info");
    assert_eq!(info["name"], "Alice");
    assert_eq!(info["email"], Value::Null, "until it is proven");
    assert_eq!(info["name_changeable"], true);

    // Its owner proves that the address is theirs.
    refused(&alice, &["confirm"], 12, "OUTSTANDING_CONFIRM", "already");
    refused(
        &alice,
        &["confirm", "00000-00000-000000-00000-00000"],
        12,
        "ALL_OTHER_ERRORS",
        "does not take this code",
    );
    let done = event(&alice, &["confirm", &mail.code()], "confirm");
    assert_eq!(done["status"], "confirmed");
    let shown = run(&alice, &["info"]).expect_code(0).out;
    assert!(shown.contains("Name: \"Alice\"\n"), "{shown}");
    assert!(shown.contains("\"alice@lab.example\""), "{shown}");
    let again = event(&alice, &["confirm"], "confirm");
    assert_eq!(again["status"], "already");
    assert!(post.is_empty());

    // The name is taken now, in every form.
    let bob = person();
    let taken = create(&bob, &address, "a LICE", &["--json"]).expect_code(12);
    assert_eq!(taken.result()["error"], "VALIDATE_NICKNAME");
    assert!(taken.err.contains("taken"), "{}", taken.err);
    assert_eq!(kept(&bob), "");
    let bad = create(&bob, &address, "1bob", &["--json"]).expect_code(2);
    assert_eq!(bad.result()["error"], "INVALID_NICKNAME");
}

#[test]
fn a_host_makes_no_accounts_for_strangers_unless_its_operator_wants_that() {
    let host = HostRun::start(&[]);
    let alice = person();
    let closed = create(&alice, &host.address.to_string(), "alice", &[]).expect_code(12);
    assert!(closed.err.contains("makes no accounts"), "{}", closed.err);
    assert_eq!(kept(&alice), "");
    let listed = host.owner.run(["host", "user", "list"]).finish();
    assert_eq!(listed.expect_code(0).out, "");
}

#[test]
fn a_new_password_is_typed_twice_and_takes_the_place_of_the_old_one() {
    let host = HostRun::start(&[]);
    let alice = user(&host, "alice");
    let before = kept(&alice);
    let mut typing = alice.run_on_terminal(["account", "passwd"]);
    typing.expect("New password");
    typing.type_line("battery staple");
    typing.expect("again");
    typing.type_line("battery stable");
    typing.expect("not the same");
    typing.expect("New password");
    typing.type_line("battery staple");
    typing.expect("again");
    typing.type_line("battery staple");
    let said = typing.finish().expect_code(0).out;
    assert!(said.contains("is changed"), "{said}");
    assert!(kept(&alice).contains("battery staple"));
    // It is the one that the host wants now, and the old one is not.
    event(&alice, &["info"], "account_info");
    let path = alice.path(".local/state/rdv/accounts.json");
    fs::write(&path, before).expect("room on the disk");
    let old = run(&alice, &["info"]).expect_code(12);
    assert!(
        old.err.contains("does not know that name and password"),
        "{}",
        old.err
    );
}

#[test]
fn what_the_host_refuses_has_its_name_and_says_what_to_do() {
    let host = HostRun::start(&[]);
    let alice = user(&host, "alice");
    fs::write(alice.path("short"), "otter\n").expect("room on the disk");
    fs::write(alice.path("right"), "correct horse\n").expect("room on the disk");
    let before = kept(&alice);
    for (args, code, name, words) in [
        (
            &["format", "Alicia"][..],
            2,
            "VALIDATE_NICKNAME",
            "another name",
        ),
        (
            &["format", "Alice "],
            2,
            "INVALID_NICKNAME",
            "breaks a rule",
        ),
        (
            &["format", "A lllllllllllllllllice"],
            2,
            "INVALID_NICKNAME_LENGTH",
            "too long",
        ),
        (&["email", "nobody"], 2, "INVALID_EMAIL", "name@example.org"),
        (
            &["passwd", "--password-file", "short"],
            2,
            "INVALID_PASSWORD_LENGTH",
            "8 to 256",
        ),
        (
            &["confirm"],
            12,
            "NO_EMAIL_ADDRESS",
            "account email ADDRESS",
        ),
        (
            &["delete", "alice", "--password-file", "right"],
            12,
            "SERVICE_TEMP_UNAVAILABLE",
            "delete",
        ),
    ] {
        refused(&alice, args, code, name, words);
    }
    assert_eq!(kept(&alice), before);
    let nobody = person();
    let none = run(&nobody, &["info"]).expect_code(2);
    assert!(none.err.contains("account login"), "{}", none.err);
}

#[test]
fn the_form_of_a_name_and_what_its_address_tells_are_changed() {
    let host = HostRun::start(&[]);
    let alice = user(&host, "alice");
    let formatted = event(&alice, &["format", "A Lice"], "format");
    assert_eq!(formatted["name"], "A Lice");
    assert!(kept(&alice).contains("\"A Lice\""));
    let listed = run(&alice, &["list"]).expect_code(0).out;
    assert_eq!(listed.lines().count(), 1, "no second account: {listed}");
    // Without a mail server the operator vouches for addresses: it counts at once.
    let told = event(
        &alice,
        &["email", "alice@lab.example", "--findable", "account"],
        "email",
    );
    assert_eq!(told["in_force"], true);
    let info = event(&alice, &["info"], "account_info");
    assert_eq!(info["name"], "A Lice");
    assert_eq!(info["email"], "alice@lab.example");
    assert_eq!(info["findable"], "account");
    run(&alice, &["email"]).expect_code(2);
}

#[test]
fn another_address_counts_when_the_code_that_went_there_is_typed() {
    let mut post = Post::open();
    let host = open_host(&post);
    let alice = user(&host, "alice");
    let told = event(&alice, &["email", "alice@lab.example"], "email");
    assert_eq!(told["in_force"], false);
    let mail = post.next_mail();
    assert_eq!(
        event(&alice, &["info"], "account_info")["email"],
        Value::Null
    );
    refused(
        &alice,
        &["email", "other@lab.example"],
        12,
        "PENDING_REQUEST",
        "waits for its confirmation",
    );
    run(&alice, &["confirm", &mail.code()]).expect_code(0);
    let info = event(&alice, &["info"], "account_info");
    assert_eq!(info["email"], "alice@lab.example");
}

#[test]
fn an_account_is_deleted_by_who_knows_its_name_and_password() {
    let post = Post::open();
    let host = open_host(&post);
    let address = host.address.to_string();
    let alice = person();
    create(&alice, &address, "alice", &[]).expect_code(0);
    let delete = |name: &str, file: &str| {
        let args = ["delete", name, "--password-file", file, "--json"];
        run(&alice, &args)
    };
    let other = delete("alicia", "new").expect_code(2);
    assert!(other.err.contains("nothing is deleted"), "{}", other.err);
    fs::write(alice.path("wrong"), "not the one\n").expect("room on the disk");
    let wrong = delete("alice", "wrong").expect_code(12);
    assert_eq!(wrong.result()["error"], "INVALID_OLD_PASSWORD");
    assert!(kept(&alice).contains("alice"));
    // Nobody to ask: nothing is done.
    let unasked = run(&alice, &["delete", "--password-file", "new"]).expect_code(2);
    assert!(unasked.err.contains("not a terminal"), "{}", unasked.err);

    let mut typing = alice.run_on_terminal(["account", "delete"]);
    let warned = typing.expect("Type the name");
    assert!(warned.contains("for good"), "{warned}");
    typing.type_line("A LICE");
    typing.expect("Password of");
    typing.type_line("correct horse");
    let said = typing.finish().expect_code(0).out;
    assert!(said.contains("Deleted"), "{said}");
    assert!(!kept(&alice).contains("alice"));
    let args = [
        "login",
        "alice",
        "--host",
        &address,
        "--password-file",
        "new",
    ];
    let gone = run(&alice, &args).expect_code(12);
    assert!(
        gone.err.contains("delete") || gone.err.contains("DELETED"),
        "{}",
        gone.err
    );
}

#[test]
fn s_26_a_25_a_password_is_in_no_output_and_no_log() {
    let host = HostRun::start(&["-vv"]);
    let alice = user(&host, "alice");
    fs::write(alice.path("new"), "otter cake verse\n").expect("room on the disk");
    let args = [
        "account",
        "passwd",
        "--password-file",
        "new",
        "-vv",
        "--json",
    ];
    let changed = alice.run(args).finish().expect_code(0);
    let made = account(&host, "bob", &[]);
    let of_bob = made["password"].as_str().expect("a password").to_owned();
    let said = host.stop();
    for secret in ["otter cake", of_bob.as_str()] {
        for text in [&changed.out, &changed.err, &said.out, &said.err] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
