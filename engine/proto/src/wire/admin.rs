//! Foodgroup 0x0007: what a client asks about its own account, and what it changes of it.
//!
//! Each type reads and writes the body of the SNACs that its comment names; [`super::snac::Snac`] is the envelope. It lives on
//! a connection of its own, which a service request opens. None of them shows values in debug output: passwords, codes and
//! mail addresses are among them.

mod code;
#[cfg(test)]
mod tests;

use bytes::{BufMut as _, Bytes, BytesMut};

pub use self::code::AdminErrorCode;
use super::codec::{Reader, wire_enum};
use super::error::DecodeError;
use super::signon::{tlv, tlv_body};
use super::tlv::TlvList;

/// Subgroups of foodgroup 0x0007. 0x0001 is the error of every foodgroup, [`super::snac::SnacError`].
pub mod subgroup {
    /// The client asks, [`super::InfoQuery`].
    pub const INFO_QUERY: u16 = 0x0002;
    /// The host answers, [`super::InfoReply`].
    pub const INFO_REPLY: u16 = 0x0003;
    /// The client changes something, [`super::ChangeRequest`].
    pub const INFO_CHANGE_REQUEST: u16 = 0x0004;
    /// What became of it, [`super::InfoReply`].
    pub const INFO_CHANGE_REPLY: u16 = 0x0005;
    /// The client wants to be confirmed, [`super::ConfirmRequest`].
    pub const ACCT_CONFIRM_REQUEST: u16 = 0x0006;
    /// What became of it, [`super::ConfirmReply`].
    pub const ACCT_CONFIRM_REPLY: u16 = 0x0007;
    /// The client wants to be deleted, [`super::DeleteRequest`].
    pub const ACCT_DELETE_REQUEST: u16 = 0x0008;
    /// What became of it, [`super::DeleteReply`].
    pub const ACCT_DELETE_REPLY: u16 = 0x0009;
}

/// TLVs of the foodgroup.
pub mod tag {
    /// The screen name as its owner formats it.
    pub const FORMAT: u16 = 0x0001;
    /// The new password; in a reply empty: it was changed.
    pub const PASSWORD: u16 = 0x0002;
    /// Where an error is explained. Goes with every error, empty if there is no such place: old clients show nothing without it.
    pub const ERROR_URL: u16 = 0x0004;
    /// [`super::AdminErrorCode`], u16.
    pub const ERROR_CODE: u16 = 0x0008;
    /// The mail address; in a reply empty if there is none, or if it is not shown.
    pub const EMAIL: u16 = 0x0011;
    /// The password up to now.
    pub const OLD_PASSWORD: u16 = 0x0012;
    /// [`super::Registration`], u16.
    pub const REGISTRATION: u16 = 0x0013;
}

wire_enum! {
    /// Whether a field may be changed; 1 and 2 are the same to a client.
    pub struct Permissions(u16) {
        /// Never.
        NEVER = 1,
        /// Not for now.
        LOCKED = 2,
        /// It may.
        CHANGEABLE = 3,
    }
}

wire_enum! {
    /// What somebody who knows the mail address of an account can find out of it.
    pub struct Registration(u16) {
        /// Nothing.
        NONE = 1,
        /// That there is an account.
        LIMITED = 2,
        /// The screen name.
        FULL = 3,
    }
}

wire_enum! {
    /// What became of the wish to be confirmed. Why not, is [`tag::ERROR_CODE`] beside it.
    pub struct ConfirmStatus(u16) {
        /// A mail is on its way; or, if a code came with the wish, the account is confirmed.
        DONE = 0x0000,
        /// The account is confirmed already.
        ALREADY = 0x001E,
        /// It cannot be begun.
        CANNOT = 0x0023,
    }
}

tlv_body! {
    /// 0x0007/0x0002, a client asks for fields: TLVs without values.
    pub struct InfoQuery;
}

