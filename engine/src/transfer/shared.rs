//! A folder whose files others may fetch: listed and read by handles, below it and nowhere else, no link followed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rdv_proto::limits::{OFT_LIST_ENTRIES, OFT_LISTING};
use rdv_proto::transfer::SafeRelPath;
use rdv_proto::transfer::oft::OftFault;
use rdv_proto::wire::oft::{ListEntry, Listing};

use tokio::task::spawn_blocking;

use super::error::{SourceError, TransferError};
use super::folder::{Folder, Kind};
use super::source::Source;

/// More than an entry of a listing takes beside its name, in bytes.
const ENTRY: usize = 64;

/// A folder that is open for as long as it is shared.
#[derive(Debug, Clone)]
pub(crate) struct SharedFolder {
    root: Arc<Folder>,
    path: Arc<PathBuf>,
}

impl SharedFolder {
    /// Opens a folder that the user named.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            root: Arc::new(Folder::open_ambient(path)?),
            path: Arc::new(path.to_owned()),
        })
    }

    /// As [`SharedFolder::list`], on a thread where it may take its time.
    ///
    /// # Errors
    /// [`TransferError::OldProtocol`] for a folder that is not there, or not shared; [`TransferError::Local`].
    pub(crate) async fn listing(
        &self,
        below: Option<SafeRelPath>,
    ) -> Result<Listing, TransferError> {
        let folder = self.clone();
        let listed = spawn_blocking(move || folder.list(below.as_ref())).await;
        let listed = listed.map_err(io::Error::other).and_then(|listed| listed);
        listed.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OftFault::Path.into(),
            _ => TransferError::local(&*self.path)(error),
        })
    }

    /// As [`SharedFolder::source`], on a thread where it may take its time.
    ///
    /// # Errors
    /// [`TransferError::Source`].
    pub(crate) async fn file(&self, path: &SafeRelPath) -> Result<Source, TransferError> {
        let (folder, path) = (self.clone(), path.clone());
        let source = spawn_blocking(move || folder.source(&path)).await;
        let source = source.map_err(io::Error::other);
        Ok(source.map_err(TransferError::local(&*self.path))??)
    }

    /// What is in the shared folder, or in one below it, by paths from the shared folder on. Links, devices, hidden and empty files,
    /// files above 4 GiB and names that cannot be sent are not shared. At most 65,535 entries and 4 MiB, the first by name.
    fn list(&self, below: Option<&SafeRelPath>) -> io::Result<Listing> {
        let folder = self.folder(below)?;
        let mut found = BTreeMap::new();
        for name in folder.names()? {
            let name = name?;
            let path = match below {
                Some(below) => format!("{}/{name}", below.as_str()),
                None => name.clone(),
            };
            let Some(path) = SafeRelPath::parse(&path).ok().filter(is_shared) else {
                continue;
            };
            // What is gone by now, or may not be looked at, is not there.
            if let Ok(Some(entry)) = entry(&folder, &name, &path) {
                found.insert(path.as_str().to_owned(), entry);
            }
            // One more than is told, so that those that come last by name go.
            if found.len() > OFT_LIST_ENTRIES {
                found.pop_last();
            }
        }
        let mut bytes = ENTRY;
        let fitting = found.into_iter().take_while(|(path, _)| {
            bytes += path.len() + ENTRY;
            bytes <= OFT_LISTING
        });
        Ok(Listing(fitting.map(|(_, entry)| entry).collect()))
    }

    /// A file of a listing, to be sent.
    fn source(&self, path: &SafeRelPath) -> Result<Source, SourceError> {
        let told = self.path.join(path.as_str());
        let unreadable = |error| SourceError::Unreadable {
            path: told.clone(),
            error,
        };
        let folder = match path.parent() {
            Some(parent) => {
                let parent = SafeRelPath::parse(parent).map_err(|why| SourceError::BadNames {
                    names: vec![(told.clone(), why)],
                })?;
                self.folder(Some(&parent)).map_err(unreadable)?
            }
            None => Arc::clone(&self.root),
        };
        if !is_shared(path) {
            return Err(unreadable(io::ErrorKind::NotFound.into()));
        }
        Source::file_in(folder, path.file_name(), told)
    }

    /// The handle of a folder, gone down to name by name.
    fn folder(&self, path: Option<&SafeRelPath>) -> io::Result<Arc<Folder>> {
        let mut folder = Arc::clone(&self.root);
        let Some(path) = path else {
            return Ok(folder);
        };
        if !is_shared(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for part in path.parts() {
            folder = Arc::new(folder.open(part)?);
        }
        Ok(folder)
    }
}

