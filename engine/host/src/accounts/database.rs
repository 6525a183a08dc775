//! Where accounts are kept: from a URL to connections whose tables are up to date.
//!
//! Everything behind this file speaks SQL that SQLite and PostgreSQL share, and [`Db`] names the driver in one place. What a
//! transaction does first is to write: so it waits for its turn instead of failing when somebody else wrote meanwhile.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

use super::error::AccountsError;

/// The driver.
pub(super) type Db = sqlx::Sqlite;

static MIGRATIONS: Migrator = sqlx::migrate!();

const SCHEME: &str = "sqlite:";
/// Connections at a time. Reads run side by side, writes one after the other.
const CONNECTIONS: u32 = 4;
/// How long to wait while somebody else writes.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// Two programs may bring a new database up to date at a time; the second one finds its work done when it looks again.
const MIGRATION_TRIES: usize = 3;

/// The file that `sqlite:PATH` names.
pub(super) fn path_of(url: &str) -> Result<PathBuf, AccountsError> {
    url.strip_prefix(SCHEME)
        .map(|path| path.strip_prefix("//").unwrap_or(path))
        // What SQLite keeps in memory, other programs do not see.
        .filter(|path| !path.is_empty() && *path != ":memory:")
        .map(PathBuf::from)
        .ok_or_else(|| AccountsError::Url {
            url: url.to_owned(),
        })
}

/// Opens the database, or makes it.
pub(super) async fn open(path: &Path, busy: Duration) -> Result<sqlx::Pool<Db>, AccountsError> {
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
        .busy_timeout(busy);
    let place = Arc::new(Place::new(path));
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(busy * 2)
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            let still_there = place.has_been_there_for(connection.age);
            Box::pin(async move { Ok(still_there) })
        })
        .connect_with(options)
        .await?;
    for _ in 1..MIGRATION_TRIES {
        if MIGRATIONS.run(&pool).await.is_ok() {
            return Ok(pool);
        }
    }
    MIGRATIONS.run(&pool).await?;
    Ok(pool)
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
struct Place {
    path: PathBuf,
    /// Which file it is, and since when we know.
    seen: Mutex<(Option<FileId>, Instant)>,
}

impl Place {
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
    fn a_url_names_a_file() {
        for (url, path) in [
            ("sqlite:host.db", Some("host.db")),
            ("sqlite:/var/lib/host.db", Some("/var/lib/host.db")),
            ("sqlite:///var/lib/host.db", Some("/var/lib/host.db")),
            ("sqlite:a b?c%20d", Some("a b?c%20d")),
            ("sqlite:", None),
            ("sqlite::memory:", None),
            ("host.db", None),
            ("postgres://localhost/rdv", None),
        ] {
            assert_eq!(path_of(url).ok().as_deref(), path.map(Path::new), "{url}");
        }
    }
}
