//! What a transfer runs on.

use std::net::SocketAddr;
use std::{fmt, io};

use rdv_proto::trust::{Role, Session};
use tokio::io::AsyncWriteExt;

use super::Lane;
use super::attempt::USE_FRAME;

/// How the bytes of a lane travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathKind {
    /// From machine to machine.
    Direct,
    /// From machine to machine, with an old client: the one that was proposed to could not reach the other, and was dialled instead.
    Redirect,
    /// Over an ARS relay, which sees what the path sees.
    Relay,
}

/// The path of a lane, as people and `--json` are told it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path {
    /// Direct, redirected or by relay.
    pub kind: PathKind,
    /// The other end of our TCP connection: the peer, or the relay.
    pub remote: Option<SocketAddr>,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            PathKind::Direct => "direct",
            PathKind::Redirect => "redirect",
            PathKind::Relay => "relay",
        })
    }
}

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
