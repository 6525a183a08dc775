//! One client: frames from its stream into the session machine, and what the machine says into its queue.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rdv_proto::session::{Output, Session, SessionConfig};
use rdv_proto::wire::flap::Frame;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};
use tracing::{debug, trace};

use crate::gate::Pass;
use crate::host::Shared;
use crate::queue::{Queue, queue};
use crate::random::random;
use crate::router::Seat;

/// What is read at once, in bytes.
const READ: usize = 8 * 1024;
/// What is still read of a client that was sent away, so that it gets to read why.
const DRAIN_MAX: u64 = 256 * 1024;

/// A connection that passed the door.
pub(crate) struct Arrival {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pass: Pass,
    pub(crate) peer: std::net::SocketAddr,
    pub(crate) local: std::net::SocketAddr,
    pub(crate) arrived: Instant,
    /// Over TLS: guests may sign on.
    pub(crate) tls: bool,
    pub(crate) stop: watch::Receiver<bool>,
}

enum Ended {
    /// What is queued should still reach the client.
    Farewell,
    /// There is nobody to say anything to.
    Gone,
}

impl Arrival {
    /// Serves the client until it is gone.
    pub(crate) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let limits = self.shared.limits;
        let (Ok(challenge), Ok(sequence)) = (random(), random::<2>()) else {
            return;
        };
        let config = SessionConfig {
            peer: self.peer,
            guests: self.tls,
            challenge,
            rate_general: limits.rate_general,
            rate_icbm: limits.rate_icbm,
            proposals: limits.proposals,
        };
        let (mut reading, writing) = tokio::io::split(stream);
        let (queue, outgoing) = queue(limits.queue_messages, limits.queue_bytes);
        let overflow = outgoing.overflow();
        let mut client = Client {
            session: Session::new(Instant::now(), config),
            queue,
            seat: None,
            pass: Some(self.pass),
            shared: self.shared,
            local: self.local,
            peer: self.peer,
            arrived: self.arrived,
        };
        let sequence = u16::from_be_bytes(sequence) >> 1;
        let mut writer = std::pin::pin!(outgoing.write_to(writing, sequence, limits.keep_alive));
        let ended = tokio::select! {
            ended = client.read_from(&mut reading, self.stop) => ended,
            _ = &mut writer => Ended::Gone,
            () = overflow.notified() => {
                debug!("a client did not keep up and was cut off");
                Ended::Gone
            }
        };
        // From here on nobody reaches this client, and its number waits for it.
        client.seat = None;
        if let Ended::Farewell = ended {
            client.queue.close();
            let farewell = async {
                if writer.await.is_ok() {
                    let mut rest = reading.take(DRAIN_MAX);
                    tokio::io::copy(&mut rest, &mut tokio::io::sink())
                        .await
                        .ok();
                }
            };
            timeout(limits.farewell, farewell).await.ok();
        }
        trace!("connection ended");
    }
}

struct Client {
    session: Session,
    queue: Queue,
    seat: Option<Seat>,
    pass: Option<Pass>,
    shared: Arc<Shared>,
    local: std::net::SocketAddr,
    peer: std::net::SocketAddr,
    arrived: Instant,
}

impl Client {
    async fn read_from(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut stop: watch::Receiver<bool>,
    ) -> Ended {
        let mut buffer = BytesMut::new();
        let opened = Instant::now();
        let mut last_frame = opened;
        if let Some(ended) = self.carry_out() {
            return ended;
        }
        loop {
            loop {
                match Frame::decode(&mut buffer, self.session.payload_max()) {
                    Ok(None) => break,
                    Err(_) => return Ended::Gone,
                    Ok(Some(frame)) => {
                        last_frame = Instant::now();
                        self.session.handle_frame(last_frame, frame);
                        if let Some(ended) = self.carry_out() {
                            return ended;
                        }
                    }
                }
            }
            buffer.reserve(READ);
            let deadline = self.deadline(opened, last_frame);
            let read = tokio::select! {
                read = timeout_at(deadline.into(), stream.read_buf(&mut buffer)) => read,
                _ = stop.wait_for(|stop| *stop) => {
                    self.session.sign_off(None);
                    self.carry_out();
                    return Ended::Farewell;
                }
            };
            match read {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Ended::Gone,
                Err(_) => {
                    self.session.sign_off(None);
                    self.carry_out();
                    return Ended::Farewell;
                }
            }
        }
    }

    /// Absolute: single bytes do not move it.
    fn deadline(&self, opened: Instant, last_frame: Instant) -> Instant {
        let limits = &self.shared.limits;
        if self.session.is_online() {
            return last_frame + limits.silence;
        }
        let signed_on = self.arrived + limits.sign_on;
        match self.session.is_greeted() {
            true => signed_on,
            false => signed_on.min(opened + limits.first_frame),
        }
    }

    /// Does what the session wants done; says whether the connection ended by it.
    fn carry_out(&mut self) -> Option<Ended> {
        while let Some(output) = self.session.poll_output() {
            let now = Instant::now();
            match (output, &self.seat) {
                (Output::Send(channel, data), _) => {
                    if !self.queue.push(channel, data) {
                        return Some(Ended::Gone);
                    }
                }
                (Output::Close, _) => return Some(Ended::Farewell),
                (Output::SignOn(wish), _) => {
                    let queue = self.queue.clone();
                    match self
                        .shared
                        .router
                        .sign_on(now, &wish, self.peer.ip(), queue)
                    {
                        Ok(seat) => {
                            self.session.signed_on(
                                seat.name.clone(),
                                seat.token.as_ref(),
                                seat.since_unix_s,
                            );
                            self.seat = Some(seat);
                            self.pass = None;
                        }
                        Err(code) => {
                            debug!(?code, "a guest was refused");
                            self.session.refused(code);
                        }
                    }
                }
                (Output::Online, Some(seat)) => seat.set_online(),
                (Output::Capabilities(list), Some(seat)) => seat.set_capabilities(list),
                (Output::Parameters(parameters), Some(seat)) => seat.set_parameters(parameters),
                (Output::PassOn(error), Some(seat)) => seat.pass_on(now, error),
                (Output::Deliver(outbound), Some(seat)) => match seat.deliver(now, &outbound) {
                    Ok(()) => self.session.delivered(&outbound),
                    Err(code) => {
                        let [first, second, ..] = outbound.message.cookie.0;
                        debug!(?code, "cookie {first:02x}{second:02x}… was not delivered");
                        self.session.undelivered(&outbound, code);
                    }
                },
                (Output::Relay { request_id }, Some(seat)) => {
                    let relay = self.shared.relay.as_ref().and_then(|relay| {
                        let ticket = relay.ticket(&seat.name)?;
                        Some((relay.address_for(self.local)?, ticket))
                    });
                    self.session.relay(request_id, relay);
                }
                // Without a seat the session asks for nothing but one.
                (_, None) => return Some(Ended::Gone),
            }
        }
        None
    }
}