tlv_body! {
    /// 0x0007/0x0004, a client gives a field a new value: one of [`tag::FORMAT`], [`tag::EMAIL`], [`tag::REGISTRATION`], or
    /// [`tag::PASSWORD`] with [`tag::OLD_PASSWORD`].
    pub struct ChangeRequest;
}

tlv_body! {
    /// 0x0007/0x0006, a client wants to prove that its mail address is its own. Without TLVs it asks for a mail.
    pub struct ConfirmRequest;
}

tlv_body! {
    /// 0x0007/0x0008, a client wants its account deleted: [`tag::OLD_PASSWORD`].
    pub struct DeleteRequest;
}

tlv_body! {
    /// 0x0007/0x0009, what became of the account: nothing if it is deleted, otherwise [`tag::ERROR_CODE`] and
    /// [`tag::ERROR_URL`].
    pub struct DeleteReply;
}

impl InfoQuery {
    /// Asks for these fields.
    pub fn of(tags: &[u16]) -> Self {
        let tlvs = tags
            .iter()
            .fold(TlvList::new(), |tlvs, &tag| tlvs.with(tag, Bytes::new()));
        Self { tlvs }
    }

    /// The fields that are asked for, in their order.
    pub fn tags(&self) -> impl Iterator<Item = u16> + '_ {
        self.tlvs.0.iter().map(|tlv| tlv.tag)
    }
}

impl ChangeRequest {
    /// Changes one field that is not the password.
    pub fn field(tag: u16, value: impl Into<Bytes>) -> Self {
        let tlvs = TlvList::new().with(tag, value);
        Self { tlvs }
    }

    /// Changes the registration status.
    pub fn registration(status: Registration) -> Self {
        let tlvs = TlvList::new().with_u16(tag::REGISTRATION, status.0);
        Self { tlvs }
    }

    /// Changes the password.
    pub fn password(new: &[u8], old: &[u8]) -> Self {
        let tlvs = TlvList::new()
            .with(tag::PASSWORD, new.to_vec())
            .with(tag::OLD_PASSWORD, old.to_vec());
        Self { tlvs }
    }
}

impl ConfirmRequest {
    /// Confirms with the code of the mail.
    pub fn with_code(code: impl Into<Bytes>) -> Self {
        let tlvs = TlvList::new().with(tlv::CONFIRM_CODE, code);
        Self { tlvs }
    }

    /// The code of the mail, if the client has it.
    pub fn code(&self) -> Option<&Bytes> {
        self.tlvs.first(tlv::CONFIRM_CODE)
    }
}

impl DeleteRequest {
    /// Proves with the password that it is meant.
    pub fn of(old_password: &[u8]) -> Self {
        let tlvs = TlvList::new().with(tag::OLD_PASSWORD, old_password.to_vec());
        Self { tlvs }
    }
}

impl DeleteReply {
    /// Why the account was not deleted; none if it was.
    pub fn error(&self) -> Option<AdminErrorCode> {
        error_of(&self.tlvs)
    }
}

/// What a host says of one field: `[permissions: u16][number of TLVs: u16][TLVs]`.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplyBlock {
    /// Whether the field may be changed.
    pub permissions: Permissions,
    /// The field with its value; or, of an error, the field without one, [`tag::ERROR_CODE`] and [`tag::ERROR_URL`].
    pub tlvs: TlvList,
}

/// Shows tags and lengths only.
impl std::fmt::Debug for ReplyBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shapes = self.tlvs.0.iter().map(|tlv| (tlv.tag, tlv.value.len()));
        write!(f, "ReplyBlock {:?} ", self.permissions)?;
        f.debug_map().entries(shapes).finish()
    }
}

impl ReplyBlock {
    /// A field and its value.
    pub fn value(permissions: Permissions, tag: u16, value: impl Into<Bytes>) -> Self {
        let tlvs = TlvList::new().with(tag, value);
        Self { permissions, tlvs }
    }

