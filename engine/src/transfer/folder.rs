//! One open folder. Everything in it is done by its handle and a single name, and no link is followed (F-3).

use std::fs::File;
use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    Other,
}

/// A handle of a folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: Dir,
}

impl Folder {
    /// Opens a folder that the user named, links in its own path included.
    pub(super) fn open_ambient(path: &Path) -> io::Result<Self> {
        Ok(Self {
            dir: Dir::open_ambient_dir(path, ambient_authority())?,
        })
    }

    /// Opens a folder in this one; an error if a link stands there.
    pub(super) fn open(&self, name: &str) -> io::Result<Self> {
        debug_assert!(!name.contains('/'));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.dir, name, flags, Mode::empty())?;
        Ok(Self {
            dir: Dir::from_std_file(File::from(handle)),
        })
    }

    /// Makes a folder, 0700 less the umask; an error if the name is taken.
    pub(super) fn make(&self, name: &str) -> io::Result<()> {
        debug_assert!(!name.contains('/'));
        Ok(rustix::fs::mkdirat(&self.dir, name, Mode::RWXU)?)
    }

    /// Makes a file for writing, 0600 less the umask; an error if the name is taken.
    pub(super) fn make_file(&self, name: &str) -> io::Result<File> {
        self.open_file(
            name,
            OpenOptions::new().write(true).create_new(true).mode(0o600),
        )
    }

    /// Opens a file for reading and writing as it is; an error if a link stands there.
    pub(super) fn open_existing(&self, name: &str) -> io::Result<File> {
        self.open_file(name, OpenOptions::new().read(true).write(true))
    }

    /// Opens a file for reading; an error if a link stands there.
    pub(super) fn open_to_read(&self, name: &str) -> io::Result<File> {
        self.open_file(name, OpenOptions::new().read(true))
    }

    /// Opens a file for reading; an error if a link stands there. A pipe does not block.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        self.open_file(name, OpenOptions::new().read(true))
    }

    /// The names in this folder that are text, in no order.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<String>>> {
        let names = self.dir.entries()?.map(|entry| Ok(entry?.file_name()));
        Ok(names.filter_map(|name: io::Result<_>| match name {
            Ok(name) => name.into_string().ok().map(Ok),
            Err(error) => Some(Err(error)),
        }))
    }

    fn open_file(&self, name: &str, options: &mut OpenOptions) -> io::Result<File> {
        debug_assert!(!name.contains('/'));
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        let options = options.custom_flags(i32::try_from(flags).unwrap_or(0));
        Ok(self.dir.open_with(name, options)?.into_std())
    }

    /// What stands under a name, if anything.
    pub(super) fn kind(&self, name: &str) -> io::Result<Option<Kind>> {
        debug_assert!(!name.contains('/'));
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(
                match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
                    rustix::fs::FileType::RegularFile => Kind::File,
                    rustix::fs::FileType::Directory => Kind::Folder,
                    rustix::fs::FileType::Symlink => Kind::Link,
                    _ => Kind::Other,
                },
            )),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes, and the second of the last change, of what stands under a name.
    pub(super) fn size_and_mtime(&self, name: &str) -> io::Result<(u64, i64)> {
        debug_assert!(!name.contains('/'));
        let meta = self.dir.symlink_metadata(name)?;
        let mtime = meta.modified()?.into_std();
        let seconds = mtime
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(-1, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        Ok((meta.len(), seconds))
    }

    /// Renames within this folder; an error if the new name is taken.
    pub(super) fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        match rustix::fs::renameat_with(&self.dir, from, &self.dir, to, RenameFlags::NOREPLACE) {
            // File systems without this rename have links, or nothing that could be relied on.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(&self.dir, from, &self.dir, to, AtFlags::empty())?;
                self.remove_file(from)
            }
            other => Ok(other?),
        }
    }

    /// Renames within this folder, in one step over a file that may be there. A link there is replaced, not followed.
    pub(super) fn rename_over(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.dir, from, &self.dir, to)?)
    }

    pub(super) fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    /// Removes a folder if it is empty.
    pub(super) fn remove_empty(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR)?)
    }

    /// Makes names durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.dir) {
            // Some file systems cannot sync folders; then there is nothing more to be had.
            Err(Errno::INVAL | Errno::BADF) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Bytes that this user may still write here.
    pub(super) fn free_space(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Locks a file for this handle alone; false if somebody else holds it.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        // A file system without locks: O_EXCL still keeps two receivers apart.
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The file still has a name.
pub(super) fn is_linked(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink > 0)
}

/// Takes room on the disk for a file that will have `size` bytes; where the system cannot, the writes will tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn reserve(file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, size) {
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::INTR) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn reserve(_file: &File, _size: u64) -> io::Result<()> {
    Ok(())
}

/// Fills `space` from an offset; where others stand in the file does not matter.
#[cfg(unix)]
pub(super) fn read_at(file: &File, space: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, space, offset)
}

#[cfg(not(unix))]
pub(super) fn read_at(mut file: &File, space: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek};
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(space)
}

/// Sets the mode of an open file; only the owner's bits are ever given.
pub(super) fn set_mode(file: &File, owner: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(
        file,
        Mode::from_raw_mode((owner & 7) << 6),
    )?)
}

/// Sets the time of the last change of an open file: seconds since 1970 and nanoseconds.
pub(super) fn set_mtime(file: &File, (seconds, nanos): (i64, u32)) -> io::Result<()> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Ok(rustix::fs::futimens(
        file,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )?)
}

/// The owner's bits that this process may not give away: 4 read, 2 write, 1 execute.
pub(super) fn umask_owner_bits() -> u32 {
    let raw = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))
                .and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        });
    let raw = raw.unwrap_or_else(|| {
        let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        rustix::process::umask(mask);
        mask.as_raw_mode()
    });
    (raw >> 6) & 7
}
