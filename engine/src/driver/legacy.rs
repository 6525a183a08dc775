//! One rendezvous of an old service, as a value: what is proposed, how the other end proves itself, what is done on the lane.

use std::sync::Arc;

use bytes::Bytes;
use rdv_proto::wire::tlv::TlvList;
use uuid::Uuid;

use crate::signaling::BoxFuture;
use crate::transfer::{Control, Summary, TransferError};
use crate::transport::Lane;
use crate::transport::opening::Opening;

/// The work of a service between the consent of both sides and the end.
pub(crate) struct LegacyWork {
    /// Which service.
    pub(crate) service: Uuid,
    /// What the first proposal says, from tag 0x2711 on; empty if it is not ours.
    pub(crate) tags: TlvList,
    /// The first words on a connection.
    pub(crate) opening: Arc<dyn Opening>,
    /// What is done behind them. It ends when the lane is not needed any more, and also when the control is cancelled.
    pub(crate) run: Run,
}

/// What a service does on its lane.
pub(crate) type Run =
    Box<dyn FnOnce(Opened, Control) -> BoxFuture<'static, Result<Summary, TransferError>> + Send>;

/// A lane of an old service that has proven itself.
pub(crate) struct Opened {
    /// Positioned behind the first words of the other end.
    pub(crate) lane: Lane,
    /// Those words.
    pub(crate) first: Bytes,
}
