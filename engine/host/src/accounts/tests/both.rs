//! What accounts are good for.

use super::*;

async fn an_account_is_found_by_any_form_of_its_name(desk: Desk) {
    let created = desk.create("Alice Smith", None, false).await.unwrap();
    let found = desk.find(&name("a LICE smith")).await.unwrap().unwrap();
    assert_eq!(found, created.account);
    assert_eq!(found.name.as_str(), "Alice Smith");
    assert!(!found.legacy && found.state == State::Active);
    assert!(found.created_unix_s > 1_700_000_000);
    assert_eq!(desk.find(&name("bob")).await.unwrap(), None);
}

async fn a_name_is_given_once(desk: Desk) {
    desk.create("Alice", None, false).await.unwrap();
    let again = desk.create("ALI ce", None, true).await;
    assert!(matches!(again, Err(AccountsError::Exists { name }) if name == "ALI ce"));
    let reserved = desk.create("guest one", None, false).await;
    assert!(matches!(reserved, Err(AccountsError::Name { .. })));
    assert_eq!(desk.count().await.unwrap(), 1);
}

async fn a_password_may_be_chosen_or_is_made(desk: Desk) {
    let chosen = Password::new("correct horse");
    let created = desk.create("alice", Some(chosen.clone()), false).await;
    assert_eq!(created.unwrap().password, chosen);
    assert!(is_right(&desk.sees("alice", "correct horse").await, false));
    assert_eq!(desk.sees("alice", "correct hors").await, Verdict::Wrong);
    let short = desk
        .create("bob", Some(Password::new("short")), false)
        .await;
    assert!(matches!(short, Err(AccountsError::Password)));
    let made = desk.create("bob", None, false).await.unwrap().password;
    assert_eq!(made.expose().len(), 16);
    assert!(is_right(&desk.sees("bob", made.expose()).await, false));
    assert_eq!(desk.sees("alice", made.expose()).await, Verdict::Wrong);
}

async fn the_password_for_old_clients_is_another_one_and_can_be_had_for_their_digests(desk: Desk) {
    let created = desk.create("alice", None, true).await.unwrap();
    let legacy = created.legacy_password.unwrap();
    assert_eq!(legacy.expose().len(), 16);
    assert_ne!(legacy, created.password);
    let stored = desk.legacy_password(&name("A lice")).await.unwrap();
    assert_eq!(stored, Some(legacy.clone()));
    assert!(is_right(&desk.sees("alice", legacy.expose()).await, true));
    assert!(is_right(
        &desk.sees("alice", created.password.expose()).await,
        false
    ));
    let icq = desk.create("123456789", None, true).await.unwrap();
    assert_eq!(icq.legacy_password.unwrap().expose().len(), 8);
    desk.create("bob", None, false).await.unwrap();
    assert_eq!(desk.legacy_password(&name("bob")).await.unwrap(), None);
    assert_eq!(desk.legacy_password(&name("carol")).await.unwrap(), None);
}

async fn a_password_for_old_clients_can_be_made_anew_and_revoked(desk: Desk) {
    let alice = name("alice");
    let normal = desk.create("alice", None, false).await.unwrap().password;
    let first = desk.reset_legacy_password(&alice).await.unwrap();
    assert!(desk.find(&alice).await.unwrap().unwrap().legacy);
    let second = desk.reset_legacy_password(&alice).await.unwrap();
    assert_eq!(desk.sees("alice", first.expose()).await, Verdict::Wrong);
    assert!(is_right(&desk.sees("alice", second.expose()).await, true));
    desk.revoke_legacy_password(&alice).await.unwrap();
    assert_eq!(desk.sees("alice", second.expose()).await, Verdict::Wrong);
    assert_eq!(desk.legacy_password(&alice).await.unwrap(), None);
    assert!(!desk.find(&alice).await.unwrap().unwrap().legacy);
    assert!(is_right(&desk.sees("alice", normal.expose()).await, false));
}

