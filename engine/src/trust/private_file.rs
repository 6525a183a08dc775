//! A small text file of the user's own: one entry a line, `#` begins a comment.
//!
//! Written as a whole into a new file that takes the old one's place, under a lock, mode 0600.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Bytes of the file; a larger one is not ours.
const FILE_LEN_MAX: u64 = 1 << 20;

/// What the system said, and about which file.
pub type Failure = (PathBuf, io::Error);

/// The file. It need not exist yet.
#[derive(Debug, Clone)]
pub struct PrivateFile {
    path: PathBuf,
}

impl PrivateFile {
    /// The file at `path`; nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of it; nothing if it does not exist.
    ///
    /// # Errors
    /// What the system said.
    pub fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(FILE_LEN_MAX).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(at(&self.path)(error)),
            Ok(_) => Ok(text),
        }
    }

    /// Reads, changes and writes it back while no other process does. `change` gives the new text, or none to leave it.
    ///
    /// # Errors
    /// That of `change`, or what the system said; the file is then as it was.
    pub fn update<T, E: From<Failure>>(
        &self,
        change: impl FnOnce(String) -> Result<(Option<String>, T), E>,
    ) -> Result<T, E> {
        if let Some(folder) = self.path.parent() {
            create_private_folder(folder).map_err(at(folder))?;
        }
        let lock_path = self.beside("lock");
        let _lock = private_file()
            .open(&lock_path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(at(&lock_path))?;
        let (text, result) = change(self.read()?)?;
        if let Some(text) = text {
            self.replace(&text)?;
        }
        Ok(result)
    }

    fn replace(&self, text: &str) -> Result<(), Failure> {
        let new_path = self.beside("new");
        let write = || {
            // A leftover of a process that was killed; the lock is ours.
            match fs::remove_file(&new_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = private_file().create_new(true).open(&new_path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new_path, &self.path)
        };
        write().map_err(at(&new_path))
    }

    /// A file next to ours.
    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(extension);
        name.into()
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |error| (path, error)
}

/// The entries of a text with the numbers of their lines, counted from 1: their words, comments and empty lines left out.
pub(super) fn entries(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    (1..).zip(text.lines()).filter_map(|(line, content)| {
        let content = content.split('#').next().unwrap_or_default();
        let words: Vec<_> = content.split_whitespace().collect();
        (!words.is_empty()).then_some((line, words))
    })
}

/// The text with one more line, and that line's number.
pub(super) fn appended(mut text: String, entry: &str) -> (String, usize) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let line = text.lines().count() + 1;
    text.push_str(entry);
    text.push('\n');
    (text, line)
}

/// Opens for writing, and creates readable by the user alone.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
