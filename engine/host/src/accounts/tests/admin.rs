//! What owners do with their accounts.

use super::*;

const LATER: u64 = 4_000_000_000;
const OVER: u64 = 1_700_000_000;

/// Alice, and her account behind the face that ADMIN sees.
struct Alice {
    desk: Desk,
    id: AccountId,
    password: Password,
    legacy: Password,
}

impl Alice {
    async fn at(desk: Desk) -> Self {
        let created = desk.create("alice", None, true).await.unwrap();
        Self {
            id: created.account.id,
            password: created.password,
            legacy: created.legacy_password.unwrap(),
            desk,
        }
    }

    fn store(&self) -> &dyn AdminStore {
        &self.desk.accounts
    }

    async fn record(&self) -> Record {
        self.store().record(self.id).await.unwrap().unwrap()
    }

    async fn checks(&self, kind: PasswordKind, password: &Password) -> Checked {
        let checked = self.store().check_password(self.id, kind, password.clone());
        checked.await.unwrap()
    }
}

async fn a_record_tells_all_but_the_secrets(desk: Desk) {
    let alice = Alice::at(desk).await;
    let record = alice.record().await;
    assert_eq!(record.id, alice.id);
    assert_eq!(record.name.as_str(), "alice");
    assert_eq!((record.email, record.email_pending), (None, None));
    assert_eq!((record.confirmed, record.confirm_outstanding), (true, None));
    assert_eq!((record.registration, record.frozen), (1, Fields::NONE));
    assert_eq!((record.state, record.legacy), (State::Active, true));
    assert!(record.created_unix_s > OVER);
    let nobody = alice.store().record(AccountId(7)).await.unwrap();
    assert_eq!(nobody, None);
}

async fn a_format_is_stored_and_is_still_the_same_account(desk: Desk) {
    let alice = Alice::at(desk).await;
    alice
        .store()
        .set_format(alice.id, name("A LI ce"))
        .await
        .unwrap();
    assert_eq!(alice.record().await.name.as_str(), "A LI ce");
    let found = alice.desk.find(&name("alice")).await.unwrap().unwrap();
    assert_eq!(found.name.as_str(), "A LI ce");
    assert!(is_right(
        &alice.desk.sees("alice", alice.legacy.expose()).await,
        true
    ));
    let other = alice.store().set_format(alice.id, name("bob")).await;
    assert_eq!(other, Err(StoreError::Unexpected));
    assert_eq!(alice.record().await.name.as_str(), "A LI ce");
}

async fn an_address_waits_for_its_code(desk: Desk) {
    let alice = Alice::at(desk).await;
    let store = alice.store();
    store
        .set_email(alice.id, "old@example.org".to_owned())
        .await
        .unwrap();
    assert!(
        !alice.record().await.confirmed,
        "nobody knows whose address it is"
    );
    let ask = |email: &str, code, until| {
        store.set_email_pending(alice.id, email.to_owned(), [code; 32], until)
    };
    assert!(ask("new@example.org", 1, LATER).await.unwrap());
    assert!(!ask("third@example.org", 2, LATER).await.unwrap());
    let record = alice.record().await;
    assert_eq!(record.email.as_deref(), Some("old@example.org"));
    assert_eq!(
        record.email_pending,
        Some(("new@example.org".to_owned(), LATER))
    );
    assert!(!store.confirm(alice.id, [2; 32]).await.unwrap());
    assert!(store.confirm(alice.id, [1; 32]).await.unwrap());
    assert!(
        !store.confirm(alice.id, [1; 32]).await.unwrap(),
        "a code is used once"
    );
    let record = alice.record().await;
    assert_eq!(record.email.as_deref(), Some("new@example.org"));
    assert_eq!((record.email_pending, record.confirmed), (None, true));
}

async fn an_address_that_was_not_confirmed_in_time_is_forgotten(desk: Desk) {
    let alice = Alice::at(desk).await;
    let store = alice.store();
    let ask = |code, until| {
        store.set_email_pending(alice.id, "new@example.org".to_owned(), [code; 32], until)
    };
    assert!(ask(1, OVER).await.unwrap());
    assert_eq!(alice.record().await.email_pending, None);
    assert!(!store.confirm(alice.id, [1; 32]).await.unwrap());
    assert_eq!(alice.record().await.email, None);
    assert!(ask(2, LATER).await.unwrap(), "another one may be asked for");
    assert!(store.confirm(alice.id, [2; 32]).await.unwrap());
}

