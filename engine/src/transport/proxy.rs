//! SOCKS5: connections that leave through somebody else.

use std::fmt;

/// A SOCKS5 proxy (RFC 1928), with or without a name and password (RFC 1929).
#[derive(Clone, PartialEq, Eq)]
pub struct SocksProxy {
    /// `HOST:PORT`.
    pub address: String,
    /// Name and password.
    pub user: Option<(String, String)>,
}

impl fmt::Debug for SocksProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocksProxy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
