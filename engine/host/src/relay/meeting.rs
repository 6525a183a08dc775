//! One connection to the relay: its first command, the wait, and the hand-over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use rdv_proto::pace::Origin;
use rdv_proto::relay::{Access, ConnectionId, Input, Pairing, RelayLimits};
use rdv_proto::wire::ars::{Command, Frame};
use rdv_proto::wire::stun::could_begin_a_stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::Residents;
use super::desk::{Desk, Handed, Note, Order};
use super::pipe::{self, Meter, Terms, TimeUp};
use crate::metrics::{Limit, Metrics};
use crate::stun::Stun;

/// Bytes kept that come before READY.
const EARLY_MAX: usize = 4 * 1024;
/// Notes that wait for the desk; then connections wait.
const NOTES: usize = 1024;
/// More than a connection is ever sent before it belongs to its pair.
const ORDERS: usize = 8;
/// How often a pair tells what it carried.
const TALLY: Duration = Duration::from_secs(5);
/// For a frame of ours to get out.
const WRITE: Duration = Duration::from_secs(5);

/// Where connections to the relay are brought. Clones are the same relay.
#[derive(Clone)]
pub(crate) struct Meeting {
    notes: mpsc::Sender<Note>,
    next: Arc<AtomicU64>,
    limits: RelayLimits,
    public_address: Option<Ipv4Addr>,
    residents: Option<Arc<dyn Residents>>,
    stun: Stun,
    /// How many pairs there are.
    pairs: watch::Receiver<usize>,
    draining: Arc<AtomicBool>,
    metrics: Metrics,
}

/// Who a connection is of.
#[derive(Clone, Copy)]
struct Client {
    connection: ConnectionId,
    peer: SocketAddr,
    source: Origin,
}

/// What became of a connection.
enum Ended {
    /// Bytes that its pair carried.
    Closed(u64),
    /// Its partner's task has it now.
    HandedOver,
}

impl Meeting {
    /// A relay, and what decides in it. Its `residents` are served without tickets.
    pub(crate) fn new(
        access: Access,
        limits: RelayLimits,
        public_address: Option<Ipv4Addr>,
        residents: Option<Arc<dyn Residents>>,
        stun: Stun,
        metrics: Metrics,
    ) -> (Self, Desk) {
        let (notes, inbox) = mpsc::channel(NOTES);
        let (count, pairs) = watch::channel(0);
        let meeting = Self {
            notes,
            next: Arc::default(),
            limits,
            public_address,
            residents,
            stun,
            pairs,
            draining: Arc::default(),
            metrics: metrics.clone(),
        };
        let pairing = Pairing::new(access, limits);
        (meeting, Desk::new(pairing, inbox, count, metrics))
    }

