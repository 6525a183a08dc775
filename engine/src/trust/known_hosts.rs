//! The file of host keys seen before: one line `HOST:PORT FINGERPRINT` each, `#` begins a comment.
//!
//! A line that cannot be read is an error: skipped, it would turn a changed key into a first visit.

use std::{
    io,
    path::{Path, PathBuf},
};

use rdv_proto::trust::Fingerprint;
use thiserror::Error;

use super::private_file::{Failure, PrivateFile, appended, entries};

/// What is wrong with the file of known hosts.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KnownHostsError {
    /// Reading or writing failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file, or the one beside it that was worked on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is not `HOST:PORT FINGERPRINT`.
    #[error("{path}, line {line}: not HOST:PORT and a fingerprint", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

impl From<Failure> for KnownHostsError {
    fn from((path, source): Failure) -> Self {
        Self::Io { path, source }
    }
}

/// A host that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownHost {
    /// The key that it had.
    pub fingerprint: Fingerprint,
    /// Where that stands in the file, counted from 1.
    pub line: usize,
}

/// The file of known hosts. It need not exist yet.
#[derive(Debug, Clone)]
pub struct KnownHosts {
    file: PrivateFile,
}

impl KnownHosts {
    /// The file at `path`; nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            file: PrivateFile::new(path),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// What is known of the host at `address` (`HOST:PORT`, in any case).
    ///
    /// # Errors
    /// [`KnownHostsError`]; a file that does not exist is none.
    pub fn lookup(&self, address: &str) -> Result<Option<KnownHost>, KnownHostsError> {
        self.find(&self.file.read()?, address)
    }

    /// Keeps the key of a host seen for the first time, and gives back what is now on file: another
    /// process may have been faster.
    ///
    /// # Errors
    /// [`KnownHostsError`]; the file is then as it was.
    pub fn remember(
        &self,
        address: &str,
        fingerprint: Fingerprint,
    ) -> Result<KnownHost, KnownHostsError> {
        self.file.update(|text| {
            if let Some(known) = self.find(&text, address)? {
                return Ok((None, known));
            }
            let entry = format!("{} {fingerprint}", address.to_lowercase());
            let (text, line) = appended(text, &entry);
            Ok((Some(text), KnownHost { fingerprint, line }))
        })
    }

    fn find(&self, text: &str, address: &str) -> Result<Option<KnownHost>, KnownHostsError> {
        let mut found = None;
        for (line, words) in entries(text) {
            let fingerprint = words.get(1).and_then(|word| word.parse().ok());
            let (Some(fingerprint), [host, _]) = (fingerprint, &words[..]) else {
                let path = self.path().to_owned();
                return Err(KnownHostsError::Line { path, line });
            };
            if found.is_none() && host.to_lowercase() == address.to_lowercase() {
                found = Some(KnownHost { fingerprint, line });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    fn fingerprint(seed: u8) -> Fingerprint {
        Fingerprint::of(&[seed; 32])
    }

    fn folder() -> (tempfile::TempDir, KnownHosts) {
        let folder = tempfile::tempdir().unwrap();
        let hosts = KnownHosts::new(folder.path().join("state/known_hosts"));
        (folder, hosts)
    }

    #[test]
    fn a_host_is_known_after_it_was_kept() {
        let (_folder, hosts) = folder();
        assert_eq!(hosts.lookup("box:5190").unwrap(), None);
        let known = hosts.remember("Box:5190", fingerprint(1)).unwrap();
        assert_eq!(known.line, 1);
        let second = hosts
            .remember("[2001:db8::1]:5190", fingerprint(2))
            .unwrap();
        assert_eq!(second.line, 2);
        assert_eq!(hosts.lookup("BOX:5190").unwrap(), Some(known));
        assert_eq!(hosts.lookup("[2001:db8::1]:5190").unwrap(), Some(second));
        assert_eq!(hosts.lookup("box:443").unwrap(), None, "a port is a host");
        let first = hosts.remember("box:5190", fingerprint(9)).unwrap();
        assert_eq!(first, known, "what is on file stays");
    }

    #[test]
    fn comments_and_other_lines_survive() {
        let (_folder, hosts) = folder();
        fs::create_dir_all(hosts.path().parent().unwrap()).unwrap();
        let old = format!("# mine\n\nother:1 {} # work", fingerprint(3));
        fs::write(hosts.path(), &old).unwrap();
        assert_eq!(hosts.remember("box:2", fingerprint(1)).unwrap().line, 4);
        let now = fs::read_to_string(hosts.path()).unwrap();
        assert_eq!(now, format!("{old}\nbox:2 {}\n", fingerprint(1)));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_not_a_first_visit() {
        let (_folder, hosts) = folder();
        fs::create_dir_all(hosts.path().parent().unwrap()).unwrap();
        for bad in ["box:1", "box:1 AAAA", "box:1 {} extra"] {
            let bad = bad.replace("{}", &fingerprint(1).to_string());
            fs::write(hosts.path(), format!("# fine\n{bad}\n")).unwrap();
            let error = hosts.lookup("other:1").unwrap_err();
            assert!(matches!(error, KnownHostsError::Line { line: 2, .. }));
            assert!(hosts.remember("other:1", fingerprint(1)).is_err());
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_the_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, hosts) = folder();
        hosts.remember("box:1", fingerprint(1)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(hosts.path()), 0o600);
        assert_eq!(mode(hosts.path().parent().unwrap()), 0o700);
        let mut names: Vec<_> = fs::read_dir(hosts.path().parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["known_hosts", "known_hosts.lock"]);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let (_folder, hosts) = folder();
        thread::scope(|scope| {
            for seed in 0..8 {
                let hosts = &hosts;
                scope.spawn(move || {
                    let address = format!("box:{}", 1 + seed);
                    hosts.remember(&address, fingerprint(seed)).unwrap();
                });
            }
        });
        for seed in 0..8 {
            let known = hosts.lookup(&format!("box:{}", 1 + seed)).unwrap();
            assert_eq!(known.unwrap().fingerprint, fingerprint(seed));
        }
    }
}
