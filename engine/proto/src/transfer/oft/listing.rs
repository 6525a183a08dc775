//! Shared folders (get-file): the owner lists, the requester picks a folder or a file. A picked file travels as any other: the owner goes on
//! as [`OftSend`](super::OftSend) with one file, the requester as [`OftReceive`](super::OftReceive).

use bytes::Bytes;

use super::{OftFault, check};
use crate::limits::OFT_LISTING;
use crate::transfer::name::SafeRelPath;
use crate::wire::error::EncodeError;
use crate::wire::oft::{
    FLAG_DONE, FLAG_LIST, FLAG_NEGOTIATING, Header, Kind, Listing, NameField, RunningChecksum,
};
use crate::wire::rendezvous::Cookie;

/// What a header of the requester leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerEvent {
    /// Write the listing.
    SendListing(Bytes),
    /// The listing is over there; the requester picks next.
    Listed,
    /// List this folder; none: the shared folder itself. Answer with [`ListOwner::list`].
    Folder(Option<SafeRelPath>),
    /// Send this file, if it is shared.
    File(SafeRelPath),
}

/// The half of a get-file connection that has the files.
#[derive(Debug)]
pub struct ListOwner {
    cookie: Cookie,
    state: OwnerState,
}

#[derive(Debug)]
enum OwnerState {
    /// The caller lists, or the requester picks.
    Idle,
    /// The listing was announced.
    Announced(Bytes),
    /// It was sent.
    Sent,
    Broken,
}

impl ListOwner {
    /// At the start of the connection.
    pub fn new(cookie: Cookie) -> Self {
        Self {
            cookie,
            state: OwnerState::Idle,
        }
    }

    /// A listing follows: its LIST_PROMPT.
    ///
    /// # Errors
    /// [`OftFault::ListingTooLarge`] above 4 MiB.
    ///
    /// # Panics
    /// If another listing is under way.
    pub fn list(&mut self, listing: &Listing) -> Result<Header, OftFault> {
        assert!(
            matches!(self.state, OwnerState::Idle),
            "a listing is under way"
        );
        let bytes = listing.encode();
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if bytes.len() > OFT_LISTING {
            return Err(OftFault::ListingTooLarge(size));
        }
        let mut checksum = RunningChecksum::new();
        checksum.update(&bytes);
        let (charset, name) = NameField::empty();
        let prompt = Header {
            total_files: u16::try_from(listing.0.len()).unwrap_or(u16::MAX),
            total_size: size,
            size,
            checksum: checksum.value(),
            flags: FLAG_NEGOTIATING | FLAG_LIST,
            ..Header::new(Kind::LIST_PROMPT, self.cookie, charset, name)
        };
        self.state = OwnerState::Announced(bytes);
        Ok(prompt)
    }

    /// Takes a header of the requester.
    ///
    /// # Errors
    /// An [`OftFault`]: close the connection.
    pub fn handle(&mut self, header: &Header) -> Result<OwnerEvent, OftFault> {
        check(header, self.cookie, false)?;
        let state = std::mem::replace(&mut self.state, OwnerState::Broken);
        let (state, event) = match (state, header.kind) {
            (OwnerState::Announced(bytes), Kind::LIST_ACK) => {
                (OwnerState::Sent, OwnerEvent::SendListing(bytes))
            }
            (OwnerState::Sent, Kind::LIST_RECEIVED) => (OwnerState::Idle, OwnerEvent::Listed),
            (OwnerState::Sent, Kind::LIST_CORRUPT) => return Err(OftFault::ListingCorrupt),
            (OwnerState::Idle, Kind::REQUEST_LISTING) => {
                (OwnerState::Idle, OwnerEvent::Folder(wanted(header)?))
            }
            (OwnerState::Idle, Kind::REQUEST_FILE) => {
                let path = wanted(header)?.ok_or(OftFault::Path)?;
                (OwnerState::Idle, OwnerEvent::File(path))
            }
            (_, kind) => return Err(OftFault::Unexpected(kind)),
        };
        self.state = state;
        Ok(event)
    }
}

/// The path in a request. It must be that of a listing, so that nothing is cleaned: what is not safe is not shared.
fn wanted(header: &Header) -> Result<Option<SafeRelPath>, OftFault> {
    let parts = header.name_parts()?;
    if parts.is_empty() {
        return Ok(None);
    }
    let slashes = parts.iter().any(|part| part.contains('/'));
    let path = SafeRelPath::parse(&parts.join("/")).ok();
    path.filter(|_| !slashes).map(Some).ok_or(OftFault::Path)
}

