use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;

use super::*;

/// Accounts in a folder of their own.
struct Desk {
    accounts: Accounts,
    folder: TempDir,
}

impl Desk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let accounts = open_in(&folder).await.unwrap();
        Self { accounts, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("host.db")
    }

    async fn sees(&self, username: &str, password: &str) -> Verdict {
        let name = name(username);
        let checked = self.check_password(&name, password.as_bytes());
        checked.await.unwrap()
    }
}

impl std::ops::Deref for Desk {
    type Target = Accounts;

    fn deref(&self) -> &Accounts {
        &self.accounts
    }
}

fn url_in(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("host.db").display())
}

/// With so short a wait that a locked database is told at once.
async fn open_in(folder: &TempDir) -> Result<Accounts, AccountsError> {
    Accounts::open_with(&url_in(folder), Duration::from_millis(50)).await
}

fn name(name: &str) -> ScreenName {
    ScreenName::new(name).unwrap()
}

fn is_right(verdict: &Verdict, of_old_clients: bool) -> bool {
    matches!(verdict, Verdict::Right { legacy, .. } if *legacy == of_old_clients)
}

fn item(group: u16, id: u16, name: &str) -> FeedbagItem {
    FeedbagItem {
        name: Bytes::copy_from_slice(name.as_bytes()),
        group,
        id,
        class: 0,
        tlvs: Bytes::from_static(b"\x01\x31\0\x02\xFF\0"),
    }
}

#[tokio::test]
async fn an_account_is_found_by_any_form_of_its_name() {
    let desk = Desk::new().await;
    let created = desk.create("Alice Smith", None, false).await.unwrap();
    let found = desk.find(&name("a LICE smith")).await.unwrap().unwrap();
    assert_eq!(found, created.account);
    assert_eq!(found.name.as_str(), "Alice Smith");
    assert!(!found.legacy && !found.disabled);
    assert!(found.created_unix_s > 1_700_000_000);
    assert_eq!(desk.find(&name("bob")).await.unwrap(), None);
}

