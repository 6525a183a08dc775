//! Where accounts are kept: from a URL to connections whose tables are up to date.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Executor as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

use super::error::AccountsError;
use super::sql::{Driver, Pool};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Two programs may bring a new database up to date at a time; the second one finds its work done when it looks again.
const MIGRATION_TRIES: usize = 3;

/// How long to wait for others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// For those who write to the same file, or hold a lock on the same rows.
    pub(super) busy: Duration,
    /// For a server that is there no more, or not yet.
    pub(super) connect: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            busy: Duration::from_secs(5),
            connect: Duration::from_secs(3),
        }
    }
}

/// What a URL names.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of PostgreSQL.
    Server(Box<PgConnectOptions>),
}

impl Place {
    /// Reads `sqlite:PATH`, or `postgres://` and what PostgreSQL's own programs take behind it.
    pub(super) fn of(url: &str) -> Result<Self, AccountsError> {
        let wrong = || AccountsError::Url { url: shown(url) };
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            // What SQLite keeps in memory, other programs do not see.
            return if path.is_empty() || path == ":memory:" {
                Err(wrong())
            } else {
                Ok(Self::File(path.into()))
            };
        }
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(wrong());
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| wrong())?;
        Ok(Self::Server(Box::new(options)))
    }

    /// Opens the database and brings its tables up to date; a file is made if it is missing.
    pub(super) async fn open(&self, waits: Waits) -> Result<Pool, AccountsError> {
        match self {
            Self::File(path) => file(path, waits).await,
            Self::Server(options) => server(options, waits).await,
        }
    }
}

/// A URL without the password in it.
pub(super) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, "?…"),
        None => (rest, ""),
    };
    let rest = match rest.rsplit_once('@') {
        Some((user, place)) => {
            let (user, password) = match user.split_once(':') {
                Some((user, _)) => (user, ":***"),
                None => (user, ""),
            };
            format!("{user}{password}@{place}")
        }
        None => rest.to_owned(),
    };
    format!("{scheme}://{rest}{query}")
}

async fn file(path: &Path, waits: Waits) -> Result<Pool, AccountsError> {
    /// Reads run side by side, writes one after the other.
    const CONNECTIONS: u32 = 4;

    create(path).map_err(|source| AccountsError::File {
        path: path.to_owned(),
        source,
    })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        // A database that is taken away while the host runs is not to be replaced by an empty one.
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true)
        .busy_timeout(waits.busy);
    let there = Arc::new(There::new(path));
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(waits.busy * 2)
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            let still_there = there.has_been_there_for(connection.age);
            Box::pin(async move { Ok(still_there) })
        })
        .connect_with(options)
        .await?;
    up_to_date(|| Box::pin(MIGRATIONS.run(&pool))).await?;
    Ok(Pool::new(Driver::Sqlite(pool), waits.busy * 4))
}

async fn server(options: &PgConnectOptions, waits: Waits) -> Result<Pool, AccountsError> {
    /// At a time. Servers let in a hundred, unless they are told otherwise.
    const CONNECTIONS: u32 = 8;

    let options = options.clone().application_name("rdv host");
    let lock_timeout = format!("SET lock_timeout = {}", waits.busy.as_millis());
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(waits.connect)
        .after_connect(move |connection, _| {
            let lock_timeout = lock_timeout.clone();
            Box::pin(async move {
                connection
                    .execute(sqlx::AssertSqlSafe(lock_timeout))
                    .await
                    .map(drop)
            })
        })
        .connect_with(options)
        .await
        .map_err(|error| match error {
            sqlx::Error::PoolTimedOut => AccountsError::Unavailable {
                reason: "the server does not answer".to_owned(),
            },
            error => error.into(),
        })?;
    up_to_date(|| Box::pin(MIGRATIONS.run(&pool))).await?;
    Ok(Pool::new(
        Driver::Postgres(pool),
        waits.connect + waits.busy * 2,
    ))
}

/// Runs the migrations until they are through, or have failed often enough.
async fn up_to_date<'p>(
    run: impl Fn() -> Pin<Box<dyn Future<Output = Result<(), MigrateError>> + Send + 'p>>,
) -> Result<(), AccountsError> {
    for _ in 1..MIGRATION_TRIES {
        if run().await.is_ok() {
            return Ok(());
        }
    }
    Ok(run().await?)
}

/// Makes the file, for its owner alone; the files that SQLite puts beside it get the same rights.
fn create(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(|_| ()),
    }
}

/// The file under the name of the database. SQLite goes on with a file that was removed, and what it writes is lost: its
/// connections are given up when the name is gone or is another file's.
struct There {
    path: PathBuf,
    /// Which file it is, and since when we know.
    seen: Mutex<(Option<FileId>, Instant)>,
}

impl There {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: Mutex::new((file_id(path), Instant::now())),
        }
    }

    /// Whether a connection of this age is one to the file that is there now.
    fn has_been_there_for(&self, age: Duration) -> bool {
        let there = file_id(&self.path);
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != there {
            *seen = (there, now);
        }
        there.is_some() && now.saturating_duration_since(seen.1) >= age
    }
}

#[cfg(unix)]
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Elsewhere a file that is open cannot be taken away.
#[cfg(not(unix))]
type FileId = ();

#[cfg(not(unix))]
fn file_id(_path: &Path) -> Option<FileId> {
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_database_of_a_server() {
        for (url, path) in [
            ("sqlite:host.db", Some("host.db")),
            ("sqlite:/var/lib/host.db", Some("/var/lib/host.db")),
            ("sqlite:///var/lib/host.db", Some("/var/lib/host.db")),
            ("sqlite:a b?c%20d", Some("a b?c%20d")),
            ("sqlite:", None),
            ("sqlite::memory:", None),
            ("host.db", None),
            ("mysql://localhost/rdv", None),
            ("postgres:rdv", None),
            ("postgres://localhost:x/rdv", None),
        ] {
            let named = match Place::of(url) {
                Ok(Place::File(path)) => Some(path),
                Ok(Place::Server(_)) => panic!("{url}"),
                Err(_) => None,
            };
            assert_eq!(named.as_deref(), path.map(Path::new), "{url}");
        }
        for (url, host, port, database) in [
            (
                "postgres://rdv:a%20b@db.example:6543/accounts?sslmode=require",
                "db.example",
                6543,
                "accounts",
            ),
            ("postgresql://rdv@db.example/rdv", "db.example", 5432, "rdv"),
        ] {
            let Ok(Place::Server(options)) = Place::of(url) else {
                panic!("{url}");
            };
            let told = (
                options.get_host(),
                options.get_port(),
                options.get_database(),
            );
            assert_eq!(told, (host, port, Some(database)), "{url}");
        }
        let Ok(Place::Server(options)) = Place::of("postgres:///rdv?host=/run/postgresql") else {
            panic!("a socket is a place as well");
        };
        let socket = options.get_socket().map(PathBuf::as_path);
        assert_eq!(socket, Some(Path::new("/run/postgresql")));
    }

    #[test]
    fn s_26_a_url_is_shown_without_its_password() {
        for (url, expected) in [
            ("sqlite:/var/lib/host.db", "sqlite:/var/lib/host.db"),
            ("postgres://rdv@db/rdv", "postgres://rdv@db/rdv"),
            ("postgres://rdv:otter@db/rdv", "postgres://rdv:***@db/rdv"),
            ("postgres://rdv:ot@ter@db/rdv", "postgres://rdv:***@db/rdv"),
            ("postgres://db/rdv?password=otter", "postgres://db/rdv?…"),
            ("mysql://rdv:otter@db", "mysql://rdv:***@db"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