async fn an_account_is_confirmed_by_the_code_in_its_mail(desk: Desk) {
    let alice = Alice::at(desk).await;
    let store = alice.store();
    store
        .set_email(alice.id, "a@example.org".to_owned())
        .await
        .unwrap();
    assert!(store.start_confirm(alice.id, [1; 32], LATER).await.unwrap());
    assert!(!store.start_confirm(alice.id, [2; 32], LATER).await.unwrap());
    assert_eq!(alice.record().await.confirm_outstanding, Some(LATER));
    assert!(!store.confirm(alice.id, [2; 32]).await.unwrap());
    assert!(store.confirm(alice.id, [1; 32]).await.unwrap());
    let record = alice.record().await;
    assert_eq!((record.confirmed, record.confirm_outstanding), (true, None));
    assert!(store.start_confirm(alice.id, [3; 32], OVER).await.unwrap());
    assert_eq!(alice.record().await.confirm_outstanding, None);
    assert!(!store.confirm(alice.id, [3; 32]).await.unwrap(), "too late");
    assert!(store.start_confirm(alice.id, [4; 32], LATER).await.unwrap());
}

async fn what_a_mail_that_failed_was_to_confirm_is_forgotten(desk: Desk) {
    let alice = Alice::at(desk).await;
    let store = alice.store();
    let email = "a@example.org".to_owned();
    assert!(
        store
            .set_email_pending(alice.id, email, [1; 32], LATER)
            .await
            .unwrap()
    );
    assert!(store.start_confirm(alice.id, [2; 32], LATER).await.unwrap());
    store.withdraw(alice.id, [2; 32]).await.unwrap();
    let record = alice.record().await;
    assert_eq!(record.confirm_outstanding, None);
    assert!(
        record.email_pending.is_some(),
        "another mail asks about that"
    );
    store.withdraw(alice.id, [1; 32]).await.unwrap();
    assert_eq!(alice.record().await.email_pending, None);
    store.withdraw(alice.id, [1; 32]).await.unwrap();
}

async fn passwords_are_changed_each_for_itself(desk: Desk) {
    let alice = Alice::at(desk).await;
    let sees = async |password: &str| alice.desk.sees("alice", password).await;
    let set = |kind, password| {
        alice
            .store()
            .set_password(alice.id, kind, Password::new(password))
    };
    set(PasswordKind::Normal, "normal one").await.unwrap();
    assert_eq!(sees(alice.password.expose()).await, Verdict::Wrong);
    assert!(is_right(&sees("normal one").await, false));
    assert!(is_right(&sees(alice.legacy.expose()).await, true));
    set(PasswordKind::Legacy, "old one").await.unwrap();
    assert_eq!(sees(alice.legacy.expose()).await, Verdict::Wrong);
    assert!(is_right(&sees("old one").await, true));
    assert!(is_right(&sees("normal one").await, false));
    let stored = alice.desk.legacy_password(&name("alice")).await.unwrap();
    assert_eq!(stored, Some(Password::new("old one")));
    alice
        .desk
        .revoke_legacy_password(&name("alice"))
        .await
        .unwrap();
    let revoked = set(PasswordKind::Legacy, "another").await;
    assert_eq!(revoked, Err(StoreError::Unexpected));
    assert_eq!(
        alice.desk.legacy_password(&name("alice")).await.unwrap(),
        None
    );
}

async fn each_kind_of_password_is_checked_against_its_own(desk: Desk) {
    let alice = Alice::at(desk).await;
    for (kind, right, wrong) in [
        (PasswordKind::Normal, &alice.password, &alice.legacy),
        (PasswordKind::Legacy, &alice.legacy, &alice.password),
    ] {
        assert_eq!(alice.checks(kind, right).await, Checked::Right);
        assert_eq!(alice.checks(kind, wrong).await, Checked::Wrong);
    }
    alice
        .desk
        .revoke_legacy_password(&name("alice"))
        .await
        .unwrap();
    let revoked = alice.checks(PasswordKind::Legacy, &alice.legacy).await;
    assert_eq!(revoked, Checked::Wrong);
}

