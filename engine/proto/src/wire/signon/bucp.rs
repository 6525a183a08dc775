//! Signing on: the first frame of a connection, and foodgroup 0x0017.

use bytes::{BufMut, Bytes, BytesMut};

use super::tlv;
use crate::wire::admin::AdminErrorCode;
use crate::wire::codec::{Reader, put_string16, wire_enum};
use crate::wire::error::DecodeError;
use crate::wire::flap;
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

wire_enum! {
    /// What a guest wants of the host; value of [`tlv::GUEST`].
    pub struct GuestWish(u8) {
        /// A number, under which it can be found.
        NUMBER = 1,
        /// To go to somebody's number.
        JOIN = 2,
        /// The number back that it had.
        RECLAIM = 3,
    }
}

wire_enum! {
    /// Why sign-on failed; value of [`tlv::ERROR_CODE`]. Hosts send what they like; ours those that say for whom.
    pub struct LoginErrorCode(u16) {
        /// Unknown name or wrong password.
        INVALID = 0x01,
        /// Nothing free, or maintenance; try later. Ours.
        UNAVAILABLE = 0x02,
        /// Anything else.
        OTHER = 0x03,
        /// Wrong password, type it again.
        INCORRECT = 0x04,
        /// Wrong password or unknown name, or not allowed. Ours.
        WRONG_PASSWORD = 0x05,
        /// The request could not be read. Ours.
        BAD_INPUT = 0x06,
        /// There is something wrong with the account.
        INVALID_ACCOUNT = 0x07,
        /// The account was deleted.
        DELETED = 0x08,
        /// The account expired.
        EXPIRED = 0x09,
        /// The database cannot be reached.
        NO_DATABASE = 0x0A,
        /// A name cannot be resolved.
        NO_RESOLVER = 0x0B,
        /// The database has no such fields.
        BAD_FIELDS = 0x0C,
        /// The database answers something else.
        BAD_STATUS = 0x0D,
        /// The resolver answers something else.
        BAD_RESOLVER = 0x0E,
        /// A fault of the host.
        INTERNAL = 0x0F,
        /// The service is down for a while.
        TEMPORARILY_OFFLINE = 0x10,
        /// The account is suspended. Ours.
        SUSPENDED = 0x11,
        /// The database does not take it.
        DATABASE_SEND = 0x12,
        /// The database is not linked.
        DATABASE_LINK = 0x13,
        /// No map of the hosts.
        RESERVATION_MAP = 0x14,
        /// No link to the hosts.
        RESERVATION_LINK = 0x15,
        /// Too many sessions from one address. Ours.
        TOO_MANY_FROM_ADDRESS = 0x16,
        /// Too many sessions from one address, again.
        TOO_MANY_FROM_ADDRESS_AGAIN = 0x17,
        /// The account connects too often. Ours.
        ACCOUNT_RATE_LIMITED = 0x18,
        /// The account was warned too often.
        TOO_HEAVILY_WARNED = 0x19,
        /// The cookie is wrong or too old. Ours.
        BAD_COOKIE = 0x1A,
        /// The client is too old.
        UPGRADE_REQUIRED = 0x1B,
        /// The client is old.
        UPGRADE_RECOMMENDED = 0x1C,
        /// The address connects too often, or the account has too many sessions. Ours.
        ADDRESS_RATE_LIMITED = 0x1D,
        /// No registration at ICQ.
        NO_REGISTRATION = 0x1E,
        /// The service is not there.
        NO_SERVICE = 0x1F,
        /// A wrong number of the token card.
        INVALID_SECUR_ID = 0x20,
        /// Suspended because of the user's age.
        SUSPENDED_AGE = 0x22,
    }
}

/// Data of the sign-on frame, the first of either side: `[FLAP version: u32 = 1][TLVs]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// 1.
    pub version: u32,
    /// [`tlv::COOKIE`] on connections after the first.
    pub tlvs: TlvList,
}

