//! The files of a replay: our OFT machine on one connection, fed with what the recording has for it.

use std::collections::VecDeque;

use rdv_proto::transfer::oft::{
    FileEnd, FileFacts, OftFault, OftReceive, OftSend, OftTotals, ReceiveTerms, ReceivedEvent,
    SentEvent, cookie_fits,
};
use rdv_proto::wire::oft::{Checksum, Header, RunningChecksum};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service::SendFileOffer;
use sha2::{Digest, Sha256};

use super::script::{File, Item};

/// What our receiver does with a file that it is offered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    /// Takes all of it.
    Take,
    /// Has all of it.
    HaveIt,
    /// Has as many first bytes, with that checksum.
    Resume(u64, Checksum),
}

/// How the files of a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Sent,
    AlreadyThere,
    Received,
    /// The recording ends, or is cut, before the next header or the end of a file.
    Waiting,
    /// A fault: our side hangs up.
    Fault,
}

pub(super) enum Side {
    Sender {
        files: VecDeque<File>,
        totals: OftTotals,
        folder: Option<String>,
    },
    Receiver {
        offer: SendFileOffer,
        wish: Wish,
    },
}

/// One connection.
pub(super) struct Files {
    cookie: Cookie,
    incoming: VecDeque<Item>,
    /// What we wrote.
    pub(super) wrote: Vec<Item>,
    /// What the receiver named the files.
    pub(super) names: Vec<String>,
    machine: Machine,
    first: Option<Header>,
}

enum Machine {
    Send(OftSend, VecDeque<File>, Option<String>),
    Receive(OftReceive, Wish),
}

impl Files {
    pub(super) fn new(
        cookie: Cookie,
        zero_cookie_counts: bool,
        side: Side,
        incoming: Vec<Item>,
    ) -> Self {
        let machine = match side {
            Side::Sender {
                files,
                totals,
                folder,
            } => Machine::Send(OftSend::new(cookie, totals), files, folder),
            Side::Receiver { offer, wish } => {
                let terms = ReceiveTerms {
                    cookie,
                    zero_cookie_counts,
                    files: offer.files.into(),
                    bytes: offer.bytes,
                    name: offer.name,
                    folder: offer.folder,
                };
                Machine::Receive(OftReceive::new(terms), wish)
            }
        };
        Self {
            cookie,
            incoming: incoming.into(),
            wrote: Vec::new(),
            names: Vec::new(),
            machine,
            first: None,
        }
    }

    /// The proof of a plain connection: the first header of the other end carries the cookie. Whether it does; none if it never comes.
    pub(super) fn open(&mut self, zero_cookie_counts: bool) -> Option<bool> {
        self.prompt();
        let first = self.next_header()?;
        let fits = cookie_fits(&first, self.cookie, zero_cookie_counts);
        self.first = Some(first);
        Some(fits)
    }

    /// All that can be done with what is recorded.
    pub(super) fn run(&mut self) -> Over {
        self.step().unwrap_or(Over::Fault)
    }

    fn step(&mut self) -> Result<Over, OftFault> {
        loop {
            let Some(header) = self.first.take().or_else(|| self.next_header()) else {
                return Ok(Over::Waiting);
            };
            let over = match &mut self.machine {
                Machine::Send(..) => self.sent(&header)?,
                Machine::Receive(..) => self.arrived(&header)?,
            };
            if let Some(over) = over {
                return Ok(over);
            }
        }
    }

    fn sent(&mut self, header: &Header) -> Result<Option<Over>, OftFault> {
        let Machine::Send(machine, files, _) = &mut self.machine else {
            panic!("a sender")
        };
        let file = files.front().expect("a file is under way").clone();
        match machine.handle(header)? {
            SentEvent::SendBody { from } => {
                machine.body_sent();
                self.wrote.push(Item::Body(file.size - from, None));
            }
            SentEvent::CheckResume { received, .. } => {
                let reply = machine.resume_checked(checksum(&pattern(received)));
                self.wrote.push(Item::Header(reply));
            }
            SentEvent::Reply(reply) => self.wrote.push(Item::Header(*reply)),
            SentEvent::FileDone(end) => {
                files.pop_front();
                if machine.is_over() {
                    return Ok(Some(match end {
                        FileEnd::Sent => Over::Sent,
                        FileEnd::AlreadyThere => Over::AlreadyThere,
                        FileEnd::Skipped => panic!("nobody skips"),
                    }));
                }
                self.prompt();
            }
        }
        Ok(None)
    }

    fn prompt(&mut self) {
        let Machine::Send(machine, files, folder) = &mut self.machine else {
            return;
        };
        let file = files.front().expect("a file is next");
        let folders: Vec<&str> = folder.iter().map(String::as_str).collect();
        let facts = FileFacts {
            name: &file.name,
            folders: &folders,
            size: file.size,
            mtime: 0x6600_0000,
            checksum: file.checksum,
        };
        let prompt = machine.prompt(&facts).expect("what was offered");
        self.wrote.push(Item::Header(prompt));
    }

    fn arrived(&mut self, header: &Header) -> Result<Option<Over>, OftFault> {
        let Machine::Receive(machine, wish) = &mut self.machine else {
            panic!("a receiver")
        };
        let (from, len) = match machine.handle(header)? {
            ReceivedEvent::Offered(incoming) => {
                self.names.push(incoming.path.as_str().to_owned());
                match *wish {
                    Wish::Take => {
                        self.wrote.push(Item::Header(machine.accept()));
                        (0, incoming.size)
                    }
                    Wish::HaveIt => {
                        self.wrote.push(Item::Header(machine.have_it()));
                        return Ok(machine.is_over().then_some(Over::AlreadyThere));
                    }
                    Wish::Resume(have, checksum) => {
                        let resume = machine.resume(have, checksum);
                        self.wrote.push(Item::Header(resume));
                        return Ok(None);
                    }
                }
            }
            ReceivedEvent::ReceiveBody { reply, from, len } => {
                self.wrote.push(Item::Header(*reply));
                (from, len)
            }
        };
        match self.incoming.pop_front() {
            Some(Item::Body(length, bytes)) if length == len => {
                let bytes = bytes.map_or_else(|| pattern(from + len), Into::into);
                let done = machine.received(checksum(&bytes), 0)?;
                self.wrote.push(Item::Header(done));
                Ok(machine.is_over().then_some(Over::Received))
            }
            // Cut short.
            Some(Item::Body(length, _)) if length < len => Ok(Some(Over::Waiting)),
            None => Ok(Some(Over::Waiting)),
            Some(other) => panic!("{len} bytes due, not {other:?}"),
        }
    }

    fn next_header(&mut self) -> Option<Header> {
        match self.incoming.pop_front()? {
            Item::Header(header) => Some(header),
            other @ Item::Body(..) => panic!("a header is due, not {other:?}"),
        }
    }
}

/// First bytes of the files of the recordings: each 32 of them are the SHA-256 of `lab:` and their number.
fn pattern(length: u64) -> Vec<u8> {
    let blocks = (0..length.div_ceil(32)).map(|k| Sha256::digest(format!("lab:{k}")));
    let mut bytes: Vec<u8> = blocks.flatten().collect();
    bytes.truncate(usize::try_from(length).unwrap());
    bytes
}

pub(super) fn checksum(data: &[u8]) -> Checksum {
    let mut sum = RunningChecksum::new();
    sum.update(data);
    sum.value()
}

/// Checksum of the first bytes of the files of the recordings.
pub(super) fn pattern_checksum(length: u64) -> Checksum {
    checksum(&pattern(length))
}
