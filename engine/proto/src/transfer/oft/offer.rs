//! What OFT2 can carry at all, found out before anything starts.

use crate::limits::OFT_BYTES;
use crate::wire::error::EncodeError;

/// Why files cannot be offered to an old client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// There is no file.
    #[error("there is nothing to send")]
    Nothing,
    /// No file has a byte: libpurple drops such an offer without a word (L-22).
    #[error("an empty file cannot be sent to an old client on its own")]
    Empty,
    /// More than 65,535 files.
    #[error("{0} files: an old client takes at most 65,535")]
    TooManyFiles(usize),
    /// Above 4 GiB less one byte, in one file or in all.
    #[error("{bytes} bytes: an old client takes at most 4,294,967,295 in one transfer")]
    TooLarge {
        /// What it would be.
        bytes: u64,
    },
    /// A path that no header can carry.
    #[error(transparent)]
    Name(#[from] EncodeError),
}

/// Files and bytes of a transfer that OFT2 can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OftTotals {
    files: u16,
    bytes: u64,
    wide: bool,
}

impl OftTotals {
    /// Adds up the sizes of the files. `wide`: the peer is known to read the 64-bit total (tag 0x2713), so that a single file may be
    /// larger (L-26).
    ///
    /// # Errors
    /// Each [`OfferError`] but the one about names.
    pub fn of(sizes: impl IntoIterator<Item = u64>, wide: bool) -> Result<Self, OfferError> {
        let (mut count, mut bytes) = (0_usize, 0_u64);
        for size in sizes {
            count += 1;
            bytes = bytes.saturating_add(size);
        }
        if count == 0 {
            return Err(OfferError::Nothing);
        }
        let files = u16::try_from(count).map_err(|_| OfferError::TooManyFiles(count))?;
        let wide = wide && files == 1;
        if bytes > OFT_BYTES && !wide {
            return Err(OfferError::TooLarge { bytes });
        }
        if bytes == 0 {
            return Err(OfferError::Empty);
        }
        Ok(Self { files, bytes, wide })
    }

    /// How many files.
    pub fn files(&self) -> u16 {
        self.files
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a file above 4 GiB less one byte is part of it; such a one cannot be resumed.
    pub fn is_wide(&self) -> bool {
        self.wide && self.bytes > OFT_BYTES
    }
}
