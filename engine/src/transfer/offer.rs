//! What the receiver's user is asked.

use rdv_proto::transfer::{EntryKind, Manifest, Mark};

/// One name of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfferedName {
    /// The path that will be used, with `/` between its parts. Safe as a path; foreign text all the same, to be shown only through [`super::show`].
    pub name: String,
    /// Bytes of content.
    pub bytes: u64,
    /// It is a folder.
    pub folder: bool,
    /// Why it deserves a look.
    pub mark: Option<Mark>,
}

/// What is offered: complete, checked, and fitting into the output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// Number of files.
    pub files: u64,
    /// Number of folders.
    pub folders: u64,
    /// All bytes.
    pub total_bytes: u64,
    /// It is a text to be shown, not a file.
    pub text: bool,
    /// All names, in order.
    pub names: Vec<OfferedName>,
    /// Files that are there already and will be skipped (only with `IfExists::Skip`).
    pub skipped: u64,
    /// Bytes free where it will be written; none for a text.
    pub free_space: Option<u64>,
}

impl Offer {
    pub(super) fn new(manifest: &Manifest, skipped: u64, free_space: Option<u64>) -> Self {
        let name = |entry: &rdv_proto::transfer::Entry| OfferedName {
            name: entry.path.as_str().to_owned(),
            bytes: entry.size,
            folder: entry.kind == EntryKind::Folder,
            mark: entry.mark(),
        };
        Self {
            files: manifest.files(),
            folders: manifest.folders(),
            total_bytes: manifest.bytes(),
            text: manifest.is_text(),
            names: manifest.entries().iter().map(name).collect(),
            skipped,
            free_space,
        }
    }

    /// More than 95 % of the free space would be used (F-6).
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.free_space
            .is_some_and(|free| u128::from(self.total_bytes) * 20 > u128::from(free) * 19)
    }
}
