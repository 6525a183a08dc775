//! Bodies of the SNACs by which a session begins: sign-on, versions, rates, services, capabilities, parameters.
//!
//! Each type reads and writes the body of the SNACs that its comment names; [`super::snac::Snac`] is the envelope.

mod bucp;
mod buddy;
mod digest;
mod feedbag;
mod locate;
mod oservice;
mod rates;

pub(in crate::wire) use bucp::tlv_body;
pub use bucp::{Challenge, ChallengeRequest, GuestWish, Hello, Login, LoginErrorCode, LoginReply};
pub use buddy::NameList;
pub use digest::{DigestKind, Roast, digest};
pub use feedbag::{
    FeedbagIfModified, FeedbagList, FeedbagStamp, Item, ItemClass, Items, Status, Statuses,
    item_tlv,
};
pub use locate::{
    IcbmParameters, InfoQuery, InfoReply, LocateInfo, LocateRights, UserList, locate_tlv,
};
pub use oservice::{ClientOnline, HostOnline, ServiceReply, ServiceRequest, Tool, Versions};
pub use rates::{Arrival, RateClass, RateMembers, RateReply, RateSubscription};

/// TLVs of sign-on bodies. Those from 0x5244 on are ours; hosts and clients that do not know them skip them.
pub mod tlv {
    /// Screen name as typed; in replies as the host formats it.
    pub const SCREEN_NAME: u16 = 0x0001;
    /// Roasted password, in sign-ons of the first generation.
    pub const ROASTED_PASSWORD: u16 = 0x0002;
    /// Name of the client program.
    pub const CLIENT_NAME: u16 = 0x0003;
    /// Where an error is explained; never opened.
    pub const ERROR_URL: u16 = 0x0004;
    /// `host:port` of the next connection.
    pub const ADDRESS: u16 = 0x0005;
    /// What opens the next connection; to a relay: the ticket.
    pub const COOKIE: u16 = 0x0006;
    /// Why sign-on failed, u16.
    pub const ERROR_CODE: u16 = 0x0008;
    /// Why the host ends a session, u16; in a sign-off frame.
    pub const SIGN_OFF_REASON: u16 = 0x0009;
    /// Which service a reply is about, u16.
    pub const SERVICE: u16 = 0x000D;
    /// MD5 answer to the challenge, 16 bytes.
    pub const DIGEST: u16 = 0x0025;
    /// In a challenge: the password is cut to eight bytes first; empty.
    pub const SHORT_PASSWORD: u16 = 0x0026;
    /// Whether the user may be signed on elsewhere, u8.
    pub const MULTIPLE_SESSIONS: u16 = 0x004A;
    /// The digest is of the newer kind; empty.
    pub const NEW_DIGEST: u16 = 0x004C;
    /// Whether the next connection is to be TLS, u8; 0 if not.
    pub const TLS_STATE: u16 = 0x008E;
    /// In a service request: the next connection should be TLS; empty.
    pub const WANTS_TLS: u16 = 0x008C;
    /// Ours: what a guest wants, u8; see [`super::GuestWish`].
    pub const GUEST: u16 = 0x5244;
    /// Ours: what proves later that a number is one's own, 16 bytes.
    pub const TOKEN: u16 = 0x5245;
    /// Ours: the number that is reclaimed, in ASCII.
    pub const NUMBER: u16 = 0x5247;
    /// Ours: after how many seconds the number expires, u32.
    pub const EXPIRES: u16 = 0x5248;
    /// Ours: the address from which the host sees the client, `IP port`, any family.
    pub const SEEN_ADDRESS: u16 = 0x5249;
    /// Ours: the password itself, UTF-8; over TLS only.
    pub const PASSWORD: u16 = 0x524A;
    /// Ours, in a challenge: the host takes [`PASSWORD`], u8 1.
    pub const NORMAL_SIGN_ON: u16 = 0x524B;
    /// Ours, beside [`PASSWORD`]: there is no such account yet, make it; the mail address, UTF-8, may be empty. In the reply: which
    /// rule the account breaks, u16.
    pub const CREATE_ACCOUNT: u16 = 0x524C;
    /// Ours, in 0x0007/0x0006: the code of the mail, ASCII.
    pub const CONFIRM_CODE: u16 = 0x524D;
    /// Ours, in a request for the relay service: the rendezvous that it is for, 8 bytes.
    pub const RENDEZVOUS_COOKIE: u16 = 0x524E;
    /// Ours, in a request for the relay service: a relay that just failed the client, `host:port`; may repeat.
    pub const AVOID_RELAY: u16 = 0x524F;
    /// Ours, in a sign-off frame: the host goes down, and the client should come back at a moment of its own between 0 and so
    /// many seconds, u16.
    pub const RETURN_WITHIN: u16 = 0x5250;
}
