//! Many old clients at once, each from an address of its own in 127.0.0.0/8, so that limits per address bear them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdv_host::accounts::Accounts;
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, MessageKind, SequenceNumber};
use rdv_proto::wire::service::SEND_FILE;
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::old_client::{Manners, OldClient};

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
    manners: Manners,
}

impl Citizen {
    async fn sign_on(&self, host: SocketAddr) -> OldClient {
        OldClient::sign_on(host, &self.name, &self.password, &self.manners)
            .await
            .unwrap_or_else(|code| panic!("{} may not sign on: {code:?}", self.name))
    }
}

#[expect(
    clippy::missing_panics_doc,
    reason = "a host that does something else fails the test"
)]
impl Crowd {
    /// Makes so many accounts in the database of the host, at most 50,000.
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
                let [high, low] = (number + 1).to_be_bytes();
                let manners = Manners {
                    from: Some(IpAddr::V4(Ipv4Addr::new(127, 7, high, low))),
                    ..Manners::default()
                };
                let password = created.legacy_password.expect("was asked for");
                let password = password.expose().to_owned();
                Citizen {
                    name,
                    password,
                    manners,
                }
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

    /// Signs on and off so many times, as many at a time as said; all of the crowd in turn.
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
                    citizen.sign_on(crowd.host).await.leave().await;
                }
            });
        }
        while let Some(done) = visitors.join_next().await {
            done.expect("a visit");
        }
    }

    /// All sign on. When all are there, everybody exchanges texts and proposals with somebody, who is another one in each
    /// round; when all have done so, they leave.
    pub async fn converse(&self, round: usize) {
        let count = self.citizens.len();
        let (there, done) = (Arc::new(Barrier::new(count)), Arc::new(Barrier::new(count)));
        let mut sessions = JoinSet::new();
        for number in 0..count {
            let (crowd, there, done) = (self.clone(), Arc::clone(&there), Arc::clone(&done));
            sessions.spawn(async move {
                let mut client = crowd.citizens[number].sign_on(crowd.host).await;
                there.wait().await;
                // Of each ring of neighbours at this distance, those at even places begin.
                let distance = 2 * round + 1;
                if number % 2 == 0 {
                    let partner = &crowd.citizens[(number + distance) % count].name;
                    begin(&mut client, partner).await;
                } else {
                    let partner = &crowd.citizens[(number + count - distance % count) % count].name;
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

async fn begin(client: &mut OldClient, partner: &str) {
    for _ in 0..TEXTS {
        say(client, partner).await;
        client.expect_message().await;
    }
    let cookie = Cookie(*b"3855154\0");
    let proposal = Message::propose(cookie, SEND_FILE, SequenceNumber::FIRST).with_direct(
        Ipv4Addr::new(192, 0, 2, 1),
        Ipv4Addr::new(192, 0, 2, 1),
        5190,
    );
    client.rendezvous(partner, &proposal, TlvList::new()).await;
    let (_, answer) = client.expect_rendezvous().await;
    assert_eq!((answer.kind, answer.cookie), (MessageKind::CANCEL, cookie));
}

async fn answer(client: &mut OldClient, partner: &str) {
    for _ in 0..TEXTS {
        client.expect_message().await;
        say(client, partner).await;
    }
    let (_, proposal) = client.expect_rendezvous().await;
    assert_eq!(proposal.kind, MessageKind::PROPOSE);
    let cancel = Message::cancel(proposal.cookie, SEND_FILE, CancelReason::USER);
    client.rendezvous(partner, &cancel, TlvList::new()).await;
}

/// Says something, and waits until the host has taken it.
async fn say(client: &mut OldClient, partner: &str) {
    client.text(partner, "are you there?").await;
    client.expect(Foodgroup::ICBM, 0x0C).await;
}
