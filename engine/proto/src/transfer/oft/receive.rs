//! The side that gets the files.

use super::names::{Taken, clean_path, proposed_name};
use super::{OftFault, check, modulo};
use crate::limits::OFT_BYTES;
use crate::transfer::name::SafeRelPath;
use crate::wire::oft::{Checksum, FLAG_DONE, Header, Kind};
use crate::wire::rendezvous::Cookie;

/// What the user said yes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveTerms {
    /// Of the rendezvous.
    pub cookie: Cookie,
    /// Whether a zero cookie may stand in a prompt: we dialled, the relay paired us, or the source address is one that the peer named.
    pub zero_cookie_counts: bool,
    /// Files of the proposal.
    pub files: u32,
    /// Bytes of the proposal, as [`SendFileOffer`](crate::wire::service::SendFileOffer) says.
    pub bytes: u64,
    /// Name of the proposal: of the file, or of the folder.
    pub name: String,
    /// Whether the proposal was one of a folder or of several files.
    pub folder: bool,
}

/// A file that the sender has next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Counted from 0.
    pub index: u32,
    /// Where it goes, below the output folder. No two of a transfer are the same on any system.
    pub path: SafeRelPath,
    /// Bytes.
    pub size: u64,
    /// Last change, seconds since 1970.
    pub mtime: Option<u32>,
    /// When it was made, seconds since 1970.
    pub created: Option<u32>,
    /// Of all of it.
    pub checksum: Checksum,
    /// What the Finder of a Mac keeps of it; zeros elsewhere.
    pub finfo: [u8; 16],
}

impl Incoming {
    /// Whether the fields of OFT2 can say an offset in it.
    pub fn resumable(&self) -> bool {
        self.size <= OFT_BYTES
    }
}

/// What a header of the sender leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceivedEvent {
    /// The next file. Answer with [`OftReceive::accept`], [`OftReceive::resume`] or [`OftReceive::have_it`].
    Offered(Incoming),
    /// Answer to [`OftReceive::resume`]: write the reply, cut what is there to `from` bytes (what was asked for, or 0) and read the rest of
    /// the file, then call [`OftReceive::received`].
    ReceiveBody {
        /// Goes out first.
        reply: Box<Header>,
        /// Offset of the first byte that comes.
        from: u64,
        /// How many come.
        len: u64,
    },
}

/// The receiver's half of a transfer.
#[derive(Debug)]
pub struct OftReceive {
    terms: ReceiveTerms,
    /// The cleaned name of the proposal.
    proposed: SafeRelPath,
    taken: Taken,
    files: u32,
    bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A prompt comes next.
    Between,
    /// The caller decides.
    Deciding(Current),
    /// RESUME went out.
    Resuming { current: Current, asked: u32 },
    /// Bytes come.
    Body(Current),
    /// The last file is done.
    Over,
    /// A fault: nothing counts any more.
    Broken,
}

#[derive(Debug)]
struct Current {
    prompt: Header,
    size: u64,
}

impl OftReceive {
    /// At the start of the connection.
    pub fn new(terms: ReceiveTerms) -> Self {
        Self {
            proposed: proposed_name(&terms.name, terms.folder),
            terms,
            taken: Taken::default(),
            files: 0,
            bytes: 0,
            state: State::Between,
        }
    }

    /// Whether the last file is done.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether all that was accepted came. To be asked when it [is over](Self::is_over).
    ///
    /// # Errors
    /// [`OftFault::TooFewFiles`]: the sender ended early. What came is whole, but it is not all.
    pub fn complete(&self) -> Result<(), OftFault> {
        let (received, accepted) = (self.files, self.terms.files);
        match received < accepted {
            true => Err(OftFault::TooFewFiles { received, accepted }),
            false => Ok(()),
        }
    }

    /// Takes a header of the sender.
    ///
    /// # Errors
    /// An [`OftFault`]: close the connection. Nothing counts after it.
    pub fn handle(&mut self, header: &Header) -> Result<ReceivedEvent, OftFault> {
        check(header, self.terms.cookie, self.terms.zero_cookie_counts)?;
        match (
            std::mem::replace(&mut self.state, State::Broken),
            header.kind,
        ) {
            (State::Between, Kind::PROMPT) => self.prompt(header).map(ReceivedEvent::Offered),
            (State::Resuming { current, asked }, Kind::RESUME_ACCEPT) => {
                // The checksum beside it is not read: some leave the old one there when they start again.
                if header.received != asked && header.received != 0 {
                    return Err(OftFault::ResumeOffset(header.received));
                }
                let from = u64::from(header.received);
                let len = current.size - from;
                self.state = State::Body(current);
                let reply = Box::new(header.reply(Kind::RESUME_ACK, self.terms.cookie));
                Ok(ReceivedEvent::ReceiveBody { reply, from, len })
            }
            (_, kind) => Err(OftFault::Unexpected(kind)),
        }
    }

    fn prompt(&mut self, prompt: &Header) -> Result<Incoming, OftFault> {
        if prompt.total_parts != 1 {
            return Err(OftFault::Parts(prompt.total_parts));
        }
        let accepted = self.terms.files;
        if self.files >= accepted
            || u32::from(prompt.total_files) > accepted
            || prompt.files_left > prompt.total_files
        {
            return Err(OftFault::TooManyFiles { accepted });
        }
        let size = self.size(prompt)?;
        let path = self.path(prompt)?;
        let index = self.files;
        self.files += 1;
        self.bytes += size;
        self.state = State::Deciding(Current {
            prompt: prompt.clone(),
            size,
        });
        let told = |time: u32| Some(time).filter(|&time| time != 0);
        Ok(Incoming {
            index,
            path,
            size,
            mtime: told(prompt.mtime),
            created: told(prompt.created),
            checksum: prompt.checksum,
            finfo: prompt.finfo,
        })
    }