    /// Why a field is not answered or changed. Always three TLVs: clients that take their number for a result know 3 as an error.
    pub fn error(
        permissions: Permissions,
        tag: u16,
        code: AdminErrorCode,
        url: impl Into<Bytes>,
    ) -> Self {
        let tlvs = TlvList::new()
            .with(tag, Bytes::new())
            .with_u16(self::tag::ERROR_CODE, code.0)
            .with(self::tag::ERROR_URL, url);
        Self { permissions, tlvs }
    }

    /// Why the field was not answered or changed; none if it was.
    pub fn error_code(&self) -> Option<AdminErrorCode> {
        error_of(&self.tlvs)
    }

    /// Which field it is about.
    pub fn field(&self) -> Option<u16> {
        let tags = self.tlvs.0.iter().map(|tlv| tlv.tag);
        tags.into_iter()
            .find(|tag| !matches!(*tag, tag::ERROR_CODE | tag::ERROR_URL))
    }
}

/// 0x0007/0x0003 and 0x0007/0x0005, what a host says of fields: [`ReplyBlock`]s to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InfoReply {
    /// One for each field.
    pub blocks: Vec<ReplyBlock>,
}

impl InfoReply {
    /// Blocks that are read of one reply.
    pub const BLOCKS_MAX: usize = 128;

    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed; [`DecodeError::TooMany`] above [`InfoReply::BLOCKS_MAX`] blocks.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "account info");
        let mut blocks = Vec::new();
        while !reader.is_empty() {
            if blocks.len() == Self::BLOCKS_MAX {
                return Err(DecodeError::TooMany {
                    what: "account info blocks",
                    max: Self::BLOCKS_MAX,
                });
            }
            blocks.push(ReplyBlock {
                permissions: Permissions(reader.u16()?),
                tlvs: TlvList::decode_block(&mut reader, body)?,
            });
        }
        Ok(Self { blocks })
    }

    /// The body's bytes.
    ///
    /// # Panics
    /// As [`TlvList::encode_block`].
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for block in &self.blocks {
            out.put_u16(block.permissions.0);
            block.tlvs.encode_block(&mut out);
        }
        out.freeze()
    }

    /// The block about a field.
    pub fn field(&self, tag: u16) -> Option<&ReplyBlock> {
        self.blocks.iter().find(|block| block.field() == Some(tag))
    }
}

/// 0x0007/0x0007, what became of the wish to be confirmed: `[status: u16][TLVs]`.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmReply {
    /// In short.
    pub status: ConfirmStatus,
    /// [`tag::ERROR_URL`], and [`tag::ERROR_CODE`] if it cannot be.
    pub tlvs: TlvList,
}

/// Shows tags and lengths only.
impl std::fmt::Debug for ConfirmReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shapes = self.tlvs.0.iter().map(|tlv| (tlv.tag, tlv.value.len()));
        write!(f, "ConfirmReply {:?} ", self.status)?;
        f.debug_map().entries(shapes).finish()
    }
}

impl ConfirmReply {
    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "confirmation");
        Ok(Self {
            status: ConfirmStatus(reader.u16()?),
            tlvs: TlvList::decode_rest(body.slice_ref(reader.rest()))?,
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(self.status.0);
        self.tlvs.encode_rest(&mut out);
        out.freeze()
    }

    /// Why not, beside the status.
    pub fn error(&self) -> Option<AdminErrorCode> {
        error_of(&self.tlvs)
    }
}

/// The tag of the TLV whose value runs past the end, if it is that what is wrong with these TLVs. What then cannot be done is
/// said in a reply about that field.
pub fn overrun(body: &[u8]) -> Option<u16> {
    let mut reader = Reader::new(body, "TLV block");
    while !reader.is_empty() {
        let tag = reader.u16().ok()?;
        let length = reader.u16().ok()?;
        if reader.take(length.into()).is_err() {
            return Some(tag);
        }
    }
    None
}

fn error_of(tlvs: &TlvList) -> Option<AdminErrorCode> {
    tlvs.u16(tag::ERROR_CODE).map(AdminErrorCode)
}
