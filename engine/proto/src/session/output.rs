//! What a session is told at its start, and what comes out of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::account::Sessions;
use super::account::{AccountSignOn, NewAccount};
use super::admin::AdminRequest;
use super::rates::RateTable;
#[cfg(doc)]
use super::server::Session;
use crate::wire::admin::AdminErrorCode;
use crate::wire::flap::Channel;
use crate::wire::icbm::{Channel as IcbmChannel, ClientError, ClientEvent, MessageToHost};
use crate::wire::rendezvous::{Cookie, MessageKind};
use crate::wire::signon::{FeedbagStamp, IcbmParameters, InfoQuery, Item};
use crate::wire::snac::{ErrorCode, Foodgroup};
use crate::wire::text::ScreenName;

/// What a session is told about its connection and its limits.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Where the client is seen from.
    pub peer: SocketAddr,
    /// Whether the connection is TLS: guests sign on over that only, and so does who sends a password.
    pub tls: bool,
    /// Whether there are accounts at all.
    pub accounts: bool,
    /// Whether roasted and plain-text passwords are taken, as hosts of the first years did.
    pub museum: bool,
    /// Random bytes for the one challenge of this connection.
    pub challenge: [u8; 16],
    /// Rate classes of guests and of our own clients.
    pub rates: RateTable,
    /// Rate classes of old clients, which know no others.
    pub rates_old: RateTable,
    /// Where errors of account administration are explained; goes with each of them, may be empty.
    pub error_url: Bytes,
}

/// What a guest asks for when signing on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A number of its own, which takes nobody new after `life`.
    Number {
        /// From now on.
        life: Duration,
    },
    /// To speak to the owner of a number.
    Join,
    /// The number that it had.
    Reclaim {
        /// Which.
        number: u16,
        /// What it got with it.
        token: Bytes,
    },
    /// The name without a number that it had.
    Return {
        /// Which.
        name: ScreenName,
        /// What it got with it.
        token: Bytes,
    },
}

/// What the host has to know of a rendezvous message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// Propose, cancel, accept, or what the future brings.
    pub kind: MessageKind,
    /// Number of a proposal.
    pub sequence: Option<u16>,
    /// The service that it is about.
    pub service: Uuid,
    /// The recipient must have the service: the sender asked for that check.
    pub required: bool,
}

impl Rendezvous {
    /// Whether it is a proposal.
    pub fn proposes(&self) -> bool {
        self.kind == MessageKind::PROPOSE
    }

    /// Whether it is the first message of a rendezvous.
    pub fn begins(&self) -> bool {
        self.proposes() && self.sequence == Some(1)
    }
}

/// A message on its way to another client.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// For the answer.
    pub request_id: u32,
    /// Whether the sender wants to know that it was accepted.
    pub ack: bool,
    /// Whether the sender would have it stored.
    pub store: bool,
    /// On channel 2.
    pub rendezvous: Option<Rendezvous>,
    /// The message; its TLVs are those that go on.
    pub message: MessageToHost,
}

impl Outbound {
    /// Whether it is kept if the recipient is away. Never on channel 2: a proposal is worth nothing later.
    pub fn may_be_stored(&self) -> bool {
        self.store && matches!(self.message.channel, IcbmChannel::TEXT | IcbmChannel::ICQ)
    }
}

/// Why a message goes back to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of 0x0004/0x0001.
    pub code: ErrorCode,
    /// TLV 0x0008 of it.
    pub sub_code: Option<u16>,
}

impl Refusal {
    /// The recipient is not there, and nothing is stored.
    pub const NOT_STORED: Self = Self {
        code: ErrorCode::NOT_LOGGED_ON,
        sub_code: Some(0x000E),
    };
    /// The recipient is not there, and has no room for more.
    pub const STORE_FULL: Self = Self {
        code: ErrorCode::NOT_LOGGED_ON,
        sub_code: Some(0x000F),
    };
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            sub_code: None,
        }
    }
}

/// A text of a user about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// MIME type as the client wrote it.
    pub mime: Bytes,
    /// The text; empty: none.
    pub text: Bytes,
}

/// What a client says about its user. What is none stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocateChange {
    /// All that it can do.
    pub capabilities: Option<Vec<Uuid>>,
    /// For those who ask.
    pub profile: Option<Text>,
    /// Empty: the user is back.
    pub away: Option<Text>,
}

/// What else others see of a client. What is none stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusChange {
    /// Flags and status of ICQ.
    pub status: Option<u32>,
    /// Icons and status texts, TLV 0x001D.
    pub bart: Option<Bytes>,
    /// Whether others may know for how long the user has been idle.
    pub shows_idle: Option<bool>,
}

/// Which of the two lists of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivacyList {
    /// Only those may.
    Permit,
    /// All but those may.
    Deny,
}

