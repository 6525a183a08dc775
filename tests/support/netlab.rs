//! The laboratory of `tests/netlab`: a public server, and peers behind routers and firewalls of every kind. Needs root, Python 3, `ip`,
//! `nft` and TUN devices.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::netns::skip;

/// The public server's first address in every laboratory.
pub const PUBLIC: &str = "11.11.0.1";
/// Its second one.
pub const PUBLIC_2: &str = "11.11.0.2";
/// Its first address of IPv6.
pub const PUBLIC_V6: &str = "2600:11::1";

/// One laboratory; all that runs in it ends when it is dropped.
#[derive(Debug)]
pub struct Netlab {
    name: String,
}

impl Netlab {
    /// Builds one: each side is what `netlab up` takes, such as `A=eim,delay=20` or `overlap`. None, with a loud word, where that
    /// cannot be done.
    ///
    /// # Panics
    /// Instead of skipping where `RDV_TESTS_SKIP_NOTHING` is set; and if the laboratory could be built here, but was not.
    #[must_use]
    pub fn up<S: AsRef<str>>(sides: &[S]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(reason) = missing() {
            skip(reason);
            return None;
        }
        let lab = Self {
            name: format!(
                "rdv{}n{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            ),
        };
        let mut args = vec!["up"];
        args.extend(sides.iter().map(AsRef::as_ref));
        lab.netlab(&args);
        Some(lab)
    }

    /// The namespace of a node: `a`, `a.r` (its router), `pub` (the public server), `inet` (the core).
    #[must_use]
    pub fn namespace(&self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }

    /// What `netlab` itself says to a command; the command must succeed.
    #[track_caller]
    pub fn netlab(&self, args: &[&str]) -> String {
        let done = Command::new(script())
            .args(args)
            .env("NETLAB_NAME", &self.name)
            .output();
        told("netlab", args, done.expect("netlab starts"))
    }

    /// An address of a side: `host4`, `host6`, or `ext4`, which the world sees.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn address(&self, side: &str, which: &str) -> IpAddr {
        let info: Value =
            serde_json::from_str(&self.netlab(&["info", side])).expect("JSON of netlab");
        let address = info[which].as_str().and_then(|text| text.parse().ok());
        address.unwrap_or_else(|| panic!("{side} has no {which}: {info}"))
    }

    /// Runs a program on a node, which must succeed, and returns what it said.
    #[track_caller]
    pub fn run(&self, node: &str, command: &[&str]) -> String {
        let done = Command::new("ip")
            .args(["netns", "exec", &self.namespace(node)])
            .args(command)
            .output();
        told(node, command, done.expect("ip starts"))
    }

    /// A program that goes on running on a node until its end or that of the laboratory.
    #[must_use]
    pub fn command(&self, node: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(node), program]);
        command
    }

    /// The names that programs on a node know, as lines of `/etc/hosts`.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn hosts(&self, node: &str, lines: &str) {
        let folder = Path::new("/etc/netns").join(self.namespace(node));
        std::fs::create_dir_all(&folder).expect("root may write there");
        std::fs::write(folder.join("hosts"), lines).expect("root may write there");
    }

    /// Gives `nft` on a node these lines.
    ///
    /// # Panics
    /// If it does not take them.
    #[track_caller]
    pub fn nft(&self, node: &str, rules: &str) {
        let mut child = self
            .command(node, "nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip starts");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // One that ended already tells by its exit.
        let _ = stdin.write_all(rules.as_bytes());
        drop(stdin);
        told(node, &[rules], child.wait_with_output().expect("nft ends"));
    }

    /// Packets that the counters of a table on a node have seen, by their names.
    ///
    /// # Panics
    /// If there is no such table, family and name as in `inet wall`.
    #[must_use]
    pub fn counters(&self, node: &str, table: &str) -> Vec<(String, u64)> {
        let mut list = vec!["nft", "-j", "list", "counters", "table"];
        list.extend(table.split(' '));
        let told: Value = serde_json::from_str(&self.run(node, &list)).expect("JSON of nft");
        let entries = told["nftables"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .filter_map(|entry| {
                let counter = &entry["counter"];
                Some((
                    counter["name"].as_str()?.to_owned(),
                    counter["packets"].as_u64()?,
                ))
            })
            .collect()
    }

    /// Packets that one counter has seen.
    ///
    /// # Panics
    /// If there is no such counter.
    #[must_use]
    #[track_caller]
    pub fn counter(&self, node: &str, table: &str, name: &str) -> u64 {
        let all = self.counters(node, table);
        all.iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("no counter {name} in {all:?}"))
            .1
    }

    /// Runs `work` on a thread that stands on that node; threads that it starts stand there, too.
    ///
    /// # Panics
    /// If `work` does.
    pub fn inside<T: Send>(&self, node: &str, work: impl FnOnce() -> T + Send) -> T {
        let place = Path::new("/run/netns").join(self.namespace(node));
        let place = File::open(place).expect("a namespace");
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may go there");
                work()
            });
            match inside.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Drop for Netlab {
    fn drop(&mut self) {
        for entry in std::fs::read_dir("/etc/netns")
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(&self.namespace("")) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let _ = Command::new(script())
            .arg("down")
            .env("NETLAB_NAME", &self.name)
            .output();
    }
}

/// Where the laboratory's program is; the tests run where they were built.
fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("netlab/netlab")
}

/// Why there can be no laboratory here.
fn missing() -> Option<&'static str> {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    let why = WHY.get_or_init(|| {
        if !rustix::process::geteuid().is_root() {
            return Some("the laboratory of networks needs root".into());
        }
        for (program, arg) in [("python3", "--version"), ("ip", "-V"), ("nft", "--version")] {
            let runs = Command::new(program).arg(arg).output();
            if !runs.is_ok_and(|done| done.status.success()) {
                return Some(format!("the laboratory of networks needs {program}"));
            }
        }
        if !Path::new("/dev/net/tun").exists() {
            return Some("the laboratory of networks needs /dev/net/tun".into());
        }
        let probe = format!("rdv{}probe", std::process::id());
        for verb in ["add", "delete"] {
            let done = Command::new("ip").args(["netns", verb, &probe]).output();
            match done {
                Ok(done) if done.status.success() => {}
                Ok(done) => {
                    let reason = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                    return Some(format!("no network namespaces: {reason}"));
                }
                Err(error) => return Some(format!("no network namespaces: {error}")),
            }
        }
        None
    });
    why.as_deref()
}

#[track_caller]
fn told(who: &str, what: &[&str], done: Output) -> String {
    assert!(
        done.status.success(),
        "{who} {what:?}: {} {}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}
