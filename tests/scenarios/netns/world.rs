//! A laboratory with a host and a relay on its public server, and one transfer in it.

use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use rdv_tests::files::{sha256, write_random};
use rdv_tests::netlab::{Netlab, PUBLIC, PUBLIC_2};
use rdv_tests::process::{ERR, Ended, Person, Run};
use serde_json::Value;
use tempfile::TempDir;

/// The only port that every kind of network lets out.
pub(crate) const PORT: u16 = 443;

/// What is measured in milliseconds runs alone.
static ROOM: RwLock<()> = RwLock::new(());

enum Room {
    Shared {
        _held: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _held: RwLockWriteGuard<'static, ()>,
    },
}

/// A laboratory in which somebody runs a host. One at a time in a thread.
pub(crate) struct World {
    pub(crate) lab: Netlab,
    pub(crate) host: String,
    keeper: Person,
    _host: Run,
    _room: Room,
}

impl World {
    /// The host at the first public address, its relay at the second. None, with a loud word, where there can be no laboratory.
    pub(crate) fn new<S: AsRef<str>>(sides: &[S]) -> Option<Self> {
        let (host, relay) = (format!("{PUBLIC}:{PORT}"), format!("{PUBLIC_2}:{PORT}"));
        let flags = ["--listen", &host, "--relay-listen", &relay];
        Self::with_host(sides, &host, &flags)
    }

    /// The same while nothing else runs, for what is timed.
    pub(crate) fn alone<S: AsRef<str>>(sides: &[S]) -> Option<Self> {
        let held = ROOM.write().unwrap_or_else(PoisonError::into_inner);
        let (host, relay) = (format!("{PUBLIC}:{PORT}"), format!("{PUBLIC_2}:{PORT}"));
        let flags = ["--listen", &host, "--relay-listen", &relay];
        Self::build(sides, &host, &flags, Room::Alone { _held: held })
    }

    /// A host with these flags, which clients meet at `address`.
    pub(crate) fn with_host<S: AsRef<str>>(
        sides: &[S],
        address: &str,
        flags: &[&str],
    ) -> Option<Self> {
        let held = ROOM.read().unwrap_or_else(PoisonError::into_inner);
        Self::build(sides, address, flags, Room::Shared { _held: held })
    }

    fn build<S: AsRef<str>>(
        sides: &[S],
        address: &str,
        flags: &[&str],
        room: Room,
    ) -> Option<Self> {
        let lab = Netlab::up(sides)?;
        let keeper = person().in_namespace(lab.namespace("pub"));
        let mut host = keeper.run(["host", "-v"].iter().chain(flags));
        host.line_with(ERR, "Fingerprint");
        Some(Self {
            lab,
            host: address.to_owned(),
            keeper,
            _host: host,
            _room: room,
        })
    }

    /// Makes an account; `(password, password for old clients)`.
    pub(crate) fn account(&self, name: &str) -> (String, String) {
        let told = self
            .keeper
            .run(["host", "user", "add", name, "--legacy", "--json"])
            .finish()
            .expect_code(0);
        let told = told.events().pop().expect("JSON on standard output");
        let text = |key: &str| told[key].as_str().expect("a string").to_owned();
        (text("password"), text("legacy_password"))
    }

    /// Somebody at that node with an account who has logged in.
    pub(crate) fn user(&self, node: &str, name: &str) -> Person {
        let (password, _) = self.account(name);
        let person = self.person(node);
        std::fs::write(person.path("password"), password).expect("room on the disk");
        let login = ["account", "login", name, "--password-file", "password"];
        person.run(login).finish().expect_code(0);
        person
    }

    /// Somebody at that node, with a home of their own.
    pub(crate) fn person(&self, node: &str) -> Person {
        person()
            .in_namespace(self.lab.namespace(node))
            .with_env("RDV_HOST", &self.host)
    }

    /// Begins to send one file by code.
    pub(crate) fn begin(&self, plan: &Plan<'_>) -> Going {
        let (sender, receiver) = (self.person(plan.from), self.person(plan.to));
        let file = plan.file.to_str().expect("a path of ours");
        let mut sending = sender
            .run(["send", "--json", file].iter().chain(plan.sender))
            .patient(plan.patience);
        let code = sending.event("code")["code"].clone();
        let code = code.as_str().expect("a code");
        let begun = Instant::now();
        let receiving = receiver
            .run(
                ["receive", "--json", "--yes", "-o", "in", code]
                    .iter()
                    .chain(plan.receiver),
            )
            .patient(plan.patience);
        Going {
            sender,
            receiver,
            sending,
            receiving,
            file: plan.file.to_owned(),
            begun,
        }
    }
}

/// Who sends what to whom, and how.
pub(crate) struct Plan<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) file: &'a Path,
    pub(crate) sender: &'a [&'a str],
    pub(crate) receiver: &'a [&'a str],
    pub(crate) patience: Duration,
}

impl<'a> Plan<'a> {
    /// A file from one node to another, without further flags.
    pub(crate) fn new(from: &'a str, to: &'a str, file: &'a Path) -> Self {
        Self {
            from,
            to,
            file,
            sender: &[],
            receiver: &[],
            patience: Duration::from_secs(90),
        }
    }

