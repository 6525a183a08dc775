//! A file that is not finished yet: `.NAME.rdv-part`, locked, gone when dropped (F-4), or kept with a record of what is in it (F-9).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use prost::Message;
use rdv_proto::transfer::{numbered, part_name, record_name};
use rdv_proto::wire::oft::Checksum;

use super::error::TransferError;
use super::folder::{self, Folder, Kind};
use super::record::{Identity, MAX_RECORD, Record};
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
    /// Name of its record, and whether there is one.
    record: String,
    recorded: bool,
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
                        record: record_name(target),
                        recorded: false,
                    };
                    match lock(&part.file) {
                        Ok(true) => return Ok(part),
                        // Somebody took it for a left-over between our two calls; it is theirs to remove.
                        Ok(false) => part.disarm(),
                        Err(error) => return Err(place.error(&name, error)),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Self::remove_left_over(&place, &name, target)?
                }
                Err(error) => return Err(place.error(&name, error)),
            }
        }
        Err(TransferError::Busy {
            path: place.path.join(target),
        })
    }

    /// Takes up what an earlier transfer left of `target`, if it is the same file of the same peer; says how much of it there is, and its checksum by
    /// the record.
    pub(super) fn go_on(
        place: Place,
        target: &str,
        identity: &Identity,
    ) -> Result<Option<(Self, u64, Checksum)>, TransferError> {
        let (name, record) = (part_name(target), record_name(target));
        let Some(file) = Self::left_over(&place, &name)? else {
            return Ok(None);
        };
        let held = read_record(&place, &record)?.and_then(|bytes| {
            let on_disk = file.metadata().ok()?.len();
            Record::held(&bytes, identity, on_disk)
        });
        Ok(held.map(|(bytes, checksum)| {
            let part = Self {
                place,
                name,
                file,
                armed: true,
                record,
                recorded: true,
            };
            (part, bytes, checksum)
        }))
    }

    fn remove_left_over(place: &Place, name: &str, target: &str) -> Result<(), TransferError> {
        if Self::left_over(place, name)?.is_some() {
            let error = |error| place.error(name, error);
            remove_record(place, &record_name(target)).map_err(error)?;
            place.folder.remove_file(name).map_err(error)?;
        }
        Ok(())
    }

    /// The left-over of nobody under this name, locked.
    fn left_over(place: &Place, name: &str) -> Result<Option<File>, TransferError> {
        match place.refuse_link(name)? {
            None => return Ok(None),
            Some(Kind::File) => {}
            Some(_) => {
                return Err(TransferError::Exists {
                    path: place.path.join(name),
                });
            }
        }
        let file = match place.folder.open_existing(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(place.error(name, error)),
        };
        let error = |error| place.error(name, error);
        if !folder::try_lock(&file).map_err(error)? {
            return Err(TransferError::Busy {
                path: place.path.join(name),
            });
        }
        // With the lock in hand and its name still there, it is a left-over of nobody.
        Ok(folder::is_linked(&file).map_err(error)?.then_some(file))
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
            return self.named(target.to_owned());
        }
        let mut name = target.to_owned();
        for number in 1..=MOST_NUMBERS {
            match folder.rename_new(&self.name, &name) {
                Ok(()) => return self.named(name),
                Err(taken)
                    if taken.kind() == io::ErrorKind::AlreadyExists
                        && matches!(if_exists, IfExists::Rename | IfExists::Resume) =>
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

    /// It has its name; what was noted about the unfinished file goes.
    fn named(mut self, name: String) -> Result<String, TransferError> {
        self.armed = false;
        if self.recorded {
            remove_record(&self.place, &self.record)
                .map_err(|error| self.place.error(&self.record, error))?;
        }
        Ok(name)
    }

    /// Writes beside it what it is and what is in it for sure.
    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        remove_record(&self.place, &self.record)?;
        let mut file = self.place.folder.make_file(&self.record)?;
        self.recorded = true;
        file.write_all(&record.encode_to_vec())?;
        file.sync_all()
    }

    /// It stays when this is dropped, with a record of what is in it; without one it goes.
    pub(super) fn keep(mut self, record: &Record) {
        let kept = self
            .record(record)
            .and_then(|()| self.place.folder.sync())
            .is_ok();
        self.armed = !kept;
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
            if self.recorded {
                let _ = remove_record(&self.place, &self.record);
            }
        }
    }
}

/// For this process alone; false if somebody else has it, or has taken its name away.
fn lock(file: &File) -> io::Result<bool> {
    Ok(folder::try_lock(file)? && folder::is_linked(file)?)
}

/// A record, unless it is none of ours.
fn read_record(place: &Place, name: &str) -> Result<Option<Vec<u8>>, TransferError> {
    if place.refuse_link(name)? != Some(Kind::File) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    place
        .folder
        .open_to_read(name)
        .and_then(|file| file.take(MAX_RECORD).read_to_end(&mut bytes))
        .map_err(|error| place.error(name, error))?;
    Ok(Some(bytes))
}

fn remove_record(place: &Place, name: &str) -> io::Result<()> {
    match place.folder.remove_file(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
