//! From two security blocks to a [`Session`].

use std::fmt;

use bytes::Bytes;
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    Role,
    code::{CodeWords, code_words_password},
    pake::{CodeExchange, EphemeralExchange, ExchangeError, KeyExchange},
    schedule::Keys,
    seal::{self, Place},
    session::Session,
    transcript::th0,
};
use crate::{
    limits,
    wire::{
        error::DecodeError,
        rendezvous::{Cookie, NakCode, SequenceNumber},
        security::{ALPN_QUIC, ALPN_TCP, PAKE_SPAKE2, SecurityBlock, item},
        text::ScreenName,
    },
};

/// What lanes of ours can speak.
const ALPN_OURS: [&str; 2] = [ALPN_QUIC, ALPN_TCP];
/// Bytes of the ALPN list of ours: each name with its length in front.
const ALPN_OURS_LEN: usize = 2 + ALPN_QUIC.len() + ALPN_TCP.len();

/// Bytes that may be sealed into C2, so that its block stays within 1,024 bytes (`security.md` 6.1).
/// Later blocks hold nothing else, so they take as much with room to spare.
pub const SEALED_PLAINTEXT_MAX: usize =
    limits::SECURITY_BLOCK - C2_WITHOUT_SEALED - ITEM_HEADER - seal::TAG_LEN;
const ITEM_HEADER: usize = 4;
/// Header; key, pake-id, pake-msg, confirm, ALPN list, nonce.
const C2_WITHOUT_SEALED: usize = 6 + 6 * ITEM_HEADER + 32 + 1 + 33 + 32 + ALPN_OURS_LEN + 16;

/// Which rendezvous a handshake belongs to. Both ends must see it alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Who sent P1.
    pub proposer: ScreenName,
    /// Who answers it.
    pub answerer: ScreenName,
    /// The cookie of the rendezvous.
    pub cookie: Cookie,
    /// The service UUID of P1.
    pub service: Uuid,
}

/// What the two ends share beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// The words of a code: key exchange by SPAKE2.
    Code(CodeWords),
    /// Nothing: key exchange by X25519, and the caller judges [`Session::peer_key_hash`]
    /// (rulings G-09).
    None,
}

/// Fresh bytes from the system's generator, for one handshake only. Wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Randomness {
    /// For the SPAKE2 scalar.
    pub pake: [u8; 64],
    /// X25519 private key.
    pub ephemeral: [u8; 32],
    /// The item `nonce` of our block. Not secret.
    pub nonce: [u8; 16],
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The terms of one message, P1 or C2, as it was sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms<'a> {
    /// Whether tag REQUEST_SECURE (0x0011) was there.
    pub request_secure: bool,
    /// Value of MIN_PROTOCOL_VERSION (0x0013).
    pub min: Option<u16>,
    /// Value of MAX_PROTOCOL_VERSION (0x0012).
    pub max: Option<u16>,
    /// Value of tag 0x5244, byte for byte; empty if the tag was absent.
    pub block: &'a [u8],
}

/// Why a handshake ended. The attempt is over in any case, and a code is used up (S-06).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The message has no security block: dropped on the way, or no peer of ours (S-03).
    #[error("the other side's message has no security block")]
    NoBlock,
    /// The message does not ask for a secure connection (S-03).
    #[error("the other side's message does not ask for security")]
    NotSecure,
    /// The block is of a version that we do not speak.
    #[error("the other side speaks version {0} of the security block")]
    UnsupportedVersion(u16),
    /// The key exchange is one that we do not know.
    #[error("the other side wants key exchange {0}")]
    UnsupportedPake(u8),
    /// No application protocol in common.
    #[error("no protocol in common with the other side")]
    NoCommonAlpn,
    /// The block is not well-formed.
    #[error("malformed security block")]
    Malformed(#[source] DecodeError),
    /// The block lacks an item that every one must have, or its key exchange has a wrong form.
    #[error("the security block lacks a usable item of type {0}")]
    MissingItem(u16),
    /// One side uses a code, the other none.
    #[error("one side uses a code and the other does not")]
    WrongMode,
    /// The key exchange holds a value that gives the secret away.
    #[error("the other side's key exchange holds a value that no honest side sends")]
    BadPoint,
    /// Our own key exchange came back to us.
    #[error("our own key exchange came back")]
    Reflected,
    /// The answerer has not proved that it saw the same words and terms: a wrong code, or somebody
    /// changed the proposal.
    #[error("wrong code, or the proposal was changed on the way")]
    WrongConfirmation,
    /// Sealed bytes were changed, or belong to another message.
    #[error("sealed bytes were changed on the way")]
    BadSeal,
}

