//! The database fails while people are signed on: they stay, others are told, nothing is lost, and it all works again by itself.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rdv_host::HostHandle;
use rdv_host::accounts::{Accounts, AccountsError, FeedbagItem};
use rdv_proto::wire::signon::{Item, ItemClass, Items, LoginErrorCode, Status, Statuses};
use rdv_proto::wire::snac::{Foodgroup, SnacError};
use rdv_tests::disk::SmallDisk;
use rdv_tests::old_client::{Manners, OldClient};
use rdv_tests::postgres::Cluster;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

use super::{host_with, port};

/// What the host says to the sender of a message that it passed on.
const ACCEPTED: u16 = 0x0C;

/// A host whose database will fail, and two who are signed on before that.
struct City {
    accounts: Accounts,
    alice: OldClient,
    bob: OldClient,
    /// The password of Carol, who comes while it fails.
    carol: String,
    host: HostHandle,
    _folder: TempDir,
}

impl City {
    async fn new(url: &str, folder: TempDir) -> Self {
        let accounts = Accounts::open_in(url, folder.path()).await.unwrap();
        let used = accounts.clone();
        let host = host_with(|config| config.accounts = Some(used)).await;
        let mut passwords = Vec::new();
        for name in ["alice", "bob", "carol"] {
            let created = accounts.create(name, None, true).await.unwrap();
            passwords.push(created.legacy_password.unwrap().expose().to_owned());
        }
        let manners = Manners::default();
        let alice = OldClient::sign_on(port(&host), "alice", &passwords[0], &manners);
        let mut alice = alice.await.unwrap();
        let bob = OldClient::sign_on(port(&host), "bob", &passwords[1], &manners);
        let bob = bob.await.unwrap();
        let stored = edit(&mut alice, contacts(0..10)).await.unwrap();
        assert_eq!(stored, [Status::OK; 10]);
        Self {
            accounts,
            alice,
            bob,
            carol: passwords.remove(2),
            host,
            _folder: folder,
        }
    }

    /// Those who are signed on go on as if nothing had happened.
    async fn talks_on(&mut self) {
        self.alice.text("bob", "still there?").await;
        self.bob.expect_message().await;
        self.alice.expect(Foodgroup::ICBM, ACCEPTED).await;
        self.bob.text("alice", "yes").await;
        self.alice.expect_message().await;
        self.bob.expect(Foodgroup::ICBM, ACCEPTED).await;
    }

    /// Who comes now.
    async fn carol(&self) -> Result<OldClient, LoginErrorCode> {
        OldClient::sign_on(port(&self.host), "carol", &self.carol, &Manners::default()).await
    }

    /// Nobody new is let in, and they are told that it is not their fault.
    async fn lets_nobody_in(&self) {
        let refused = self.carol().await.map(drop);
        assert_eq!(refused, Err(LoginErrorCode::UNAVAILABLE));
    }

    /// A change is refused as a whole, and said so.
    async fn refuses_changes(&mut self) {
        let refused = edit(&mut self.alice, contacts(100..400)).await;
        assert_eq!(refused.unwrap_err().code, 0x05, "service unavailable");
    }

    /// All is as before; what was refused can be had now.
    async fn recovers(mut self) {
        self.talks_on().await;
        let mut carol = self.carol().await.unwrap();
        carol.text("bob", "good morning").await;
        self.bob.expect_message().await;
        let found = self.accounts.find(&name("alice")).await.unwrap();
        let id = found.unwrap().id;
        let ids = async || -> Vec<u16> {
            let stored = self.accounts.feedbag(id).await.unwrap().items;
            stored.iter().map(|item: &FeedbagItem| item.id).collect()
        };
        assert_eq!(
            ids().await,
            (0..10).collect::<Vec<_>>(),
            "nothing more or less"
        );
        let stored = edit(&mut self.alice, contacts(100..400)).await.unwrap();
        assert!(stored.iter().all(|&status| status == Status::OK));
        assert_eq!(ids().await.len(), 310);
        self.host.shutdown().await;
    }
}

fn name(name: &str) -> rdv_proto::wire::text::ScreenName {
    rdv_proto::wire::text::ScreenName::new(name).unwrap()
}

/// So much that it does not fit into what room the files have left.
fn contacts(ids: std::ops::Range<u16>) -> Vec<Item> {
    ids.map(|id| Item {
        name: Bytes::from(format!("{id:040}")),
        group: 1,
        id,
        class: ItemClass::BUDDY,
        tlvs: Bytes::new(),
    })
    .collect()
}