/// What a header of the owner leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequesterEvent {
    /// Write the reply, read the listing, hand it to [`ListRequester::received`].
    ReceiveListing {
        /// Goes out first.
        reply: Box<Header>,
        /// Bytes that come; at most 4 MiB.
        len: usize,
    },
}

/// The half of a get-file connection that wants files.
#[derive(Debug)]
pub struct ListRequester {
    cookie: Cookie,
    zero_cookie_counts: bool,
    state: RequesterState,
}

#[derive(Debug)]
enum RequesterState {
    /// A listing is announced next.
    Waiting,
    /// It comes.
    Listing(Box<Header>),
    /// The caller picks.
    Picking,
    Broken,
}

impl ListRequester {
    /// At the start of the connection. `zero_cookie_counts` as in [`ReceiveTerms`](super::ReceiveTerms).
    pub fn new(cookie: Cookie, zero_cookie_counts: bool) -> Self {
        Self {
            cookie,
            zero_cookie_counts,
            state: RequesterState::Waiting,
        }
    }

    /// Takes a header of the owner.
    ///
    /// # Errors
    /// An [`OftFault`]: close the connection.
    pub fn handle(&mut self, header: &Header) -> Result<RequesterEvent, OftFault> {
        check(header, self.cookie, self.zero_cookie_counts)?;
        match (
            std::mem::replace(&mut self.state, RequesterState::Broken),
            header.kind,
        ) {
            (RequesterState::Waiting, Kind::LIST_PROMPT) => {
                let len = usize::try_from(header.size).unwrap_or(usize::MAX);
                if len > OFT_LISTING {
                    return Err(OftFault::ListingTooLarge(header.size));
                }
                let reply = Box::new(header.reply(Kind::LIST_ACK, self.cookie));
                self.state = RequesterState::Listing(Box::new(header.clone()));
                Ok(RequesterEvent::ReceiveListing { reply, len })
            }
            (_, kind) => Err(OftFault::Unexpected(kind)),
        }
    }

    /// The listing, and the header that confirms it (LIST_RECEIVED).
    ///
    /// # Errors
    /// [`OftFault::Checksum`], [`OftFault::Header`]: it is not what was announced, or no listing. Tell the owner with
    /// [`ListRequester::corrupt`], then close.
    ///
    /// # Panics
    /// If none was due.
    pub fn received(&mut self, bytes: &Bytes) -> Result<(Header, Listing), OftFault> {
        let state = std::mem::replace(&mut self.state, RequesterState::Broken);
        let RequesterState::Listing(prompt) = state else {
            panic!("no listing was due")
        };
        let mut checksum = RunningChecksum::new();
        checksum.update(bytes);
        let (announced, found) = (prompt.checksum, checksum.value());
        if !announced.agrees(found) {
            return Err(OftFault::Checksum { announced, found });
        }
        let listing = Listing::decode(bytes)?;
        let reply = Header {
            flags: FLAG_NEGOTIATING | FLAG_DONE,
            received: prompt.size,
            received_checksum: found,
            ..prompt.reply(Kind::LIST_RECEIVED, self.cookie)
        };
        self.state = RequesterState::Picking;
        Ok((reply, listing))
    }

    /// Says that the listing came damaged.
    pub fn corrupt(&self) -> Header {
        let (charset, name) = NameField::empty();
        Header::new(Kind::LIST_CORRUPT, self.cookie, charset, name)
    }

    /// Asks for the listing of a folder; no parts: of the shared folder itself.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 1,024 bytes.
    ///
    /// # Panics
    /// If a listing is under way.
    pub fn want_folder<'a>(
        &mut self,
        path: impl IntoIterator<Item = &'a str>,
    ) -> Result<Header, EncodeError> {
        let header = self.want(Kind::REQUEST_LISTING, path)?;
        self.state = RequesterState::Waiting;
        Ok(header)
    }

    /// Asks for a file. What comes next belongs to [`OftReceive`](super::OftReceive).
    ///
    /// # Errors
    /// As [`ListRequester::want_folder`].
    ///
    /// # Panics
    /// As [`ListRequester::want_folder`].
    pub fn want_file<'a>(
        &mut self,
        path: impl IntoIterator<Item = &'a str>,
    ) -> Result<Header, EncodeError> {
        self.want(Kind::REQUEST_FILE, path)
    }

    fn want<'a>(
        &self,
        kind: Kind,
        path: impl IntoIterator<Item = &'a str>,
    ) -> Result<Header, EncodeError> {
        assert!(
            matches!(self.state, RequesterState::Picking),
            "a listing is under way"
        );
        let (charset, name) = NameField::encode(path)?;
        Ok(Header::new(kind, self.cookie, charset, name))
    }
}