impl HandshakeError {
    /// What the other side gets told: 0x03 malformed, 0x09 version, 0x0A security mismatch.
    pub fn nak(&self) -> NakCode {
        match self {
            Self::Malformed(_) | Self::MissingItem(_) => NakCode::BUSTED_PARAMETERS,
            Self::UnsupportedVersion(_) | Self::UnsupportedPake(_) | Self::NoCommonAlpn => {
                NakCode::VERSION_MISMATCH
            }
            Self::NoBlock
            | Self::NotSecure
            | Self::WrongMode
            | Self::BadPoint
            | Self::Reflected
            | Self::WrongConfirmation
            | Self::BadSeal => NakCode::SECURITY_MISMATCH,
        }
    }
}

impl From<DecodeError> for HandshakeError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::UnsupportedVersion { version, .. } => Self::UnsupportedVersion(version),
            other => Self::Malformed(other),
        }
    }
}

/// Our side after P1 was made: waiting for C2.
pub struct Proposing {
    context: Context,
    secret: Secret,
    own_key_hash: [u8; 32],
    exchange: Box<dyn KeyExchange>,
}

impl Proposing {
    /// Begins a handshake; the block goes into P1 as tag 0x5244. `key_hash` is SHA-256 of the
    /// SubjectPublicKeyInfo that we present in TLS.
    pub fn start(
        context: Context,
        secret: Secret,
        key_hash: [u8; 32],
        randomness: Randomness,
    ) -> (Self, SecurityBlock) {
        let exchange = start_exchange(Role::Proposer, &secret, &randomness);
        let block = own_block(&secret, key_hash, &*exchange, None, &randomness.nonce);
        let proposing = Self {
            context,
            secret,
            own_key_hash: key_hash,
            exchange,
        };
        (proposing, block)
    }

    /// Checks the first answer. `p1` as we sent it, `c2` as it came.
    ///
    /// # Errors
    /// [`HandshakeError`]; nothing is left to try again with.
    pub fn finish(self, p1: Terms<'_>, c2: Terms<'_>) -> Result<Session, HandshakeError> {
        let theirs = Theirs::read(&c2, &self.secret)?;
        let quic = common_carriers(&theirs.block)?;
        let confirm = theirs.block.confirm();
        let confirm = confirm.ok_or(HandshakeError::MissingItem(item::CONFIRM))?;
        let material = self
            .exchange
            .finish(&theirs.exchange)
            .map_err(theirs.mode())?;
        let keys = Keys::derive(&material, &self.secret);
        let blank = theirs.block.encode_without_proof();
        let c2 = Terms {
            block: &blank,
            ..c2
        };
        let th0 = th0(&self.context, &p1, &c2);
        if !bool::from(keys.confirmation(&th0).ct_eq(&confirm)) {
            return Err(HandshakeError::WrongConfirmation);
        }
        Ok(Session::new(
            Role::Proposer,
            self.context.cookie,
            self.own_key_hash,
            theirs.key_hash,
            quic,
            th0,
            keys,
        ))
    }
}

impl fmt::Debug for Proposing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposing").finish_non_exhaustive()
    }
}

/// Our side after P1 came: keys are agreed on, C2 is to be made.
pub struct Answering {
    context: Context,
    own_key_hash: [u8; 32],
    peer_key_hash: [u8; 32],
    quic: bool,
    keys: Keys,
    /// C2 with zero bytes for the proof.
    block: SecurityBlock,
}

impl Answering {
    /// Takes the first proposal as it came. From here on a code is used up.
    ///
    /// # Errors
    /// [`HandshakeError`]; nothing is left to try again with.
    pub fn start(
        context: Context,
        secret: Secret,
        key_hash: [u8; 32],
        randomness: Randomness,
        p1: Terms<'_>,
    ) -> Result<Self, HandshakeError> {
        let theirs = Theirs::read(&p1, &secret)?;
        let quic = common_carriers(&theirs.block)?;
        let exchange = start_exchange(Role::Answerer, &secret, &randomness);
        let no_proof = Some([0; 32]);
        let block = own_block(&secret, key_hash, &*exchange, no_proof, &randomness.nonce);
        let material = exchange.finish(&theirs.exchange).map_err(theirs.mode())?;
        Ok(Self {
            context,
            own_key_hash: key_hash,
            peer_key_hash: theirs.key_hash,
            quic,
            keys: Keys::derive(&material, &secret),
            block,
        })
    }

    /// SHA-256 of the SubjectPublicKeyInfo that the proposer claims. Without a code, judge it before
    /// anything is sealed for it.
    pub fn peer_key_hash(&self) -> [u8; 32] {
        self.peer_key_hash
    }

    /// Hides `plaintext`, at most [`SEALED_PLAINTEXT_MAX`] bytes, from everyone but the proposer;
    /// `sequence` is that of C2.
    pub fn seal(&self, sequence: SequenceNumber, plaintext: &[u8]) -> Bytes {
        let place = Place {
            cookie: self.context.cookie,
            sequence,
            sender: Role::Answerer,
        };
        seal::seal(self.keys.seal(Role::Answerer), place, plaintext)
    }