/// Shows tags and lengths only: roasted passwords and cookies are among the values.
impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shapes = self.tlvs.0.iter().map(|tlv| (tlv.tag, tlv.value.len()));
        write!(f, "Hello {} ", self.version)?;
        f.debug_map().entries(shapes).finish()
    }
}

impl Hello {
    /// Version 1 without TLVs, as hosts and new sessions send it.
    pub fn new() -> Self {
        Self {
            version: u32::from_be_bytes(flap::VERSION),
            tlvs: TlvList::new(),
        }
    }

    /// Reads the data of a sign-on frame.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(data: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data, "sign-on frame");
        Ok(Self {
            version: reader.u32()?,
            tlvs: TlvList::decode_rest(data.slice_ref(reader.rest()))?,
        })
    }

    /// The data's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32(self.version);
        self.tlvs.encode_rest(&mut out);
        out.freeze()
    }
}

impl Default for Hello {
    fn default() -> Self {
        Self::new()
    }
}

/// 0x0017/0x0007, the host's challenge: `[key: string16][TLVs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Printable ASCII, fresh for each attempt.
    pub key: Bytes,
    /// [`tlv::SHORT_PASSWORD`] may be among them.
    pub tlvs: TlvList,
}

impl Challenge {
    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "challenge");
        let key = body.slice_ref(reader.string16()?);
        Ok(Self {
            key,
            tlvs: TlvList::decode_rest(body.slice_ref(reader.rest()))?,
        })
    }

    /// The body's bytes.
    ///
    /// # Panics
    /// If the key has more than 65,535 bytes: hosts make it of fixed length.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_string16(&mut out, &self.key);
        self.tlvs.encode_rest(&mut out);
        out.freeze()
    }
}

/// Declares a body that is nothing but TLVs.
macro_rules! tlv_body {
    ($(#[$meta:meta])* pub struct $name:ident;) => {
        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct $name {
            /// In the order of the wire; the first of a tag counts.
            pub tlvs: $crate::wire::tlv::TlvList,
        }

        /// Shows tags and lengths only: digests, tokens and tickets are among the values.
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let shapes = self.tlvs.0.iter().map(|tlv| (tlv.tag, tlv.value.len()));
                write!(f, "{} ", stringify!($name))?;
                f.debug_map().entries(shapes).finish()
            }
        }

        impl $name {
            /// Reads a body.
            ///
            /// # Errors
            /// As [`crate::wire::tlv::TlvList::decode_rest`].
            pub fn decode(body: &::bytes::Bytes) -> Result<Self, $crate::wire::error::DecodeError> {
                $crate::wire::tlv::TlvList::decode_rest(body.clone()).map(|tlvs| Self { tlvs })
            }

            /// The body's bytes.
            pub fn encode(&self) -> ::bytes::Bytes {
                let mut out = ::bytes::BytesMut::new();
                self.tlvs.encode_rest(&mut out);
                out.freeze()
            }
        }
    };
}
pub(in crate::wire) use tlv_body;

tlv_body! {
    /// 0x0017/0x0006, a client asks for the challenge of [`tlv::SCREEN_NAME`].
    pub struct ChallengeRequest;
}

tlv_body! {
    /// 0x0017/0x0002, a client signs on.
    pub struct Login;
}

tlv_body! {
    /// 0x0017/0x0003, the host's answer: a name and what comes next, or an error.
    pub struct LoginReply;
}

impl ChallengeRequest {
    /// The name.
    ///
    /// # Errors
    /// [`DecodeError::Missing`], or what is wrong with it.
    pub fn screen_name(&self) -> Result<ScreenName, DecodeError> {
        screen_name(&self.tlvs)
    }
}

impl Login {
    /// The name.
    ///
    /// # Errors
    /// [`DecodeError::Missing`], or what is wrong with it.
    pub fn screen_name(&self) -> Result<ScreenName, DecodeError> {
        screen_name(&self.tlvs)
    }

