//! What is to be sent. The walk over folders starts when the source is made and runs on a thread of its own; nothing is read or hashed by it.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use rdv_proto::transfer::{
    Entry, EntryKind, MAX_TEXT, Manifest, ManifestBuilder, ManifestError, NameError, SafeRelPath,
};
use tokio::sync::oneshot;
use unicode_normalization::UnicodeNormalization;

use super::error::SourceError;
use super::folder::Folder;

const MAX_BAD_NAMES: usize = 20;
const MAX_SKIPPED: usize = 1000;

/// How paths become a list.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SourceOptions {
    /// Leave out files whose names cannot be sent, instead of failing.
    pub skip_bad_names: bool,
    /// Names (last parts, exact) that are left out, with everything below them.
    pub exclude: Vec<String>,
}

/// Where the bytes of an entry come from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    File(FileOrigin),
    Text(Arc<str>),
    Folder,
}

/// A file as it was when it was listed.
#[derive(Debug, Clone)]
pub(super) struct FileOrigin {
    pub(super) path: PathBuf,
    /// Named by the user: then it may be a link.
    pub(super) named: bool,
    /// Device and file number, where there are such.
    pub(super) id: (u64, u64),
    /// It is opened in this folder, whatever its path says by then.
    pub(super) folder: Option<Arc<Folder>>,
}

/// The result of a walk.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) manifest: Arc<Manifest>,
    /// By index of the entry.
    pub(super) origins: Vec<Origin>,
    pub(super) skipped: Skipped,
}

/// What was found and is not sent: links, devices, pipes, sockets, excluded and bad names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first thousand of them.
    pub paths: Vec<PathBuf>,
}

impl Skipped {
    fn add(&mut self, path: PathBuf) {
        self.count += 1;
        if self.paths.len() < MAX_SKIPPED {
            self.paths.push(path);
        }
    }
}

enum State {
    Walking(oneshot::Receiver<Result<Listing, SourceError>>),
    Listed(Box<Listing>),
    Taken,
}

/// Files and folders, or a text, to be sent once.
pub struct Source {
    state: State,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

impl Source {
    /// Files and folders. Links are followed only where they are named here (F-8).
    ///
    /// # Errors
    /// [`SourceError::NotFound`] and its like for the paths themselves, at once; what is below them comes out in [`Self::ready`].
    pub fn paths(paths: Vec<PathBuf>, options: SourceOptions) -> Result<Self, SourceError> {
        if paths.is_empty() {
            return Err(SourceError::Nothing);
        }
        let tops = paths.into_iter().map(top).collect::<Result<Vec<_>, _>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = oneshot::channel();
        let walk_stop = stop.clone();
        let work = move || {
            let listing = Walk::new(options, walk_stop).run(tops);
            // The source may be gone.
            let _ = sender.send(listing);
        };
        thread::Builder::new()
            .name("rdv-walk".into())
            .spawn(work)
            .map_err(|error| SourceError::Unreadable {
                path: PathBuf::new(),
                error,
            })?;
        Ok(Self {
            state: State::Walking(receiver),
            stop,
        })
    }

    /// A text, shown by the receiver and not written to a file.
    ///
    /// # Errors
    /// [`SourceError::TextTooLong`] above 1 MiB.
    pub fn text(text: String) -> Result<Self, SourceError> {
        let size = text.len() as u64;
        if size > MAX_TEXT {
            return Err(SourceError::TextTooLong);
        }
        let path = SafeRelPath::parse("text").expect("invariant: a plain word is a safe name");
        let entry = Entry {
            kind: EntryKind::Text,
            path,
            size,
            mtime: None,
            mode: 6,
        };
        let manifest = finish(|builder| builder.push(entry))?;
        let listing = Listing {
            manifest: Arc::new(manifest),
            origins: vec![Origin::Text(text.into())],
            skipped: Skipped::default(),
        };
        Ok(Self {
            state: State::Listed(Box::new(listing)),
            stop: Arc::default(),
        })
    }

