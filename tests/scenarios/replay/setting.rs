//! The circumstances of a replay, and how it can end.

use std::time::Duration;

use rdv_proto::rendezvous::{EndReason, RelayPolicy};

use super::files::Over;

/// What our user does, and what else is different from a plain transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) relay: RelayPolicy,
    /// Our user's answer to the offer, and after how long.
    pub(super) yes: bool,
    pub(super) thinks: Duration,
    /// Our user cancels: so long after the first proposal, or as soon as bytes pass.
    pub(super) cancels: Option<Cancels>,
    pub(super) wish: Wishes,
    /// Of which recording the bytes are that a connection brings which this one has not.
    pub(super) borrow: Option<&'static str>,
    /// Who answers although this recording does not say so: there is the proof in `borrow`, or in its relay connection.
    pub(super) answers: &'static [&'static str],
    /// The relay does not answer, though nobody tried it in the recording.
    pub(super) relay_down: bool,
    /// Two files in a folder, not one file.
    pub(super) folder: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Cancels {
    After(Duration),
    WhileBytesPass,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Wishes {
    Take,
    HaveIt,
    Resume(u64),
    ResumeWrong(u64, u32),
}

/// An ordinary transfer.
pub(super) const PLAIN: Setting = Setting {
    relay: RelayPolicy::Auto,
    yes: true,
    thinks: Duration::from_millis(50),
    cancels: None,
    wish: Wishes::Take,
    borrow: None,
    answers: &[],
    relay_down: false,
    folder: false,
};

/// How it ended for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The files passed, over a direct connection or the relay.
    Passed(Over, Way),
    /// The conversation ended.
    Ended(EndReason),
    /// The files cannot be offered.
    NotOffered,
    /// Nothing came.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    Relay,
}
