//! Relay tickets: a host tells a relay, through its client, that this client may use it.
//!
//! `[version: u8 = 2][expiry: u64, Unix seconds][id: 16 bytes][account: string08][cookie: 8 bytes, zero = any]
//! [budget: u64 bytes][mac: 16 bytes]`, the mac being HMAC-SHA256 over all before it, cut to 16 bytes, with a key that host
//! and relay share. The first four bytes of the id name that key, the others are random. A ticket travels in ARS TLV 0x0002
//! of both commands: the one who joins shows the ticket of the one who created. It is good for one pair.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use crate::limits;
use crate::wire::codec::{Reader, put_string08};
use crate::wire::rendezvous::Cookie;
use crate::wire::text::ScreenName;

const VERSION: u8 = 2;
const MAC_LEN: usize = 16;
/// What the name of a key is derived from.
const KEY_NAME: &[u8] = b"rdv relay key";

/// The key that a host and its relays share.
#[derive(Clone)]
pub struct TicketKey {
    key: zeroize::Zeroizing<[u8; 32]>,
    name: [u8; 4],
}

/// What a good ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The account that the host issued it to.
    pub account: ScreenName,
    /// From this second on it is void, in seconds since 1970.
    pub expires_unix_s: u64,
    /// The session that it is for, by the cookie of CREATE and JOIN. None: any one.
    pub cookie: Option<Cookie>,
    /// Bytes that its pair may carry, both directions together.
    pub budget: u64,
}

/// What tells a ticket from all others of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketId(pub [u8; 16]);

/// Why a ticket is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Not a ticket at all.
    #[error("not a relay ticket")]
    Malformed,
    /// Made with another key: of another host.
    #[error("a relay ticket of another host")]
    Foreign,
    /// It says that it was made with this key, and was not, or was changed.
    #[error("a forged relay ticket")]
    Forged,
    /// Too old.
    #[error("a relay ticket that has expired")]
    Expired,
}

impl TicketKey {
    /// A key of 32 random bytes.
    pub fn new(key: [u8; 32]) -> Self {
        let mut named = Self {
            key: key.into(),
            name: [0; 4],
        };
        let name = named.mac(KEY_NAME);
        named.name.copy_from_slice(&name[..4]);
        named
    }

    /// Makes a ticket; `random` makes it another one than all others.
    pub fn issue(&self, ticket: &Ticket, random: [u8; 12]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_u8(VERSION);
        bytes.put_u64(ticket.expires_unix_s);
        bytes.put_slice(&self.name);
        bytes.put_slice(&random);
        put_string08(&mut bytes, ticket.account.as_str().as_bytes());
        bytes.put_slice(&ticket.cookie.unwrap_or(Cookie([0; 8])).0);
        bytes.put_u64(ticket.budget);
        let mac = self.mac(&bytes);
        bytes.put_slice(&mac);
        bytes.freeze()
    }

    /// Reads a ticket that was shown at `now_unix_s`.
    ///
    /// # Errors
    /// [`TicketError`]. The mac is compared in constant time, and before anything else is believed.
    pub fn check(&self, ticket: &[u8], now_unix_s: u64) -> Result<(TicketId, Ticket), TicketError> {
        if ticket.len() > limits::RELAY_TICKET {
            return Err(TicketError::Malformed);
        }
        let (body, mac) = ticket
            .split_last_chunk::<MAC_LEN>()
            .ok_or(TicketError::Malformed)?;
        let (id, read) = read(body).ok_or(TicketError::Malformed)?;
        if !bool::from(self.mac(body).ct_eq(mac)) {
            return Err(match id.0.starts_with(&self.name) {
                true => TicketError::Forged,
                false => TicketError::Foreign,
            });
        }
        if read.expires_unix_s <= now_unix_s {
            return Err(TicketError::Expired);
        }
        Ok((id, read))
    }

    fn mac(&self, body: &[u8]) -> [u8; MAC_LEN] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key[..]).expect("HMAC takes a key of any length");
        mac.update(body);
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut cut = [0; MAC_LEN];
        cut.copy_from_slice(&full[..MAC_LEN]);
        cut
    }
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(***)")
    }
}