    /// What a guest wants; none if this is no guest of ours.
    pub fn guest_wish(&self) -> Option<GuestWish> {
        match self.tlvs.first(tlv::GUEST)?[..] {
            [wish] => Some(GuestWish(wish)),
            _ => None,
        }
    }
}

impl LoginReply {
    /// The name, as the host formats or assigns it.
    ///
    /// # Errors
    /// [`DecodeError::Missing`], or what is wrong with it.
    pub fn screen_name(&self) -> Result<ScreenName, DecodeError> {
        screen_name(&self.tlvs)
    }

    /// Which rule a new account breaks ([`tlv::CREATE_ACCOUNT`]); none if none was to be made, or if that is not why sign-on failed.
    pub fn not_created(&self) -> Option<AdminErrorCode> {
        self.tlvs.u16(tlv::CREATE_ACCOUNT).map(AdminErrorCode)
    }

    /// Why sign-on failed; none if it did not.
    pub fn error(&self) -> Option<LoginErrorCode> {
        self.tlvs.u16(tlv::ERROR_CODE).map(LoginErrorCode)
    }
}

fn screen_name(tlvs: &TlvList) -> Result<ScreenName, DecodeError> {
    ScreenName::from_bytes(tlvs.first(tlv::SCREEN_NAME).ok_or(DecodeError::Missing {
        what: "screen name",
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn a_hello_is_version_1() {
        assert_eq!(Hello::new().encode(), hex("00000001"));
        let with_cookie = hex("00000001 00060002cafe");
        let hello = Hello::decode(&with_cookie).expect("a good frame");
        assert_eq!(
            (hello.tlvs.first(tlv::COOKIE), hello.encode()),
            (Some(&hex("cafe")), with_cookie.clone())
        );
    }

    #[test]
    fn a_challenge_has_a_two_byte_length() {
        let body = hex("000a 31323334353637383930");
        let challenge = Challenge::decode(&body).expect("a good challenge");
        assert_eq!(
            (&challenge.key[..], challenge.encode()),
            (&b"1234567890"[..], body)
        );
    }

    #[test]
    fn a_guest_says_what_it_wants() {
        let wish = |value: &[u8]| {
            Login {
                tlvs: TlvList::new().with(tlv::GUEST, value.to_vec()),
            }
            .guest_wish()
        };
        assert_eq!(
            (wish(&[1]), wish(&[9])),
            (Some(GuestWish::NUMBER), Some(GuestWish(9)))
        );
        assert_eq!((wish(&[]), Login::default().guest_wish()), (None, None));
    }

    #[test]
    fn a_failed_login_names_its_reason() {
        let reply = LoginReply::decode(&hex("0001000161 000800020005")).expect("a good reply");
        assert_eq!(reply.error(), Some(LoginErrorCode::WRONG_PASSWORD));
        assert_eq!(
            reply.screen_name().map(|name| name.as_str().to_owned()),
            Ok("a".to_owned())
        );
        assert_eq!(
            LoginReply::default().screen_name().map(drop),
            Err(DecodeError::Missing {
                what: "screen name"
            })
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let login = Login {
            tlvs: TlvList::new()
                .with(tlv::DIGEST, vec![0xAB; 16])
                .with(tlv::TOKEN, vec![0xCD; 16]),
        };
        assert_eq!(format!("{login:?}"), "Login {37: 16, 21061: 16}");
        let mut hello = Hello::new();
        hello.tlvs.push(tlv::ROASTED_PASSWORD, vec![0xAB; 6]);
        assert_eq!(format!("{hello:?}"), "Hello 1 {2: 6}");
    }

    #[test]
    fn e_01_every_code_of_a_failed_sign_on_has_a_name_of_its_own() {
        let named = (0..0x30).filter_map(|code| LoginErrorCode(code).name());
        let names: std::collections::BTreeSet<_> = named.collect();
        assert_eq!(names.len(), 33);
        let nameless = |code| LoginErrorCode(code).name().is_none();
        assert!([0, 0x21, 0x23].into_iter().all(nameless));
    }
}
