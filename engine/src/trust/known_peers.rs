//! The file of peers met before: one line `NAME@HOST FINGERPRINT HOW` each, `#` begins a comment.
//!
//! Names are hints, the key is the identity (`security.md` 5.1): a name that comes with another key is refused (S-07), and who
//! stands here was secure once, so that it is never plain again (S-03) until it is forgotten. A line that cannot be read is an
//! error: skipped, it would turn a changed key into a first contact.

use std::{
    io,
    path::{Path, PathBuf},
};

use rdv_proto::{trust::Fingerprint, wire::text::ScreenName};
use thiserror::Error;
use tokio::task::spawn_blocking;

use super::private_file::{Failure, PrivateFile, appended, entries};
use crate::error::{By, Error as EngineError};

/// What is wrong with the file of known peers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KnownPeersError {
    /// Reading or writing failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file, or the one beside it that was worked on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is not `NAME@HOST FINGERPRINT first-use` or `… verified`.
    #[error("{path}, line {line}: not NAME@HOST, a fingerprint, and first-use or verified", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

impl From<Failure> for KnownPeersError {
    fn from((path, source): Failure) -> Self {
        Self::Io { path, source }
    }
}

/// A peer that was met before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPeer {
    /// The key that it had.
    pub fingerprint: Fingerprint,
    /// Whether somebody compared it, or a code proved it; else it is that of the first contact.
    pub verified: bool,
    /// Where that stands in the file, counted from 1.
    pub line: usize,
}

/// The known peers of one host. Names mean something only together with the host that gave them. The file need not exist yet.
#[derive(Debug, Clone)]
pub struct KnownPeers {
    file: PrivateFile,
    host: String,
}

