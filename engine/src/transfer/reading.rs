//! A file of ours that is being sent: opened once, checked on its handle, read to the end (F-8).

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rdv_proto::transfer::Entry;

use super::error::TransferError;
use super::source::{FileOrigin, id, mtime};

/// An open file that still is the one that was listed.
pub(super) struct Reading<'a> {
    origin: &'a FileOrigin,
    size: u64,
    mtime: Option<(i64, u32)>,
    file: File,
}

impl<'a> Reading<'a> {
    /// Opens the file behind an entry of the list.
    ///
    /// # Errors
    /// [`TransferError::SourceChanged`] if it is gone, or another one than when it was listed.
    pub(super) fn open(entry: &Entry, origin: &'a FileOrigin) -> Result<Self, TransferError> {
        let path = &origin.path;
        let opened = match (
            &origin.folder,
            path.file_name().and_then(|name| name.to_str()),
        ) {
            (Some(folder), Some(name)) => folder.read(name),
            _ => open(origin),
        };
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => changed(path),
            _ if !origin.named && path.is_symlink() => changed(path),
            _ => TransferError::local(path)(error),
        })?;
        let reading = Self {
            origin,
            size: entry.size,
            mtime: entry.mtime,
            file,
        };
        reading.unchanged()?;
        Ok(reading)
    }

    /// Goes on at an offset.
    pub(super) fn seek(&mut self, offset: u64) -> Result<(), TransferError> {
        self.file
            .seek(SeekFrom::Start(offset))
            .map(|_| ())
            .map_err(TransferError::local(&self.origin.path))
    }

    /// Fills `space`; a file that ends before has changed.
    pub(super) fn read(&mut self, space: &mut [u8]) -> Result<(), TransferError> {
        read_all(&mut self.file, space, &self.origin.path)
    }

    /// Whether it still is the file that was listed.
    ///
    /// # Errors
    /// [`TransferError::SourceChanged`].
    pub(super) fn unchanged(&self) -> Result<(), TransferError> {
        let meta: Metadata = self
            .file
            .metadata()
            .map_err(TransferError::local(&self.origin.path))?;
        let same = meta.is_file()
            && id(&meta) == self.origin.id
            && meta.len() == self.size
            && mtime(&meta) == self.mtime;
        if same {
            Ok(())
        } else {
            Err(changed(&self.origin.path))
        }
    }
}

/// Fills `space` from what is called `path`; if that ends before, it has changed.
pub(super) fn read_all(
    from: &mut impl Read,
    space: &mut [u8],
    path: &Path,
) -> Result<(), TransferError> {
    from.read_exact(space).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => changed(path),
        _ => TransferError::local(path)(error),
    })
}

pub(super) fn changed(path: &Path) -> TransferError {
    TransferError::SourceChanged {
        path: path.to_owned(),
    }
}

/// Opens for reading. A pipe that took the file's place does not block, a link that did is not followed. Whether it still is the file that was
/// listed is checked on the handle.
#[cfg(unix)]
fn open(from: &FileOrigin) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    let mut flags = OFlags::NONBLOCK;
    flags.set(OFlags::NOFOLLOW, !from.named);
    File::options()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(&from.path)
}

#[cfg(not(unix))]
fn open(from: &FileOrigin) -> io::Result<File> {
    File::open(&from.path)
}
