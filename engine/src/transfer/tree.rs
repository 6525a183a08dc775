//! The folders of a transfer: made when they are needed, remembered, removed again if they stay empty after a failure.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rdv_proto::transfer::numbered;

use super::error::TransferError;
use super::folder::{Folder, Kind};
use super::part::Place;
use super::sink::{IfExists, Sink};

const MOST_NUMBERS: u32 = 9999;

pub(super) struct Tree {
    root: Place,
    if_exists: IfExists,
    /// What the top folders of the list are called here.
    tops: BTreeMap<String, String>,
    /// The way to the folder that was used last, by parts of the list.
    way: Vec<(String, Place)>,
    /// Folders that we made, outermost first, by their names here.
    made: Vec<PathBuf>,
    /// How many of those have durable names.
    synced: usize,
}

impl Tree {
    /// Opens the output folder; makes it if it is missing.
    pub(super) fn open(sink: &Sink) -> Result<Self, TransferError> {
        std::fs::create_dir_all(&sink.path).map_err(TransferError::local(&sink.path))?;
        let folder = Folder::open_ambient(&sink.path).map_err(TransferError::local(&sink.path))?;
        let root = Place {
            folder: Arc::new(folder),
            path: Arc::new(sink.path.clone()),
        };
        Ok(Self {
            root,
            if_exists: sink.options.if_exists,
            tops: BTreeMap::new(),
            way: Vec::new(),
            made: Vec::new(),
            synced: 0,
        })
    }

    /// The output folder.
    pub(super) fn root(&self) -> &Place {
        &self.root
    }

    /// Whether a top folder of the list is in use already.
    pub(super) fn uses(&self, top: &str) -> bool {
        self.tops.contains_key(top)
    }

    /// The folder at `path` of the list, made if it is missing; `None` is the output folder itself.
    pub(super) fn folder(&mut self, path: Option<&str>) -> Result<Place, TransferError> {
        let Some(path) = path else {
            return Ok(self.root.clone());
        };
        let parts: Vec<&str> = path.split('/').collect();
        let common = self
            .way
            .iter()
            .zip(&parts)
            .take_while(|((known, _), part)| known == *part)
            .count();
        self.way.truncate(common);
        for part in &parts[common..] {
            let place = match self.way.last() {
                Some((_, above)) => self.inner(&above.clone(), part)?,
                None => self.top(part)?,
            };
            self.way.push(((*part).to_owned(), place));
        }
        Ok(self
            .way
            .last()
            .map_or_else(|| self.root.clone(), |(_, place)| place.clone()))
    }

    /// What the top folders are called here.
    pub(super) fn top_names(&self) -> Vec<String> {
        self.tops.values().cloned().collect()
    }

    fn top(&mut self, name: &str) -> Result<Place, TransferError> {
        if let Some(here) = self.tops.get(name).cloned() {
            return self.enter(&self.root.clone(), &here);
        }
        let root = self.root.clone();
        let mut here = name.to_owned();
        if self.if_exists == IfExists::Rename {
            root.refuse_link(name)?;
            let mut number = 0;
            while !self.make(&root, &here)? {
                number += 1;
                if number > MOST_NUMBERS {
                    return Err(TransferError::Exists {
                        path: root.path.join(name),
                    });
                }
                here = numbered(name, number);
            }
        } else {
            self.make(&root, &here)?;
        }
        self.tops.insert(name.to_owned(), here.clone());
        self.enter(&root, &here)
    }

    fn inner(&mut self, above: &Place, name: &str) -> Result<Place, TransferError> {
        self.make(above, name)?;
        self.enter(above, name)
    }

    /// Makes a folder; false if something is there already.
    fn make(&mut self, above: &Place, name: &str) -> Result<bool, TransferError> {
        match above.folder.make(name) {
            Ok(()) => {
                let made = above.path.join(name);
                self.made.push(
                    made.strip_prefix(&*self.root.path)
                        .map_or_else(|_| PathBuf::from(name), Path::to_owned),
                );
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(above.error(name, error)),
        }
    }

    fn enter(&self, above: &Place, name: &str) -> Result<Place, TransferError> {
        match above.refuse_link(name)? {
            Some(Kind::Folder) => {}
            _ => {
                return Err(TransferError::Exists {
                    path: above.path.join(name),
                });
            }
        }
        let folder = above
            .folder
            .open(name)
            .map_err(|error| above.error(name, error))?;
        Ok(Place {
            folder: Arc::new(folder),
            path: Arc::new(above.path.join(name)),
        })
    }

    /// Makes the names of all new folders durable.
    pub(super) fn sync(&mut self) -> Result<(), TransferError> {
        for made in &self.made[self.synced..] {
            let folder = self
                .reopen(made)
                .map_err(TransferError::local(self.root.path.join(made)))?;
            folder
                .sync()
                .map_err(TransferError::local(self.root.path.join(made)))?;
        }
        self.synced = self.made.len();
        self.root
            .folder
            .sync()
            .map_err(TransferError::local(&*self.root.path))
    }

    /// [`Self::sync`] if a folder was made since the last one.
    pub(super) fn sync_new(&mut self) -> Result<(), TransferError> {
        if self.synced < self.made.len() {
            self.sync()?;
        }
        Ok(())
    }

    /// After a failure: removes those of our folders that are empty.
    pub(super) fn remove_empty(&mut self) {
        self.way.clear();
        for made in self.made.iter().rev() {
            let (Some(above), Some(name)) = (
                made.parent(),
                made.file_name().and_then(|name| name.to_str()),
            ) else {
                continue;
            };
            // What is not empty, or was taken away, stays as it is.
            let _ = self
                .reopen(above)
                .and_then(|above| above.remove_empty(name));
        }
    }

    fn reopen(&self, path: &Path) -> io::Result<Arc<Folder>> {
        path.iter()
            .try_fold(self.root.folder.clone(), |folder, part| {
                let part = part.to_str().ok_or(io::ErrorKind::InvalidInput)?;
                Ok(Arc::new(folder.open(part)?))
            })
    }
}
