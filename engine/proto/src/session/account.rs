//! Who signs on to an account, and what it proves that with.

use bytes::Bytes;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::admin::Secret;
use crate::wire::signon::{DigestKind, digest, tlv};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// What a client says about other sign-ons of its account (TLV 0x004A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// Nothing: it does not know that there can be several.
    Unaware,
    /// The others may stay.
    Several,
    /// It wants to be the only one.
    Alone,
}

impl Sessions {
    /// What the TLV says; none if it is not there.
    pub fn of(tlvs: &TlvList) -> Option<Self> {
        Some(match tlvs.first(tlv::MULTIPLE_SESSIONS)?[..] {
            [] | [0, ..] => Self::Unaware,
            [3, ..] => Self::Alone,
            [_, ..] => Self::Several,
        })
    }

    /// Whether the others have to go.
    pub fn displaces(self) -> bool {
        self != Self::Several
    }
}

/// What somebody knows who says to be the owner of an account. Prints and compares nothing.
#[derive(Clone)]
pub enum Proof {
    /// The password itself, over TLS.
    Password(Zeroizing<Vec<u8>>),
    /// An answer to our challenge, made of the password for old clients.
    Digest {
        /// Our challenge.
        key: Bytes,
        /// The answer.
        answer: [u8; 16],
        /// How it was made.
        kind: DigestKind,
    },
    /// The password for old clients, over plain TCP; one of these forms of it is meant.
    Plain(Vec<Zeroizing<Vec<u8>>>),
}

impl Proof {
    /// Whether the one who made this knows the password for old clients. Takes as long for a wrong one as for the right one.
    ///
    /// A [`Proof::Password`] is never taken for it here: it is the host's to check against what it keeps.
    pub fn knows(&self, old_password: &[u8]) -> bool {
        match self {
            Self::Password(_) => false,
            Self::Digest { key, answer, kind } => {
                digest(*kind, key, old_password).ct_eq(answer).into()
            }
            Self::Plain(forms) => forms
                .iter()
                .fold(subtle::Choice::from(0), |known, form| {
                    known | form[..].ct_eq(old_password)
                })
                .into(),
        }
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(***)",
            Self::Digest { .. } => "Digest(***)",
            Self::Plain(_) => "Plain(***)",
        })
    }
}

/// Somebody wants to sign on to an account.
#[derive(Clone, Debug)]
pub struct AccountSignOn {
    /// As typed; none if nobody can have such a name: then it is refused like any other.
    pub name: Option<ScreenName>,
    /// What is known.
    pub proof: Proof,
    /// What becomes of other sign-ons.
    pub sessions: Sessions,
}

impl AccountSignOn {
    /// Whether the session goes on over another connection, with a cookie.
    pub fn moves_on(&self) -> bool {
        !matches!(self.proof, Proof::Password(_))
    }
}

/// Somebody wants an account. All of it keeps the rules of [`super::admin::rules`].
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// As it is to be spelt.
    pub name: ScreenName,
    /// For normal sign-on; UTF-8.
    pub password: Secret,
    /// None: there is none.
    pub email: Option<String>,
}

/// What kind of client an account is signed on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// None: a guest.
    Guest,
    /// One of ours.
    Ours,
    /// One that came by the old ways.
    Old,
}

/// An account is in.
#[derive(Clone, Debug)]
pub struct Admission {
    /// As the client is to see itself. One that knows the name in another form asks for that (0x0007/0x0004).
    pub name: ScreenName,
    /// What the client said, here or when it got its cookie.
    pub sessions: Sessions,
    /// Unix seconds.
    pub since_unix_s: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(kind: DigestKind) -> Proof {
        let key = Bytes::from_static(b"1234567890");
        let answer = digest(kind, &key, b"secret");
        Proof::Digest { key, answer, kind }
    }

    #[test]
    fn so_04_a_digest_is_known_by_its_own_kind_only() {
        for kind in [DigestKind::Old, DigestKind::New] {
            assert!(proof(kind).knows(b"secret"));
            assert!(!proof(kind).knows(b"Secret"));
        }
        let Proof::Digest { key, answer, .. } = proof(DigestKind::Old) else {
            unreachable!()
        };
        let kind = DigestKind::New;
        assert!(!Proof::Digest { key, answer, kind }.knows(b"secret"));
    }

    #[test]
    fn a_plain_password_is_known_in_any_of_its_forms_and_the_normal_one_never() {
        let form = |text: &[u8]| Zeroizing::new(text.to_vec());
        let plain = Proof::Plain(vec![form(b"x"), form(b"secret")]);
        assert!(plain.knows(b"secret") && !plain.knows(b"y"));
        assert!(!Proof::Password(form(b"secret")).knows(b"secret"));
        assert_eq!(format!("{plain:?}"), "Plain(***)");
    }

    #[test]
    fn tlv_4a_is_read_as_clients_mean_it() {
        let of = |value: &[u8]| {
            Sessions::of(&TlvList::new().with(tlv::MULTIPLE_SESSIONS, value.to_vec()))
        };
        assert_eq!(of(&[0]), Some(Sessions::Unaware));
        assert_eq!(of(&[1]), Some(Sessions::Several));
        assert_eq!(of(&[3]), Some(Sessions::Alone));
        assert_eq!(Sessions::of(&TlvList::new()), None);
    }
}
