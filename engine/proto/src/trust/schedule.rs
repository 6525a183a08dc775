//! From the key that was agreed on to one key for each use (HKDF-SHA256 expand, `security.md` 5.3).
//!
//! The label of a key is `rdv-v1 ` and its name: `confirm_A`, `bind_P`, `bind_A`, `seal_P`,
//! `seal_A`, `probe`. `resume` is reserved for going on after a lost connection.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Role, handshake::Secret, pake::KeyMaterial, transcript::framed};

/// One derived key.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// All keys of a session.
pub(crate) struct Keys {
    confirm_answerer: Key,
    seal_proposer: Key,
    seal_answerer: Key,
    probe: Key,
    bind: BindKeys,
}

/// Where the keys of the BIND step come from.
enum BindKeys {
    /// The code: BIND proves that both ends of the TLS connection know it.
    Code { proposer: Key, answerer: Key },
    /// Each connection's own exporter: BIND proves that the signalling is unchanged; who the other
    /// end is follows from its pinned TLS key (rulings G-09).
    Exporter,
}

impl Keys {
    pub(crate) fn derive(material: &KeyMaterial, secret: &Secret) -> Self {
        Self {
            confirm_answerer: subkey(material, "confirm_A"),
            seal_proposer: subkey(material, "seal_P"),
            seal_answerer: subkey(material, "seal_A"),
            probe: subkey(material, "probe"),
            bind: match secret {
                Secret::Code(_) => BindKeys::Code {
                    proposer: subkey(material, bind_name(Role::Proposer)),
                    answerer: subkey(material, bind_name(Role::Answerer)),
                },
                Secret::None => BindKeys::Exporter,
            },
        }
    }

    /// The answerer's proof: HMAC(K_confirm_A, TH0).
    pub(crate) fn confirmation(&self, th0: &[u8; 32]) -> [u8; 32] {
        hmac(&self.confirm_answerer, th0)
    }

    /// What the messages that `sender` seals are sealed with.
    pub(crate) fn seal(&self, sender: Role) -> &Key {
        match sender {
            Role::Proposer => &self.seal_proposer,
            Role::Answerer => &self.seal_answerer,
        }
    }

    /// What datagrams that look for a way are signed with, by both sides.
    pub(crate) fn probe(&self) -> &Key {
        &self.probe
    }

    /// BIND_X = HMAC(K_bind_X, role X, TH0, ALPN, lane id, exporter), each field of the message as
    /// `[len: u32 BE][bytes]`: role `P` or `A`, TH0 (32), ALPN, lane (u32 BE), exporter (32).
    pub(crate) fn bind(
        &self,
        sender: Role,
        th0: &[u8; 32],
        alpn: &str,
        lane: u32,
        exporter: &[u8; 32],
    ) -> [u8; 32] {
        let message = framed(&[
            &[sender.letter()],
            th0,
            alpn.as_bytes(),
            &lane.to_be_bytes(),
            exporter,
        ]);
        match (&self.bind, sender) {
            (BindKeys::Code { proposer: key, .. }, Role::Proposer)
            | (BindKeys::Code { answerer: key, .. }, Role::Answerer) => hmac(key, &message),
            (BindKeys::Exporter, _) => {
                let material = Hkdf::new(Some(b"rdv-v1 exporter"), exporter);
                hmac(&subkey(&material, bind_name(sender)), &message)
            }
        }
    }
}

fn bind_name(sender: Role) -> &'static str {
    match sender {
        Role::Proposer => "bind_P",
        Role::Answerer => "bind_A",
    }
}

fn subkey(material: &KeyMaterial, name: &str) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    material
        .expand_multi_info(&[b"rdv-v1 ", name.as_bytes()], &mut key[..])
        .expect("HKDF gives up to 8,160 bytes, this is 32");
    key
}

fn hmac(key: &Key, message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key[..]).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}