    /// One file of a folder that is open, as it is now. `path` is what it is called in messages.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`], [`SourceError::NotAFile`], [`SourceError::BadNames`].
    pub(super) fn file_in(
        folder: Arc<Folder>,
        name: &str,
        path: PathBuf,
    ) -> Result<Self, SourceError> {
        let meta = folder.read(name).and_then(|file| file.metadata());
        let meta = meta.map_err(|error| SourceError::Unreadable {
            path: path.clone(),
            error,
        })?;
        if !meta.is_file() {
            return Err(SourceError::NotAFile { path });
        }
        let safe = SafeRelPath::parse(name).map_err(|why| SourceError::BadNames {
            names: vec![(path.clone(), why)],
        })?;
        let entry = Entry {
            kind: EntryKind::File,
            path: safe,
            size: meta.len(),
            mtime: mtime(&meta),
            mode: mode(&meta),
        };
        let manifest = finish(|builder| builder.push(entry))?;
        let origin = FileOrigin {
            path,
            named: false,
            id: id(&meta),
            folder: Some(folder),
        };
        let listing = Listing {
            manifest: Arc::new(manifest),
            origins: vec![Origin::File(origin)],
            skipped: Skipped::default(),
        };
        Ok(Self {
            state: State::Listed(Box::new(listing)),
            stop: Arc::default(),
        })
    }

    /// Waits for the walk to end, so that a name that cannot be sent is found before anybody is met. [`super::send`] does it by itself.
    ///
    /// # Errors
    /// [`SourceError`]; the same on each call is not promised, the source is used up.
    pub async fn ready(&mut self) -> Result<(), SourceError> {
        if let State::Walking(receiver) = &mut self.state {
            let result = receiver.await.unwrap_or(Err(SourceError::Nothing));
            self.state = State::Taken;
            self.state = State::Listed(Box::new(result?));
        }
        Ok(())
    }

    /// The list, once [`Self::ready`] is through.
    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        self.listed().map(|listing| &listing.manifest)
    }

    /// What is left out, once [`Self::ready`] is through.
    pub fn skipped(&self) -> Option<&Skipped> {
        self.listed().map(|listing| &listing.skipped)
    }

    fn listed(&self) -> Option<&Listing> {
        match &self.state {
            State::Listed(listing) => Some(listing),
            _ => None,
        }
    }

    pub(super) async fn listing(mut self) -> Result<Listing, SourceError> {
        self.ready().await?;
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Listed(listing) => Ok(*listing),
            _ => Err(SourceError::Nothing),
        }
    }
}

struct Top {
    path: PathBuf,
    name: String,
    meta: Metadata,
}

fn top(path: PathBuf) -> Result<Top, SourceError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => SourceError::NotFound { path: path.clone() },
        _ => SourceError::Unreadable {
            path: path.clone(),
            error,
        },
    };
    let meta = fs::metadata(&path).map_err(unreadable)?;
    if !meta.is_file() && !meta.is_dir() {
        return Err(SourceError::NotAFile { path });
    }
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        // `.`, `..` and their like have a name all the same.
        None => fs::canonicalize(&path)
            .map_err(unreadable)?
            .file_name()
            .map(ToOwned::to_owned)
            .ok_or(SourceError::NotAFile { path: path.clone() })?,
    };
    let name = name.into_string().map_err(|_| SourceError::BadNames {
        names: vec![(path.clone(), NameError::NotUtf8)],
    })?;
    Ok(Top { path, name, meta })
}

fn finish(
    fill: impl FnOnce(&mut ManifestBuilder) -> Result<(), ManifestError>,
) -> Result<Manifest, SourceError> {
    let mut builder = ManifestBuilder::new();
    fill(&mut builder)
        .and_then(|()| finished(builder))
        .map_err(SourceError::List)
}

fn finished(builder: ManifestBuilder) -> Result<Manifest, ManifestError> {
    let totals = builder.totals();
    builder.finish(totals)
}

struct Walk {
    options: SourceOptions,
    stop: Arc<AtomicBool>,
    builder: ManifestBuilder,
    origins: Vec<Origin>,
    skipped: Skipped,
    bad: Vec<(PathBuf, NameError)>,
}

impl Walk {
    fn new(options: SourceOptions, stop: Arc<AtomicBool>) -> Self {
        Self {
            options,
            stop,
            builder: ManifestBuilder::new(),
            origins: Vec::new(),
            skipped: Skipped::default(),
            bad: Vec::new(),
        }
    }

    fn run(mut self, tops: Vec<Top>) -> Result<Listing, SourceError> {
        for top in tops {
            let name: String = top.name.nfc().collect();
            self.visit(top.path, name, &top.meta, true)?;
        }
        if !self.bad.is_empty() {
            return Err(SourceError::BadNames { names: self.bad });
        }
        let manifest = finished(self.builder).map_err(SourceError::List)?;
        Ok(Listing {
            manifest: Arc::new(manifest),
            origins: self.origins,
            skipped: self.skipped,
        })
    }

