//! What the receiver's user is asked.

use std::sync::Arc;

use rdv_proto::transfer::{EntryKind, Manifest, Mark, show};

use super::error::mark_words;

/// The user's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Take all of it.
    Accept,
    /// Take nothing.
    Decline,
}

/// A name of an offer, ready for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedName {
    /// In quotes, escaped; folders end with a slash.
    pub shown: String,
    /// Bytes.
    pub size: u64,
    /// Why it deserves a look.
    pub mark: Option<Mark>,
}

impl OfferedName {
    /// The mark in words.
    pub fn mark_words(&self) -> Option<&'static str> {
        self.mark.map(mark_words)
    }
}

/// What is offered: complete, checked, and fitting into the output folder.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Offer {
    /// The checked list. Its names are safe as paths, but foreign text all the same.
    pub manifest: Arc<Manifest>,
    /// Files that are there already and will be skipped (only with `IfExists::Skip`).
    pub skipped: u64,
    /// Bytes free where it will be written; none for a text.
    pub free_space: Option<u64>,
}

impl Offer {
    /// Number of files.
    pub fn files(&self) -> u64 {
        self.manifest.files()
    }

    /// Number of folders.
    pub fn folders(&self) -> u64 {
        self.manifest.folders()
    }

    /// All bytes.
    pub fn total_bytes(&self) -> u64 {
        self.manifest.bytes()
    }

    /// It is a text to be shown, not a file.
    pub fn is_text(&self) -> bool {
        self.manifest.is_text()
    }

    /// More than 95 % of the free space would be used (F-6).
    pub fn is_tight(&self) -> bool {
        self.free_space
            .is_some_and(|free| u128::from(self.total_bytes()) * 20 > u128::from(free) * 19)
    }

    /// The first `max` names, in order.
    pub fn names(&self, max: usize) -> Vec<OfferedName> {
        self.all_names().take(max).collect()
    }

    /// The first `max` names that carry a mark.
    pub fn marked(&self, max: usize) -> Vec<OfferedName> {
        self.all_names()
            .filter(|name| name.mark.is_some())
            .take(max)
            .collect()
    }

    fn all_names(&self) -> impl Iterator<Item = OfferedName> {
        self.manifest.entries().iter().map(|entry| {
            let slash = if entry.kind == EntryKind::Folder {
                "/"
            } else {
                ""
            };
            OfferedName {
                shown: show(&format!("{}{slash}", entry.path.as_str()), 4096),
                size: entry.size,
                mark: entry.mark(),
            }
        })
    }
}