/// A change of whom a client wants to see, or to be seen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamesChange {
    /// Tell of their arrivals and departures.
    Watch(Vec<ScreenName>),
    /// Tell no longer.
    Unwatch(Vec<ScreenName>),
    /// Put onto a list of privacy, which counts from now on.
    Add(PrivacyList, Vec<ScreenName>),
    /// Take off it.
    Remove(PrivacyList, Vec<ScreenName>),
}

/// What is to happen to items of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbagEdit {
    /// They are new.
    Insert,
    /// They are there already.
    Update,
    /// They go.
    Delete,
}

/// What a client wants of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedbagRequest {
    /// All of it, unless the copy of this stamp is good. Answer with [`Session::feedbag`] or
    /// [`Session::feedbag_unchanged`].
    Query {
        /// For the answer.
        request_id: u32,
        /// Of its copy.
        unless: Option<FeedbagStamp>,
    },
    /// It counts from now on. No answer.
    Use,
    /// Answer with [`Session::feedbag_changed`].
    Change {
        /// For the answer.
        request_id: u32,
        /// What to do.
        edit: FeedbagEdit,
        /// With which.
        items: Vec<Item>,
    },
}

/// What the caller has to do.
#[derive(Debug)]
pub enum Output {
    /// Write a frame.
    Send(Channel, Bytes),
    /// Write a sign-off without a length field, which clients of the first generation need; nothing follows it.
    BareSignOff,
    /// Answer with [`Session::signed_on`] or [`Session::refused`].
    SignOn(Wish),
    /// Check who it is. Answer with [`Session::admitted`], [`Session::sent_on`] (if [`AccountSignOn::moves_on`]) or
    /// [`Session::refused`].
    Authenticate(AccountSignOn),
    /// Make this account, or say why not. Answer with [`Session::admitted`], [`Session::not_created`] or [`Session::refused`].
    CreateAccount {
        /// What becomes of other sign-ons.
        sessions: Sessions,
        /// What is wanted, or what is wrong with it by looking at it: it is the answer, if the host makes accounts at all.
        account: Result<NewAccount, AdminErrorCode>,
    },
    /// Somebody comes with a cookie of an earlier sign-on, or of [`Output::Service`]. Answer with [`Session::admitted`],
    /// [`Session::admitted_to_admin`] or [`Session::refused`].
    Redeem {
        /// 256 bytes, if it is one of ours.
        cookie: Bytes,
        /// If the client says it here.
        sessions: Option<Sessions>,
    },
    /// The client says something about itself.
    Locate(LocateChange),
    /// The client says what it wants to get.
    Parameters(IcbmParameters),
    /// The client says since when its user has been idle; zero: not at all.
    Idle(Duration),
    /// The client says something else about itself.
    Status(StatusChange),
    /// The client is ready: from now on messages reach it.
    Online,
    /// Answer with [`Session::own_info`].
    OwnInfo {
        /// For the answer.
        request_id: u32,
    },
    /// Answer with [`Session::user_info`].
    UserInfo {
        /// For the answer.
        request_id: u32,
        /// About whom.
        query: InfoQuery,
    },
    /// Whom it wants to see, or be seen by. No answer, or [`Session::too_many_names`].
    Names {
        /// For the answer.
        request: (Foodgroup, u32),
        /// What it wants.
        change: NamesChange,
    },
    /// The list that the host keeps. See there for the answer; [`Session::feedbag_failed`] if it cannot be had.
    Feedbag(FeedbagRequest),
    /// Answer with [`Session::relay`].
    Relay {
        /// For the answer.
        request_id: u32,
        /// The rendezvous that it is for, if the client says that.
        cookie: Option<Cookie>,
        /// Relays that just failed the client, `host:port` each, as it writes them. Foreign text.
        avoid: Vec<String>,
    },
    /// An account asks where another service is: [`Foodgroup::ADMIN`]. Answer with [`Session::service`].
    Service {
        /// For the answer.
        request_id: u32,
        /// Which.
        foodgroup: Foodgroup,
    },
    /// An account asks about itself, or changes itself. Answer with [`Session::admin`].
    Admin {
        /// For the answer.
        request_id: u32,
        /// What it wants.
        request: AdminRequest,
    },
    /// Answer with [`Session::delivered`] or [`Session::undelivered`].
    Deliver(Outbound),
    /// What was stored for it. Answer with [`Session::stored`] for each message, then [`Session::stored_all`].
    Stored {
        /// For the answer.
        request_id: u32,
    },
    /// Pass on a refusal, if the one who is named may be spoken to; otherwise forget it.
    PassOn(ClientError),
    /// Pass on a typing event, likewise.
    Event(ClientEvent),
    /// Hang up, after what was sent.
    Close,
}
