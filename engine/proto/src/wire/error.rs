//! Why bytes could not be understood, or a value not be written.

use thiserror::Error;

/// What a decoder missed or refused. The peer's fault, never ours.
///
/// `what` names the structure as the protocol does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The structure ended before a field of it.
    #[error("{what}: {needed} bytes needed at offset {offset}, {available} there")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Where the field begins, in bytes from the start of the structure.
        offset: usize,
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that were left.
        available: usize,
    },
    /// A fixed value at the start was another: these bytes are no such structure.
    #[error("{what}: starts with {found:#x}")]
    BadMarker {
        /// The structure.
        what: &'static str,
        /// The value found in place of the marker.
        found: u32,
    },
    /// A length is outside of what the structure allows, or of the limit that we set.
    #[error("{what}: length {length}, allowed are {min} to {max}")]
    BadLength {
        /// The structure.
        what: &'static str,
        /// The length found, in bytes.
        length: usize,
        /// The smallest that is allowed.
        min: usize,
        /// The largest that is allowed.
        max: usize,
    },
    /// More items than the limit.
    #[error("{what}: more than {max}")]
    TooMany {
        /// The items.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A required part is absent, or its value is the one that means absent.
    #[error("{what} is missing")]
    Missing {
        /// The part.
        what: &'static str,
    },
    /// A tag that may stand there once only stands there twice (with different content, where equal copies are harmless).
    #[error("{what}: tag {tag:#06x} repeated")]
    Repeated {
        /// The structure.
        what: &'static str,
        /// The tag.
        tag: u16,
    },
    /// A version that we do not speak.
    #[error("{what}: version {version} is not supported")]
    UnsupportedVersion {
        /// The structure.
        what: &'static str,
        /// The version found.
        version: u16,
    },
    /// Bytes that should be text are not.
    #[error("{what}: not a text")]
    NotText {
        /// The field.
        what: &'static str,
    },
    /// A value that the field cannot have.
    #[error("{what}: value {value:#x} is not allowed")]
    BadValue {
        /// The field.
        what: &'static str,
        /// The value found.
        value: u64,
    },
}

/// Why a value could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value does not fit the length field of its envelope.
    #[error("{what}: {length} bytes, at most {max} fit")]
    TooLong {
        /// The envelope.
        what: &'static str,
        /// The length that it would have, in bytes.
        length: usize,
        /// The largest that fits.
        max: usize,
    },
    /// The value holds something that a reader would take for the end of it.
    #[error("{what}: may not hold {marker}")]
    Marker {
        /// The structure.
        what: &'static str,
        /// What it may not hold.
        marker: &'static str,
    },
    /// The tag belongs to others: a server-only tag, or one that has a setter of its own.
    #[error("tag {tag:#06x} may not be set here")]
    ForbiddenTag {
        /// The tag.
        tag: u16,
    },
    /// The character set lacks a character of the text.
    #[error("{what}: not in the character set")]
    NotInCharset {
        /// The text.
        what: &'static str,
    },
}
