//! The key exchange that words (or nothing) go into, behind one trait, so that another PAKE can
//! take its place under another `pake-id`.
//!
//! With a code it is SPAKE2 over the Ed25519 group (crate `spake2` 0.4), roles A and B. That crate
//! takes the identity point and points of small order without an error, so every point is checked
//! here before the crate sees it. Without a code it is X25519 with keys made for this one exchange;
//! then the shared secret says nothing about *who* the other side is (rulings G-09).

use curve25519_dalek::{edwards::CompressedEdwardsY, traits::IsIdentity as _};
use hkdf::Hkdf;
use rand_core::{CryptoRng, RngCore};
use sha2::Sha256;
use spake2::{Ed25519Group, Identity, Password, Spake2};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::Role;

/// Bytes handed in for a SPAKE2 start: as many as the crate's one draw, a wide scalar.
pub(crate) const SPAKE2_RANDOMNESS_LEN: usize = 64;
/// A side byte (`A` or `B`) and a compressed point.
pub(crate) const SPAKE2_MESSAGE_LEN: usize = 33;
const IDENTITY_PROPOSER: &[u8] = b"rdv-v1 proposer";
const IDENTITY_ANSWERER: &[u8] = b"rdv-v1 answerer";

/// Why the other side's message was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ExchangeError {
    #[error("wrong length or side")]
    Malformed,
    #[error("not a point of the prime-order group, or the neutral one")]
    BadPoint,
    #[error("our own message came back")]
    Reflected,
}

/// One side of a key exchange: our message is out, theirs is awaited.
pub(crate) trait KeyExchange: Send + Sync {
    /// What the other side has to get.
    fn message(&self) -> &[u8];

    /// The key material of the session, from which [`super::schedule`] makes keys. Uses the exchange
    /// up: a code allows one guess (S-06).
    fn finish(self: Box<Self>, theirs: &[u8]) -> Result<KeyMaterial, ExchangeError>;
}

/// The pseudorandom key (HKDF-SHA256 extract) of a session.
pub(crate) type KeyMaterial = Hkdf<Sha256>;

/// SPAKE2 keyed with the words of a code.
///
/// The crate's state holds a copy of the password that it does not wipe; it lives as short as this
/// value does.
pub(crate) struct CodeExchange {
    state: Spake2<Ed25519Group>,
    message: Vec<u8>,
    role: Role,
}

impl CodeExchange {
    pub(crate) fn start(
        role: Role,
        password: &[u8],
        randomness: &[u8; SPAKE2_RANDOMNESS_LEN],
    ) -> Self {
        let password = Password::new(password);
        let a = Identity::new(IDENTITY_PROPOSER);
        let b = Identity::new(IDENTITY_ANSWERER);
        let rng = HandedIn::new(randomness);
        let (state, message) = match role {
            Role::Proposer => Spake2::start_a_with_rng(&password, &a, &b, rng),
            Role::Answerer => Spake2::start_b_with_rng(&password, &a, &b, rng),
        };
        Self {
            state,
            message,
            role,
        }
    }
}

impl KeyExchange for CodeExchange {
    fn message(&self) -> &[u8] {
        &self.message
    }

    fn finish(self: Box<Self>, theirs: &[u8]) -> Result<KeyMaterial, ExchangeError> {
        let theirs: &[u8; SPAKE2_MESSAGE_LEN] =
            theirs.try_into().map_err(|_| ExchangeError::Malformed)?;
        let [side, point @ ..] = theirs;
        // Also under the other side's letter.
        if self.message.get(1..) == Some(point) {
            return Err(ExchangeError::Reflected);
        }
        let expected = match self.role {
            Role::Proposer => b'B',
            Role::Answerer => b'A',
        };
        if *side != expected {
            return Err(ExchangeError::Malformed);
        }
        check_point(point)?;
        let shared = self
            .state
            .finish(theirs)
            .map_err(|_| ExchangeError::Malformed)?;
        let shared = Zeroizing::new(shared);
        Ok(Hkdf::new(Some(b"rdv-v1 spake2"), &shared))
    }
}

