//! A real OSCAR client as a child process: `purple-peer` drives libpurple with the OSCAR plugin (`tests/interop`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::netns::skip;
use crate::process::{Person, Run};

/// What libpurple calls its relay, whoever the host is; the port is 5190 always.
const RELAY_NAMES: [&str; 2] = ["ars.oscar.aol.com", "ars.icq.com"];

/// The program, the OSCAR plugin, and what gives the plugin back the ability to receive.
#[derive(Debug)]
pub struct Purple {
    program: PathBuf,
    plugins: PathBuf,
    advance_fix: PathBuf,
}

impl Purple {
    /// The program, made ready by `tests/interop/prepare`. None, with a loud word, where that cannot be done.
    ///
    /// # Panics
    /// Instead of skipping where `RDV_TESTS_SKIP_NOTHING` is set.
    #[must_use]
    pub fn ready() -> Option<&'static Self> {
        static READY: OnceLock<Result<Purple, String>> = OnceLock::new();
        match READY.get_or_init(Self::prepare) {
            Ok(purple) => Some(purple),
            Err(reason) => {
                skip(&format!("no libpurple with OSCAR ({reason})"));
                None
            }
        }
    }

    fn prepare() -> Result<Self, String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/prepare");
        let done = Command::new(script)
            .output()
            .map_err(|error| format!("{script}: {error}"))?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).trim().to_owned());
        }
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        let path = |name: &str| {
            told.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(PathBuf::from)
                .ok_or_else(|| format!("{script} does not say where {name} is"))
        };
        Ok(Self {
            program: path("purple-peer")?,
            plugins: path("plugins")?,
            advance_fix: path("advance-fix")?,
        })
    }
}

/// Somebody with an account who uses libpurple.
pub struct PurpleUser {
    purple: &'static Purple,
    person: Person,
    account: Vec<OsString>,
    unmodified: bool,
    runs: AtomicU32,
}

impl PurpleUser {
    /// A user of the account `name` on the host at `host`, in a network namespace. The relay's names lead to `host`, too. A
    /// number is an ICQ account.
    #[must_use]
    pub fn new(
        purple: &'static Purple,
        namespace: String,
        host: SocketAddr,
        name: &str,
        password: &str,
    ) -> Self {
        let person = Person::new("/bin/sh").in_namespace(namespace);
        let hosts = hosts_file(host.ip());
        fs::write(person.path("hosts"), hosts).expect("room on the disk");
        let protocol = match name.bytes().all(|byte| byte.is_ascii_digit()) {
            true => "prpl-icq",
            false => "prpl-aim",
        };
        let account = [
            "--server",
            &host.ip().to_string(),
            "--port",
            &host.port().to_string(),
            "--user",
            name,
            "--password",
            password,
            "--protocol",
            protocol,
        ];
        Self {
            account: account.map(OsString::from).to_vec(),
            purple,
            person,
            unmodified: false,
            runs: AtomicU32::new(0),
        }
    }

    /// Without the preload: the plugin as Debian shipped it, which cannot read the name in an offer unless it stands there twice
    /// (L-31).
    #[must_use]
    pub fn unmodified(mut self) -> Self {
        self.unmodified = true;
        self
    }

    /// A path in the user's home.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.person.path(name)
    }

    /// Signs on and does what `args` say. Its events come as JSON objects on standard output; its debug log goes to a file, whose end
    /// is shown if the test fails.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        // `ip netns exec` gives the process a view of the files of its own, in which `/etc/hosts` can be another.
        const SIGN_ON: &str =
            r#"mount --bind hosts /etc/hosts && exec 2>>debug.log && exec env "$@""#;
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let mut all: Vec<OsString> = vec!["-c".into(), SIGN_ON.into(), "purple".into()];
        all.push(variable("LD_LIBRARY_PATH", &self.purple.plugins));
        if !self.unmodified {
            all.push(variable("LD_PRELOAD", &self.purple.advance_fix));
        }
        all.push(self.purple.program.clone().into());
        all.extend(self.account.iter().cloned());
        all.extend([
            "--plugin-dir".into(),
            self.purple.plugins.clone().into(),
            "--home".into(),
            self.path(format!("purple-{number}")).into(),
            "--debug".into(),
        ]);
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self.person.run(all)
    }
}

impl Drop for PurpleUser {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read(self.path("debug.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            // Not what it says about its plug-ins, preferences and ciphers.
            const ABOUT: [&str; 6] = [
                " oscar: ",
                " proxy: ",
                " network: ",
                " connection: ",
                " ft: ",
                " xfer: ",
            ];
            let lines: Vec<&str> = log
                .lines()
                .filter(|line| ABOUT.iter().any(|about| line.contains(about)))
                .collect();
            eprintln!("--- end of the debug log of libpurple");
            for line in &lines[lines.len().saturating_sub(80)..] {
                eprintln!("{}", line.escape_debug());
            }
        }
    }
}

fn variable(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(name);
    text.push("=");
    text.push(value);
    text
}

fn hosts_file(relay: std::net::IpAddr) -> String {
    let mut text = format!("{} localhost\n", Ipv4Addr::LOCALHOST);
    for name in RELAY_NAMES {
        text.push_str(&format!("{relay} {name}\n"));
    }
    text
}
