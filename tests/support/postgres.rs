//! A PostgreSQL of the tests' own, reached by a socket in a temporary folder. It ends with the process that started it.
//!
//! It needs nothing but the programs of PostgreSQL and the standard library, so that tests beside the code can use it as well.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where Debian has the programs that are not for everybody's PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Makes a cluster, starts it, says where it is, and clears it away once nobody holds the other end of its input.
const KEEP: &str = r#"
set -e
cd /
folder=$(mktemp -d "${TMPDIR:-/tmp}/rdv-pg.XXXXXX")
trap 'pg_ctl -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT
trap '' INT TERM HUP
initdb -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1 \
    || { cat "$folder/log" >&2; exit 1; }
cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 200
shared_buffers = 16MB
fsync = off
CONF
pg_ctl -D "$folder/data" -l "$folder/log" -w start >/dev/null || { cat "$folder/log" >&2; exit 1; }
echo "$folder"
cat >/dev/null
"#;

/// A running server.
pub struct Cluster {
    folder: PathBuf,
    /// What keeps it: ends when its input does.
    keeper: Mutex<(Child, Option<ChildStdin>)>,
    databases: AtomicU32,
}

impl Cluster {
    /// Starts one; none, loudly, where PostgreSQL is not installed.
    ///
    /// # Panics
    /// If it cannot be started, or instead of skipping where `RDV_TESTS_SKIP_NOTHING` is set.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("RDV_TESTS_SKIP_NOTHING").is_none(),
                "PostgreSQL is not installed"
            );
            let test = std::thread::current();
            let line = format!(
                "SKIPPED {}: PostgreSQL is not installed\n",
                test.name().unwrap_or_default()
            );
            // Past the capture of the test's output; there may be nobody to tell.
            let _ = std::io::stderr().write_all(line.as_bytes());
            return None;
        };
        let mut keeper = as_nobody_special(&programs, "sh", &["-c", KEEP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let input = keeper.stdin.take();
        let output = keeper.stdout.take().expect("it was asked for");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("what it says can be read");
        assert!(line.ends_with('\n'), "PostgreSQL starts");
        Some(Self {
            folder: line.trim_end().into(),
            keeper: Mutex::new((keeper, input)),
            databases: AtomicU32::new(0),
        })
    }

    /// A new, empty database; the URL of it.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test{number}");
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Carries out a statement in the database that a URL names, as the superuser; what it gives back.
    ///
    /// # Panics
    /// If that fails.
    pub fn sql_at(&self, url: &str, statement: &str) -> String {
        let name = url.strip_prefix("postgres:///").expect("a URL of ours");
        let name = name.split('?').next().expect("a URL of ours");
        self.sql(name, statement)
    }

    /// As [`Cluster::database`], kept in a folder, which becomes the server's own.
    ///
    /// # Panics
    /// If that cannot be done: giving folders away needs root.
    #[cfg(unix)]
    pub fn database_in(&self, folder: &Path) -> String {
        use std::os::unix::fs::MetadataExt as _;
        let owner = std::fs::metadata(&self.folder).expect("a folder of ours");
        std::os::unix::fs::chown(folder, Some(owner.uid()), Some(owner.gid()))
            .expect("we are root");
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test{number}");
        let place = folder.display();
        self.sql(
            "postgres",
            &format!("CREATE TABLESPACE {name} LOCATION '{place}'"),
        );
        self.sql(
            "postgres",
            &format!("CREATE DATABASE {name} TABLESPACE {name}"),
        );
        self.url(&name)
    }

    fn url(&self, name: &str) -> String {
        format!(
            "postgres:///{name}?host={}&user=postgres",
            self.folder.display()
        )
    }

    fn sql(&self, database: &str, statement: &str) -> String {
        let folder = self.folder.to_str().expect("a path of ours is text");
        self.run(
            "psql",
            &[
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                folder,
                "-U",
                "postgres",
                "-d",
                database,
                "-c",
                statement,
            ],
        )
    }

    /// Stops the server; who is connected is thrown out.
    ///
    /// # Panics
    /// If that fails.
    pub fn stop(&self) {
        let data = self.data();
        self.run("pg_ctl", &["-D", &data, "-m", "fast", "-w", "stop"]);
    }

    /// Starts the server that was stopped.
    ///
    /// # Panics
    /// If that fails.
    pub fn start_again(&self) {
        let (data, log) = (self.data(), self.folder.join("log"));
        let log = log.to_str().expect("a path of ours is text");
        self.run("pg_ctl", &["-D", &data, "-l", log, "-w", "start"]);
    }

    fn data(&self) -> String {
        let data = self.folder.join("data");
        data.to_str().expect("a path of ours is text").to_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let programs = programs().expect("they were there");
        // What is started does not keep our output open.
        let log = std::fs::File::options()
            .append(true)
            .open(self.folder.join("log"));
        let done = as_nobody_special(&programs, program, arguments)
            .stdin(Stdio::null())
            .stderr(log.map_or_else(|_| Stdio::inherit(), Stdio::from))
            .output()
            .expect("a program of PostgreSQL starts");
        assert!(
            done.status.success(),
            "{program} {arguments:?}: {}",
            std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
        );
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(keeper) = self.keeper.get_mut() {
            drop(keeper.1.take());
            let _ = keeper.0.wait();
        }
    }
}

/// PostgreSQL refuses to run as root.
fn as_nobody_special(programs: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = if is_root() {
        let user = user();
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .args(["--regid=nogroup", "--clear-groups"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
    command
        .args(arguments)
        .env(
            "PATH",
            std::env::join_paths(path).expect("a path of the system"),
        )
        .env("LC_ALL", "C")
        .current_dir("/");
    command
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// The user that the package makes, or one that is there always.
fn user() -> &'static str {
    let known = Command::new("id").args(["-u", "postgres"]).output();
    if known.is_ok_and(|id| id.status.success()) {
        "postgres"
    } else {
        "nobody"
    }
}

/// The folder of the programs: the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let version = |folder: &Path| -> u32 {
        let name = folder.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.parse().ok()).unwrap_or(0)
    };
    let mut versions: Vec<PathBuf> = std::fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    versions.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    versions
        .into_iter()
        .map(|folder| folder.join("bin"))
        .chain(std::env::split_paths(&path))
        .find(|folder| {
            ["initdb", "pg_ctl", "postgres"]
                .iter()
                .all(|program| folder.join(program).exists())
        })
}