    /// No session is made any more, those that wait are refused, and hosts that ask whether the relay lives get no answer. Pairs
    /// go on.
    pub(crate) async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.note(Note::Other(Input::Drain)).await;
    }

    /// Resolves once there is no pair.
    pub(crate) async fn idle(&self) {
        // Without a desk there are none either.
        let _ = self.pairs.clone().wait_for(|pairs| *pairs == 0).await;
    }

    /// Counts a connection that was one too many of its address.
    pub(super) fn refuse_connection(&self) {
        self.metrics.refused(Limit::RelayConnections);
    }

    /// Serves a connection of `peer` that came in at `local`, until it ends.
    pub(crate) async fn serve(&self, stream: TcpStream, peer: SocketAddr, local: SocketAddr) {
        let connection = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let announce = self
            .public_address
            .unwrap_or(match local.ip().to_canonical() {
                IpAddr::V4(v4) => v4,
                IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
            });
        let opened = Input::Opened {
            connection,
            address: peer.ip(),
            announce,
        };
        let (sender, orders) = mpsc::channel(ORDERS);
        self.note(Note::Opened(opened, connection, sender)).await;
        let client = Client {
            connection,
            peer,
            source: super::source(peer, local),
        };
        if let Ended::Closed(carried) = self.attend(client, stream, orders).await {
            self.note(Note::Other(Input::Closed {
                connection,
                carried,
            }))
            .await;
        }
    }

    async fn attend(
        &self,
        client: Client,
        mut stream: TcpStream,
        mut orders: mpsc::Receiver<Order>,
    ) -> Ended {
        let connection = client.connection;
        let mut early = BytesMut::new();
        let mut chunk = [0; 1024];
        // Whether the desk has all that it will get: then only orders count.
        let (mut commanded, mut told) = (false, false);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Send(frame)) => {
                        let written = timeout(WRITE, stream.write_all(&frame)).await;
                        if !matches!(written, Ok(Ok(()))) {
                            return Ended::Closed(0);
                        }
                    }
                    Some(Order::HandOver(hand)) => {
                        return match hand.send(Handed { stream, early }) {
                            Ok(()) => Ended::HandedOver,
                            Err(_) => Ended::Closed(0),
                        };
                    }
                    Some(Order::Carry(handed, bytes_max)) => {
                        let own = Handed { stream, early };
                        return Ended::Closed(self.carry(connection, own, handed, bytes_max, orders).await);
                    }
                    Some(Order::Close) | None => {
                        timeout(WRITE, hang_up(stream)).await.ok();
                        return Ended::Closed(0);
                    }
                },
                read = stream.read(&mut chunk), if !told => match read {
                    Ok(length @ 1..) => {
                        early.extend_from_slice(&chunk[..length]);
                        if !commanded && is_stun(&early) {
                            // One that is about to end is not to be handed out.
                            if !self.draining.load(Ordering::Relaxed) {
                                self.stun.serve_stream(&mut stream, early, client.peer).await;
                            }
                            return Ended::Closed(0);
                        }
                        if !commanded && let Some(command) = first_command(&mut early, &mut told) {
                            commanded = true;
                            let signed_on = self.is_resident(&command, client.source);
                            self.note(Note::Command {
                                connection,
                                command,
                                signed_on,
                            })
                            .await;
                        }
                        if commanded && early.len() > EARLY_MAX {
                            told = true;
                        }
                        if told {
                            self.note(Note::Other(Input::Malformed { connection })).await;
                        }
                    }
                    Ok(0) | Err(_) => return Ended::Closed(0),
                },
            }
        }
    }

    fn is_resident(&self, command: &Command, source: Origin) -> bool {
        match (command, &self.residents) {
            (Command::Create { name, .. } | Command::Join { name, .. }, Some(residents)) => {
                residents.is_signed_on(name, source)
            }
            _ => false,
        }
    }

    /// Carries until the pair ends, or the desk says so; says how many bytes passed that the desk was not told of yet.
    async fn carry(
        &self,
        connection: ConnectionId,
        own: Handed,
        partner: oneshot::Receiver<Handed>,
        bytes_max: u64,
        mut orders: mpsc::Receiver<Order>,
    ) -> u64 {
        let Ok(partner) = partner.await else {
            return 0;
        };
        let meter = Meter::new(Terms {
            idle: self.limits.pair_idle,
            life: self.limits.pair_life,
            bytes_max,
        });
        let [mut own_stream, mut partner_stream] = [own.stream, partner.stream];
        let mut told = 0;
        tokio::select! {
            ended = pipe::carry(
                (own_stream.split(), own.early.freeze()),
                (partner_stream.split(), partner.early.freeze()),
                &meter,
            ) => match ended {
                Some(TimeUp::Idle) => self.metrics.refused(Limit::RelayIdle),
                Some(TimeUp::Life) => self.metrics.refused(Limit::RelayLife),
                None => {}
            },
            () = self.tally(connection, &meter, &mut told) => {}
            // The only order that a pair gets is to end.
            Some(_) = orders.recv() => {}
        }
        meter.bytes().saturating_sub(told)
    }

    /// Tells the desk from time to time what a pair has carried.
    async fn tally(&self, connection: ConnectionId, meter: &Meter, told: &mut u64) {
        let mut pace = tokio::time::interval(TALLY);
        loop {
            pace.tick().await;
            let bytes = meter.bytes().saturating_sub(*told);
            if bytes > 0 {
                // Before the note: who is dropped on the way tells nothing twice.
                *told += bytes;
                self.note(Note::Other(Input::Carried { connection, bytes }))
                    .await;
            }
        }
    }

    async fn note(&self, note: Note) {
        // Without a desk all is ending anyway.
        self.notes.send(note).await.ok();
    }
}

/// Whether these are the first bytes of a STUN client, which asks a relay where it comes from.
fn is_stun(early: &[u8]) -> bool {
    early
        .first_chunk()
        .is_some_and(|first| could_begin_a_stream(*first))
}

/// Takes the first frame with a command of a client; `broken` is set if there will be none.
fn first_command(early: &mut BytesMut, broken: &mut bool) -> Option<Command> {
    loop {
        match Frame::decode(early) {
            Ok(None) => return None,
            Err(_) => {
                *broken = true;
                return None;
            }
            // Odd commands are a relay's own: ignored.
            Ok(Some(frame)) if frame.command.number() % 2 == 1 => {}
            Ok(Some(frame)) => return Some(frame.command),
        }
    }
}

/// Says that nothing more comes, and takes what still does, so that the last frame is not lost.
async fn hang_up(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        let mut rest = stream.take(EARLY_MAX as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink())
            .await
            .ok();
    }
}
