//! Requests and their answers, one at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::admin::{AdminErrorCode, InfoReply, ReplyBlock, tag};
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::snac::{self, ErrorCode, Foodgroup, Snac, SnacError};
use rdv_proto::wire::tlv::TlvList;
use tokio::time::{Instant, sleep, timeout};

use super::error::AdminError;
use crate::oscar::client::{Client, Reader, Writer, read_or_write};
use crate::oscar::error::OscarError;
use crate::oscar::pace::{self, Pace};
use crate::oscar::sign_on::RATE_CHANGE;

/// How long the host may take for one answer: it may have to hash two passwords, or to hand a mail over.
const ANSWER: Duration = Duration::from_secs(30);
/// For saying goodbye.
const FAREWELL: Duration = Duration::from_millis(500);
/// The first request id; those of the handshake are below.
const FIRST_ID: u32 = 0x10;
/// Longest address of an explanation, in bytes.
const URL_MAX: usize = 1024;

/// The connection of the service.
pub(super) struct Talk {
    /// Whose connection stays up meanwhile: some hosts end the service with it.
    client: Arc<Client>,
    reader: Reader,
    writer: Writer,
    pace: Pace,
    next_id: u32,
}

impl Talk {
    pub(super) fn new(client: Arc<Client>, reader: Reader, writer: Writer, pace: Pace) -> Self {
        Self {
            client,
            reader,
            writer,
            pace,
            next_id: FIRST_ID,
        }
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Says 0x0007/`subgroup` and waits for 0x0007/`answer`.
    ///
    /// # Errors
    /// [`AdminError::NotTaken`], [`AdminError::Timeout`], [`AdminError::Closed`] or [`AdminError::Protocol`].
    pub(super) async fn ask(
        &mut self,
        subgroup: u16,
        body: Bytes,
        answer: u16,
    ) -> Result<Bytes, AdminError> {
        let now = Instant::now().into_std();
        sleep(self.pace.delay(pace::ADMIN, false, now)).await;
        self.pace.sent(pace::ADMIN, Instant::now().into_std());
        let id = self.next_id;
        // The high bit is the host's.
        self.next_id = (id + 1) & 0x7FFF_FFFF;
        let request = Snac::new(Foodgroup::ADMIN, subgroup, id, body);
        self.writer.queue_snac(&request);
        let heard = timeout(ANSWER, self.hear(id, answer)).await;
        heard.map_err(|_| AdminError::Timeout)?
    }

    async fn hear(&mut self, id: u32, answer: u16) -> Result<Bytes, AdminError> {
        loop {
            let heard = read_or_write(&mut self.reader, &mut self.writer).await;
            let Some(frame) = heard.map_err(broken)? else {
                continue;
            };
            match frame.channel {
                Channel::DATA => {}
                Channel::SIGN_OFF => return Err(AdminError::Closed(None)),
                _ => continue,
            }
            let snac = Snac::decode(frame.data)?;
            if snac.is(Foodgroup::OSERVICE, RATE_CHANGE) {
                self.pace.change(&snac.body, Instant::now().into_std());
            }
            if snac.foodgroup != Foodgroup::ADMIN || snac.request_id != id {
                continue;
            }
            if snac.subgroup == snac::ERROR {
                let code = ErrorCode(SnacError::decode(&snac.body)?.code);
                return Err(AdminError::NotTaken { code });
            }
            if snac.subgroup == answer {
                return Ok(snac.body);
            }
        }
    }

    /// Says goodbye on both connections.
    pub(super) async fn close(mut self) {
        self.writer.queue(Channel::SIGN_OFF, Bytes::new());
        let farewell = async {
            self.writer.drain().await?;
            self.writer.shutdown().await
        };
        // The host learns of it anyway when the connection is gone.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// The block about the field `asked` in a reply.
///
/// # Errors
/// [`AdminError::Refused`] if the host says no anywhere in it, [`AdminError::Unanswered`] if it says nothing of the field.
pub(super) fn block(body: &Bytes, asked: u16) -> Result<ReplyBlock, AdminError> {
    let mut reply = InfoReply::decode(body)?;
    if let Some((code, block)) = reply
        .blocks
        .iter()
        .find_map(|block| Some((block.error_code()?, block)))
    {
        return Err(refusal(code, &block.tlvs));
    }
    let about = |block: &ReplyBlock| block.tlvs.contains(asked);
    let at = reply.blocks.iter().position(about);
    at.map(|at| reply.blocks.swap_remove(at))
        .ok_or(AdminError::Unanswered)
}

/// What the host says beside a code.
pub(super) fn refusal(code: AdminErrorCode, tlvs: &TlvList) -> AdminError {
    let url = tlvs.text(tag::ERROR_URL);
    let url = url.filter(|url| !url.is_empty() && url.len() <= URL_MAX);
    AdminError::Refused {
        code,
        url: url.map(str::to_owned),
    }
}

/// What befalls a connection that was open already.
fn broken(error: OscarError) -> AdminError {
    match error {
        OscarError::Closed(source) => AdminError::Closed(source),
        OscarError::Protocol(error) => AdminError::Protocol(error),
        other => AdminError::Host(other),
    }
}