impl KnownPeers {
    /// The peers of `host` (as the user calls it, without blanks) in the file at `path`; nothing is read yet.
    pub fn new(path: impl Into<PathBuf>, host: &str) -> Self {
        let blank = |c: char| c.is_whitespace() || c == '#';
        Self {
            file: PrivateFile::new(path),
            host: host.to_lowercase().replace(blank, ""),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// What is known of `peer`.
    ///
    /// # Errors
    /// [`KnownPeersError`]; a file that does not exist is none.
    pub fn lookup(&self, peer: &ScreenName) -> Result<Option<KnownPeer>, KnownPeersError> {
        self.find(&self.file.read()?, peer)
    }

    /// Keeps the key of a peer at the first contact, and gives back what is now on file: another process may have been faster.
    ///
    /// # Errors
    /// [`KnownPeersError`]; the file is then as it was.
    pub fn remember(
        &self,
        peer: &ScreenName,
        fingerprint: Fingerprint,
    ) -> Result<KnownPeer, KnownPeersError> {
        self.file.update(|text| {
            if let Some(known) = self.find(&text, peer)? {
                return Ok((None, known));
            }
            let (text, line) = appended(text, &self.entry(peer, fingerprint, false));
            let known = KnownPeer {
                fingerprint,
                verified: false,
                line,
            };
            Ok((Some(text), known))
        })
    }

    /// Notes that somebody compared this key, whatever was there before.
    ///
    /// # Errors
    /// [`KnownPeersError`]; the file is then as it was.
    pub fn verify(
        &self,
        peer: &ScreenName,
        fingerprint: Fingerprint,
    ) -> Result<(), KnownPeersError> {
        self.file.update(|text| {
            let (text, _) = self.without(&text, peer)?;
            let (text, _) = appended(text, &self.entry(peer, fingerprint, true));
            Ok((Some(text), ()))
        })
    }

    /// Forgets a peer: the next contact is the first. Says whether it was known.
    ///
    /// # Errors
    /// [`KnownPeersError`]; the file is then as it was.
    pub fn forget(&self, peer: &ScreenName) -> Result<bool, KnownPeersError> {
        self.file.update(|text| {
            let (text, known) = self.without(&text, peer)?;
            Ok((known.then_some(text), known))
        })
    }

    /// Whether a proposal is to be considered at all: `secure` as it says, `key` if it says one. Then whether the peer is known,
    /// and so must not become plain later on.
    pub(crate) async fn admits(
        &self,
        peer: &ScreenName,
        secure: bool,
        key: Option<Fingerprint>,
    ) -> Result<bool, EngineError> {
        let Some(known) = self.on_file(peer).await? else {
            return Ok(false);
        };
        if !secure {
            return Err(was_secure());
        }
        match key {
            Some(key) if key != known.fingerprint => Err(self.changed(peer, known, key)),
            _ => Ok(true),
        }
    }

    /// Whether a plain connection to `peer` is out of the question (S-03).
    pub(crate) async fn was_secure(&self, peer: &ScreenName) -> Result<bool, EngineError> {
        Ok(self.on_file(peer).await?.is_some())
    }

    /// Judges the key that `peer` has proven, and keeps it at the first contact. Says whether it is verified.
    pub(crate) async fn met(
        &self,
        peer: &ScreenName,
        key: Fingerprint,
    ) -> Result<bool, EngineError> {
        let known = {
            let (peers, peer) = (self.clone(), peer.clone());
            blocking(move || peers.remember(&peer, key)).await?
        };
        if known.fingerprint != key {
            return Err(self.changed(peer, known, key));
        }
        Ok(known.verified)
    }

    async fn on_file(&self, peer: &ScreenName) -> Result<Option<KnownPeer>, KnownPeersError> {
        let (peers, peer) = (self.clone(), peer.clone());
        blocking(move || peers.lookup(&peer)).await
    }

    fn changed(&self, peer: &ScreenName, known: KnownPeer, presented: Fingerprint) -> EngineError {
        EngineError::PeerKeyChanged {
            peer: peer.clone(),
            known: known.fingerprint,
            presented,
            file: self.path().to_owned(),
            line: known.line,
        }
    }

    fn entry(&self, peer: &ScreenName, fingerprint: Fingerprint, verified: bool) -> String {
        let how = if verified { "verified" } else { "first-use" };
        format!("{} {fingerprint} {how}", self.key(peer))
    }

    /// `NAME@HOST`. What would end a word or the line is written as `%` and two digits.
    fn key(&self, peer: &ScreenName) -> String {
        let mut key = String::new();
        for c in peer.normalized().chars() {
            if c.is_whitespace() || c == '#' || c == '%' {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    key.push_str(&format!("%{byte:02x}"));
                }
            } else {
                key.push(c);
            }
        }
        format!("{key}@{}", self.host)
    }

    fn find(&self, text: &str, peer: &ScreenName) -> Result<Option<KnownPeer>, KnownPeersError> {
        let wanted = self.key(peer);
        let mut found = None;
        for (line, words) in entries(text) {
            let (name, fingerprint, verified) = self.read(line, &words)?;
            if found.is_none() && name == wanted {
                found = Some(KnownPeer {
                    fingerprint,
                    verified,
                    line,
                });
            }
        }
        Ok(found)
    }

    fn read<'a>(
        &self,
        line: usize,
        words: &[&'a str],
    ) -> Result<(&'a str, Fingerprint, bool), KnownPeersError> {
        let entry = match words {
            [name, fingerprint, "first-use"] => Some((*name, fingerprint, false)),
            [name, fingerprint, "verified"] => Some((*name, fingerprint, true)),
            _ => None,
        };
        let entry =
            entry.and_then(|(name, fingerprint, how)| Some((name, fingerprint.parse().ok()?, how)));
        entry.ok_or_else(|| KnownPeersError::Line {
            path: self.path().to_owned(),
            line,
        })
    }

    /// The text without the lines of `peer`, and whether there were any.
    fn without(&self, text: &str, peer: &ScreenName) -> Result<(String, bool), KnownPeersError> {
        let wanted = self.key(peer);
        let mut of_peer = Vec::new();
        for (line, words) in entries(text) {
            if self.read(line, &words)?.0 == wanted {
                of_peer.push(line);
            }
        }
        let kept = (1..)
            .zip(text.lines())
            .filter(|(line, _)| !of_peer.contains(line))
            .flat_map(|(_, content)| [content, "\n"])
            .collect();
        Ok((kept, !of_peer.is_empty()))
    }
}

/// What a plain transfer with somebody who was secure before comes to.
pub(crate) fn was_secure() -> EngineError {
    EngineError::Security {
        by: By::Us,
        what: "this peer was secure before, and would not be now",
    }
}

/// File work off the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KnownPeersError> + Send + 'static,
) -> Result<T, KnownPeersError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime shuts down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn key(seed: u8) -> Fingerprint {
        Fingerprint::of(&[seed; 32])
    }

    fn name(text: &str) -> ScreenName {
        ScreenName::new(text).unwrap()
    }

    fn folder() -> (tempfile::TempDir, KnownPeers) {
        let folder = tempfile::tempdir().unwrap();
        let peers = KnownPeers::new(folder.path().join("state/known_peers"), "Host.test:5190");
        (folder, peers)
    }

    #[test]
    fn a_peer_is_known_after_the_first_contact_by_name_and_host() {
        let (_folder, peers) = folder();
        let bob = name("Bob Smith");
        assert_eq!(peers.lookup(&bob).unwrap(), None);
        let known = peers.remember(&bob, key(1)).unwrap();
        assert_eq!((known.verified, known.line), (false, 1));
        assert_eq!(peers.lookup(&name("bobsmith")).unwrap(), Some(known));
        assert_eq!(
            peers.remember(&bob, key(2)).unwrap(),
            known,
            "what is on file stays"
        );
        let elsewhere = KnownPeers::new(peers.path(), "other.test:5190");
        assert_eq!(elsewhere.lookup(&bob).unwrap(), None);
        let text = fs::read_to_string(peers.path()).unwrap();
        assert_eq!(
            text,
            format!("bobsmith@host.test:5190 {} first-use\n", key(1))
        );
    }

    #[test]
    fn names_that_are_not_words_stay_apart() {
        let (_folder, peers) = folder();
        for (seed, odd) in (1..).zip(["a#b", "a%23b", "a\u{2003}b", "a%b"]) {
            peers.remember(&name(odd), key(seed)).unwrap();
        }
        for (seed, odd) in (1..).zip(["a#b", "a%23b", "a\u{2003}b", "a%b"]) {
            let known = peers.lookup(&name(odd)).unwrap().unwrap();
            assert_eq!(known.fingerprint, key(seed), "{odd}");
        }
    }

    #[test]
    fn a_compared_key_is_verified_and_a_forgotten_one_is_new() {
        let (_folder, peers) = folder();
        let (bob, eve) = (name("bob"), name("eve"));
        peers.remember(&bob, key(1)).unwrap();
        peers.remember(&eve, key(9)).unwrap();
        peers.verify(&bob, key(2)).unwrap();
        let known = peers.lookup(&bob).unwrap().unwrap();
        assert_eq!((known.fingerprint, known.verified), (key(2), true));
        assert!(peers.forget(&bob).unwrap());
        assert!(!peers.forget(&bob).unwrap());
        assert_eq!(peers.lookup(&bob).unwrap(), None);
        assert!(peers.lookup(&eve).unwrap().is_some());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_not_a_first_contact() {
        let (_folder, peers) = folder();
        fs::create_dir_all(peers.path().parent().unwrap()).unwrap();
        for bad in ["bob@host", "bob@host x first-use", "bob@host {} maybe"] {
            let bad = bad.replace("{}", &key(1).to_string());
            fs::write(peers.path(), format!("# fine\n{bad}\n")).unwrap();
            let error = peers.lookup(&name("eve")).unwrap_err();
            assert!(matches!(error, KnownPeersError::Line { line: 2, .. }));
            assert!(peers.remember(&name("eve"), key(1)).is_err());
            assert!(peers.forget(&name("bob")).is_err());
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_the_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, peers) = folder();
        peers.remember(&name("bob"), key(1)).unwrap();
        let mode = fs::metadata(peers.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn s_03_who_was_secure_once_is_never_plain_again() {
        let (_folder, peers) = folder();
        let bob = name("bob");
        assert!(!peers.admits(&bob, false, None).await.unwrap());
        assert!(!peers.was_secure(&bob).await.unwrap());
        assert!(!peers.met(&bob, key(1)).await.unwrap(), "not verified");
        assert!(peers.was_secure(&bob).await.unwrap());
        let refused = peers.admits(&bob, false, None).await;
        assert!(
            matches!(refused, Err(EngineError::Security { by: By::Us, .. })),
            "{refused:?}"
        );
        peers.forget(&bob).unwrap();
        peers.admits(&bob, false, None).await.unwrap();
    }

    #[tokio::test]
    async fn s_07_a_changed_key_is_refused_with_both_fingerprints() {
        let (_folder, peers) = folder();
        let bob = name("bob");
        peers.met(&bob, key(1)).await.unwrap();
        let early = peers.admits(&bob, true, Some(key(2))).await.map(drop);
        let late = peers.met(&bob, key(2)).await.map(drop);
        for refused in [early, late] {
            match refused {
                Err(EngineError::PeerKeyChanged {
                    known, presented, ..
                }) => assert_eq!((known, presented), (key(1), key(2))),
                other => panic!("{other:?}"),
            }
        }
        assert!(peers.admits(&bob, true, Some(key(1))).await.unwrap());
        peers.verify(&bob, key(1)).unwrap();
        assert!(peers.met(&bob, key(1)).await.unwrap());
    }
}