#[tokio::test]
async fn a_name_is_given_once() {
    let desk = Desk::new().await;
    desk.create("Alice", None, false).await.unwrap();
    let again = desk.create("ALI ce", None, true).await;
    assert!(matches!(again, Err(AccountsError::Exists { name }) if name == "ALI ce"));
    let reserved = desk.create("guest one", None, false).await;
    assert!(matches!(reserved, Err(AccountsError::Name { .. })));
    assert_eq!(desk.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_password_may_be_chosen_or_is_made() {
    let desk = Desk::new().await;
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

#[tokio::test]
async fn the_password_for_old_clients_is_another_one_and_can_be_had_for_their_digests() {
    let desk = Desk::new().await;
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

#[tokio::test]
async fn a_password_for_old_clients_can_be_made_anew_and_revoked() {
    let desk = Desk::new().await;
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

#[tokio::test]
async fn a_new_password_ends_the_old_one() {
    let desk = Desk::new().await;
    let old = desk.create("alice", None, false).await.unwrap().password;
    let new = desk.reset_password(&name("alice"), None).await.unwrap();
    assert_eq!(desk.sees("alice", old.expose()).await, Verdict::Wrong);
    assert!(is_right(&desk.sees("alice", new.expose()).await, false));
    let short = Some(Password::new("1234567"));
    let reset = desk.reset_password(&name("alice"), short).await;
    assert!(matches!(reset, Err(AccountsError::Password)));
}

#[tokio::test]
async fn s_32_that_an_account_is_disabled_is_told_to_those_who_know_its_password() {
    let desk = Desk::new().await;
    let created = desk.create("alice", None, true).await.unwrap();
    let alice = name("alice");
    desk.set_disabled(&alice, true).await.unwrap();
    assert!(desk.find(&alice).await.unwrap().unwrap().disabled);
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

#[tokio::test]
async fn what_is_removed_is_gone_with_all_that_belonged_to_it() {
    let desk = Desk::new().await;
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

#[tokio::test]
async fn what_is_done_to_nobody_is_an_error() {
    let desk = Desk::new().await;
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
    assert_eq!(audit(&desk).await, Vec::<(String, String)>::new());
}

async fn audit(desk: &Desk) -> Vec<(String, String)> {
    sqlx::query_as("SELECT name, action FROM audit ORDER BY rowid")
        .fetch_all(&desk.inner.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn every_deed_of_the_operator_is_written_down() {
    let desk = Desk::new().await;
    let alice = name("alice");
    desk.create("Alice", None, false).await.unwrap();
    desk.create("alice", None, false).await.unwrap_err();
    desk.set_disabled(&alice, true).await.unwrap();
    desk.set_disabled(&alice, false).await.unwrap();
    desk.reset_password(&alice, None).await.unwrap();
    desk.reset_legacy_password(&alice).await.unwrap();
    desk.revoke_legacy_password(&alice).await.unwrap();
    desk.remove(&alice).await.unwrap();
    let written = audit(&desk).await;
    let words: Vec<_> = written.iter().map(|(_, word)| word.as_str()).collect();
    let expected = [
        "created",
        "disabled",
        "enabled",
        "password reset",
        "legacy password reset",
        "legacy password revoked",
        "removed",
    ];
    assert_eq!(words, expected);
    assert!(written.iter().all(|(name, _)| name == "alice"));
}

#[tokio::test]
async fn accounts_are_listed_by_name_in_pages() {
    let desk = Desk::new().await;
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

#[tokio::test]
async fn contacts_are_stored_changed_and_taken_away() {
    let desk = Desk::new().await;
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

#[tokio::test]
async fn a_contact_list_that_changed_says_so() {
    let desk = Desk::new().await;
    let id = desk.create("alice", None, false).await.unwrap().account.id;
    sqlx::query("UPDATE accounts SET feedbag_changed_unix_s = 7")
        .execute(&desk.inner.pool)
        .await
        .unwrap();
    assert_eq!(desk.feedbag(id).await.unwrap().changed_unix_s, 7);
    let insert = vec![FeedbagChange::Insert(item(0, 0, ""))];
    desk.change_feedbag(id, insert).await.unwrap();
    assert!(desk.feedbag(id).await.unwrap().changed_unix_s > 1_700_000_000);
}

#[tokio::test]
async fn s_35_a_contact_list_is_bounded() {
    let desk = Desk::new().await;
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

#[tokio::test]
async fn what_is_stored_is_there_for_another_program_and_after_a_restart() {
    let desk = Desk::new().await;
    let other = open_in(&desk.folder).await.unwrap();
    let created = other.create("alice", None, true).await.unwrap();
    let legacy = desk.legacy_password(&name("alice")).await.unwrap();
    assert_eq!(legacy, created.legacy_password);
    drop(other);
    let Desk { accounts, folder } = desk;
    drop(accounts);
    let again = open_in(&folder).await.unwrap();
    let legacy = again.legacy_password(&name("alice")).await.unwrap();
    assert_eq!(legacy, created.legacy_password);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_programs_may_make_the_same_database_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = url_in(&folder);
    let opening: Vec<_> = (0..6)
        .map(|n| {
            let url = url.clone();
            tokio::spawn(async move {
                let accounts = Accounts::open(&url).await.unwrap();
                let name = format!("account{n}");
                accounts.create(&name, None, true).await.unwrap();
            })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap();
    }
    let accounts = open_in(&folder).await.unwrap();
    assert_eq!(accounts.count().await.unwrap(), 6);
    for n in 0..6 {
        let name = name(&format!("account{n}"));
        assert!(accounts.legacy_password(&name).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn s_31_no_password_and_no_digest_of_one_is_in_any_file() {
    let desk = Desk::new().await;
    let created = desk.create("alice", None, true).await.unwrap();
    let passwords = [created.password, created.legacy_password.unwrap()];
    let mut files = 0;
    for entry in fs::read_dir(desk.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        files += 1;
        for password in &passwords {
            let secret = password.expose().as_bytes();
            let there = content.windows(secret.len()).any(|part| part == secret);
            assert!(!there, "{}", path.display());
        }
    }
    assert!(files >= 2, "the database and its key");
}

#[cfg(unix)]
#[tokio::test]
async fn s_31_the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new().await;
    desk.create("alice", None, true).await.unwrap();
    for entry in fs::read_dir(desk.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn without_its_key_a_database_with_passwords_for_old_clients_is_not_opened() {
    let Desk { accounts, folder } = Desk::new().await;
    let key = folder.path().join("host.db.key");
    drop(accounts);
    fs::remove_file(&key).unwrap();
    let accounts = open_in(&folder).await.expect("nothing is sealed yet");
    accounts.create("alice", None, true).await.unwrap();
    drop(accounts);
    fs::remove_file(&key).unwrap();
    let opened = open_in(&folder).await;
    assert!(matches!(opened, Err(AccountsError::KeyMissing { path }) if path == key));
    assert!(!key.exists());
}

#[tokio::test]
async fn s_31_a_sealed_password_that_was_moved_to_another_account_opens_nothing() {
    let desk = Desk::new().await;
    desk.create("alice", None, true).await.unwrap();
    let bob = desk.create("bob", None, true).await.unwrap();
    sqlx::query(
        "UPDATE accounts SET legacy_sealed = \
         (SELECT legacy_sealed FROM accounts WHERE name = 'bob') WHERE name = 'alice'",
    )
    .execute(&desk.inner.pool)
    .await
    .unwrap();
    let opened = desk.legacy_password(&name("alice")).await;
    assert!(matches!(opened, Err(AccountsError::Sealed)));
    let bobs = bob.legacy_password.unwrap();
    assert_eq!(desk.sees("alice", bobs.expose()).await, Verdict::Wrong);
}

#[tokio::test]
async fn a_locked_database_is_told_and_works_again_afterwards() {
    let desk = Desk::new().await;
    let url = url_in(&desk.folder);
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let created = desk.create("alice", None, false).await;
    assert!(matches!(created, Err(AccountsError::Locked)), "{created:?}");
    desk.find(&name("alice")).await.expect("reading goes on");
    other.execute("ROLLBACK").await.unwrap();
    desk.create("alice", None, false).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_lost() {
    let desk = Desk::new().await;
    let created = desk.create("alice", None, false).await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
        .fetch_one(&desk.inner.pool)
        .await
        .unwrap();
    // Holds for one connection; the others are kept busy.
    let mut others = Vec::new();
    let mut limited = desk.inner.pool.acquire().await.unwrap();
    for _ in 1..4 {
        others.push(desk.inner.pool.acquire().await.unwrap());
    }
    let limit = |pages| sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit(pages))
        .execute(&mut *limited)
        .await
        .unwrap();
    drop(limited);
    let id = created.account.id;
    let fill = |n| (0..500).map(move |i| FeedbagChange::Insert(item(n, i, &"x".repeat(200))));
    let changed = desk.change_feedbag(id, fill(1).collect()).await;
    assert!(matches!(changed, Err(AccountsError::Full)), "{changed:?}");
    assert_eq!(desk.feedbag(id).await.unwrap().items, vec![]);
    let password = created.password;
    assert!(is_right(
        &desk.sees("alice", password.expose()).await,
        false
    ));
    drop(others.pop());
    let mut free = desk.inner.pool.acquire().await.unwrap();
    sqlx::query(limit(1_000_000))
        .execute(&mut *free)
        .await
        .unwrap();
    drop(free);
    desk.change_feedbag(id, fill(1).collect()).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_database_that_is_gone_is_told_and_is_used_again_when_it_is_back() {
    let desk = Desk::new().await;
    let password = desk.create("alice", None, false).await.unwrap().password;
    let away = tempfile::tempdir().unwrap();
    let names = ["host.db", "host.db-wal", "host.db-shm"];
    let carry = |from: &TempDir, to: &TempDir| {
        for name in names {
            let (from, to) = (from.path().join(name), to.path().join(name));
            if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
    };
    carry(&desk.folder, &away);
    for gone in [
        desk.create("bob", None, false).await.map(drop),
        desk.find(&name("alice")).await.map(drop),
        desk.check_password(&name("alice"), b"").await.map(drop),
    ] {
        assert!(
            matches!(gone, Err(AccountsError::Unavailable { .. })),
            "{gone:?}"
        );
    }
    assert!(!desk.path().exists(), "an empty one is not made instead");
    carry(&away, &desk.folder);
    assert!(is_right(
        &desk.sees("alice", password.expose()).await,
        false
    ));
    desk.create("bob", None, false).await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("host.db"), "x".repeat(5_000)).unwrap();
    let opened = open_in(&folder).await;
    assert!(
        matches!(opened, Err(AccountsError::Damaged { .. })),
        "{opened:?}"
    );
    let nowhere = format!("sqlite:{}/no/host.db", folder.path().display());
    let opened = Accounts::open(&nowhere).await;
    assert!(
        matches!(opened, Err(AccountsError::File { .. })),
        "{opened:?}"
    );
    let opened = Accounts::open("postgres://localhost/rdv").await;
    assert!(matches!(opened, Err(AccountsError::Url { .. })));
}

#[tokio::test]
async fn a_database_of_a_later_version_is_left_alone() {
    let desk = Desk::new().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, X'00', 0)",
    )
    .execute(&desk.inner.pool)
    .await
    .unwrap();
    let opened = open_in(&desk.folder).await;
    assert!(matches!(opened, Err(AccountsError::Newer)), "{opened:?}");
}
