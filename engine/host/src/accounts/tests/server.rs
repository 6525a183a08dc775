//! What only a server of PostgreSQL can do.

use super::super::sql::Driver;
use super::*;

#[tokio::test]
async fn a_database_on_a_server_needs_a_place_for_its_key() {
    let opened = Accounts::open("postgres://localhost/rdv").await;
    assert!(matches!(opened, Err(AccountsError::KeyPlace)), "{opened:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_the_password() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens at a path that does not exist.
    let socket = folder.path().join("none");
    let url = format!(
        "postgres:///rdv?user=rdv&password=otter&host={}",
        socket.display()
    );
    let opened = Accounts::open_in(&url, folder.path()).await;
    let Err(error @ AccountsError::Unavailable { .. }) = opened else {
        panic!("{opened:?}");
    };
    assert!(!format!("{error} {error:?}").contains("otter"));
}

#[tokio::test]
async fn s_31_no_password_is_in_the_database_of_a_server() {
    let Some(desk) = Desk::of(Kind::Server).await else {
        return;
    };
    let created = desk.create("alice", None, true).await.unwrap();
    let stored = cluster().unwrap().sql_at(
        &desk.url,
        "SELECT accounts::text, encode(legacy_sealed, 'escape') FROM accounts",
    );
    assert!(stored.contains("alice"));
    for password in [created.password, created.legacy_password.unwrap()] {
        assert!(!stored.contains(password.expose()));
    }
}

#[tokio::test]
async fn a_locked_table_is_told_and_works_again_afterwards() {
    let Some(desk) = Desk::of(Kind::Server).await else {
        return;
    };
    let password = desk.create("alice", None, false).await.unwrap().password;
    let other = desk.again().await.unwrap();
    let Driver::Postgres(pool) = other.inner.pool.driver() else {
        panic!("it is on a server");
    };
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    for locked in [
        desk.create("bob", None, false).await.map(drop),
        desk.find(&name("alice")).await.map(drop),
        desk.check_password(&name("alice"), b"").await.map(drop),
    ] {
        assert!(matches!(locked, Err(AccountsError::Locked)), "{locked:?}");
    }
    holder.rollback().await.unwrap();
    desk.create("bob", None, false).await.unwrap();
    assert!(is_right(
        &desk.sees("alice", password.expose()).await,
        false
    ));
}

#[tokio::test]
async fn a_read_only_database_is_told_and_still_lets_people_sign_on() {
    let Some(desk) = Desk::of(Kind::Server).await else {
        return;
    };
    let password = desk.create("alice", None, false).await.unwrap().password;
    let cluster = cluster().unwrap();
    let read_only = |on: &str| {
        let name = cluster.sql_at(&desk.url, "SELECT current_database()");
        let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}");
        cluster.sql_at("postgres:///postgres", &set);
        // It holds for those who connect from now on.
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        cluster.sql_at(&desk.url, others);
    };
    read_only("on");
    let created = desk.create("bob", None, false).await;
    assert!(
        matches!(created, Err(AccountsError::ReadOnly)),
        "{created:?}"
    );
    assert!(is_right(
        &desk.sees("alice", password.expose()).await,
        false
    ));
    read_only("off");
    desk.create("bob", None, false).await.unwrap();
}