async fn a_new_password_ends_the_old_one(desk: Desk) {
    let old = desk.create("alice", None, false).await.unwrap().password;
    let new = desk.reset_password(&name("alice"), None).await.unwrap();
    assert_eq!(desk.sees("alice", old.expose()).await, Verdict::Wrong);
    assert!(is_right(&desk.sees("alice", new.expose()).await, false));
    let short = Some(Password::new("1234567"));
    let reset = desk.reset_password(&name("alice"), short).await;
    assert!(matches!(reset, Err(AccountsError::Password)));
}

async fn s_32_that_an_account_is_disabled_is_told_to_those_who_know_its_password(desk: Desk) {
    let created = desk.create("alice", None, true).await.unwrap();
    let alice = name("alice");
    desk.set_disabled(&alice, true).await.unwrap();
    let found = desk.find(&alice).await.unwrap().unwrap();
    assert_eq!(found.state, State::Disabled);
    for password in [created.password.clone(), created.legacy_password.unwrap()] {
        assert_eq!(
            desk.sees("alice", password.expose()).await,
            Verdict::Disabled
        );
    }
    assert_eq!(desk.sees("alice", "wrong").await, Verdict::Wrong);
    desk.set_disabled(&alice, false).await.unwrap();
    assert!(is_right(
        &desk.sees("alice", created.password.expose()).await,
        false
    ));
}

async fn what_is_removed_is_gone_with_all_that_belonged_to_it(desk: Desk) {
    let alice = name("alice");
    let first = desk.create("alice", None, true).await.unwrap();
    let id = first.account.id;
    let insert = vec![FeedbagChange::Insert(item(0, 0, ""))];
    desk.change_feedbag(id, insert).await.unwrap();
    desk.remove(&alice).await.unwrap();
    assert_eq!(desk.find(&alice).await.unwrap(), None);
    assert_eq!(
        desk.sees("alice", first.password.expose()).await,
        Verdict::Wrong
    );
    let second = desk.create("Al Ice", None, false).await.unwrap();
    assert_ne!(second.account.id, id);
    let feedbag = desk.feedbag(second.account.id).await.unwrap();
    assert_eq!(feedbag.items, vec![]);
    let gone = desk.feedbag(id).await;
    assert!(matches!(gone, Err(AccountsError::Unknown { .. })));
}

async fn what_is_done_to_nobody_is_an_error(desk: Desk) {
    let nobody = name("nobody");
    for done in [
        desk.set_disabled(&nobody, true).await,
        desk.remove(&nobody).await,
        desk.revoke_legacy_password(&nobody).await,
        desk.reset_legacy_password(&nobody).await.map(drop),
        desk.reset_password(&nobody, None).await.map(drop),
        desk.change_feedbag(AccountId(7), vec![]).await.map(drop),
    ] {
        assert!(matches!(done, Err(AccountsError::Unknown { .. })));
    }
    assert_eq!(desk.written().await, Vec::<String>::new());
}

async fn every_deed_of_the_operator_is_written_down(desk: Desk) {
    let alice = name("alice");
    desk.create("Alice", None, false).await.unwrap();
    desk.create("alice", None, false).await.unwrap_err();
    desk.set_disabled(&alice, true).await.unwrap();
    desk.set_disabled(&alice, false).await.unwrap();
    desk.reset_password(&alice, None).await.unwrap();
    desk.reset_legacy_password(&alice).await.unwrap();
    desk.revoke_legacy_password(&alice).await.unwrap();
    desk.remove(&alice).await.unwrap();
    let expected = [
        "created",
        "disabled",
        "enabled",
        "password reset",
        "legacy password reset",
        "legacy password revoked",
        "removed",
    ];
    assert_eq!(desk.written().await, expected);
    let entries = desk.audit(Some(&alice), 3).await.unwrap();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        assert_eq!(entry.name, alice);
        assert_eq!(entry.author, Author::Operator);
        assert!(entry.at_unix_s > 1_700_000_000);
    }
    assert_eq!(desk.audit(Some(&name("bob")), 3).await.unwrap(), vec![]);
}