fn read(body: &[u8]) -> Option<(TicketId, Ticket)> {
    let mut reader = Reader::new(body, "relay ticket");
    if reader.u8().ok()? != VERSION {
        return None;
    }
    let expires_unix_s = reader.u64().ok()?;
    let id = TicketId(reader.array().ok()?);
    let account = ScreenName::decode(&mut reader).ok()?;
    let cookie = Cookie(reader.array().ok()?);
    let budget = reader.u64().ok()?;
    let ticket = Ticket {
        account,
        expires_unix_s,
        cookie: (!cookie.is_zero()).then_some(cookie),
        budget,
    };
    reader.is_empty().then_some((id, ticket))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HMAC-SHA256 with 32 bytes 07 over the ticket of these tests and over the name of the key, computed elsewhere.
    const MAC: [u8; 16] = [
        0x1C, 0xCB, 0x45, 0xF9, 0x4C, 0x9C, 0x24, 0xCA, 0x5A, 0x94, 0x07, 0xCD, 0x03, 0xDD, 0x27,
        0x0B,
    ];
    const NAME: [u8; 4] = [0xEA, 0x07, 0x78, 0xB9];
    const RANDOM: [u8; 12] = [9; 12];

    fn key() -> TicketKey {
        TicketKey::new([7; 32])
    }

    fn ticket() -> Ticket {
        Ticket {
            account: ScreenName::new("7").unwrap(),
            expires_unix_s: 1_000,
            cookie: Some(Cookie(*b"TRYST01\0")),
            budget: 64 << 30,
        }
    }

    #[test]
    fn a_ticket_says_what_was_put_into_it() {
        for cookie in [ticket().cookie, None] {
            let ticket = Ticket { cookie, ..ticket() };
            let bytes = key().issue(&ticket, RANDOM);
            assert_eq!(bytes.len(), 1 + 8 + 16 + 2 + 8 + 8 + 16);
            let (id, read) = key().check(&bytes, 999).unwrap();
            assert_eq!(read, ticket);
            assert_eq!((&id.0[..4], &id.0[4..]), (&NAME[..], &RANDOM[..]));
        }
    }

    #[test]
    fn the_bytes_of_a_ticket_are_fixed() {
        let mut expected = vec![2, 0, 0, 0, 0, 0, 0, 0x03, 0xE8];
        expected.extend(NAME);
        expected.extend(RANDOM);
        expected.extend(*b"\x017TRYST01\0");
        expected.extend([0, 0, 0, 0x10, 0, 0, 0, 0]);
        expected.extend(MAC);
        assert_eq!(key().issue(&ticket(), RANDOM), expected);
    }

    #[test]
    fn a_ticket_expires() {
        let bytes = key().issue(&ticket(), RANDOM);
        assert!(key().check(&bytes, 999).is_ok());
        assert_eq!(key().check(&bytes, 1_000), Err(TicketError::Expired));
    }

    #[test]
    fn a_ticket_with_any_bit_changed_is_refused() {
        let bytes = key().issue(&ticket(), RANDOM);
        for place in 0..bytes.len() * 8 {
            let mut forged = bytes.to_vec();
            forged[place / 8] ^= 1 << (place % 8);
            let expected = match place / 8 {
                // Another version, an account of another length or one that is no name: no ticket that could be read.
                0 | 25 | 26 => None,
                9..13 => Some(TicketError::Foreign),
                _ => Some(TicketError::Forged),
            };
            let error = key().check(&forged, 999).unwrap_err();
            assert!(
                expected.is_none_or(|expected| error == expected),
                "{place}: {error}"
            );
        }
    }

    #[test]
    fn a_ticket_of_another_host_is_told_from_rubbish() {
        let bytes = TicketKey::new([8; 32]).issue(&ticket(), RANDOM);
        assert_eq!(key().check(&bytes, 999), Err(TicketError::Foreign));
        // Who puts the name of our key on it has forged it.
        let mut forged = bytes.to_vec();
        forged[9..13].copy_from_slice(&NAME);
        assert_eq!(key().check(&forged, 999), Err(TicketError::Forged));
        for rubbish in [&b""[..], &[0; 513], &bytes[..40]] {
            assert_eq!(key().check(rubbish, 0), Err(TicketError::Malformed));
        }
    }

    #[test]
    fn a_ticket_of_the_first_version_is_refused() {
        // Account 7, good until second 1000, made with this very key.
        let mut first = vec![1, 0, 0, 0, 0, 0, 0, 0x03, 0xE8];
        first.extend([9; 16]);
        first.extend(*b"\x017");
        first.extend([
            0xA4, 0x0D, 0x61, 0xF1, 0x3B, 0x44, 0x48, 0xC4, 0xE5, 0x7C, 0x83, 0x28, 0x9F, 0xCC,
            0x0D, 0x08,
        ]);
        assert_eq!(key().check(&first, 999), Err(TicketError::Malformed));
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", key()), "TicketKey(***)");
    }
}