async fn a_22_the_sixth_wrong_password_within_ten_minutes_is_not_looked_at(desk: Desk) {
    let alice = Alice::at(desk).await;
    let wrong = Password::new("wrong");
    for _ in 0..PASSWORD_FAILURES_MAX {
        assert_eq!(
            alice.checks(PasswordKind::Legacy, &wrong).await,
            Checked::Wrong
        );
    }
    for password in [&wrong, &alice.legacy] {
        assert_eq!(
            alice.checks(PasswordKind::Legacy, password).await,
            Checked::TooMany
        );
    }
    alice
        .desk
        .tamper("UPDATE accounts SET password_failures_since_unix_s = password_failures_since_unix_s - 601")
        .await;
    assert_eq!(
        alice.checks(PasswordKind::Legacy, &wrong).await,
        Checked::Wrong
    );
    assert_eq!(
        alice.checks(PasswordKind::Legacy, &alice.legacy).await,
        Checked::Right
    );
    for _ in 0..PASSWORD_FAILURES_MAX {
        assert_eq!(
            alice.checks(PasswordKind::Legacy, &wrong).await,
            Checked::Wrong
        );
    }
}

async fn a_22_many_guesses_at_a_time_are_no_way_around_the_limit(desk: Desk) {
    let alice = Alice::at(desk).await;
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (accounts, id) = (alice.desk.accounts.clone(), alice.id);
        guesses.spawn(async move {
            let guess = Password::new(format!("guess {n}"));
            let store: &dyn AdminStore = &accounts;
            loop {
                match store
                    .check_password(id, PasswordKind::Legacy, guess.clone())
                    .await
                {
                    // So many at a time may have to wait longer than these tests let them.
                    Err(StoreError::Busy) => {}
                    checked => return checked.unwrap(),
                }
            }
        });
    }
    let checked = guesses.join_all().await;
    let looked_at = checked.iter().filter(|&&checked| checked == Checked::Wrong);
    assert_eq!(looked_at.count(), 5);
}

async fn a_18_what_is_marked_as_deleted_keeps_its_name_alone(desk: Desk) {
    let alice = Alice::at(desk).await;
    let store = alice.store();
    store
        .set_email(alice.id, "a@example.org".to_owned())
        .await
        .unwrap();
    let insert = vec![FeedbagChange::Insert(item(0, 0, ""))];
    alice.desk.change_feedbag(alice.id, insert).await.unwrap();
    store.mark_deleted(alice.id).await.unwrap();
    let record = alice.record().await;
    assert_eq!((record.state, record.email), (State::Deleted, None));
    assert_eq!(alice.desk.feedbag(alice.id).await.unwrap().items, vec![]);
    for password in [&alice.password, &alice.legacy] {
        assert_eq!(
            alice.desk.sees("alice", password.expose()).await,
            Verdict::Deleted
        );
    }
    let again = alice.desk.create("Alice", None, false).await;
    assert!(matches!(again, Err(AccountsError::Exists { .. })));
}

async fn addresses_are_counted_without_regard_to_case(desk: Desk) {
    let alice = Alice::at(desk).await;
    let store = alice.store();
    let like = async |email: &str| store.emails_like(email.to_owned()).await.unwrap();
    assert_eq!(like("a@example.org").await, 0);
    store
        .set_email(alice.id, "A@example.ORG".to_owned())
        .await
        .unwrap();
    let bob = alice
        .desk
        .create("bob", None, false)
        .await
        .unwrap()
        .account
        .id;
    let pending = "a@EXAMPLE.org".to_owned();
    store
        .set_email_pending(bob, pending, [1; 32], LATER)
        .await
        .unwrap();
    let carol = alice
        .desk
        .create("carol", None, false)
        .await
        .unwrap()
        .account
        .id;
    let over = "a@example.org".to_owned();
    store
        .set_email_pending(carol, over, [1; 32], OVER)
        .await
        .unwrap();
    assert_eq!(like("a@Example.org").await, 2);
    assert_eq!(like("b@example.org").await, 0);
}

