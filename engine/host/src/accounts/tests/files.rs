//! What only a file of SQLite can do.

use std::fs;

use sqlx::{Connection as _, Executor as _};

use super::super::sql::Driver;
use super::*;

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
async fn a_locked_database_is_told_and_works_again_afterwards() {
    let desk = Desk::new().await;
    let mut other = sqlx::SqliteConnection::connect(&desk.url).await.unwrap();
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
    let Driver::Sqlite(pool) = desk.inner.pool.driver() else {
        panic!("it is a file");
    };
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
        .fetch_one(pool)
        .await
        .unwrap();
    // Holds for one connection; the others are kept busy.
    let mut others = Vec::new();
    let mut limited = pool.acquire().await.unwrap();
    for _ in 1..4 {
        others.push(pool.acquire().await.unwrap());
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
    let mut free = pool.acquire().await.unwrap();
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
    assert!(
        !desk.folder.path().join("host.db").exists(),
        "an empty one is not made instead"
    );
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
    let path = folder.path().join("host.db");
    fs::write(&path, "x".repeat(5_000)).unwrap();
    let url = format!("sqlite:{}", path.display());
    let opened = open(&url, &folder).await;
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
}
