//! What a transfer runs on.

use std::io;

use rdv_proto::trust::{Role, Session};
use tokio::io::AsyncWriteExt;

use super::Lane;
use super::attempt::USE_FRAME;

/// The lanes of one session, handed by value to the transfer that runs on them.
///
/// A lane is one authenticated connection. Today a link has exactly one: the lane that the controller nominated. Blocks are
/// numbered per link, not per lane, so that further lanes can take over (`MOVED`, `FROM`, `RESUME`, link control 0x05 to
/// 0x07) without a change to the frames.
pub struct Link {
    pub(crate) lane: Lane,
    /// Whether we are the controller, whose first frame on the lane is `USE`.
    pub(crate) nominate: bool,
}

impl Link {
    pub(crate) fn new(lane: Lane, session: &Session) -> Self {
        Self {
            lane,
            nominate: session.role() == Role::Answerer,
        }
    }

    /// The lane, ready for the transfer's first frame.
    ///
    /// # Errors
    /// The lane broke while it was nominated.
    pub(crate) async fn open(mut self) -> io::Result<Lane> {
        if self.nominate {
            self.lane.write_all(&USE_FRAME).await?;
            self.lane.flush().await?;
        }
        Ok(self.lane)
    }
}
