//! The side that has the files.

use super::{OftFault, OftTotals, check, modulo};
use crate::limits::OFT_BYTES;
use crate::wire::oft::{Checksum, Header, Kind, NameField};
use crate::wire::rendezvous::Cookie;

/// What a prompt says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts<'a> {
    /// Its name; with `folders` in front.
    pub name: &'a str,
    /// The folders that it is in, from the top, the offered one included. Empty for a single file.
    pub folders: &'a [&'a str],
    /// Bytes.
    pub size: u64,
    /// Last change, seconds since 1970; 0 = not told.
    pub mtime: u32,
    /// Of all of it.
    pub checksum: Checksum,
}

/// What a header of the receiver leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentEvent {
    /// Write the file from this offset to its end, then call [`OftSend::body_sent`].
    SendBody {
        /// Offset of the first byte.
        from: u64,
    },
    /// The receiver has the first bytes of the file: answer with [`OftSend::resume_checked`].
    CheckResume {
        /// How many; at most the size.
        received: u64,
        /// What it says of them.
        checksum: Checksum,
    },
    /// Write this.
    Reply(Box<Header>),
    /// The file is over. If [`OftSend::is_over`], so is the transfer: close.
    FileDone(FileEnd),
}

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileEnd {
    /// All of it was sent.
    Sent,
    /// The receiver had all of it (L-20).
    AlreadyThere,
    /// The receiver did not want it.
    Skipped,
}

/// The sender's half of a transfer.
#[derive(Debug)]
pub struct OftSend {
    cookie: Cookie,
    totals: OftTotals,
    files_left: u16,
    bytes_left: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The caller prompts for the next file.
    Between,
    /// An ACK, RESUME or DONE comes next.
    Prompted(Current),
    /// The caller compares.
    Checking {
        current: Current,
        received: u32,
        checksum: Checksum,
    },
    /// RESUME_ACCEPT went out.
    Resuming { current: Current, from: u64 },
    /// The caller sends bytes.
    Body(Current),
    /// All bytes are out, DONE comes next.
    Waiting(Current),
    /// A fault: nothing counts any more.
    Broken,
}

#[derive(Debug)]
struct Current {
    prompt: Header,
    size: u64,
}

impl OftSend {
    /// At the start of the connection.
    pub fn new(cookie: Cookie, totals: OftTotals) -> Self {
        Self {
            cookie,
            totals,
            files_left: totals.files(),
            bytes_left: totals.bytes(),
            state: State::Between,
        }
    }

    /// Whether all files are over.
    pub fn is_over(&self) -> bool {
        self.files_left == 0
    }

    /// The next file: its PROMPT.
    ///
    /// # Errors
    /// [`OftFault::TooManyFiles`], [`OftFault::Size`]: it is not within the totals; [`OftFault::Name`].
    ///
    /// # Panics
    /// If a file is under way.
    pub fn prompt(&mut self, file: &FileFacts<'_>) -> Result<Header, OftFault> {
        assert!(matches!(self.state, State::Between), "a file is under way");
        if self.files_left == 0 {
            return Err(OftFault::TooManyFiles {
                accepted: self.totals.files().into(),
            });
        }
        // The sizes of all files are the total that was offered: what grew or shrank since then is found here.
        let last = self.files_left == 1;
        if file.size > self.bytes_left || (last && file.size != self.bytes_left) {
            return Err(OftFault::Size {
                announced: file.size,
                accepted: self.bytes_left,
            });
        }
        let parts = file.folders.iter().copied().chain([file.name]);
        let (charset, name) = NameField::encode(parts)?;
        let prompt = Header {
            total_files: self.totals.files(),
            files_left: self.files_left,
            total_size: modulo(self.totals.bytes()),
            size: modulo(file.size),
            mtime: file.mtime,
            checksum: file.checksum,
            ..Header::new(Kind::PROMPT, self.cookie, charset, name)
        };
        self.bytes_left -= file.size;
        self.state = State::Prompted(Current {
            prompt: prompt.clone(),
            size: file.size,
        });
        Ok(prompt)
    }

    /// Takes a header of the receiver.
    ///
    /// # Errors
    /// An [`OftFault`]: close the connection. Nothing counts after it.
    pub fn handle(&mut self, header: &Header) -> Result<SentEvent, OftFault> {
        check(header, self.cookie, false)?;
        match (
            std::mem::replace(&mut self.state, State::Broken),
            header.kind,
        ) {
            (State::Prompted(current), Kind::ACK) => {
                self.state = State::Body(current);
                Ok(SentEvent::SendBody { from: 0 })
            }
            (State::Prompted(current), Kind::RESUME) => Ok(self.resume(current, header)),
            (State::Resuming { current, from }, Kind::RESUME_ACK) => {
                self.state = State::Body(current);
                Ok(SentEvent::SendBody { from })
            }
            (State::Prompted(current), Kind::DONE) => {
                let whole = header.received == modulo(current.size);
                self.file_over();
                Ok(SentEvent::FileDone(match whole {
                    true => FileEnd::AlreadyThere,
                    false => FileEnd::Skipped,
                }))
            }
            (State::Waiting(current), Kind::DONE) => {
                // Its checksum is not judged: libpurple's is wrong for most files of odd length (L-19).
                if header.received != modulo(current.size) {
                    return Err(OftFault::Short {
                        received: header.received,
                        size: current.size,
                    });
                }
                self.file_over();
                Ok(SentEvent::FileDone(FileEnd::Sent))
            }
            (_, kind) => Err(OftFault::Unexpected(kind)),
        }
    }

    fn resume(&mut self, current: Current, asked: &Header) -> SentEvent {
        // Offsets in a larger file cannot be said: the receiver cannot mean one.
        if current.size > OFT_BYTES || u64::from(asked.received) > current.size {
            return SentEvent::Reply(Box::new(self.agree(current, None)));
        }
        self.state = State::Checking {
            current,
            received: asked.received,
            checksum: asked.received_checksum,
        };
        SentEvent::CheckResume {
            received: asked.received.into(),
            checksum: asked.received_checksum,
        }
    }

    /// The checksum of as many first bytes as the receiver has: the RESUME_ACCEPT, which goes on there if it agrees, else starts from byte 0.
    ///
    /// # Panics
    /// If nothing is to be compared.
    pub fn resume_checked(&mut self, own: Checksum) -> Header {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Checking {
                current,
                received,
                checksum,
            } => {
                let agreed = Some((received, checksum)).filter(|(_, theirs)| theirs.agrees(own));
                self.agree(current, agreed)
            }
            _ => panic!("nothing is to be compared"),
        }
    }

    fn agree(&mut self, current: Current, agreed: Option<(u32, Checksum)>) -> Header {
        let (received, received_checksum) = agreed.unwrap_or((0, Checksum::EMPTY));
        let prompt = &current.prompt;
        let accept = Header {
            received,
            received_checksum,
            ..prompt.reply(Kind::RESUME_ACCEPT, self.cookie)
        };
        self.state = State::Resuming {
            current,
            from: received.into(),
        };
        accept
    }

    /// The bytes that were asked for are out. A receiver cannot be done before.
    ///
    /// # Panics
    /// If none were.
    pub fn body_sent(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Broken) {
            State::Body(current) => State::Waiting(current),
            _ => panic!("no bytes were asked for"),
        };
    }

    fn file_over(&mut self) {
        self.files_left -= 1;
        self.state = State::Between;
    }
}