async fn accounts_are_listed_by_name_in_pages(desk: Desk) {
    for name in ["dave", "Bob B", "alice", "Carol"] {
        desk.create(name, None, false).await.unwrap();
    }
    let names = |accounts: Vec<Account>| -> Vec<String> {
        let name = |account: &Account| account.name.as_str().to_owned();
        accounts.iter().map(name).collect()
    };
    let first = desk.list(None, 3).await.unwrap();
    let rest = desk.list(Some(&first[2].name), 3).await.unwrap();
    assert_eq!(names(first), ["alice", "Bob B", "Carol"]);
    assert_eq!(names(rest), ["dave"]);
}

async fn contacts_are_stored_changed_and_taken_away(desk: Desk) {
    let id = desk.create("alice", None, false).await.unwrap().account.id;
    assert_eq!(desk.feedbag(id).await.unwrap().items, vec![]);
    let changes = vec![
        FeedbagChange::Insert(item(1, 2, "Bob")),
        FeedbagChange::Insert(item(0, 0, "")),
        FeedbagChange::Insert(item(1, 2, "Carol")),
        FeedbagChange::Update(item(1, 3, "Dave")),
        FeedbagChange::Update(item(1, 2, "B\u{e4}b")),
        FeedbagChange::Delete { group: 9, id: 9 },
        FeedbagChange::Insert(item(1, 4, &"x".repeat(FEEDBAG_NAME_MAX + 1))),
    ];
    let statuses = desk.change_feedbag(id, changes).await.unwrap();
    let codes: Vec<u16> = statuses.iter().map(|status| status.code()).collect();
    assert_eq!(codes, [0, 0, 3, 2, 0, 2, 0x0A]);
    let feedbag = desk.feedbag(id).await.unwrap();
    assert_eq!(feedbag.items, [item(0, 0, ""), item(1, 2, "B\u{e4}b")]);
    assert!(feedbag.changed_unix_s > 1_700_000_000);
    let delete = FeedbagChange::Delete { group: 1, id: 2 };
    desk.change_feedbag(id, vec![delete]).await.unwrap();
    assert_eq!(desk.feedbag(id).await.unwrap().items, [item(0, 0, "")]);
}

async fn a_contact_list_that_changed_says_so(desk: Desk) {
    let id = desk.create("alice", None, false).await.unwrap().account.id;
    desk.tamper("UPDATE accounts SET feedbag_changed_unix_s = 7")
        .await;
    assert_eq!(desk.feedbag(id).await.unwrap().changed_unix_s, 7);
    let insert = vec![FeedbagChange::Insert(item(0, 0, ""))];
    desk.change_feedbag(id, insert).await.unwrap();
    assert!(desk.feedbag(id).await.unwrap().changed_unix_s > 1_700_000_000);
}

async fn s_35_a_contact_list_is_bounded(desk: Desk) {
    let id = desk.create("alice", None, false).await.unwrap().account.id;
    let inserts = (0..=1_000).map(|n| FeedbagChange::Insert(item(1, n, "x")));
    let statuses = desk.change_feedbag(id, inserts.collect()).await.unwrap();
    assert_eq!(statuses[999], FeedbagStatus::Done);
    assert_eq!(statuses[1_000], FeedbagStatus::Full);
    let delete = FeedbagChange::Delete { group: 1, id: 0 };
    let again = vec![
        FeedbagChange::Insert(item(2, 1, "x")),
        delete,
        FeedbagChange::Insert(item(2, 1, "x")),
        FeedbagChange::Insert(item(2, 2, "x")),
    ];
    let statuses = desk.change_feedbag(id, again).await.unwrap();
    use FeedbagStatus::{Done, Full};
    assert_eq!(statuses, [Full, Done, Done, Full]);
}