/// Takes only what an honest SPAKE2 can send: a point of the prime-order group other than the neutral
/// one. (Encodings with y above the field prime name no such point, so each has one spelling.)
fn check_point(bytes: &[u8; 32]) -> Result<(), ExchangeError> {
    let point = CompressedEdwardsY(*bytes)
        .decompress()
        .ok_or(ExchangeError::BadPoint)?;
    if point.is_identity() || !point.is_torsion_free() {
        return Err(ExchangeError::BadPoint);
    }
    Ok(())
}

/// Randomness that the caller handed in, in the shape that `spake2` wants. It is stretched with
/// HKDF, so that it suffices whatever a version of the crate draws (0.4: one draw of 64 bytes) and
/// no byte comes twice.
struct HandedIn {
    key: Hkdf<Sha256>,
    draws: u64,
}

impl HandedIn {
    fn new(randomness: &[u8; SPAKE2_RANDOMNESS_LEN]) -> Self {
        Self {
            key: Hkdf::new(Some(b"rdv-v1 randomness"), randomness),
            draws: 0,
        }
    }
}

impl RngCore for HandedIn {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(64) {
            self.key
                .expand(&self.draws.to_be_bytes(), chunk)
                .expect("HKDF gives up to 8,160 bytes, this is at most 64");
            self.draws += 1;
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for HandedIn {}

/// X25519 with keys of one exchange, for peers that need no code.
pub(crate) struct EphemeralExchange {
    secret: StaticSecret,
    public: PublicKey,
    role: Role,
}

impl EphemeralExchange {
    pub(crate) fn start(role: Role, randomness: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*randomness);
        Self {
            public: PublicKey::from(&secret),
            secret,
            role,
        }
    }
}

impl KeyExchange for EphemeralExchange {
    fn message(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn finish(self: Box<Self>, theirs: &[u8]) -> Result<KeyMaterial, ExchangeError> {
        let theirs: [u8; 32] = theirs.try_into().map_err(|_| ExchangeError::Malformed)?;
        let ours = self.public.as_bytes();
        if theirs == *ours {
            return Err(ExchangeError::Reflected);
        }
        let shared = self.secret.diffie_hellman(&PublicKey::from(theirs));
        // An all-zero secret: the other key was of small order and the secret is no secret.
        if !shared.was_contributory() {
            return Err(ExchangeError::BadPoint);
        }
        let (proposer, answerer) = match self.role {
            Role::Proposer => (ours, &theirs),
            Role::Answerer => (&theirs, ours),
        };
        let keyed = Zeroizing::new([&shared.as_bytes()[..], proposer, answerer].concat());
        Ok(Hkdf::new(Some(b"rdv-v1 x25519"), &keyed))
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::{
        constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION},
        edwards::EdwardsPoint,
    };

    use super::*;

    const PASSWORD: &[u8] = b"otter-lamp-verse";

    fn code(role: Role, password: &[u8], seed: u8) -> Box<CodeExchange> {
        Box::new(CodeExchange::start(role, password, &[seed; 64]))
    }

    fn key(material: &KeyMaterial) -> [u8; 32] {
        let mut key = [0; 32];
        material.expand(b"test", &mut key).unwrap();
        key
    }

    fn message(side: u8, point: &EdwardsPoint) -> Vec<u8> {
        [&[side], &point.compress().as_bytes()[..]].concat()
    }

    fn refusal(theirs: &[u8]) -> ExchangeError {
        match code(Role::Proposer, PASSWORD, 1).finish(theirs) {
            Ok(_) => panic!("taken: {theirs:02x?}"),
            Err(error) => error,
        }
    }

    #[test]
    fn the_same_words_give_the_same_key_and_others_do_not() {
        let (a, b) = (
            code(Role::Proposer, PASSWORD, 1),
            code(Role::Answerer, PASSWORD, 2),
        );
        let (to_b, to_a) = (a.message().to_vec(), b.message().to_vec());
        let (a, b) = (a.finish(&to_a).unwrap(), b.finish(&to_b).unwrap());
        assert_eq!(key(&a), key(&b));

        let wrong = code(Role::Answerer, b"otter-lamp-zoom", 2);
        assert_ne!(key(&wrong.finish(&to_b).unwrap()), key(&a));
        let unlike = code(Role::Answerer, PASSWORD, 3);
        assert_ne!(key(&unlike.finish(&to_b).unwrap()), key(&a));
    }

    #[test]
    fn points_that_break_the_exchange_are_refused() {
        let zero = [&b"B"[..], &[0; 32]].concat();
        assert_eq!(refusal(&zero), ExchangeError::BadPoint);
        for small in EIGHT_TORSION {
            assert_eq!(refusal(&message(b'B', &small)), ExchangeError::BadPoint);
        }
        let mixed = ED25519_BASEPOINT_POINT + EIGHT_TORSION[1];
        assert_eq!(refusal(&message(b'B', &mixed)), ExchangeError::BadPoint);
        // y = 2 is not on the curve; y = p + 1 is the neutral point in a second spelling.
        let mut off_curve = [0; 33];
        (off_curve[0], off_curve[1]) = (b'B', 2);
        assert_eq!(refusal(&off_curve), ExchangeError::BadPoint);
        let mut second_spelling = [0xff; 33];
        (second_spelling[0], second_spelling[1], second_spelling[32]) = (b'B', 0xee, 0x7f);
        assert_eq!(refusal(&second_spelling), ExchangeError::BadPoint);
    }

    #[test]
    fn length_and_side_are_checked() {
        let honest = message(b'B', &ED25519_BASEPOINT_POINT);
        assert!(code(Role::Proposer, PASSWORD, 1).finish(&honest).is_ok());
        assert_eq!(refusal(&honest[..32]), ExchangeError::Malformed);
        assert_eq!(
            refusal(&[&honest[..], &[0]].concat()),
            ExchangeError::Malformed
        );
        assert_eq!(refusal(&[]), ExchangeError::Malformed);
        for side in [b'A', b'S', 0] {
            let other = message(side, &ED25519_BASEPOINT_POINT);
            assert_eq!(refusal(&other), ExchangeError::Malformed);
        }
    }

    #[test]
    fn our_own_message_is_refused_under_either_letter() {
        let ours = code(Role::Proposer, PASSWORD, 1).message().to_vec();
        assert_eq!(refusal(&ours), ExchangeError::Reflected);
        let relabelled = [b"B", &ours[1..]].concat();
        assert_eq!(refusal(&relabelled), ExchangeError::Reflected);
    }

    #[test]
    fn every_draw_of_handed_in_randomness_is_new() {
        let mut rng = HandedIn::new(&[7; 64]);
        let mut long = [0; 200];
        rng.fill_bytes(&mut long);
        let (one, two) = (rng.next_u64(), rng.next_u64());
        assert_ne!(one, two);
        assert_ne!(long[..64], long[64..128]);
        assert_ne!(
            HandedIn::new(&[7; 64]).next_u64(),
            HandedIn::new(&[8; 64]).next_u64()
        );
    }

    #[test]
    fn without_a_code_both_sides_agree_and_bad_keys_are_refused() {
        let start = |role, seed| Box::new(EphemeralExchange::start(role, &[seed; 32]));
        let (a, b) = (start(Role::Proposer, 1), start(Role::Answerer, 2));
        let (to_b, to_a) = (a.message().to_vec(), b.message().to_vec());
        let keys = (a.finish(&to_a).unwrap(), b.finish(&to_b).unwrap());
        assert_eq!(key(&keys.0), key(&keys.1));

        let refusal = |theirs: &[u8]| start(Role::Proposer, 1).finish(theirs).err();
        assert_eq!(refusal(&[0; 32]), Some(ExchangeError::BadPoint));
        assert_eq!(refusal(&to_b), Some(ExchangeError::Reflected));
        assert_eq!(refusal(&[1; 31]), Some(ExchangeError::Malformed));
    }
}