/// Puts items onto the list; what became of each, or why of none.
async fn edit(client: &mut OldClient, items: Vec<Item>) -> Result<Vec<Status>, SnacError> {
    let body = Items { items }.encode();
    let id = client.snac(Foodgroup::FEEDBAG, 0x08, body).await;
    loop {
        let snac = client.next().await;
        if snac.is(Foodgroup::FEEDBAG, 0x01) && snac.request_id == id {
            return Err(SnacError::decode(&snac.body).unwrap());
        }
        if snac.is(Foodgroup::FEEDBAG, 0x0E) && snac.request_id == id {
            return Ok(Statuses::decode(&snac.body).statuses);
        }
    }
}

/// Takes all room that there is on a disk.
fn fill(disk: &Path) -> PathBuf {
    use std::io::Write as _;
    let path = disk.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    for block in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; block]).is_ok() {}
    }
    path
}

fn sqlite(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

#[tokio::test]
async fn a_file_that_is_moved_away_while_people_are_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let mut city = City::new(&sqlite(&path), folder).await;
    let away = tempfile::tempdir_in(path.parent().unwrap()).unwrap();
    let carry = |from: &Path, to: &Path| {
        for name in ["host.db", "host.db-wal", "host.db-shm"] {
            if from.join(name).exists() {
                fs::rename(from.join(name), to.join(name)).unwrap();
            }
        }
    };
    carry(path.parent().unwrap(), away.path());
    city.talks_on().await;
    city.lets_nobody_in().await;
    city.refuses_changes().await;
    city.talks_on().await;
    carry(away.path(), path.parent().unwrap());
    city.recovers().await;
}

#[tokio::test]
async fn a_file_that_another_program_has_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let mut city = City::new(&sqlite(&path), folder).await;
    let mut holder = SqliteConnection::connect(&sqlite(&path)).await.unwrap();
    holder.execute("BEGIN EXCLUSIVE").await.unwrap();
    city.talks_on().await;
    city.refuses_changes().await;
    // Reading goes on: who knows a password may sign on.
    city.carol().await.unwrap().leave().await;
    city.talks_on().await;
    holder.execute("ROLLBACK").await.unwrap();
    city.recovers().await;
}

#[tokio::test]
async fn a_disk_that_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 4) else {
        return;
    };
    let place = folder.path().join("disk");
    let mut city = City::new(&sqlite(&place.join("host.db")), folder).await;
    let filler = fill(&place);
    city.talks_on().await;
    city.refuses_changes().await;
    let bob = name("bob");
    let long = Some("b".repeat(200_000));
    let created = city.accounts.assign_email(&bob, long, true).await;
    assert!(matches!(created, Err(AccountsError::Full)), "{created:?}");
    city.carol().await.unwrap().leave().await;
    city.talks_on().await;
    fs::remove_file(filler).unwrap();
    city.recovers().await;
    drop(disk);
}

#[tokio::test]
async fn a_server_that_is_stopped_and_started_again() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut city = City::new(&cluster.database(), folder).await;
    cluster.stop();
    city.talks_on().await;
    city.lets_nobody_in().await;
    city.refuses_changes().await;
    city.talks_on().await;
    cluster.start_again();
    city.recovers().await;
}

#[tokio::test]
async fn a_server_on_which_somebody_has_locked_the_accounts() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database();
    let mut city = City::new(&url, tempfile::tempdir().unwrap()).await;
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let lock = "BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE";
    holder.execute(sqlx::raw_sql(lock)).await.unwrap();
    city.talks_on().await;
    city.lets_nobody_in().await;
    city.refuses_changes().await;
    city.talks_on().await;
    holder.execute("ROLLBACK").await.unwrap();
    city.recovers().await;
}

#[tokio::test]
async fn a_server_whose_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 24) else {
        return;
    };
    let place = folder.path().join("disk");
    // The server goes into its own folder through ours.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database_in(&place);
    let mut city = City::new(&url, folder).await;
    let filler = fill(&place);
    city.talks_on().await;
    city.refuses_changes().await;
    city.carol().await.unwrap().leave().await;
    city.talks_on().await;
    fs::remove_file(filler).unwrap();
    city.recovers().await;
    drop(cluster);
    drop(disk);
}
