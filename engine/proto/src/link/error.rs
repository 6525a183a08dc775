//! What a peer must not say on a lane.

/// The lane on which it was said is to be closed; the others are not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link knows no such lane, or has ended it.
    #[error("no such lane")]
    NoLane,
    /// USE on a lane that is in use.
    #[error("USE once more")]
    UsedTwice,
    /// STREAM, MOVED or FIN before FROM.
    #[error("bytes without a number")]
    NoFrom,
    /// STREAM without a byte.
    #[error("an empty STREAM")]
    EmptyStream,
    /// STREAM of more than 256 KiB.
    #[error("a STREAM of {0} bytes")]
    LongStream(usize),
    /// A further frame before the payload of a STREAM was taken.
    #[error("a frame inside of a STREAM")]
    InsideStream,
    /// FROM goes back on a lane that nobody asked to.
    #[error("FROM {to} behind byte {at} without RESUME")]
    Backwards {
        /// What it says.
        to: u64,
        /// Where the lane stands.
        at: u64,
    },
    /// A number further from the receiver's position than a sender can keep.
    #[error("byte {byte} is too far from {position}")]
    TooFar {
        /// What it says.
        byte: u64,
        /// Where the receiver is.
        position: u64,
    },
    /// MOVED or FIN names another byte than the one that the lane stands at.
    #[error("a mark at {mark} on a lane that stands at {at}")]
    WrongMark {
        /// What it says.
        mark: u64,
        /// Where the lane stands.
        at: u64,
    },
    /// FIN on a lane that had it already.
    #[error("FIN twice")]
    FinTwice,
    /// FIN with another number than before, or bytes behind it.
    #[error("the stream ended at {fin}, and has byte {byte}")]
    BehindFin {
        /// Where it ended.
        fin: u64,
        /// What was said now.
        byte: u64,
    },
    /// ACK or RESUME of what was never sent.
    #[error("byte {byte} acknowledged, {sent} sent")]
    BeyondSent {
        /// What it says.
        byte: u64,
        /// What went out, FIN included.
        sent: u64,
    },
    /// ACK or RESUME below what was acknowledged on the same lane.
    #[error("byte {byte} acknowledged after {before}")]
    Unacknowledged {
        /// What it says.
        byte: u64,
        /// What was said before.
        before: u64,
    },
    /// More control frames than anything needs.
    #[error("a flood of control frames")]
    Flood,
    /// The other side gives up the lane.
    #[error("the other side aborted the lane, reason {0}")]
    Aborted(u16),
    /// A frame that is not the link's.
    #[error("a frame of type {0:#04x} outside of STREAM")]
    Foreign(u8),
    /// A control frame that is longer than any.
    #[error("a control frame of {0} bytes")]
    LongControl(usize),
    /// A control frame that cannot be read.
    #[error(transparent)]
    Undecodable(#[from] crate::wire::error::DecodeError),
}