    fn visit(
        &mut self,
        path: PathBuf,
        name: String,
        meta: &Metadata,
        named: bool,
    ) -> Result<(), SourceError> {
        let safe = match SafeRelPath::parse(&name) {
            Ok(safe) => safe,
            Err(why) => {
                self.refuse(path, why);
                return Ok(());
            }
        };
        if meta.is_dir() {
            self.add(safe, EntryKind::Folder, meta, Origin::Folder)?;
            self.folder(&path, &name)
        } else if meta.is_file() {
            readable(&path)?;
            let origin = FileOrigin {
                path,
                named,
                id: id(meta),
                folder: None,
            };
            self.add(safe, EntryKind::File, meta, Origin::File(origin))
        } else {
            self.skipped.add(path);
            Ok(())
        }
    }

    fn folder(&mut self, path: &Path, name: &str) -> Result<(), SourceError> {
        let unreadable = |error| SourceError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let mut children = fs::read_dir(path)
            .map_err(unreadable)?
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable)?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            if self.stop.load(Relaxed) {
                return Err(SourceError::Nothing);
            }
            let (child_path, child_name) = (child.path(), child.file_name());
            let Some(child_name) = child_name.to_str() else {
                self.refuse(child_path, NameError::NotUtf8);
                continue;
            };
            if self
                .options
                .exclude
                .iter()
                .any(|excluded| excluded == child_name)
            {
                self.skipped.add(child_path);
                continue;
            }
            // Of the link itself, if it is one: links below a named folder are not followed.
            let meta = child.metadata().map_err(|error| SourceError::Unreadable {
                path: child_path.clone(),
                error,
            })?;
            let child_name = format!("{name}/{}", child_name.nfc());
            self.visit(child_path, child_name, &meta, false)?;
        }
        Ok(())
    }

    fn refuse(&mut self, path: PathBuf, why: NameError) {
        if self.options.skip_bad_names {
            self.skipped.add(path);
        } else if self.bad.len() < MAX_BAD_NAMES {
            self.bad.push((path, why));
        }
    }

    fn add(
        &mut self,
        path: SafeRelPath,
        kind: EntryKind,
        meta: &Metadata,
        origin: Origin,
    ) -> Result<(), SourceError> {
        let size = if kind == EntryKind::File {
            meta.len()
        } else {
            0
        };
        let entry = Entry {
            kind,
            path,
            size,
            mtime: mtime(meta),
            mode: mode(meta),
        };
        self.builder.push(entry).map_err(SourceError::List)?;
        self.origins.push(origin);
        Ok(())
    }
}

/// Found before anybody is met; that it can be opened shows only when its turn comes.
#[cfg(unix)]
fn readable(path: &Path) -> Result<(), SourceError> {
    use rustix::fs::{Access, access};
    match access(path, Access::READ_OK) {
        Err(error @ rustix::io::Errno::ACCESS) => Err(SourceError::Unreadable {
            path: path.to_owned(),
            error: error.into(),
        }),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn readable(_path: &Path) -> Result<(), SourceError> {
    Ok(())
}

#[cfg(unix)]
fn mode(meta: &Metadata) -> u8 {
    use std::os::unix::fs::PermissionsExt;
    ((meta.permissions().mode() >> 6) & 7) as u8
}

#[cfg(not(unix))]
fn mode(meta: &Metadata) -> u8 {
    if meta.permissions().readonly() { 4 } else { 6 }
}

#[cfg(unix)]
pub(super) fn id(meta: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (meta.dev(), meta.ino())
}

#[cfg(not(unix))]
pub(super) fn id(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// Seconds since 1970 and nanoseconds.
pub(super) fn mtime(meta: &Metadata) -> Option<(i64, u32)> {
    let time = meta.modified().ok()?;
    match time.duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => Some((i64::try_from(after.as_secs()).ok()?, after.subsec_nanos())),
        Err(before) => {
            let before = before.duration();
            let seconds = -i64::try_from(before.as_secs()).ok()?;
            Some(match before.subsec_nanos() {
                0 => (seconds, 0),
                nanos => (seconds - 1, 1_000_000_000 - nanos),
            })
        }
    }
}