    /// With flags for both.
    pub(crate) fn flags(self, flags: &'a [&'a str]) -> Self {
        Self {
            sender: flags,
            receiver: flags,
            ..self
        }
    }
}

/// A transfer that runs.
pub(crate) struct Going {
    sender: Person,
    receiver: Person,
    pub(crate) sending: Run,
    pub(crate) receiving: Run,
    file: PathBuf,
    begun: Instant,
}

impl Going {
    /// The file under way, as far as it is there.
    pub(crate) fn part(&self) -> PathBuf {
        let name = self.file.file_name().expect("a file").to_string_lossy();
        self.receiver.path(format!("in/.{name}.rdv-part"))
    }

    /// Waits until the bytes go over a path of that kind.
    pub(crate) fn goes_over(&mut self, kind: &str) {
        let over = |event: &Value| {
            ["connected", "path"].contains(&event["event"].as_str().unwrap_or_default())
                && event["path"] == kind
        };
        let seen = self.receiving.event_or_result(over);
        assert!(over(&seen), "it ended without a path over {kind}: {seen}");
    }

    /// Waits until that many bytes are there.
    pub(crate) fn arrived(&mut self, bytes: u64) {
        self.receiving.event_with("progress", |event| {
            event["bytes"].as_u64().is_some_and(|now| now >= bytes)
        });
    }

    /// Waits for the end of both.
    pub(crate) fn finish(self) -> Done {
        let received = self.receiving.finish();
        let sent = self.sending.finish();
        let took = self.begun.elapsed();
        let arrived = self
            .receiver
            .path("in")
            .join(self.file.file_name().expect("a file"));
        let whole = arrived.exists() && sha256(&arrived) == sha256(&self.file);
        Done {
            sender: self.sender,
            receiver: self.receiver,
            sent,
            received,
            whole,
            took,
        }
    }
}

/// How a transfer ended.
pub(crate) struct Done {
    sender: Person,
    receiver: Person,
    pub(crate) sent: Ended,
    pub(crate) received: Ended,
    /// What arrived has the hash of what was sent.
    pub(crate) whole: bool,
    pub(crate) took: Duration,
}

impl Done {
    /// The kind of path in both results; none if it failed, came out wrong, or the two name different ones.
    pub(crate) fn path(&self) -> Option<String> {
        let path = |ended: &Ended| result(ended)["path"].as_str().map(str::to_owned);
        let good = self.whole && self.sent.code == Some(0) && self.received.code == Some(0);
        let (sent, received) = (path(&self.sent), path(&self.received));
        sent.filter(|_| good && received.is_some())
            .filter(|sent| received.as_ref() == Some(sent))
    }

    /// One field of the receiver's result.
    pub(crate) fn field(&self, name: &str) -> Value {
        result(&self.received)[name].clone()
    }

    /// Fails unless the file came whole over a path of that kind.
    #[track_caller]
    pub(crate) fn expect_path(&self, kind: &str) {
        assert!(
            self.path().as_deref() == Some(kind),
            "expected {kind}\n{}",
            self.report()
        );
    }

    /// Fails unless the file came whole, over whatever path.
    #[track_caller]
    pub(crate) fn expect_whole(&self) {
        let good = self.whole && self.sent.code == Some(0) && self.received.code == Some(0);
        assert!(good, "{}", self.report());
    }

    /// Fails unless the bytes went over one of these carriers.
    #[track_caller]
    pub(crate) fn expect_carrier(&self, carriers: &[&str]) {
        let carrier = self.field("carrier");
        let carrier = carrier.as_str().unwrap_or_default();
        assert!(
            carriers.contains(&carrier),
            "{carrier:?} is none of {carriers:?}\n{}",
            self.report()
        );
    }

    /// All that both said, and what their records say.
    pub(crate) fn report(&self) -> String {
        let mut text = format!("whole: {}, {:?}\n", self.whole, self.took);
        for (who, person, ended) in [
            ("sender", &self.sender, &self.sent),
            ("receiver", &self.receiver, &self.received),
        ] {
            text += &format!("--- {who}: exit {:?}\n", ended.code);
            for line in ended.out.lines().chain(ended.err.lines()) {
                if !line.contains(r#""event":"progress""#) {
                    text += &format!("{line}\n");
                }
            }
            if let Some(id) = result(ended)["transfer_id"].as_str() {
                let shown = person.run(["transfers", "show", id]).finish();
                text += &format!("--- {who}'s record\n{}{}", shown.out, shown.err);
            }
        }
        text
    }
}

/// The last object of that run, which is the result unless it broke.
fn result(ended: &Ended) -> Value {
    ended.events().pop().unwrap_or_default()
}

fn person() -> Person {
    Person::new(crate::binary())
}

/// A file of that many MiB which all tests of this run may send.
pub(crate) fn file_of(mib: u64) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path().join(format!("{mib}.bin"));
    let _alone = ONE_AT_A_TIME.lock();
    if !path.exists() {
        write_random(&path, "the laboratory", mib << 20);
    }
    path
}
