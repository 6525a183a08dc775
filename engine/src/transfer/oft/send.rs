//! The sending side of OFT2.

use std::sync::Arc;
use std::time::Duration;

use rdv_proto::transfer::oft::{FileEnd, OftSend, SentEvent};
use rdv_proto::wire::oft::Header;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::super::Summary;
use super::super::control::{Control, Meter, Phase};
use super::super::error::TransferError;
use super::feed::{Due, Feed};
use super::header::{lost, read_header, some, write_header};
use super::outgoing::Prompted;

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(1);

/// Sends over `stream`, on which the first prompt was written and `answer` came: the other side's ACK, RESUME or DONE. Ends well only when the receiver
/// has called every file done. Closes the stream, and does not wait for the other side to do so: libpurple leaves it open.
///
/// # Errors
/// [`TransferError`]. The other side learns no reason from the stream; [`TransferError::LinkLost`] is all that is seen here when it gives up.
pub(crate) async fn send<S>(
    stream: S,
    answer: Header,
    prompted: Prompted,
    control: &Control,
) -> Result<Summary, TransferError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let meter = control.meter.clone();
    let (reader, writer) = tokio::io::split(stream);
    let last = prompted.last;
    let mut sender = Sender {
        reader,
        writer,
        feed: Feed::start()?,
        machine: prompted.machine,
        meter: &meter,
        summary: Summary {
            left_out: prompted.left_out,
            ..Summary::default()
        },
    };
    let all = async {
        let mut due = Arc::new(prompted.first);
        let mut rest = prompted.rest;
        let mut answer = answer;
        loop {
            sender.file(&due, answer).await?;
            let Some(next) = rest.pop_front() else {
                return Ok(());
            };
            let (prompt, file) = next.prompt(&mut sender.machine).await?;
            due = Arc::new(file);
            answer = sender.ask(&prompt).await?;
        }
    };
    meter.set_phase(Phase::Moving);
    let outcome = tokio::select! {
        biased;
        error = control.cancelled() => Err(error),
        () = meter.stalled() => Err(TransferError::Stalled),
        done = all => done,
    };
    if last || outcome.is_err() {
        meter.set_phase(Phase::Over);
    }
    let _ = tokio::time::timeout(CLOSE, sender.writer.shutdown()).await;
    outcome.map(|()| Summary {
        elapsed: meter.elapsed(),
        ..sender.summary
    })
}

struct Sender<'a, S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    feed: Feed,
    machine: OftSend,
    meter: &'a Meter,
    summary: Summary,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sender<'_, S> {
    /// Says something, and waits for the answer.
    async fn ask(&mut self, header: &Header) -> Result<Header, TransferError> {
        write_header(&mut self.writer, header).await?;
        self.meter.touch();
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Header, TransferError> {
        let answer = read_header(&mut self.reader).await?;
        self.meter.touch();
        Ok(answer)
    }

    /// One file, from the answer to its prompt to its DONE.
    async fn file(&mut self, due: &Arc<Due>, mut answer: Header) -> Result<(), TransferError> {
        loop {
            answer = match self.machine.handle(&answer)? {
                SentEvent::CheckResume { received, .. } => {
                    let own = self.feed.check(due, received).await?;
                    let accept = self.machine.resume_checked(own);
                    self.ask(&accept).await?
                }
                SentEvent::Reply(reply) => self.ask(&reply).await?,
                SentEvent::SendBody { from } => {
                    self.left_out(0, from);
                    self.body(due, from).await?;
                    self.machine.body_sent();
                    self.meter.set_phase(Phase::Finishing);
                    let done = self.answer().await?;
                    self.meter.set_phase(Phase::Moving);
                    done
                }
                SentEvent::FileDone(end) => {
                    match end {
                        FileEnd::Sent => {
                            self.summary.files += 1;
                            self.meter.add_files(1);
                        }
                        FileEnd::AlreadyThere | FileEnd::Skipped => {
                            self.left_out(1, due.entry.size);
                        }
                    }
                    return Ok(());
                }
            };
        }
    }

    /// The receiver has this already, or does not want it.
    fn left_out(&self, files: u64, bytes: u64) {
        let (all_files, all_bytes) = self.meter.totals();
        self.meter.set_totals(
            all_files.saturating_sub(files),
            all_bytes.saturating_sub(bytes),
        );
    }

    async fn body(&mut self, due: &Arc<Due>, from: u64) -> Result<(), TransferError> {
        self.meter.set_current(due.entry.path.as_str());
        self.feed.body(due, from).await?;
        while let Some((buffer, len)) = self.feed.piece().await? {
            let mut written = 0;
            while written < len {
                let more = self.writer.write(&buffer[written..len]).await;
                let more = more.and_then(some).map_err(lost)?;
                written += more;
                self.summary.bytes += more as u64;
                self.meter.add_bytes(more as u64);
            }
            self.feed.give_back(buffer);
        }
        self.writer.flush().await.map_err(lost)
    }
}
