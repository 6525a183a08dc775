//! Where received files go, and what is looked at before the user is asked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rdv_proto::transfer::{EntryKind, Manifest, SafeRelPath, part_name};

use super::error::TransferError;
use super::folder::{Folder, Kind};
use super::part::Place;

/// What to do if a name is taken (S-15).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfExists {
    /// Take a new name, `name (1).ext`; of a folder, its top gets the new name.
    #[default]
    Rename,
    /// Leave what is there, take only what is missing.
    Skip,
    /// Replace files, each in one step.
    Overwrite,
    /// Refuse the whole.
    Fail,
    /// Like [`Self::Rename`] for what is whole. What an earlier transfer from an old client left unfinished is gone on with if the same peer offers the
    /// same file again, and files that are here already are not taken a second time; folders keep their names. Only with this, a transfer that breaks
    /// leaves unfinished files, each with a record beside it. The native protocol does not resume: there it is [`Self::Rename`].
    Resume,
}

/// How files are put into a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkOptions {
    /// What to do with names that are taken.
    pub if_exists: IfExists,
    /// Keep the owner's execute bit; it is dropped otherwise (S-20).
    pub keep_exec: bool,
}

/// An output folder.
#[derive(Debug, Clone)]
pub struct Sink {
    pub(super) path: PathBuf,
    pub(super) options: SinkOptions,
}

/// What the look before the question found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Indexes of files that are not wanted, ascending.
    pub(super) skip: Vec<u32>,
    pub(super) free_space: Option<u64>,
}

impl Sink {
    /// Files go into this folder, which is made once an offer was accepted.
    ///
    /// # Errors
    /// [`TransferError::Local`] if something else than a folder stands there, or nothing may be written there: better now than
    /// when a code is used up.
    pub fn folder(path: impl Into<PathBuf>, options: SinkOptions) -> Result<Self, TransferError> {
        let path = path.into();
        let looked = match std::fs::metadata(&path) {
            Ok(meta) if !meta.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
            Ok(_) => writable(&path),
            // A link that leads nowhere is not to be made a folder of.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                std::path::absolute(&path).and_then(|absolute| {
                    let above = absolute.ancestors().find(|above| above.exists());
                    above.map_or(Ok(()), writable)
                })
            }
            Err(error) => Err(error),
        };
        match looked {
            Ok(()) => Ok(Self { path, options }),
            Err(error) => Err(TransferError::Local { path, error }),
        }
    }

    /// Bytes that may still be written into the folder, or would if it were there.
    ///
    /// # Errors
    /// [`TransferError::Local`].
    pub fn free_space(&self) -> Result<u64, TransferError> {
        existing_ancestor(&self.path)?
            .free_space()
            .map_err(TransferError::local(&self.path))
    }

    /// Whether the list fits into the folder: no links in the way, enough room. Makes and changes nothing.
    pub(super) fn check(&self, manifest: &Manifest) -> Result<Checked, TransferError> {
        if manifest.is_text() {
            return Ok(Checked::default());
        }
        let place = match Folder::open_ambient(&self.path) {
            Ok(folder) => Some(Place {
                folder: Arc::new(folder),
                path: Arc::new(self.path.clone()),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(TransferError::Local {
                    path: self.path.clone(),
                    error,
                });
            }
        };
        let Some(place) = place else {
            let checked = Checked {
                skip: Vec::new(),
                free_space: Some(self.free_space()?),
            };
            return self.enough(manifest, checked);
        };
        let mut skip = Vec::new();
        for (index, entry) in manifest.entries().iter().enumerate() {
            if !self.wants(&place, &entry.path, entry.kind)? {
                skip.push(
                    u32::try_from(index).expect("invariant: a list has at most 100,000 entries"),
                );
            }
        }
        let free = place
            .folder
            .free_space()
            .map_err(TransferError::local(&self.path))?;
        self.enough(
            manifest,
            Checked {
                skip,
                free_space: Some(free),
            },
        )
    }

    /// Whether an entry is to be taken, as far as what is there now tells.
    ///
    /// # Errors
    /// [`TransferError::Exists`] if the whole is to be refused, [`TransferError::Link`].
    pub(super) fn wants(
        &self,
        root: &Place,
        path: &SafeRelPath,
        kind: EntryKind,
    ) -> Result<bool, TransferError> {
        match (self.is_taken(root, path, kind)?, self.options.if_exists) {
            (true, IfExists::Skip) => Ok(false),
            (true, IfExists::Fail) => Err(TransferError::Exists {
                path: self.path.join(path.as_str()),
            }),
            _ => Ok(true),
        }
    }

    /// Whether a file of this name is there. Links on the way are refused.
    fn is_taken(
        &self,
        place: &Place,
        path: &SafeRelPath,
        kind: EntryKind,
    ) -> Result<bool, TransferError> {
        let top = place.refuse_link(path.top())?;
        let is_top = path.parent().is_none();
        if is_top && kind == EntryKind::File {
            place.refuse_link(&part_name(path.top()))?;
        }
        match (self.options.if_exists, top) {
            (_, None) | (IfExists::Rename | IfExists::Resume, _) => Ok(false),
            (IfExists::Fail, Some(_)) => Ok(true),
            (_, Some(Kind::Folder)) if kind == EntryKind::Folder && is_top => Ok(false),
            (_, Some(_)) if is_top => Ok(kind == EntryKind::File),
            (_, Some(_)) => {
                let found = below(place, path)?;
                Ok(kind == EntryKind::File && found.is_some())
            }
        }
    }

    fn enough(&self, manifest: &Manifest, checked: Checked) -> Result<Checked, TransferError> {
        let left_out: u64 = checked
            .skip
            .iter()
            .filter_map(|&index| manifest.entries().get(index as usize))
            .map(|entry| entry.size)
            .sum();
        let needed = manifest.bytes().saturating_sub(left_out);
        match checked.free_space {
            Some(free) if free < needed => Err(TransferError::NoSpace { needed, free }),
            _ => Ok(checked),
        }
    }
}

fn below(place: &Place, path: &SafeRelPath) -> Result<Option<Kind>, TransferError> {
    let mut place = place.clone();
    let mut parts = path.parts().peekable();
    while let Some(part) = parts.next() {
        let found = place.refuse_link(part)?;
        if parts.peek().is_none() || found != Some(Kind::Folder) {
            return Ok(found);
        }
        let folder = place
            .folder
            .open(part)
            .map_err(|error| place.error(part, error))?;
        place = Place {
            folder: Arc::new(folder),
            path: Arc::new(place.path.join(part)),
        };
    }
    Ok(None)
}

#[cfg(unix)]
fn writable(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(unix))]
fn writable(_folder: &Path) -> io::Result<()> {
    Ok(())
}

fn existing_ancestor(path: &Path) -> Result<Folder, TransferError> {
    let absolute = std::path::absolute(path).map_err(TransferError::local(path))?;
    for ancestor in absolute.ancestors() {
        match Folder::open_ambient(ancestor) {
            Ok(folder) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(TransferError::Local {
                    path: ancestor.to_owned(),
                    error,
                });
            }
        }
    }
    Err(TransferError::Local {
        path: absolute,
        error: io::ErrorKind::NotFound.into(),
    })
}
