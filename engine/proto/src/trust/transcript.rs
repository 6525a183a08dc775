//! TH0: one hash over everything in the signalling that must reach the other side unchanged.
//!
//! Addresses, ports, USE_ARS and the verified address are not in it: host and NATs may rightly
//! rewrite them, and a wrong address can only make the connection fail (`security.md` 5.4).

use sha2::{Digest as _, Sha256};

use super::handshake::{Context, Terms};

const LABEL: &[u8] = b"rdv-v1";

/// SHA-256 over these fields, each as `[len: u32 BE][bytes]`:
/// `rdv-v1`, proposer, answerer (normal form), cookie (8), service (16); then for P1 and for C2:
/// REQUEST_SECURE there (one byte, 1 or 0), lowest version, highest version (2 bytes, or none if
/// the tag was absent), security block. The block of `c2` must have 32 zero bytes for its proof.
pub(crate) fn th0(context: &Context, p1: &Terms<'_>, c2: &Terms<'_>) -> [u8; 32] {
    let versions = |terms: &Terms<'_>| (bytes_of(terms.min), bytes_of(terms.max));
    let ((p1_min, p1_max), (c2_min, c2_max)) = (versions(p1), versions(c2));
    let hashed = framed(&[
        LABEL,
        context.proposer.normalized().as_bytes(),
        context.answerer.normalized().as_bytes(),
        &context.cookie.0,
        context.service.as_bytes(),
        &[u8::from(p1.request_secure)],
        &p1_min,
        &p1_max,
        p1.block,
        &[u8::from(c2.request_secure)],
        &c2_min,
        &c2_max,
        c2.block,
    ]);
    Sha256::digest(hashed).into()
}

fn bytes_of(version: Option<u16>) -> Vec<u8> {
    version.map_or_else(Vec::new, |version| version.to_be_bytes().to_vec())
}

/// Fields back to back, each as `[len: u32 BE][bytes]`, so that no two lists look alike.
pub(crate) fn framed(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        let len = u32::try_from(field.len()).expect("names and blocks are limited to a KiB");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}
