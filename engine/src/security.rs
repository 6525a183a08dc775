//! How safe a connection is, and for whom plain ones are allowed.

use rdv_proto::wire::text::ScreenName;

use crate::Fingerprint;

/// How safe the connection of a transfer is. Match on all four (S-01): they are four different things to say to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Encrypted, and the other end is who it should be: a code, or a key that was verified before.
    Verified {
        /// Its key.
        key: Fingerprint,
    },
    /// Encrypted, to a key that nobody has verified: the first contact, or one of more with the same key.
    Unverified {
        /// Its key.
        key: Fingerprint,
    },
    /// TLS with an old client: encrypted, not verified.
    Encrypted {
        /// The key of the certificate that it showed.
        key: Fingerprint,
    },
    /// Neither encrypted nor verified: anyone between the two can read and change what passes.
    Plain,
}

impl Security {
    /// The word for it in machine-readable output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verified { .. } => "verified",
            Self::Unverified { .. } => "unverified",
            Self::Encrypted { .. } => "encrypted",
            Self::Plain => "plain",
        }
    }

    /// The key at the other end, if there is one.
    #[must_use]
    pub const fn key(self) -> Option<Fingerprint> {
        match self {
            Self::Verified { key } | Self::Unverified { key } | Self::Encrypted { key } => {
                Some(key)
            }
            Self::Plain => None,
        }
    }
}

/// For which peers a connection may be plain. Every `Fn(&ScreenName) -> bool` is one; it must answer at once.
pub trait PlainPolicy: Send + Sync + 'static {
    /// Whether a transfer with `peer` may be neither encrypted nor verified.
    fn allows(&self, peer: &ScreenName) -> bool;
}

impl<F: Fn(&ScreenName) -> bool + Send + Sync + 'static> PlainPolicy for F {
    fn allows(&self, peer: &ScreenName) -> bool {
        self(peer)
    }
}
