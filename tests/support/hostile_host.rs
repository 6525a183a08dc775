//! A host that reads, drops, delays, repeats, reorders and rewrites what it carries.
//!
//! It takes messages apart by hand, by the specification alone: `[0x06][type u16][cookie 8][service 16]` and then parameters
//! `[tag u16][length u16][value]`; a security block is `RDV1 [version][flags]` and then items of the same form.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rdv::ScreenName;
use rdv::signaling::{BoxFuture, Incoming, Signaling, SignalingError};
use tokio::sync::mpsc;

/// Bytes in front of the parameters.
const HEAD: usize = 1 + 2 + 8 + 16;
/// Bytes in front of the items of a security block.
const BLOCK_HEAD: usize = 6;
/// "Encrypt".
pub const REQUEST_SECURE: u16 = 0x0011;
/// The security block.
pub const SECURITY: u16 = 0x5244;

/// Which message of a rendezvous it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// The first proposal.
    P1,
    /// The first proposal of the other side, which answers it.
    C2,
    /// Any proposal after these.
    C3,
    /// No proposal: an accept, a cancel.
    Other,
    /// A refusal.
    Error,
}

/// A parameter or an item: tag and value.
pub type Param = (u16, Vec<u8>);

/// One message on its way.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Which.
    pub leg: Leg,
    /// Who sent it.
    pub from: ScreenName,
    /// To whom.
    pub to: ScreenName,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Letter {
    /// Rewrites the parameters.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<Param>)) {
        let mut params = split(&self.body[HEAD..]);
        change(&mut params);
        self.body.truncate(HEAD);
        self.body.extend(joined(&params));
    }

    /// Rewrites the items of the security block.
    ///
    /// # Panics
    /// If there is none.
    pub fn edit_block(&mut self, change: impl FnOnce(&mut Vec<Param>)) {
        self.edit(|params| {
            let block = params.iter_mut().find(|(tag, _)| *tag == SECURITY);
            let (_, block) = block.expect("a security block");
            let mut items = split(&block[BLOCK_HEAD..]);
            change(&mut items);
            block.truncate(BLOCK_HEAD);
            block.extend(joined(&items));
        });
    }

    /// The types of the items of the security block; none if there is no block.
    #[must_use]
    pub fn block_items(&self) -> Vec<u16> {
        let params = split(&self.body[HEAD..]);
        let block = params.iter().find(|(tag, _)| *tag == SECURITY);
        block.map_or_else(Vec::new, |(_, block)| {
            split(&block[BLOCK_HEAD..])
                .into_iter()
                .map(|(item, _)| item)
                .collect()
        })
    }
}

fn split(mut bytes: &[u8]) -> Vec<Param> {
    let mut params = Vec::new();
    while let [t1, t0, l1, l0, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*l1, *l0])).min(rest.len());
        let (value, after) = rest.split_at(length);
        params.push((u16::from_be_bytes([*t1, *t0]), value.to_vec()));
        bytes = after;
    }
    params
}

fn joined(params: &[Param]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, value) in params {
        bytes.extend(tag.to_be_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(value);
    }
    bytes
}

/// What becomes of a letter: what is delivered instead, and after how long.
pub type Rule = Box<dyn FnMut(Letter) -> Vec<(Duration, Letter)> + Send>;

/// The rule of an honest host.
#[must_use]
pub fn honest() -> Rule {
    Box::new(|letter| vec![(Duration::ZERO, letter)])
}

/// A rule that rewrites the letters of one leg.
pub fn rewrite(leg: Leg, mut change: impl FnMut(&mut Letter) + Send + 'static) -> Rule {
    Box::new(move |mut letter| {
        if letter.leg == leg {
            change(&mut letter);
        }
        vec![(Duration::ZERO, letter)]
    })
}

/// A rule that loses the letters of one leg.
#[must_use]
pub fn lose(leg: Leg) -> Rule {
    Box::new(move |letter| {
        if letter.leg == leg {
            Vec::new()
        } else {
            vec![(Duration::ZERO, letter)]
        }
    })
}

struct State {
    members: BTreeMap<ScreenName, mpsc::UnboundedSender<Incoming>>,
    rule: Rule,
    proposer: Option<ScreenName>,
    answered: bool,
    first_seen: bool,
    carried: Vec<Letter>,
}

/// The host. All clones are the same one.
#[derive(Clone)]
pub struct HostileHost {
    state: Arc<Mutex<State>>,
}

impl HostileHost {
    /// A host with that rule.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        let state = State {
            members: BTreeMap::new(),
            rule,
            proposer: None,
            answered: false,
            first_seen: false,
            carried: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Signs somebody on.
    ///
    /// # Panics
    /// If `name` is no screen name.
    #[must_use]
    pub fn join(&self, name: &str) -> Member {
        let name = ScreenName::new(name).expect("a screen name");
        let (queue, arrived) = mpsc::unbounded_channel();
        self.lock().members.insert(name.clone(), queue);
        Member {
            host: self.clone(),
            name,
            arrived: tokio::sync::Mutex::new(arrived),
        }
    }

    /// Every letter that was sent, as it was before the rule.
    #[must_use]
    pub fn carried(&self) -> Vec<Letter> {
        self.lock().carried.clone()
    }

    /// Delivers a letter now, whatever the rule.
    pub fn inject(&self, letter: Letter) {
        let queue = self.lock().members.get(&letter.to).cloned();
        if let Some(queue) = queue {
            let _ = queue.send(Incoming::Message {
                from: letter.from,
                body: letter.body.into(),
            });
        }
    }

    fn take(&self, from: &ScreenName, to: ScreenName, body: &Bytes) {
        let mut state = self.lock();
        let leg = state.leg(from, body);
        let letter = Letter {
            leg,
            from: from.clone(),
            to,
            body: body.to_vec(),
        };
        state.carried.push(letter.clone());
        let fate = (state.rule)(letter);
        drop(state);
        for (delay, letter) in fate {
            if delay.is_zero() {
                self.inject(letter);
            } else {
                let host = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    host.inject(letter);
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leg(&mut self, from: &ScreenName, body: &[u8]) -> Leg {
        match body {
            [0x06, 0, 0, ..] => {}
            [0x06, ..] => return Leg::Other,
            _ => return Leg::Error,
        }
        let proposer = self.proposer.get_or_insert_with(|| from.clone()).clone();
        if proposer == *from && !std::mem::replace(&mut self.first_seen, true) {
            Leg::P1
        } else if proposer != *from && !std::mem::replace(&mut self.answered, true) {
            Leg::C2
        } else {
            Leg::C3
        }
    }
}

/// One who is signed on.
pub struct Member {
    host: HostileHost,
    name: ScreenName,
    arrived: tokio::sync::Mutex<mpsc::UnboundedReceiver<Incoming>>,
}

impl Signaling for Member {
    fn local_name(&self) -> ScreenName {
        self.name.clone()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        _host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(async move {
            self.host.take(&self.name, to, &body);
            Ok(())
        })
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async move {
            self.arrived
                .lock()
                .await
                .recv()
                .await
                .ok_or(SignalingError::Closed)
        })
    }
}
