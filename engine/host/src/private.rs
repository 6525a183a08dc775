//! Files that only their owner may read: made whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a new file that only its owner may read, whole or not at all, and gives back what stands there: another process
/// may have been faster. An existing one is never followed or written over.
pub(crate) fn create_private(path: &Path, text: &str) -> io::Result<String> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}", std::process::id()));
    let new = Path::new(&name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(new).and_then(|mut file| {
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| name_new(new, path))
    });
    // It has its name by now, or is of no use; one that stays does no harm.
    let _ = fs::remove_file(new);
    match written {
        Ok(()) => Ok(text.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error),
    }
}

/// Gives a file its name unless that is taken; where there are no links, nobody can be that careful.
fn name_new(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(new, path),
        linked => linked,
    }
}
