//! The list of what is offered, checked as a whole before anybody is asked (F-1, F-2, S-22).

use core::fmt;
use std::collections::HashMap;

use thiserror::Error;

use super::name::{NameError, SafeRelPath};
use crate::wire::bulk::{ManifestEnd, ManifestEntry};

/// Most entries of a list, folders included.
pub const MAX_FILES: usize = 100_000;
/// Most bytes of a list on the wire.
pub const MAX_MANIFEST_BYTES: usize = 32 << 20;
/// Largest file.
pub const MAX_SIZE: u64 = 1 << 60;
/// Longest text that is shown instead of being written to a file: 1 MiB.
pub const MAX_TEXT: u64 = 1 << 20;

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A name that may not be used. `name` is as it came (repaired UTF-8): show it only through [`super::show`].
    #[error("a name is refused: {why}")]
    Name {
        /// The offender.
        name: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// Two entries that are one on systems without case, or a file that is also a folder (F-2).
    #[error("two entries mean the same name")]
    Collision {
        /// The later of the two.
        name: String,
    },
    /// More than [`MAX_FILES`] entries or [`MAX_MANIFEST_BYTES`].
    #[error("the list is too long")]
    TooLong,
    /// A file above [`MAX_SIZE`], or a total that overflows.
    #[error("a size is too large")]
    TooLarge,
    /// The totals are not what the entries add up to.
    #[error("the totals do not add up")]
    Totals,
    /// An entry of a kind that this version does not know, or a text among files.
    #[error("an entry of unknown kind {0}")]
    Kind(u32),
    /// Nothing is offered.
    #[error("the list is empty")]
    Empty,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder; files also bring their folders along.
    Folder,
    /// A text that is shown and not written; then it is the only entry.
    Text,
}

/// Why a name is pointed out in the question (F-2, S-25).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mark {
    /// A part of it begins with a dot.
    Hidden,
    /// It begins with a dash, which commands take for an option.
    Dash,
    /// It can be run: by its execute bit or by its ending.
    Executable,
    /// A program reads it at start: shell profile, autostart, keys.
    Profile,
}

impl fmt::Display for Mark {
    /// For the question.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hidden => "hidden",
            Self::Dash => "begins with a dash",
            Self::Executable => "can be run",
            Self::Profile => "read by programs at start",
        })
    }
}

/// One checked entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its name.
    pub path: SafeRelPath,
    /// Bytes of content.
    pub size: u64,
    /// Last change: seconds since 1970 and nanoseconds; not yet clamped.
    pub mtime: Option<(i64, u32)>,
    /// The owner's bits: 4 read, 2 write, 1 execute; others are dropped.
    pub mode: u8,
}

impl Entry {
    /// Checks an entry from the wire.
    ///
    /// # Errors
    /// [`ManifestError::Name`], [`ManifestError::Kind`], [`ManifestError::TooLarge`].
    pub fn from_wire(entry: ManifestEntry) -> Result<Self, ManifestError> {
        let kind = match entry.kind {
            0 => EntryKind::File,
            1 => EntryKind::Folder,
            2 => EntryKind::Text,
            other => return Err(ManifestError::Kind(other)),
        };
        let path = SafeRelPath::from_bytes(&entry.path).map_err(|why| ManifestError::Name {
            name: String::from_utf8_lossy(&entry.path).into_owned(),
            why,
        })?;
        let limit = match kind {
            EntryKind::File => MAX_SIZE,
            EntryKind::Folder => 0,
            EntryKind::Text => MAX_TEXT,
        };
        if entry.size > limit {
            return Err(ManifestError::TooLarge);
        }
        let mtime = entry
            .mtime
            .map(|seconds| (seconds, entry.mtime_nanos.min(999_999_999)));
        Ok(Self {
            kind,
            path,
            size: entry.size,
            mtime,
            mode: (entry.mode & 7) as u8,
        })
    }

