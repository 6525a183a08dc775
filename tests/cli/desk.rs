//! What most of these tests begin with: people, a host, a wrong code.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rdv_tests::process::{ERR, Ended, Person, Run};

pub(crate) fn person() -> Person {
    Person::new(env!("CARGO_BIN_EXE_rdv"))
}

/// Writes a small file into a person's home and returns its path.
pub(crate) fn small_file(owner: &Person, name: &str) -> PathBuf {
    let path = owner.path(name);
    fs::write(&path, format!("this is {name}\n")).expect("room on the disk");
    path
}

/// A `rdv host` of somebody's own.
pub(crate) struct HostRun {
    run: Run,
    pub(crate) owner: Person,
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: String,
}

impl HostRun {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_at(person(), "127.0.0.1:0", more)
    }

    pub(crate) fn start_at(owner: Person, listen: &str, more: &[&str]) -> Self {
        let mut run = owner.run(["host", "--listen", listen].iter().chain(more));
        let fingerprint = last_word(&run.line_with(ERR, "Fingerprint"));
        let address = address_in(&run.line_with(ERR, "Host on"));
        Self {
            run,
            owner,
            address,
            fingerprint,
        }
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.run.pid()
    }

    /// Ends it, for what it said.
    pub(crate) fn stop(self) -> Ended {
        self.run.kill()
    }

    /// The same host again at the same place.
    pub(crate) fn restart(self) -> Self {
        let Self {
            run,
            owner,
            address,
            ..
        } = self;
        run.kill();
        Self::start_at(owner, &address.to_string(), &[])
    }

    /// `--host ADDR:PORT` and more, for a verb.
    pub(crate) fn args<'a>(&self, verb: &'a str, more: &[&'a str]) -> Vec<String> {
        let mut args = vec![
            verb.to_owned(),
            "--host".to_owned(),
            self.address.to_string(),
        ];
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args
    }
}

pub(crate) fn address_in(line: &str) -> SocketAddr {
    line.split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("an address in {line:?}"))
}

fn last_word(line: &str) -> String {
    line.split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned()
}

/// The same number and address with words in another order: all known, but not the right ones.
pub(crate) fn wrong(code: &str) -> String {
    let (words, address) = code
        .split_once('@')
        .map_or((code, None), |(words, address)| (words, Some(address)));
    let parts: Vec<&str> = words.split('-').collect();
    let [number, a, b, c] = parts[..] else {
        panic!("NUMBER-word-word-word, not {code:?}")
    };
    let turned = [[b, c, a], [b, a, c]]
        .into_iter()
        .find(|turned| *turned != [a, b, c]);
    // Three times the same word: any other will do.
    let [a, b, c] = turned.unwrap_or(["otter", "otter", "verse"]);
    let address = address
        .map(|address| format!("@{address}"))
        .unwrap_or_default();
    format!("{number}-{a}-{b}-{c}{address}")
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// Fails unless there is nothing in the folder, or no folder.
#[track_caller]
pub(crate) fn assert_nothing_in(folder: &Path) {
    let tree = rdv_tests::files::tree(folder);
    assert!(
        tree.is_empty(),
        "there should be nothing in {}: {tree:?}",
        folder.display()
    );
}

/// Bytes of a "big" file: a GiB if asked for, else as much as an unoptimised build moves in a moment.
pub(crate) fn big_bytes() -> u64 {
    if std::env::var_os("RDV_TESTS_BIG").is_some() {
        1 << 30
    } else {
        96 << 20
    }
}
