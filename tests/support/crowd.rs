//! Many old clients at once, from many addresses in 127.0.0.0/8, so that limits per address bear them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdv_host::accounts::Accounts;
use rdv_proto::wire::icbm::{self, MessageToClient, subgroup};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, MessageKind, SequenceNumber};
use rdv_proto::wire::service::SEND_FILE;
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::old_client::{Manners, OldClient};

/// Addresses that they come from.
pub const ADDRESSES: usize = 1_000;
/// Texts that each of two says to the other.
const TEXTS: usize = 2;
/// Accounts that are made at once.
const MADE_AT_ONCE: usize = 8;

/// Accounts with old clients.
#[derive(Clone)]
pub struct Crowd {
    host: SocketAddr,
    citizens: Arc<[Citizen]>,
}

struct Citizen {
    name: String,
    password: String,
}

impl Citizen {
    async fn sign_on(&self, host: SocketAddr, address: usize) -> OldClient {
        let [high, low] = u16::try_from(address % ADDRESSES)
            .unwrap_or_default()
            .to_be_bytes();
        let manners = Manners {
            from: Some(IpAddr::V4(Ipv4Addr::new(127, 7, high, low))),
            ..Manners::default()
        };
        OldClient::sign_on(host, &self.name, &self.password, &manners)
            .await
            .unwrap_or_else(|code| panic!("{} may not sign on: {code:?}", self.name))
    }
}

#[expect(
    clippy::missing_panics_doc,
    reason = "a host that does something else fails the test"
)]
impl Crowd {
    /// Makes so many accounts in the database of the host.
    pub async fn settle(accounts: &Accounts, host: SocketAddr, count: u16) -> Self {
        let mut making = JoinSet::new();
        let mut citizens = Vec::new();
        for number in 0..count {
            if making.len() == MADE_AT_ONCE {
                citizens.extend(making.join_next().await);
            }
            let accounts = accounts.clone();
            making.spawn(async move {
                let name = format!("Citizen {number}");
                let created = accounts.create(&name, None, true).await.expect("room");
                let password = created.legacy_password.expect("was asked for");
                let password = password.expose().to_owned();
                Citizen { name, password }
            });
        }
        while let Some(citizen) = making.join_next().await {
            citizens.push(citizen);
        }
        let citizens = citizens.into_iter().map(|made| made.expect("made"));
        Self {
            host,
            citizens: citizens.collect(),
        }
    }

    /// Signs on and off so many times, as many at a time as said; all of the crowd in turn, from all of [`ADDRESSES`] in turn.
    pub async fn come_and_go(&self, cycles: usize, at_once: usize) {
        let next = Arc::new(AtomicUsize::new(0));
        let mut visitors = JoinSet::new();
        for _ in 0..at_once {
            let (crowd, next) = (self.clone(), Arc::clone(&next));
            visitors.spawn(async move {
                loop {
                    let cycle = next.fetch_add(1, Ordering::Relaxed);
                    if cycle >= cycles {
                        return;
                    }
                    let citizen = &crowd.citizens[cycle % crowd.citizens.len()];
                    let client = citizen.sign_on(crowd.host, cycle).await;
                    client.leave().await;
                }
            });
        }
        while let Some(done) = visitors.join_next().await {
            done.expect("a visit");
        }
    }

    /// All sign on. When all are there, they exchange texts and a proposal two by two; when all have done so, they leave.
    /// There must be an even number of them.
    pub async fn converse(&self) {
        let count = self.citizens.len();
        let (there, done) = (Arc::new(Barrier::new(count)), Arc::new(Barrier::new(count)));
        let mut sessions = JoinSet::new();
        for number in 0..count {
            let (crowd, there, done) = (self.clone(), Arc::clone(&there), Arc::clone(&done));
            sessions.spawn(async move {
                let mut client = crowd.citizens[number].sign_on(crowd.host, number).await;
                there.wait().await;
                // Neighbours: 0 and 1, 2 and 3.
                let partner = &crowd.citizens[number ^ 1].name;
                if number % 2 == 0 {
                    begin(&mut client, partner).await;
                } else {
                    answer(&mut client, partner).await;
                }
                done.wait().await;
                client.leave().await;
            });
        }
        while let Some(ended) = sessions.join_next().await {
            ended.expect("a session");
        }
    }
}

impl std::fmt::Debug for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crowd")
            .field("citizens", &self.citizens.len())
            .finish_non_exhaustive()
    }
}

/// What one of two has heard so far. What a client says and what the host acks cross each other.
#[derive(Default)]
struct Heard {
    texts: usize,
    acks: usize,
    rendezvous: Vec<Message>,
}

impl Heard {
    /// Listens until it is enough.
    async fn until(&mut self, client: &mut OldClient, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let snac = client.next().await;
            assert_eq!(snac.foodgroup, Foodgroup::ICBM, "{snac:?}");
            match snac.subgroup {
                subgroup::HOST_ACK => self.acks += 1,
                subgroup::MESSAGE_TO_CLIENT => {
                    let message = MessageToClient::decode(&snac.body).expect("a message");
                    match message.tlvs.first(icbm::tlv::RENDEZVOUS) {
                        None => self.texts += 1,
                        Some(block) => self
                            .rendezvous
                            .push(Message::decode(block.clone()).expect("a rendezvous message")),
                    }
                }
                _ => panic!("{snac:?}"),
            }
        }
    }
}

async fn begin(client: &mut OldClient, partner: &str) {
    let mut heard = Heard::default();
    for said in 1..=TEXTS {
        client.text(partner, "are you there?").await;
        heard
            .until(client, |heard| heard.texts == said && heard.acks == said)
            .await;
    }
    let cookie = Cookie(*b"3855154\0");
    let own = Ipv4Addr::new(192, 0, 2, 1);
    let proposal =
        Message::propose(cookie, SEND_FILE, SequenceNumber::FIRST).with_direct(own, own, 5190);
    client.rendezvous(partner, &proposal, TlvList::new()).await;
    heard
        .until(client, |heard| !heard.rendezvous.is_empty())
        .await;
    let answer = &heard.rendezvous[0];
    assert_eq!((answer.kind, answer.cookie), (MessageKind::CANCEL, cookie));
}

async fn answer(client: &mut OldClient, partner: &str) {
    let mut heard = Heard::default();
    for said in 1..=TEXTS {
        heard.until(client, |heard| heard.texts == said).await;
        client.text(partner, "I am").await;
    }
    let all = |heard: &Heard| heard.acks == TEXTS && !heard.rendezvous.is_empty();
    heard.until(client, all).await;
    let proposal = &heard.rendezvous[0];
    assert_eq!(proposal.kind, MessageKind::PROPOSE);
    let cancel = Message::cancel(proposal.cookie, SEND_FILE, CancelReason::USER);
    client.rendezvous(partner, &cancel, TlvList::new()).await;
}