    /// The same for the wire.
    pub fn to_wire(&self) -> ManifestEntry {
        let kind = match self.kind {
            EntryKind::File => 0,
            EntryKind::Folder => 1,
            EntryKind::Text => 2,
        };
        let (mtime, mtime_nanos) = self.mtime.unzip();
        let path = self.path.as_str().as_bytes().to_vec();
        ManifestEntry {
            kind,
            path,
            size: self.size,
            mtime,
            mtime_nanos: mtime_nanos.unwrap_or(0),
            mode: self.mode.into(),
        }
    }

    /// It carries bytes and an index in acks: anything but a folder.
    pub fn has_content(&self) -> bool {
        self.kind != EntryKind::Folder
    }

    /// What a person should know before saying yes; the gravest first.
    pub fn mark(&self) -> Option<Mark> {
        const PROFILES: [&str; 22] = [
            ".ssh",
            ".bashrc",
            ".bash_profile",
            ".bash_login",
            ".bash_logout",
            ".bash_aliases",
            ".profile",
            ".zshrc",
            ".zshenv",
            ".zprofile",
            ".zlogin",
            ".cshrc",
            ".tcshrc",
            ".kshrc",
            ".gnupg",
            ".netrc",
            ".gitconfig",
            ".xprofile",
            ".xinitrc",
            "authorized_keys",
            "autostart",
            "launchagents",
        ];
        const PROGRAMS: [&str; 19] = [
            "exe", "com", "bat", "cmd", "msi", "scr", "pif", "ps1", "vbs", "js", "jse", "wsf",
            "hta", "lnk", "reg", "jar", "sh", "app", "command",
        ];
        let folded = SafeRelPath::folded(self.path.as_str());
        let ending = folded.rsplit_once('.').map_or("", |(_, ending)| ending);
        if folded.split('/').any(|part| PROFILES.contains(&part))
            || matches!(ending, "desktop" | "service")
        {
            Some(Mark::Profile)
        } else if self.kind == EntryKind::File && (self.mode & 1 != 0 || PROGRAMS.contains(&ending))
        {
            Some(Mark::Executable)
        } else if folded.split('/').any(|part| part.starts_with('.')) {
            Some(Mark::Hidden)
        } else if folded.split('/').any(|part| part.starts_with('-')) {
            Some(Mark::Dash)
        } else {
            None
        }
    }
}

/// A complete, checked list. Indexes of entries are those of the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
    totals: ManifestEnd,
}

impl Manifest {
    /// All entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of files, texts included.
    pub fn files(&self) -> u64 {
        self.totals.files
    }

    /// Number of folders that are entries of their own.
    pub fn folders(&self) -> u64 {
        self.totals.folders
    }

    /// Sum of all sizes.
    pub fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// The totals as they go over the wire.
    pub fn totals(&self) -> ManifestEnd {
        self.totals
    }

