//! A file that is not finished yet: `.NAME.rdv-part`, locked, gone when dropped (F-4).

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rdv_proto::transfer::{numbered, part_name};

use super::error::TransferError;
use super::folder::{self, Folder, Kind};
use super::sink::IfExists;

const MOST_NUMBERS: u32 = 9999;

/// A folder, and how to call it in errors.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: Arc<Folder>,
    pub(super) path: Arc<PathBuf>,
}

impl Place {
    pub(super) fn error(&self, name: &str, error: io::Error) -> TransferError {
        TransferError::Local {
            path: self.path.join(name),
            error,
        }
    }

    /// Refuses a link under this name.
    pub(super) fn refuse_link(&self, name: &str) -> Result<Option<Kind>, TransferError> {
        match self
            .folder
            .kind(name)
            .map_err(|error| self.error(name, error))?
        {
            Some(Kind::Link) => Err(TransferError::Link {
                path: self.path.join(name),
            }),
            other => Ok(other),
        }
    }
}

/// An unfinished file.
#[derive(Debug)]
pub(super) struct PartFile {
    place: Place,
    name: String,
    file: File,
    armed: bool,
}

impl PartFile {
    /// Makes the unfinished file for `target`. One that a killed receiver left behind is replaced; one that somebody is writing is not.
    pub(super) fn create(place: Place, target: &str) -> Result<Self, TransferError> {
        let name = part_name(target);
        for _ in 0..3 {
            match place.folder.make_file(&name) {
                Ok(file) => {
                    let part = Self {
                        place: place.clone(),
                        name: name.clone(),
                        file,
                        armed: true,
                    };
                    let locked = folder::try_lock(&part.file)
                        .and_then(|locked| Ok(locked && folder::is_linked(&part.file)?));
                    match locked {
                        Ok(true) => return Ok(part),
                        // Somebody took it for a left-over between our two calls; it is theirs to remove.
                        Ok(false) => part.disarm(),
                        Err(error) => return Err(place.error(&name, error)),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Self::remove_left_over(&place, &name)?
                }
                Err(error) => return Err(place.error(&name, error)),
            }
        }
        Err(TransferError::Busy {
            path: place.path.join(target),
        })
    }

    fn remove_left_over(place: &Place, name: &str) -> Result<(), TransferError> {
        match place.refuse_link(name)? {
            None => return Ok(()),
            Some(Kind::File) => {}
            Some(_) => {
                return Err(TransferError::Exists {
                    path: place.path.join(name),
                });
            }
        }
        let file = match place.folder.open_existing(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(place.error(name, error)),
        };
        let error = |error| place.error(name, error);
        if !folder::try_lock(&file).map_err(error)? {
            return Err(TransferError::Busy {
                path: place.path.join(name),
            });
        }
        // With the lock in hand and its name still there, it is a left-over of nobody.
        if folder::is_linked(&file).map_err(error)? {
            place.folder.remove_file(name).map_err(error)?;
        }
        Ok(())
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Gives the file its final name, which is the result: another one than `target` if that is taken and `if_exists` says so.
    pub(super) fn finish(self, target: &str, if_exists: IfExists) -> Result<String, TransferError> {
        let folder = &self.place.folder;
        let error = |error| self.place.error(target, error);
        self.place.refuse_link(target)?;
        if if_exists == IfExists::Overwrite {
            folder.rename_over(&self.name, target).map_err(error)?;
            self.disarm();
            return Ok(target.to_owned());
        }
        let mut name = target.to_owned();
        for number in 1..=MOST_NUMBERS {
            match folder.rename_new(&self.name, &name) {
                Ok(()) => {
                    self.disarm();
                    return Ok(name);
                }
                Err(taken)
                    if taken.kind() == io::ErrorKind::AlreadyExists
                        && if_exists == IfExists::Rename =>
                {
                    name = numbered(target, number)
                }
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => break,
                Err(other) => return Err(error(other)),
            }
        }
        Err(TransferError::Exists {
            path: self.place.path.join(target),
        })
    }

    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.armed {
            // Already on the way out; the next receiver replaces what stays.
            let _ = self.place.folder.remove_file(&self.name);
        }
    }
}
