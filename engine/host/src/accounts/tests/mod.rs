//! Accounts on both databases: the same tests on either, and those of one alone.

mod admin;
mod both;
mod files;
mod messages;
mod server;
#[path = "../../../../../tests/support/postgres.rs"]
#[allow(
    unreachable_pub,
    dead_code,
    reason = "it is the scenarios', too, which need more of it"
)]
mod support;

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use support::Cluster;

/// A database of either kind.
#[derive(Debug, Clone, Copy)]
enum Kind {
    File,
    Server,
}

/// Accounts in a database and a folder of their own.
struct Desk {
    accounts: Accounts,
    url: String,
    folder: TempDir,
}

impl Desk {
    /// None where there is no PostgreSQL.
    async fn of(kind: Kind) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let url = match kind {
            Kind::File => format!("sqlite:{}", folder.path().join("host.db").display()),
            Kind::Server => cluster()?.database(),
        };
        let accounts = open(&url, &folder).await.unwrap();
        Some(Self {
            accounts,
            url,
            folder,
        })
    }

    /// In a file.
    async fn new() -> Self {
        Self::of(Kind::File).await.unwrap()
    }

    /// Once more, as another program does.
    async fn again(&self) -> Result<Accounts, AccountsError> {
        open(&self.url, &self.folder).await
    }

    async fn sees(&self, username: &str, password: &str) -> Verdict {
        let name = name(username);
        let checked = self.check_password(&name, password.as_bytes());
        checked.await.unwrap()
    }

    /// Changes what is stored behind our back.
    async fn tamper(&self, statement: &'static str) {
        self.inner.pool.execute(sql(statement)).await.unwrap();
    }

    /// What was written down, the first first.
    async fn written(&self) -> Vec<String> {
        let mut entries = self.audit(None, 1_000).await.unwrap();
        entries.reverse();
        entries.into_iter().map(|entry| entry.action).collect()
    }
}

impl std::ops::Deref for Desk {
    type Target = Accounts;

    fn deref(&self) -> &Accounts {
        &self.accounts
    }
}

/// The server of all tests of this process.
fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start).as_ref()
}

/// With so short a wait that a locked database is told at once.
async fn open(url: &str, folder: &TempDir) -> Result<Accounts, AccountsError> {
    let waits = Waits {
        busy: Duration::from_millis(50),
        ..Waits::default()
    };
    let folder = Some(folder.path());
    match Accounts::open_with(url, folder, waits).await {
        // The machine may be busy itself.
        Err(AccountsError::Locked) => Accounts::open_with(url, folder, Waits::default()).await,
        opened => opened,
    }
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

/// Makes two tests of each of these functions: with a file of SQLite, and with a database of PostgreSQL.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let desk = super::super::Desk::of(super::super::Kind::File).await;
                    super::$test(desk.expect("a file can always be made")).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(desk) = super::super::Desk::of(super::super::Kind::Server).await {
                        super::$test(desk).await;
                    }
                }
            )+
        }
    };
}
use on_both;
