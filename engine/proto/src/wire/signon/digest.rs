//! How old clients hide a password: MD5 over a challenge, or a fixed mask.

use md5::{Digest as _, Md5};

/// What both digests end with.
const MAGIC: &[u8] = b"AOL Instant Messenger (SM)";
/// The mask of nearly all clients.
const MASK: [u8; 16] = [
    0xF3, 0x26, 0x81, 0xC4, 0x39, 0x86, 0xDB, 0x92, 0x71, 0xA3, 0xB9, 0xE6, 0x53, 0x7A, 0x95, 0x7C,
];
/// The mask of AIM for Java.
const MASK_JAVA: [u8; 16] = [
    0xF3, 0xB3, 0x6C, 0x99, 0x95, 0x3F, 0xAC, 0xB6, 0xC5, 0xFA, 0x6B, 0x63, 0x69, 0x6C, 0xC3, 0x9A,
];

/// Which digest of 0x0017/0x0002.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestKind {
    /// Before AIM 4.8: over the password.
    Old,
    /// With an empty TLV 0x004C: over the MD5 of the password.
    New,
}

/// The 16 bytes that answer the challenge `key`.
pub fn digest(kind: DigestKind, key: &[u8], password: &[u8]) -> [u8; 16] {
    let answer = Md5::new().chain_update(key);
    let answer = match kind {
        DigestKind::Old => answer.chain_update(password),
        DigestKind::New => answer.chain_update(Md5::digest(password)),
    };
    answer.chain_update(MAGIC).finalize().into()
}

/// The mask of a roasted password. It hides nothing from anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roast {
    /// Nearly all clients.
    Usual,
    /// AIM for Java.
    Java,
}

impl Roast {
    /// The mask of a client with this name (TLV 0x0003).
    pub fn of(client: &[u8]) -> Self {
        let java = client.starts_with(b"AOL Instant Messenger (TM) version")
            && client.windows(8).any(|part| part == b"for Java");
        match java {
            true => Self::Java,
            false => Self::Usual,
        }
    }

    /// Roasts a password, or undoes it.
    pub fn apply(self, password: &[u8]) -> Vec<u8> {
        let mask = match self {
            Self::Usual => MASK,
            Self::Java => MASK_JAVA,
        };
        let pairs = password.iter().zip(mask.iter().cycle());
        pairs.map(|(byte, mask)| byte ^ mask).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn so_04_both_digests_are_those_of_the_vectors() {
        let of = |kind| digest(kind, b"1234567890", b"secret");
        assert_eq!(
            of(DigestKind::Old),
            hex("862a71ebc6b0913ac23b3ace99ca9951")[..]
        );
        assert_eq!(
            of(DigestKind::New),
            hex("054b2494f6d223078f90b1d1333b757f")[..]
        );
    }

    #[test]
    fn so_05_roasted_passwords_are_those_of_the_vectors() {
        assert_eq!(Roast::Usual.apply(b"secret"), hex("8043e2b65cf2"));
        assert_eq!(Roast::Usual.apply(b"12345678"), hex("c214b2f00cb0ecaa"));
        assert_eq!(Roast::Java.apply(b"secret"), hex("80d60febf04b"));
        assert_eq!(Roast::Usual.apply(&hex("8043e2b65cf2")), b"secret");
        let java = b"AOL Instant Messenger (TM) version 1.1.19 for Java built 03/24/98";
        assert_eq!(Roast::of(java), Roast::Java);
        assert_eq!(
            Roast::of(b"AOL Instant Messenger (TM), version 2.0"),
            Roast::Usual
        );
    }
}
