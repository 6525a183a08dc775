//! How a file's bytes are verified while they pass: BLAKE3 between two of ours, the OFT checksum with old clients (S-23).

use rdv_proto::wire::oft::{Checksum, RunningChecksum};

/// What is computed over the bytes.
#[derive(Debug)]
pub(super) enum Digest {
    /// The native protocol's.
    Blake3(Box<blake3::Hasher>),
    /// That of plain mode. Against accidents only.
    Oft(RunningChecksum),
}

/// What the sender says the result is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Announced {
    /// BLAKE3 of the file.
    Blake3([u8; 32]),
    /// OFT checksum of the file.
    Oft(Checksum),
}

impl Digest {
    /// For a file of the native protocol.
    pub(super) fn blake3() -> Self {
        Self::Blake3(Box::default())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Oft(running) => running.update(bytes),
        }
    }

    /// Whether the bytes so far are what the sender says.
    pub(super) fn agrees(&self, announced: &Announced) -> bool {
        match (self, announced) {
            // blake3's own comparison takes the same time wherever they differ.
            (Self::Blake3(hasher), Announced::Blake3(hash)) => hasher.finalize() == *hash,
            (Self::Oft(running), Announced::Oft(checksum)) => running.value().agrees(*checksum),
            (Self::Blake3(_), Announced::Oft(_)) | (Self::Oft(_), Announced::Blake3(_)) => false,
        }
    }
}
