//! The one task that owns the pairing machine: notes of the connections in, orders to them out.

use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use rdv_proto::relay::{Bound, ConnectionId, Input, Output, Pairing, Refusal, TicketError};
use rdv_proto::wire::ars::{Command, Frame};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::debug;

use crate::metrics::{Limit, Metrics};
use crate::random::random;

/// What a connection tells the desk.
pub(super) enum Note {
    /// It is there, and hears orders here.
    Opened(Input, ConnectionId, mpsc::Sender<Order>),
    /// Its first command, and whether it is one of the host's residents.
    Command {
        connection: ConnectionId,
        command: Command,
        signed_on: bool,
    },
    /// Anything else.
    Other(Input),
}

/// What the desk tells a connection.
pub(super) enum Order {
    /// Write this.
    Send(Bytes),
    /// Hang up.
    Close,
    /// Give yourself away.
    HandOver(oneshot::Sender<Handed>),
    /// Take the partner, and copy at most so many bytes.
    Carry(oneshot::Receiver<Handed>, u64),
}

/// A connection that goes to its partner's task: the stream, and what was read of it already.
pub(super) struct Handed {
    pub(super) stream: TcpStream,
    pub(super) early: BytesMut,
}

/// See the module.
pub(crate) struct Desk {
    pairing: Pairing,
    notes: mpsc::Receiver<Note>,
    /// Of a pair, the creator's.
    orders: HashMap<ConnectionId, mpsc::Sender<Order>>,
    /// How many pairs there are.
    pairs: watch::Sender<usize>,
    metrics: Metrics,
}

impl Desk {
    pub(super) fn new(
        pairing: Pairing,
        notes: mpsc::Receiver<Note>,
        pairs: watch::Sender<usize>,
        metrics: Metrics,
    ) -> Self {
        Self {
            pairing,
            notes,
            orders: HashMap::new(),
            pairs,
            metrics,
        }
    }

    /// Decides until told to stop; connections that are not paired are hung up on then.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let timeout = self.pairing.poll_timeout();
            let due = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let note = tokio::select! {
                note = self.notes.recv() => note,
                () = due => Some(Note::Other(Input::Timeout)),
                _ = stop.wait_for(|stop| *stop) => None,
            };
            let Some(note) = note else { return };
            self.take(note);
        }
    }

    fn take(&mut self, note: Note) {
        let input = match note {
            Note::Opened(input, connection, orders) => {
                self.orders.insert(connection, orders);
                input
            }
            Note::Command {
                connection,
                command,
                signed_on,
            } => match random() {
                Ok(random) => Input::Command {
                    connection,
                    command,
                    signed_on,
                    unix_s: unix_s(),
                    random,
                },
                // Without random tokens there is no pairing.
                Err(_) => Input::Malformed { connection },
            },
            Note::Other(input) => input,
        };
        match input {
            Input::Closed {
                connection,
                carried,
            } => {
                self.orders.remove(&connection);
                self.metrics.relayed(carried);
            }
            Input::Carried { bytes, .. } => self.metrics.relayed(bytes),
            _ => {}
        }
        self.pairing.handle_input(Instant::now(), input);
        while let Some(output) = self.pairing.poll_output() {
            self.carry_out(output);
        }
        let pairs = self.pairing.pairs();
        self.metrics.relay_holds(pairs, self.pairing.waiting());
        self.pairs
            .send_if_modified(|known| std::mem::replace(known, pairs) != pairs);
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send {
                connection,
                command,
            } => {
                self.order(connection, Order::Send(Frame::new(command).encode()));
            }
            Output::Close { connection } => {
                self.order(connection, Order::Close);
                self.orders.remove(&connection);
            }
            Output::Pair {
                creator,
                joiner,
                bytes_max,
            } => {
                debug!("two clients were joined");
                self.metrics.relay_joined();
                let (hand, handed) = oneshot::channel();
                self.order(joiner, Order::HandOver(hand));
                self.order(creator, Order::Carry(handed, bytes_max));
                self.orders.remove(&joiner);
            }
            Output::Cut { creator } => self.order(creator, Order::Close),
            Output::Refused(why) => {
                debug!(?why, "a client was refused");
                self.metrics.refused(limit(why));
            }
        }
    }

    /// A connection gets four orders at most, and its channel holds more: only one that is gone does not take them.
    fn order(&self, connection: ConnectionId, order: Order) {
        if let Some(orders) = self.orders.get(&connection) {
            orders.try_send(order).ok();
        }
    }
}

/// What a refusal is counted as.
fn limit(why: Refusal) -> Limit {
    match why {
        Refusal::Malformed => Limit::RelayFrame,
        Refusal::Ticket(TicketError::Foreign) | Refusal::NotOfSession => Limit::TicketForeign,
        Refusal::Ticket(TicketError::Expired) => Limit::TicketExpired,
        Refusal::Ticket(_) => Limit::TicketForged,
        Refusal::WrongCookie => Limit::TicketCookie,
        Refusal::Spent => Limit::TicketSpent,
        Refusal::PairBytes => Limit::RelayBytes,
        Refusal::AccountBytes => Limit::RelayBytesPerDay,
        Refusal::Draining => Limit::RelayDraining,
        Refusal::NoFirstCommand => Limit::RelayFirstCommand,
        Refusal::NoPartner => Limit::RelayPartner,
        Refusal::ClosedAddress => Limit::RelayWrongJoins,
        Refusal::TooMany(bound) => match bound {
            Bound::SilentPerAddress => Limit::RelaySilentPerAddress,
            Bound::Silent => Limit::RelaySilent,
            Bound::WaitingPerAddress => Limit::RelayWaitingPerAddress,
            Bound::WaitingPerAccount => Limit::RelayWaitingPerAccount,
            Bound::Waiting => Limit::RelayWaiting,
            Bound::PairsPerAddress => Limit::RelayPairsPerAddress,
            Bound::PairsPerAccount => Limit::RelayPairsPerAccount,
            Bound::Pairs => Limit::RelayPairs,
            Bound::Tokens => Limit::RelayTokens,
            Bound::Accounts => Limit::RelayAccounts,
            Bound::TicketsPerAccount => Limit::RelayTickets,
        },
        Refusal::Stranger | Refusal::NoSession | Refusal::SessionExists => Limit::RelayAccess,
    }
}

fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