    /// The list is one text.
    pub fn is_text(&self) -> bool {
        self.entries
            .first()
            .is_some_and(|entry| entry.kind == EntryKind::Text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    exact: [u8; 16],
    folder: bool,
    /// It was an entry of its own, not only the folder of one.
    own: bool,
}

/// Collects entries and refuses what may not stand together.
#[derive(Debug, Default)]
pub struct ManifestBuilder {
    entries: Vec<Entry>,
    /// By the hash of the folded path: a hash, because a list of the longest names would otherwise be held three times.
    seen: HashMap<[u8; 16], Seen>,
    totals: ManifestEnd,
    wire_bytes: usize,
}

fn short_hash(text: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    short
}

impl ManifestBuilder {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the bytes of a manifest frame.
    ///
    /// # Errors
    /// [`ManifestError::TooLong`].
    pub fn add_wire_bytes(&mut self, len: usize) -> Result<(), ManifestError> {
        self.wire_bytes = self.wire_bytes.saturating_add(len);
        if self.wire_bytes > MAX_MANIFEST_BYTES {
            Err(ManifestError::TooLong)
        } else {
            Ok(())
        }
    }

    /// Takes one more entry.
    ///
    /// # Errors
    /// [`ManifestError`], after which the list is not to be used.
    pub fn push(&mut self, entry: Entry) -> Result<(), ManifestError> {
        if self.entries.len() >= MAX_FILES {
            return Err(ManifestError::TooLong);
        }
        let text_present = self
            .entries
            .first()
            .is_some_and(|first| first.kind == EntryKind::Text);
        if text_present || (entry.kind == EntryKind::Text && !self.entries.is_empty()) {
            return Err(ManifestError::Kind(2));
        }
        self.note(entry.path.as_str(), entry.kind == EntryKind::Folder, true)?;
        let mut path = entry.path.as_str();
        while let Some((parent, _)) = path.rsplit_once('/') {
            if !self.note(parent, true, false)? {
                break;
            }
            path = parent;
        }
        self.totals.bytes = self
            .totals
            .bytes
            .checked_add(entry.size)
            .ok_or(ManifestError::TooLarge)?;
        if entry.has_content() {
            self.totals.files += 1;
        } else {
            self.totals.folders += 1;
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Remembers a path; says whether it was new.
    fn note(&mut self, path: &str, folder: bool, own: bool) -> Result<bool, ManifestError> {
        let now = Seen {
            exact: short_hash(path),
            folder,
            own,
        };
        let folded = SafeRelPath::folded(path);
        let key = if folded == path {
            now.exact
        } else {
            short_hash(&folded)
        };
        let Some(before) = self.seen.get_mut(&key) else {
            self.seen.insert(key, now);
            return Ok(true);
        };
        let same_folder =
            before.exact == now.exact && before.folder && folder && !(before.own && own);
        if !same_folder {
            return Err(ManifestError::Collision {
                name: path.to_owned(),
            });
        }
        before.own |= own;
        Ok(false)
    }

    /// The totals so far.
    pub fn totals(&self) -> ManifestEnd {
        self.totals
    }

    /// The list is complete; `announced` must be what it adds up to.
    ///
    /// # Errors
    /// [`ManifestError::Totals`], [`ManifestError::Empty`].
    pub fn finish(self, announced: ManifestEnd) -> Result<Manifest, ManifestError> {
        if self.entries.is_empty() {
            return Err(ManifestError::Empty);
        }
        if announced != self.totals {
            return Err(ManifestError::Totals);
        }
        Ok(Manifest {
            entries: self.entries,
            totals: self.totals,
        })
    }
}

/// One hash for a whole list: the file's own if it is one, else BLAKE3 over path length (u32), path, size (u64) and hash of each file in order.
#[derive(Debug, Default)]
pub struct ListHash {
    hasher: blake3::Hasher,
    only: Option<[u8; 32]>,
    count: u64,
}

impl ListHash {
    /// Adds the next file.
    pub fn add(&mut self, entry: &Entry, hash: &[u8; 32]) {
        let path = entry.path.as_str();
        self.hasher
            .update(&(path.len() as u32).to_be_bytes())
            .update(path.as_bytes())
            .update(&entry.size.to_be_bytes())
            .update(hash);
        self.count += 1;
        self.only = (self.count == 1).then_some(*hash);
    }

    /// The hash; none if there was no file.
    pub fn finish(&self) -> Option<[u8; 32]> {
        match self.count {
            0 => None,
            1 => self.only,
            _ => Some(*self.hasher.finalize().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> Entry {
        Entry {
            kind: EntryKind::File,
            path: SafeRelPath::parse(path).unwrap(),
            size,
            mtime: None,
            mode: 6,
        }
    }

    fn folder(path: &str) -> Entry {
        Entry {
            kind: EntryKind::Folder,
            size: 0,
            ..file(path, 0)
        }
    }

    fn list(entries: impl IntoIterator<Item = Entry>) -> Result<Manifest, ManifestError> {
        let mut builder = ManifestBuilder::new();
        entries
            .into_iter()
            .try_for_each(|entry| builder.push(entry))?;
        let totals = builder.totals();
        builder.finish(totals)
    }

    #[test]
    fn f_2_names_that_are_one_without_case_are_refused() {
        for (a, b) in [
            ("A", "a"),
            ("straße", "STRASSE"),
            ("σας", "ΣΑΣ"),
            ("d/X", "D/y"),
            ("a", "a"),
        ] {
            assert!(
                matches!(
                    list([file(a, 1), file(b, 1)]),
                    Err(ManifestError::Collision { .. })
                ),
                "{a} {b}"
            );
        }
        assert!(list([file("d/x", 1), file("d/y", 1), folder("d"), folder("e")]).is_ok());
    }

    #[test]
    fn f_2_a_file_that_is_also_a_folder_is_refused() {
        for entries in [
            [file("a", 1), file("a/b", 1)],
            [file("a/b", 1), file("a", 1)],
            [file("a", 1), folder("a")],
            [file("a/b/c", 1), file("A/b", 1)],
            [folder("a"), folder("a")],
        ] {
            assert!(matches!(
                list(entries),
                Err(ManifestError::Collision { .. })
            ));
        }
    }

    #[test]
    fn s_22_sizes_must_add_up() {
        let mut builder = ManifestBuilder::new();
        builder.push(file("a", 5)).unwrap();
        let wrong = ManifestEnd {
            bytes: 6,
            ..builder.totals()
        };
        assert_eq!(builder.finish(wrong), Err(ManifestError::Totals));
        let many = (0..16).map(|n| file(&format!("f{n}"), MAX_SIZE));
        assert_eq!(list(many), Err(ManifestError::TooLarge));
        let too_large = ManifestEntry {
            path: b"a".to_vec(),
            size: MAX_SIZE + 1,
            ..ManifestEntry::default()
        };
        assert_eq!(Entry::from_wire(too_large), Err(ManifestError::TooLarge));
    }

    #[test]
    fn a_list_has_its_limits() {
        let mut builder = ManifestBuilder::new();
        for n in 0..MAX_FILES {
            builder.push(file(&n.to_string(), 0)).unwrap();
        }
        assert_eq!(
            builder.push(file("one more", 0)),
            Err(ManifestError::TooLong)
        );
        assert_eq!(builder.add_wire_bytes(MAX_MANIFEST_BYTES), Ok(()));
        assert_eq!(builder.add_wire_bytes(1), Err(ManifestError::TooLong));
        assert_eq!(list([]), Err(ManifestError::Empty));
    }

    #[test]
    fn a_text_is_alone() {
        let text = || Entry {
            kind: EntryKind::Text,
            ..file("text", 5)
        };
        assert!(list([text()]).unwrap().is_text());
        assert_eq!(list([text(), file("a", 1)]), Err(ManifestError::Kind(2)));
        assert_eq!(list([file("a", 1), text()]), Err(ManifestError::Kind(2)));
    }

    #[test]
    fn entries_survive_the_wire() {
        let entry = Entry {
            mtime: Some((-5, 7)),
            mode: 5,
            ..file("d/ü", 9)
        };
        assert_eq!(Entry::from_wire(entry.to_wire()), Ok(entry));
        let nameless = ManifestEntry {
            path: b"../x".to_vec(),
            ..ManifestEntry::default()
        };
        assert_eq!(
            Entry::from_wire(nameless),
            Err(ManifestError::Name {
                name: "../x".into(),
                why: NameError::Dots
            })
        );
    }

    #[test]
    fn s_25_names_to_look_at_are_marked() {
        let mark = |path| file(path, 1).mark();
        assert_eq!(mark("a.txt"), None);
        assert_eq!(mark(".hidden/a"), Some(Mark::Hidden));
        assert_eq!(mark("-rf"), Some(Mark::Dash));
        assert_eq!(mark("Setup.EXE"), Some(Mark::Executable));
        assert_eq!(mark("home/.ssh/config"), Some(Mark::Profile));
        assert_eq!(mark("x.desktop"), Some(Mark::Profile));
        assert_eq!(
            Entry {
                mode: 7,
                ..file("tool", 1)
            }
            .mark(),
            Some(Mark::Executable)
        );
    }
}