    /// Makes C2's block, with the proof in it, and the session. `p1` as it came; `c2_min` and
    /// `c2_max` are the versions that C2 will name, and C2 always has REQUEST_SECURE.
    pub fn finish(
        self,
        p1: Terms<'_>,
        c2_min: Option<u16>,
        c2_max: Option<u16>,
        sealed: Option<Bytes>,
    ) -> (SecurityBlock, Session) {
        let mut block = match sealed {
            Some(sealed) => self.block.with(item::SEALED, sealed),
            None => self.block,
        };
        let c2 = Terms {
            request_secure: true,
            min: c2_min,
            max: c2_max,
            block: &block.encode(),
        };
        let th0 = th0(&self.context, &p1, &c2);
        let proof = Bytes::copy_from_slice(&self.keys.confirmation(&th0));
        let confirm = block
            .items
            .0
            .iter_mut()
            .find(|tlv| tlv.tag == item::CONFIRM);
        confirm.expect("start() put it there").value = proof;
        let session = Session::new(
            Role::Answerer,
            self.context.cookie,
            self.own_key_hash,
            self.peer_key_hash,
            self.quic,
            th0,
            self.keys,
        );
        (block, session)
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

/// The other side's block, as far as it can be judged without a key.
struct Theirs {
    block: SecurityBlock,
    key_hash: [u8; 32],
    exchange: Bytes,
    exchange_item: u16,
}

impl Theirs {
    fn read(terms: &Terms<'_>, secret: &Secret) -> Result<Self, HandshakeError> {
        if terms.block.is_empty() {
            return Err(HandshakeError::NoBlock);
        }
        if !terms.request_secure {
            return Err(HandshakeError::NotSecure);
        }
        let block = SecurityBlock::decode(Bytes::copy_from_slice(terms.block))?;
        let key_hash = block.key().ok_or(HandshakeError::MissingItem(item::KEY))?;
        let (exchange_item, exchange) = match (secret, block.pake_id()) {
            (Secret::Code(_), None) | (Secret::None, Some(_)) => {
                return Err(HandshakeError::WrongMode);
            }
            (Secret::Code(_), Some(PAKE_SPAKE2)) => (item::PAKE_MSG, block.pake_msg()),
            (Secret::Code(_), Some(other)) => return Err(HandshakeError::UnsupportedPake(other)),
            (Secret::None, None) => {
                let key = block.ephemeral();
                (item::EPHEMERAL, key.map(|key| Bytes::copy_from_slice(&key)))
            }
        };
        let exchange = exchange.ok_or(HandshakeError::MissingItem(exchange_item))?;
        Ok(Self {
            block,
            key_hash,
            exchange,
            exchange_item,
        })
    }

    /// How a failed key exchange is reported.
    fn mode(&self) -> impl Fn(ExchangeError) -> HandshakeError + use<> {
        let item = self.exchange_item;
        move |error| match error {
            ExchangeError::Malformed => HandshakeError::MissingItem(item),
            ExchangeError::BadPoint => HandshakeError::BadPoint,
            ExchangeError::Reflected => HandshakeError::Reflected,
        }
    }
}

fn start_exchange(role: Role, secret: &Secret, randomness: &Randomness) -> Box<dyn KeyExchange> {
    match secret {
        Secret::Code(words) => Box::new(CodeExchange::start(
            role,
            &code_words_password(words),
            &randomness.pake,
        )),
        Secret::None => Box::new(EphemeralExchange::start(role, &randomness.ephemeral)),
    }
}

fn own_block(
    secret: &Secret,
    key_hash: [u8; 32],
    exchange: &dyn KeyExchange,
    proof: Option<[u8; 32]>,
    nonce: &[u8; 16],
) -> SecurityBlock {
    let message = Bytes::copy_from_slice(exchange.message());
    let mut block = SecurityBlock::new().with(item::KEY, key_hash.to_vec());
    block = match secret {
        Secret::Code(_) => block
            .with(item::PAKE_ID, vec![PAKE_SPAKE2])
            .with(item::PAKE_MSG, message),
        Secret::None => block.with(item::EPHEMERAL, message),
    };
    if let Some(proof) = proof {
        block = block.with(item::CONFIRM, proof.to_vec());
    }
    block
        .with_alpn(&ALPN_OURS)
        .with(item::NONCE, nonce.to_vec())
}

/// Whether the other side speaks QUIC, too. TLS over TCP is what every side speaks: relayed lanes
/// have nothing else.
fn common_carriers(theirs: &SecurityBlock) -> Result<bool, HandshakeError> {
    let theirs = theirs.alpn();
    let names = |ours: &str| theirs.iter().any(|name| name == ours.as_bytes());
    if names(ALPN_TCP) {
        Ok(names(ALPN_QUIC))
    } else {
        Err(HandshakeError::NoCommonAlpn)
    }
}