    /// T-14; and the one size of a single file must be the accepted one, whose upper half only the proposal says (L-26).
    fn size(&self, prompt: &Header) -> Result<u64, OftFault> {
        let announced = u64::from(prompt.size);
        let accepted = self.terms.bytes;
        if self.terms.files == 1 {
            return match modulo(accepted) == prompt.size {
                true => Ok(accepted),
                false => Err(OftFault::Size {
                    announced,
                    accepted,
                }),
            };
        }
        let left = accepted - self.bytes;
        if announced > left {
            return Err(OftFault::Size {
                announced,
                accepted: left,
            });
        }
        if u64::from(prompt.total_size) > accepted {
            return Err(OftFault::Size {
                announced: prompt.total_size.into(),
                accepted,
            });
        }
        Ok(announced)
    }

    /// A single file is the one that was accepted and goes by that name, whatever folders stand in front of it. Others go into the
    /// folder of the proposal, which most senders repeat in front of each.
    fn path(&mut self, prompt: &Header) -> Result<SafeRelPath, OftFault> {
        let path = clean_path(prompt.name_parts()?);
        if !self.terms.folder {
            return match self.terms.files == 1 {
                true if same_file(self.proposed.as_str(), path.file_name()) => {
                    Ok(self.proposed.clone())
                }
                true => Err(OftFault::AnotherFile),
                false => self.taken.place(&path).ok_or(OftFault::Path),
            };
        }
        let repeated =
            SafeRelPath::folded(path.top()) == SafeRelPath::folded(self.proposed.as_str());
        let skipped = usize::from(repeated && path.parent().is_some());
        let below = path.parts().skip(skipped);
        let path = clean_path(std::iter::once(self.proposed.as_str()).chain(below));
        self.taken.place(&path).ok_or(OftFault::Path)
    }

    /// The file is wanted from its first byte: the ACK. Then all its bytes come; call [`OftReceive::received`] after them.
    ///
    /// # Panics
    /// If no file was offered.
    pub fn accept(&mut self) -> Header {
        let current = self.decided();
        let reply = self.reply(&current, Kind::ACK, 0, Checksum::EMPTY);
        self.state = State::Body(current);
        reply
    }

    /// The first `have` bytes are there, with that checksum: the RESUME. The sender's answer goes to [`OftReceive::handle`]. To ask for a
    /// file with `have` equal to its size is what senders like joscar take for "it is there already".
    ///
    /// # Panics
    /// If no file was offered, it is not [resumable](Incoming::resumable), or `have` is larger than it.
    pub fn resume(&mut self, have: u64, checksum: Checksum) -> Header {
        let current = self.decided();
        assert!(have <= current.size, "more than the file");
        let asked = u32::try_from(have).expect("a file whose offsets fit");
        let reply = self.reply(&current, Kind::RESUME, asked, checksum);
        self.state = State::Resuming { current, asked };
        reply
    }

    /// All of the file is there, or it is not wanted: the DONE in place of an ACK.
    ///
    /// # Panics
    /// If no file was offered.
    pub fn have_it(&mut self) -> Header {
        let current = self.decided();
        let checksum = current.prompt.checksum;
        self.done(&current, checksum)
    }

    /// The bytes that were due are there and their file has this checksum: the DONE, to be written when the file is safe on disk. `early`: bytes
    /// that came behind them, before the DONE.
    ///
    /// # Errors
    /// [`OftFault::EarlyBytes`], [`OftFault::Checksum`]: what came is not the file that was announced.
    ///
    /// # Panics
    /// If no bytes were due.
    pub fn received(&mut self, checksum: Checksum, early: usize) -> Result<Header, OftFault> {
        let State::Body(current) = std::mem::replace(&mut self.state, State::Broken) else {
            panic!("no bytes were due")
        };
        if early > 0 {
            return Err(OftFault::EarlyBytes);
        }
        let announced = current.prompt.checksum;
        if !announced.agrees(checksum) {
            return Err(OftFault::Checksum {
                announced,
                found: checksum,
            });
        }
        Ok(self.done(&current, checksum))
    }

    fn decided(&mut self) -> Current {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Deciding(current) => current,
            _ => panic!("no file was offered"),
        }
    }

    fn done(&mut self, current: &Current, checksum: Checksum) -> Header {
        let last = current.prompt.files_left <= 1;
        let mut done = self.reply(current, Kind::DONE, modulo(current.size), checksum);
        if last {
            done.flags |= FLAG_DONE;
        }
        self.state = if last { State::Over } else { State::Between };
        done
    }

    /// A copy of the prompt (L-21: offset 40 with it) with our cookie (L-15).
    fn reply(&self, current: &Current, kind: Kind, received: u32, checksum: Checksum) -> Header {
        Header {
            received,
            received_checksum: checksum,
            ..current.prompt.reply(kind, self.terms.cookie)
        }
    }
}

/// Whether the name in a header can be that of the proposal. Some old programs cut names to fit the 64 bytes of the header, or write
/// the two in different character sets, of which one cannot say all of the name.
fn same_file(proposed: &str, named: &str) -> bool {
    const CUT: usize = 31;
    let (proposed, named) = (SafeRelPath::folded(proposed), SafeRelPath::folded(named));
    let damaged = |name: &str| name.contains(|c: char| !c.is_ascii() || c == '_');
    let sure = |name: &str| -> String {
        let kept = name.chars().filter(char::is_ascii_alphanumeric);
        kept.collect()
    };
    proposed == named
        || (named.len() >= CUT && proposed.starts_with(&named))
        || ((damaged(&proposed) || damaged(&named))
            && !sure(&named).is_empty()
            && sure(&proposed) == sure(&named))
}