/// Nothing on the way is hidden.
fn is_shared(path: &SafeRelPath) -> bool {
    !path.parts().any(|part| part.starts_with('.'))
}

fn entry(folder: &Folder, name: &str, path: &SafeRelPath) -> io::Result<Option<ListEntry>> {
    let kind = folder.kind(name)?;
    let (size, mtime) = folder.size_and_mtime(name)?;
    let size = match kind {
        Some(Kind::Folder) => 0,
        Some(Kind::File) if size > 0 => match u32::try_from(size) {
            Ok(size) => size,
            Err(_) => return Ok(None),
        },
        _ => return Ok(None),
    };
    let mtime = u32::try_from(mtime).unwrap_or(0);
    let folder = kind == Some(Kind::Folder);
    Ok(ListEntry::new(path.parts(), size, mtime, folder).ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn path(path: &str) -> SafeRelPath {
        SafeRelPath::parse(path).unwrap()
    }

    fn names(listing: &Listing) -> Vec<String> {
        let name = |entry: &ListEntry| entry.path().unwrap().join("/");
        listing.0.iter().map(name).collect()
    }

    fn tree() -> (tempfile::TempDir, SharedFolder) {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("shared");
        fs::create_dir_all(shared.join("photos/deep")).unwrap();
        fs::create_dir_all(shared.join(".git")).unwrap();
        for (name, content) in [
            ("fox.txt", "fox"),
            ("empty", ""),
            (".hidden", "x"),
            (".git/config", "x"),
            ("photos/a.jpg", "jpeg"),
            ("photos/deep/b.jpg", "jpeg"),
            ("bad:name", "x"),
        ] {
            fs::write(shared.join(name), content).unwrap();
        }
        fs::write(folder.path().join("secret"), "secret").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink(folder.path().join("secret"), shared.join("link.txt")).unwrap();
            symlink(folder.path(), shared.join("up")).unwrap();
        }
        let opened = SharedFolder::open(&shared).unwrap();
        (folder, opened)
    }

    #[test]
    fn a_listing_holds_what_can_be_fetched_and_nothing_hidden_or_linked() {
        let (_folder, shared) = tree();
        let top = shared.list(None).unwrap();
        assert_eq!(names(&top), ["fox.txt", "photos"]);
        let kinds: Vec<_> = top
            .0
            .iter()
            .map(|entry| (entry.is_folder(), entry.size()))
            .collect();
        assert_eq!(kinds, [(false, 3), (true, 0)]);
        let photos = shared.list(Some(&path("photos"))).unwrap();
        assert_eq!(names(&photos), ["photos/a.jpg", "photos/deep"]);
    }

    #[test]
    fn nothing_outside_is_listed_or_read_whatever_is_asked_for() {
        let (_folder, shared) = tree();
        for hidden in ["up", ".git", "up/shared", "photos/.x", "missing", "fox.txt"] {
            assert!(shared.list(Some(&path(hidden))).is_err(), "{hidden}");
        }
        for hidden in [
            "up/secret",
            "link.txt",
            ".hidden",
            ".git/config",
            "missing",
            "photos",
        ] {
            assert!(shared.source(&path(hidden)).is_err(), "{hidden}");
        }
        assert!(shared.source(&path("photos/deep/b.jpg")).is_ok());
    }

    #[test]
    fn a_folder_that_is_exchanged_for_a_link_leads_nowhere() {
        let (folder, shared) = tree();
        let photos = folder.path().join("shared/photos");
        fs::remove_dir_all(&photos).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), &photos).unwrap();
        assert!(shared.list(Some(&path("photos"))).is_err());
        assert!(shared.source(&path("photos/secret")).is_err());
    }
}
