//! What the menu of an account in libpurple does at our host.

use rdv_tests::process::{Ended, Person};
use rdv_tests::purple::PurpleUser;
use serde_json::Value;

use crate::lab::{Lab, Side};

const ALICE: Side = Side::Alice;
const ADDRESS: &str = "alice@lab.example";

fn lab() -> Option<Lab> {
    Lab::with_mail()
}

/// Goes through the entries of the menu, and signs off.
fn menu(user: &PurpleUser, entries: &[&str]) -> Ended {
    user.run(entries).finish()
}

/// The dialogs that came up.
fn dialogs(ended: &Ended) -> Vec<Value> {
    let events = ended.events().into_iter();
    events.filter(|event| event["event"] == "notice").collect()
}

#[track_caller]
fn no_error(ended: &Ended) {
    for dialog in dialogs(ended) {
        assert_ne!(dialog["level"], "error", "{dialog}");
    }
}

/// What the last dialog said.
#[track_caller]
fn last_words(ended: &Ended) -> String {
    let dialog = dialogs(ended).pop().expect("a dialog");
    format!("{} {}", dialog["text"], dialog["more"])
}

/// What the owner sees of the account with `rdv`.
fn info(owner: &Person) -> Value {
    let ended = owner.run(["account", "info", "--json"]).finish();
    let events = ended.expect_code(0).events().into_iter();
    let mut told = events.filter(|event| event["event"] == "account_info");
    told.next().expect("what the host knows")
}

#[test]
fn a_13_libpurple_changes_its_password_and_the_old_one_is_refused() {
    let Some(lab) = lab() else { return };
    let (owner, old) = lab.owner(ALICE);
    let name = ALICE.account();
    let entries = [
        "--show-email",
        "--change-password",
        "n3w one 4 purple",
        "--show-email",
    ];
    let changed = menu(&lab.purple_as(ALICE, name, &old), &entries).expect_code(0);
    no_error(&changed);

    let with_new = lab.purple_as(ALICE, name, "n3w one 4 purple");
    let signed_on = menu(&with_new, &["--show-email"]).expect_code(0);
    assert!(
        signed_on
            .events()
            .iter()
            .any(|event| event["event"] == "signed-on")
    );
    let refused = menu(&lab.purple_as(ALICE, name, &old), &["--show-email"]).expect_code(4);
    let said = refused.events().into_iter();
    let mut said = said.filter(|event| event["event"] == "connection-error");
    let said = said.next().expect("an error of the sign-on");
    assert!(
        said["text"].as_str().expect("text").contains("password"),
        "{said}"
    );
    // The password of its owner is another one, and stays.
    info(&owner);
}

#[test]
fn a_10_libpurple_formats_its_name() {
    let Some(lab) = lab() else { return };
    let (owner, password) = lab.owner(ALICE);
    let typed = lab.purple_as(ALICE, "Alice LAB", &password);
    no_error(&menu(&typed, &["--show-email"]).expect_code(0));
    assert_eq!(info(&owner)["name"], "Alice LAB");
    // From now on it is shown in that form.
    let again = menu(&typed, &["--show-email"]).expect_code(0);
    let events = again.events().into_iter();
    let mut signed_on = events.filter(|event| event["event"] == "signed-on");
    assert_eq!(signed_on.next().expect("signed on")["as"], "Alice LAB");
}

#[test]
fn a_11_libpurple_changes_its_mail_address_and_the_code_in_the_mail_proves_it() {
    let Some(mut lab) = lab() else { return };
    let (owner, password) = lab.owner(ALICE);
    let purple = lab.purple_as(ALICE, ALICE.account(), &password);
    let asked = menu(&purple, &["--show-email", "--set-email", ADDRESS]).expect_code(0);
    no_error(&asked);
    assert!(last_words(&asked).contains(ADDRESS), "{}", asked.out);
    let mail = lab.post().next_mail();
    assert_eq!(mail.to, [ADDRESS]);
    let before = menu(&purple, &["--show-email"]).expect_code(0);
    assert!(!last_words(&before).contains(ADDRESS), "{}", before.out);
    let code = mail.code();
    owner
        .run(["account", "confirm", &code])
        .finish()
        .expect_code(0);
    let after = menu(&purple, &["--show-email"]).expect_code(0);
    assert!(last_words(&after).contains(ADDRESS), "{}", after.out);
}

#[test]
fn a_16_libpurple_asks_for_confirmation_and_the_code_in_the_mail_gives_it() {
    let Some(mut lab) = lab() else { return };
    let (owner, password) = lab.unproven(ALICE, ADDRESS);
    let purple = lab.purple_as(ALICE, ALICE.account(), &password);
    let asked = menu(&purple, &["--show-email", "--confirm"]).expect_code(0);
    no_error(&asked);
    assert!(last_words(&asked).contains("email"), "{}", asked.out);
    assert_eq!(dialogs(&asked).len(), 2, "{}", asked.out);
    let mail = lab.post().next_mail();
    assert_eq!(mail.to, [ADDRESS]);
    let code = mail.code();
    owner
        .run(["account", "confirm", &code])
        .finish()
        .expect_code(0);
    let again = owner.run(["account", "confirm", "--json"]).finish();
    let again = again.expect_code(0).events().into_iter();
    let mut again = again.filter(|event| event["event"] == "confirm");
    assert_eq!(again.next().expect("an answer")["status"], "already");
}

#[test]
fn a_14_libpurple_shows_a_dialog_for_each_error() {
    let Some(mut lab) = lab() else { return };
    let (_, password) = lab.owner(ALICE);
    let purple = lab.purple_as(ALICE, ALICE.account(), &password);
    for (entries, code) in [
        (&["--set-email", "nobody"][..], "0x0008"),
        (&["--change-password", "abc"], "0x000c"),
        (
            &["--old-password", "not it", "--change-password", "n3w one"],
            "0x000a",
        ),
    ] {
        let all: Vec<&str> = [&["--show-email"], entries, &["--show-email"]].concat();
        let ended = menu(&purple, &all).expect_code(0);
        let shown = dialogs(&ended).into_iter();
        let mut errors = shown.filter(|dialog| dialog["level"] == "error");
        let error = errors
            .next()
            .unwrap_or_else(|| panic!("{entries:?}: {}", ended.out));
        assert!(
            error["more"].as_str().expect("text").contains(code),
            "{error}"
        );
    }
    assert!(lab.post().is_empty());
}
