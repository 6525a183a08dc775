//! Relay tickets: a host tells a relay, through its client, that this client may use it.
//!
//! `[version: u8 = 1][expiry: u64, Unix seconds][id: 16 random bytes][account: string08][mac: 16 bytes]`, the mac being
//! HMAC-SHA256 over all before it, cut to 16 bytes, with a key that host and relay share. It travels in ARS TLV 0x0002
//! of both commands: the one who joins shows the ticket of the one who created.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use crate::limits;
use crate::wire::codec::{Reader, put_string08};
use crate::wire::text::ScreenName;

const VERSION: u8 = 1;
const MAC_LEN: usize = 16;

/// The key that a host and its relays share.
#[derive(Clone)]
pub struct TicketKey(zeroize::Zeroizing<[u8; 32]>);

/// What a good ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The account that the host issued it to.
    pub account: ScreenName,
    /// From this second on it is void, in seconds since 1970.
    pub expires_unix_s: u64,
}

/// Why a ticket is not good. The relay answers all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Not a ticket at all.
    #[error("not a relay ticket")]
    Malformed,
    /// Changed, or made with another key.
    #[error("a relay ticket of somebody else")]
    Forged,
    /// Too old.
    #[error("a relay ticket that has expired")]
    Expired,
}

impl TicketKey {
    /// A key of 32 random bytes.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key.into())
    }

    /// Makes a ticket; `id` is random.
    pub fn issue(&self, ticket: &Ticket, id: [u8; 16]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_u8(VERSION);
        bytes.put_u64(ticket.expires_unix_s);
        bytes.put_slice(&id);
        put_string08(&mut bytes, ticket.account.as_str().as_bytes());
        let mac = self.mac(&bytes);
        bytes.put_slice(&mac);
        bytes.freeze()
    }

    /// Reads a ticket that was shown at `now_unix_s`.
    ///
    /// # Errors
    /// [`TicketError`]. The mac is compared in constant time, and before anything else is believed.
    pub fn check(&self, ticket: &[u8], now_unix_s: u64) -> Result<Ticket, TicketError> {
        if ticket.len() > limits::RELAY_TICKET {
            return Err(TicketError::Malformed);
        }
        let (body, mac) = ticket
            .split_last_chunk::<MAC_LEN>()
            .ok_or(TicketError::Malformed)?;
        if !bool::from(self.mac(body).ct_eq(mac)) {
            return Err(TicketError::Forged);
        }
        let (account, expires_unix_s) = read(body).ok_or(TicketError::Malformed)?;
        if expires_unix_s <= now_unix_s {
            return Err(TicketError::Expired);
        }
        Ok(Ticket {
            account,
            expires_unix_s,
        })
    }

    fn mac(&self, body: &[u8]) -> [u8; MAC_LEN] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0[..]).expect("HMAC takes a key of any length");
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

fn read(body: &[u8]) -> Option<(ScreenName, u64)> {
    let mut reader = Reader::new(body, "relay ticket");
    if reader.u8().ok()? != VERSION {
        return None;
    }
    let expires = reader.u64().ok()?;
    reader.take(16).ok()?;
    let account = ScreenName::decode(&mut reader).ok()?;
    reader.is_empty().then_some((account, expires))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HMAC-SHA256 with 32 bytes 07 over the ticket of these tests, computed elsewhere.
    const MAC: [u8; 16] = [
        0xA4, 0x0D, 0x61, 0xF1, 0x3B, 0x44, 0x48, 0xC4, 0xE5, 0x7C, 0x83, 0x28, 0x9F, 0xCC, 0x0D,
        0x08,
    ];

    fn ticket() -> Ticket {
        Ticket {
            account: ScreenName::new("7").unwrap(),
            expires_unix_s: 1_000,
        }
    }

    #[test]
    fn a_ticket_says_what_was_put_into_it() {
        let key = TicketKey::new([7; 32]);
        let bytes = key.issue(&ticket(), [9; 16]);
        assert_eq!(bytes.len(), 1 + 8 + 16 + 2 + 16);
        assert_eq!(key.check(&bytes, 999), Ok(ticket()));
    }

    #[test]
    fn the_bytes_of_a_ticket_are_fixed() {
        let key = TicketKey::new([7; 32]);
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0x03, 0xE8];
        expected.extend([9; 16]);
        expected.extend(*b"\x017");
        expected.extend(MAC);
        assert_eq!(key.issue(&ticket(), [9; 16]), expected);
    }

    #[test]
    fn a_ticket_expires() {
        let key = TicketKey::new([7; 32]);
        let bytes = key.issue(&ticket(), [9; 16]);
        assert_eq!(key.check(&bytes, 1_000), Err(TicketError::Expired));
    }

    #[test]
    fn a_ticket_with_any_bit_changed_is_refused() {
        let key = TicketKey::new([7; 32]);
        let bytes = key.issue(&ticket(), [9; 16]);
        for place in 0..bytes.len() * 8 {
            let mut forged = bytes.to_vec();
            forged[place / 8] ^= 1 << (place % 8);
            assert_eq!(key.check(&forged, 999), Err(TicketError::Forged));
        }
    }

    #[test]
    fn a_ticket_of_another_host_and_rubbish_are_refused() {
        let bytes = TicketKey::new([8; 32]).issue(&ticket(), [9; 16]);
        let key = TicketKey::new([7; 32]);
        assert_eq!(key.check(&bytes, 999), Err(TicketError::Forged));
        assert_eq!(key.check(b"", 0), Err(TicketError::Malformed));
        assert_eq!(key.check(&[0; 513], 0), Err(TicketError::Malformed));
        assert_eq!(key.check(&bytes[..40], 0), Err(TicketError::Forged));
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", TicketKey::new([7; 32])), "TicketKey(***)");
    }
}