async fn what_is_stored_is_there_for_another_program_and_after_a_restart(desk: Desk) {
    let other = desk.again().await.unwrap();
    let created = other.create("alice", None, true).await.unwrap();
    let legacy = desk.legacy_password(&name("alice")).await.unwrap();
    assert_eq!(legacy, created.legacy_password);
    drop(other);
    let Desk {
        accounts,
        url,
        folder,
    } = desk;
    drop(accounts);
    let again = open(&url, &folder).await.unwrap();
    let legacy = again.legacy_password(&name("alice")).await.unwrap();
    assert_eq!(legacy, created.legacy_password);
}

async fn many_programs_may_make_the_same_database_at_once(desk: Desk) {
    // A database with nothing in it yet.
    let folder = tempfile::tempdir().unwrap();
    let url = if desk.url.starts_with("sqlite:") {
        format!("sqlite:{}", folder.path().join("host.db").display())
    } else {
        cluster().unwrap().database()
    };
    let opening: Vec<_> = (0..6)
        .map(|n| {
            let (url, folder) = (url.clone(), folder.path().to_owned());
            tokio::spawn(async move {
                let accounts = Accounts::open_in(&url, &folder).await.unwrap();
                let name = format!("account{n}");
                accounts.create(&name, None, true).await.unwrap();
            })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap();
    }
    let accounts = Accounts::open_in(&url, folder.path()).await.unwrap();
    assert_eq!(accounts.count().await.unwrap(), 6);
    for n in 0..6 {
        let name = name(&format!("account{n}"));
        assert!(accounts.legacy_password(&name).await.unwrap().is_some());
    }
}

async fn s_31_a_sealed_password_that_was_moved_to_another_account_opens_nothing(desk: Desk) {
    desk.create("alice", None, true).await.unwrap();
    let bob = desk.create("bob", None, true).await.unwrap();
    desk.tamper(
        "UPDATE accounts SET legacy_sealed = \
         (SELECT legacy_sealed FROM accounts WHERE name = 'bob') WHERE name = 'alice'",
    )
    .await;
    let opened = desk.legacy_password(&name("alice")).await;
    assert!(matches!(opened, Err(AccountsError::Sealed)));
    let bobs = bob.legacy_password.unwrap();
    assert_eq!(desk.sees("alice", bobs.expose()).await, Verdict::Wrong);
}

async fn a_database_of_a_later_version_is_left_alone(desk: Desk) {
    desk.tamper(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'later', TRUE, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let opened = desk.again().await;
    assert!(matches!(opened, Err(AccountsError::Newer)), "{opened:?}");
}

async fn without_its_key_a_database_with_passwords_for_old_clients_is_not_opened(desk: Desk) {
    let key = if desk.url.starts_with("sqlite:") {
        desk.folder.path().join("host.db.key")
    } else {
        desk.folder.path().join("host.key")
    };
    std::fs::remove_file(&key).unwrap();
    let accounts = desk.again().await.expect("nothing is sealed yet");
    accounts.create("alice", None, true).await.unwrap();
    std::fs::remove_file(&key).unwrap();
    let opened = desk.again().await;
    assert!(matches!(opened, Err(AccountsError::KeyMissing { path }) if path == key));
    assert!(!key.exists());
}

async fn s_32_what_became_of_an_account_is_told_to_those_who_know_its_password(desk: Desk) {
    let created = desk.create("alice", None, true).await.unwrap();
    let passwords = [created.password, created.legacy_password.unwrap()];
    for (state, verdict) in [
        (State::Deleted, Verdict::Deleted),
        (State::Expired, Verdict::Expired),
        (State::Disabled, Verdict::Disabled),
    ] {
        desk.set_state(&name("alice"), state).await.unwrap();
        for password in &passwords {
            assert_eq!(desk.sees("alice", password.expose()).await, verdict);
        }
        assert_eq!(desk.sees("alice", "wrong").await, Verdict::Wrong);
    }
}

async fn what_is_stored_of_an_account_but_means_nothing_is_told(desk: Desk) {
    desk.create("alice", None, true).await.unwrap();
    desk.tamper("UPDATE accounts SET state = 9").await;
    let found = desk.find(&name("alice")).await;
    assert!(
        matches!(found, Err(AccountsError::State { .. })),
        "{found:?}"
    );
    desk.tamper("UPDATE accounts SET state = 0, formatted = ''")
        .await;
    let found = desk.find(&name("alice")).await;
    assert!(
        matches!(found, Err(AccountsError::Damaged { .. })),
        "{found:?}"
    );
}

async fn an_account_may_be_made_by_its_owner_with_an_address(desk: Desk) {
    let new = NewAccount {
        name: "Alice",
        password: None,
        legacy: false,
        email: Some("alice@example.org".to_owned()),
        confirmed: false,
        author: Author::Owner,
    };
    let created = desk.add(new).await.unwrap();
    let record = desk.record_named(&name("alice")).await.unwrap().unwrap();
    assert_eq!(record.id, created.account.id);
    assert_eq!(record.email.as_deref(), Some("alice@example.org"));
    assert!(!record.confirmed);
    assert_eq!(desk.audit(None, 9).await.unwrap()[0].author, Author::Owner);
}

async fn the_operator_may_change_what_owners_change(desk: Desk) {
    desk.create("alice", None, false).await.unwrap();
    let alice = name("alice");
    let record = async || desk.record_named(&alice).await.unwrap().unwrap();
    assert!(record().await.confirmed, "it is known for whom it was made");
    let email = Some("alice@example.org".to_owned());
    desk.assign_email(&alice, email.clone(), false)
        .await
        .unwrap();
    assert_eq!(
        (record().await.email, record().await.confirmed),
        (email.clone(), false)
    );
    desk.confirm_named(&alice).await.unwrap();
    assert_eq!(
        (record().await.email, record().await.confirmed),
        (email, true)
    );
    desk.set_frozen(&alice, Fields::EMAIL | Fields::FORMAT)
        .await
        .unwrap();
    assert_eq!(record().await.frozen, Fields::EMAIL | Fields::FORMAT);
    desk.assign_email(&alice, None, true).await.unwrap();
    assert_eq!(record().await.email, None);
    let nobody = name("nobody");
    assert_eq!(desk.record_named(&nobody).await.unwrap(), None);
    for done in [
        desk.assign_email(&nobody, None, true).await,
        desk.confirm_named(&nobody).await,
        desk.set_frozen(&nobody, Fields::NONE).await,
        desk.set_state(&nobody, State::Expired).await,
    ] {
        assert!(matches!(done, Err(AccountsError::Unknown { .. })));
    }
    assert_eq!(
        desk.written().await,
        [
            "created",
            "e-mail changed",
            "confirmed",
            "frozen fields changed",
            "e-mail changed"
        ]
    );
}

on_both![
    an_account_is_found_by_any_form_of_its_name,
    a_name_is_given_once,
    a_password_may_be_chosen_or_is_made,
    the_password_for_old_clients_is_another_one_and_can_be_had_for_their_digests,
    a_password_for_old_clients_can_be_made_anew_and_revoked,
    a_new_password_ends_the_old_one,
    s_32_that_an_account_is_disabled_is_told_to_those_who_know_its_password,
    what_is_removed_is_gone_with_all_that_belonged_to_it,
    what_is_done_to_nobody_is_an_error,
    every_deed_of_the_operator_is_written_down,
    accounts_are_listed_by_name_in_pages,
    contacts_are_stored_changed_and_taken_away,
    a_contact_list_that_changed_says_so,
    s_35_a_contact_list_is_bounded,
    what_is_stored_is_there_for_another_program_and_after_a_restart,
    many_programs_may_make_the_same_database_at_once,
    s_31_a_sealed_password_that_was_moved_to_another_account_opens_nothing,
    a_database_of_a_later_version_is_left_alone,
    without_its_key_a_database_with_passwords_for_old_clients_is_not_opened,
    s_32_what_became_of_an_account_is_told_to_those_who_know_its_password,
    what_is_stored_of_an_account_but_means_nothing_is_told,
    an_account_may_be_made_by_its_owner_with_an_address,
    the_operator_may_change_what_owners_change,
];
