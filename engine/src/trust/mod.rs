//! Keys, and the rules by which TLS believes a key.
//!
//! Between peers only the SHA-256 of a certificate's SubjectPublicKeyInfo counts: it travels in the
//! security block of the negotiation, and [`peer`] compares it inside the handshake on both sides.
//! A host is known by its key as well ([`host`]): pinned by the user, or kept from the first visit
//! in a file ([`known_hosts`]); peers with names are kept likewise ([`known_peers`]). The arithmetic behind it is in [`rdv_proto::trust`].

pub mod host;
pub mod identity;
pub mod known_hosts;
pub mod known_peers;
pub mod peer;
pub mod private_file;

pub use host::{HostKeyError, HostTrust};
pub use identity::{Identity, IdentityError, key_hash};
pub use known_hosts::{KnownHosts, KnownHostsError};
pub use known_peers::{KnownPeer, KnownPeers, KnownPeersError};
pub use private_file::PrivateFile;

use rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    version::TLS13,
};

/// What every connection of ours speaks; old TLS is for old clients of the host alone.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];

/// *ring* with the suites in the order of speed on processors with AES instructions. Always passed
/// on explicitly: a library must not depend on, or set, the default of the process.
fn provider() -> CryptoProvider {
    use ring::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS13_AES_256_GCM_SHA384,
        ],
        ..ring::default_provider()
    }
}

/// Whether `error` came out of rustls, and which one.
pub(crate) fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