async fn what_owners_change_is_written_down_and_counted_for_a_day(desk: Desk) {
    let alice = Alice::at(desk).await;
    let (store, id) = (alice.store(), alice.id);
    store.set_format(id, name("Alice")).await.unwrap();
    store
        .set_email(id, "a@example.org".to_owned())
        .await
        .unwrap();
    store.set_registration(id, 3).await.unwrap();
    store
        .set_password(id, PasswordKind::Normal, Password::new("normal one"))
        .await
        .unwrap();
    store
        .set_password(id, PasswordKind::Legacy, Password::new("old one"))
        .await
        .unwrap();
    store.start_confirm(id, [1; 32], LATER).await.unwrap();
    store.confirm(id, [1; 32]).await.unwrap();
    store
        .set_email_pending(id, "b@example.org".to_owned(), [2; 32], LATER)
        .await
        .unwrap();
    store.confirm(id, [2; 32]).await.unwrap();
    assert_eq!(alice.record().await.registration, 3);
    alice
        .desk
        .set_disabled(&name("alice"), false)
        .await
        .unwrap();
    let words = [
        "created",
        "format changed",
        "e-mail changed",
        "registration status changed",
        "password changed",
        "legacy password changed",
        "confirmation asked for",
        "confirmed",
        "e-mail change asked for",
        "e-mail confirmed",
        "enabled",
    ];
    assert_eq!(alice.desk.written().await, words);
    assert_eq!(
        store.changes_today(id).await.unwrap(),
        9,
        "those of the owner"
    );
    alice
        .desk
        .tamper("UPDATE audit SET at_unix_s = at_unix_s - 86401")
        .await;
    assert_eq!(store.changes_today(id).await.unwrap(), 0);
}

async fn what_is_asked_for_nobody_is_told(desk: Desk) {
    let store: &dyn AdminStore = &desk.accounts;
    let nobody = AccountId(7);
    let email = || "a@example.org".to_owned();
    let password = || Password::new("a password");
    let unknown = StoreError::Unknown;
    assert_eq!(store.set_format(nobody, name("abc")).await, Err(unknown));
    assert_eq!(store.set_email(nobody, email()).await, Err(unknown));
    assert_eq!(
        store
            .set_email_pending(nobody, email(), [1; 32], LATER)
            .await,
        Err(unknown)
    );
    assert_eq!(store.set_registration(nobody, 1).await, Err(unknown));
    assert_eq!(
        store.start_confirm(nobody, [1; 32], LATER).await,
        Err(unknown)
    );
    assert_eq!(store.confirm(nobody, [1; 32]).await, Err(unknown));
    assert_eq!(store.mark_deleted(nobody).await, Err(unknown));
    for kind in [PasswordKind::Normal, PasswordKind::Legacy] {
        assert_eq!(
            store.set_password(nobody, kind, password()).await,
            Err(unknown)
        );
        assert_eq!(
            store.check_password(nobody, kind, password()).await,
            Err(unknown)
        );
    }
    assert_eq!(desk.written().await, Vec::<String>::new());
}

async fn a_change_that_cannot_be_written_down_is_not_made(desk: Desk) {
    let alice = Alice::at(desk).await;
    alice
        .desk
        .tamper("ALTER TABLE audit RENAME TO elsewhere")
        .await;
    let changed = alice.store().set_registration(alice.id, 3).await;
    assert!(changed.is_err());
    assert!(alice.desk.create("bob", None, false).await.is_err());
    alice
        .desk
        .tamper("ALTER TABLE elsewhere RENAME TO audit")
        .await;
    assert_eq!(alice.record().await.registration, 1);
    assert_eq!(alice.desk.find(&name("bob")).await.unwrap(), None);
}

async fn a_record_that_does_not_parse_is_told(desk: Desk) {
    let alice = Alice::at(desk).await;
    for (damage, error) in [
        ("UPDATE accounts SET registration = 4", StoreError::Damaged),
        (
            "UPDATE accounts SET registration = 1, frozen = 16",
            StoreError::Damaged,
        ),
        (
            "UPDATE accounts SET frozen = 0, state = 4",
            StoreError::Unexpected,
        ),
    ] {
        alice.desk.tamper(damage).await;
        assert_eq!(alice.store().record(alice.id).await, Err(error), "{damage}");
    }
}

on_both![
    a_record_tells_all_but_the_secrets,
    a_format_is_stored_and_is_still_the_same_account,
    an_address_waits_for_its_code,
    an_address_that_was_not_confirmed_in_time_is_forgotten,
    an_account_is_confirmed_by_the_code_in_its_mail,
    what_a_mail_that_failed_was_to_confirm_is_forgotten,
    passwords_are_changed_each_for_itself,
    each_kind_of_password_is_checked_against_its_own,
    a_22_the_sixth_wrong_password_within_ten_minutes_is_not_looked_at,
    a_22_many_guesses_at_a_time_are_no_way_around_the_limit,
    a_18_what_is_marked_as_deleted_keeps_its_name_alone,
    addresses_are_counted_without_regard_to_case,
    what_owners_change_is_written_down_and_counted_for_a_day,
    what_is_asked_for_nobody_is_told,
    a_change_that_cannot_be_written_down_is_not_made,
    a_record_that_does_not_parse_is_told,
];
