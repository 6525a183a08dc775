//! Shared folders (get-file): a folder that named contacts may look into and fetch files from, and the other side of it.
//!
//! Nothing is shared unless the program hands a [`Share`] to [`crate::Builder::share`]. To everybody who is not named in it the
//! service does not exist.

mod owner;
mod requester;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use rdv_proto::wire::oft::Header;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::Semaphore;

pub use self::requester::{SharedEntry, SharedFiles};
pub(crate) use self::requester::{connected, work};
use crate::error::Error;
use crate::security::Security;
use crate::transfer::{SharedFolder, Summary, TransferError};
use crate::transport;

/// How many may fetch at once. The others are declined.
const GUESTS_MAX: usize = 8;
/// How long a listing may take from its prompt to its last byte.
const LISTING: Duration = Duration::from_secs(60);

/// A folder, and who may fetch from it. Read only: nothing is ever written there.
#[derive(Clone)]
pub struct Share {
    folder: SharedFolder,
    contacts: Arc<BTreeSet<ScreenName>>,
    guests: Arc<Semaphore>,
}

impl Share {
    /// Shares the files below `path` with `contacts`. Hidden and empty files, links, devices and files above 4 GiB are left out, and
    /// names that do not mean the same everywhere.
    ///
    /// # Errors
    /// The folder cannot be opened.
    pub fn folder(
        path: impl AsRef<Path>,
        contacts: impl IntoIterator<Item = ScreenName>,
    ) -> io::Result<Self> {
        Ok(Self {
            folder: SharedFolder::open(path.as_ref())?,
            contacts: Arc::new(contacts.into_iter().collect()),
            guests: Arc::new(Semaphore::new(GUESTS_MAX)),
        })
    }

    /// Whether it is shared with somebody of that name. Who is signed on under a name, the host says.
    #[must_use]
    pub fn admits(&self, peer: &ScreenName) -> bool {
        self.contacts.contains(peer)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").finish_non_exhaustive()
    }
}

/// Somebody has looked into a [`Share`], or fetched a file, or tried to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Served {
    /// Who, as the channel says.
    pub peer: ScreenName,
    /// The file that was asked for, from the shared folder on; `None`: it was looked at alone.
    pub file: Option<String>,
    /// How the bytes went, and how safe that was; `None` if no connection came about.
    pub connected: Option<(transport::Path, Security)>,
    /// What was sent.
    pub outcome: Result<Summary, Error>,
}

/// The header that an opening has judged.
fn header(first: &bytes::Bytes) -> Result<Header, TransferError> {
    let header = Header::decode(&mut bytes::BytesMut::from(&first[..]));
    let header = header.map_err(|error| TransferError::OldProtocol(error.into()))?;
    header.ok_or_else(|| TransferError::LinkLost(io::ErrorKind::UnexpectedEof.into()))
}
