//! The sockets of each conversation, by generation: opened as the machine asks, or beforehand while a code waits for somebody.
//!
//! Each site has a task of its own, which hands up what happens there and closes it in the end. Closing takes a moment if a router
//! has to be told, so the tasks outlive their conversations by that.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use rdv_proto::rendezvous::ConversationId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::setup::Setup;
use crate::transport::attempt::Arrival;
use crate::transport::site::{Dialer, Doors, Found, Site, SiteEvent, SiteOptions};

pub(super) struct Sites {
    /// As the user wants them all to be.
    options: SiteOptions,
    /// Belongs to nobody yet.
    prepared: Option<Held>,
    open: BTreeMap<(ConversationId, u32), Held>,
    tasks: JoinSet<()>,
    out: mpsc::Sender<Arrival>,
}

/// The site is closed when nobody holds it any more.
#[derive(Clone)]
struct Held {
    dialer: Dialer,
    doors: Doors,
    usage: Arc<watch::Sender<Usage>>,
}

/// Whom a site serves.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Usage {
    /// Whoever comes first.
    Nobody,
    /// One generation of a conversation.
    Of(ConversationId, u32),
    /// Only the lanes that stand on it.
    Lanes,
}

/// What a conversation needs sockets for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Own addresses are to be found out, too.
    pub(super) addresses: bool,
    /// Nothing that was opened beforehand will do.
    pub(super) fresh: bool,
    /// The peer is an old client, which knows TCP alone.
    pub(super) old: bool,
}

impl Sites {
    pub(super) fn new(setup: &Setup, out: mpsc::Sender<Arrival>) -> Self {
        let roads = setup.roads.clone();
        let infrastructure = || setup.never_dial.iter().copied().collect();
        Self {
            options: SiteOptions {
                bind: roads.bind,
                ports: roads.ports,
                external: roads.external,
                loopback: setup.host_on_this_machine,
                addresses: true,
                stun: roads.stun.unwrap_or_else(infrastructure),
                verified: setup.seen_as.map(Into::into),
                port_mapping: roads.port_mapping,
                udp: roads.udp,
                socks: roads.socks,
            },
            prepared: None,
            open: BTreeMap::new(),
            tasks: JoinSet::new(),
            out,
        }
    }

    /// Opens sockets for a conversation that is likely to come soon, so that all is known by then. Only after our user's own act:
    /// there is a listener from now on (S-11).
    pub(super) fn prepare(&mut self) {
        if self.prepared.is_none() {
            match self.spawn(self.options.clone(), Usage::Nobody) {
                Ok(held) => self.prepared = Some(held),
                Err(error) => tracing::debug!(%error, "no sockets beforehand"),
            }
        }
    }

    /// Nobody is likely to come any more.
    pub(super) fn put_away(&mut self) {
        self.prepared = None;
    }

    /// Opens the sockets of a conversation; what is found comes as it is found.
    ///
    /// # Errors
    /// If no socket can be had.
    pub(super) fn open(
        &mut self,
        id: ConversationId,
        generation: u32,
        wanted: Wanted,
    ) -> io::Result<()> {
        let usage = Usage::Of(id.clone(), generation);
        let usable = wanted.addresses && !wanted.fresh && !wanted.old;
        let held = match self.prepared.take().filter(|_| usable) {
            Some(prepared) => {
                prepared.usage.send_replace(usage);
                prepared
            }
            None => {
                let mut options = self.options.clone();
                options.addresses = wanted.addresses;
                if wanted.old {
                    options.udp = false;
                    options.stun.clear();
                }
                match self.spawn(options, usage.clone()) {
                    Ok(held) => held,
                    Err(error) => self.go_on_with_last(&id, usage).ok_or(error)?,
                }
            }
        };
        self.open.insert((id, generation), held);
        Ok(())
    }

    /// Where the user allows so few ports that there is none left, the sockets of the last generation serve the next one.
    fn go_on_with_last(&self, id: &ConversationId, usage: Usage) -> Option<Held> {
        let of_all = (id.clone(), 0)..=(id.clone(), u32::MAX);
        let (_, last) = self.open.range(of_all).next_back()?;
        last.usage.send_replace(usage);
        Some(last.clone())
    }

    /// The ways out of a generation's sockets.
    pub(super) fn dialer(&self, id: &ConversationId, generation: u32) -> Option<Dialer> {
        let held = self.open.get(&(id.clone(), generation))?;
        Some(held.dialer.clone())
    }

    /// Closes the listeners of a generation; what lanes stand on stays until the conversation is over.
    pub(super) fn retire(&mut self, id: &ConversationId, generation: u32) {
        if let Some(held) = self.open.get(&(id.clone(), generation)) {
            let retired = Usage::Of(id.clone(), generation);
            held.usage.send_if_modified(|usage| {
                let is_its_own = *usage == retired;
                if is_its_own {
                    *usage = Usage::Lanes;
                }
                is_its_own
            });
        }
    }

    /// Closes everything of a conversation.
    pub(super) fn close(&mut self, id: &ConversationId) {
        self.open.retain(|(of, _), held| {
            if of == id {
                // At once: what else there is to close takes a moment.
                held.doors.close();
            }
            of != id
        });
        // Those that have ended by themselves.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Closes everything, and waits until routers have taken back what they gave.
    pub(super) async fn close_all(mut self) {
        self.prepared = None;
        self.open.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    fn spawn(&mut self, options: SiteOptions, usage: Usage) -> io::Result<Held> {
        let site = Site::open(options)?;
        let (dialer, doors) = (site.dialer(), site.doors());
        let (usage, used) = watch::channel(usage);
        self.tasks.spawn(serve(site, used, self.out.clone()));
        let usage = Arc::new(usage);
        Ok(Held {
            dialer,
            doors,
            usage,
        })
    }
}

/// Hands up what happens at a site as long as somebody holds it, then closes it.
async fn serve(mut site: Site, mut used: watch::Receiver<Usage>, out: mpsc::Sender<Arrival>) {
    let mut usage = used.borrow_and_update().clone();
    let mut known: Option<Found> = None;
    loop {
        let event = tokio::select! {
            biased;
            changed = used.changed() => match changed {
                Ok(()) => {
                    usage = used.borrow_and_update().clone();
                    if usage == Usage::Lanes {
                        site.retire();
                    }
                    // Whoever comes later wants to know it, too.
                    known.clone().map(SiteEvent::Found)
                }
                Err(_dropped) => break,
            },
            event = site.next() => {
                if let SiteEvent::Found(found) = &event {
                    known = Some(found.clone());
                }
                Some(event)
            }
        };
        // Others are strangers: nobody knows these addresses yet, or any more.
        if let (Usage::Of(id, generation), Some(event)) = (&usage, event) {
            let arrival = Arrival::Site {
                id: id.clone(),
                generation: *generation,
                event,
            };
            if out.send(arrival).await.is_err() {
                break;
            }
        }
    }
    site.close().await;
}
