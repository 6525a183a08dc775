//! Our client against our host, over real sockets on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdv::ScreenName;
use rdv::oscar::{Client, Joiner, OscarError, Owner, SignOn, Standing};
use rdv::signaling::{Incoming, RelayDirectory, Signaling, SignalingError};
use rdv::transport::{Route, ars};
use rdv::trust::HostTrust;
use rdv_host::{Host, HostConfig, HostHandle};
use rdv_proto::wire::rendezvous::{Cookie, Message, NakCode, SequenceNumber};
use rdv_proto::wire::service::NATIVE;
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::signon::LoginErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);
const COOKIE: Cookie = Cookie(*b"TRYST001");

async fn host() -> HostHandle {
    Host::bind(HostConfig::default()).await.unwrap().spawn()
}

async fn sign_on(host: &HostHandle, sign_on: SignOn) -> Result<Client, OscarError> {
    let address = host.local_addrs()[0].to_string();
    Client::connect(&address, &HostTrust::AcceptAny, sign_on, PATIENCE).await
}

async fn owner(host: &HostHandle) -> Client {
    sign_on(host, SignOn::Owner { expire: HOUR }).await.unwrap()
}

async fn joiner(host: &HostHandle) -> Client {
    sign_on(host, SignOn::Join).await.unwrap()
}

fn proposal(cookie: Cookie, sequence: u16) -> Bytes {
    let sequence = SequenceNumber::new(sequence).unwrap();
    Signal::Rendezvous(Message::propose(cookie, NATIVE, sequence)).encode()
}

async fn arrives(channel: &impl Signaling) -> Result<Incoming, SignalingError> {
    timeout(PATIENCE, channel.recv())
        .await
        .expect("something arrives in time")
}

fn message(from: &Client, body: Bytes) -> Incoming {
    Incoming::Message {
        from: from.name().clone(),
        body,
    }
}

#[tokio::test]
async fn an_owner_has_its_number_without_a_wait_for_a_timer() {
    let host = host().await;
    let began = Instant::now();
    let owner = owner(&host).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let number: u32 = owner.name().as_str().parse().unwrap();
    assert!((1..=9999).contains(&number));
    assert!(owner.token().is_some() && owner.host_is_local());
    assert_eq!(owner.host_address(), host.local_addrs()[0]);
    let seen = owner.seen_address().unwrap();
    assert!(seen.ip().is_loopback() && seen.port() != 0);

    let joiner = joiner(&host).await;
    assert!(joiner.name().as_str().starts_with("guest") && joiner.token().is_some());
    host.shutdown().await;
}

#[tokio::test]
async fn proposals_answers_and_refusals_reach_the_other_guest() {
    let host = host().await;
    let (owner, joiner) = (owner(&host).await, joiner(&host).await);
    joiner
        .send(owner.name().clone(), proposal(COOKIE, 1), true)
        .await
        .unwrap();
    assert_eq!(
        arrives(&owner).await.unwrap(),
        message(&joiner, proposal(COOKIE, 1))
    );
    owner
        .send(joiner.name().clone(), proposal(COOKIE, 2), false)
        .await
        .unwrap();
    assert_eq!(
        arrives(&joiner).await.unwrap(),
        message(&owner, proposal(COOKIE, 2))
    );
    let refusal = Signal::client_error(COOKIE, NakCode::SECURITY_MISMATCH).encode();
    owner
        .send(joiner.name().clone(), refusal.clone(), false)
        .await
        .unwrap();
    assert_eq!(arrives(&joiner).await.unwrap(), message(&owner, refusal));
    host.shutdown().await;
}

#[tokio::test]
async fn a_number_that_is_unknown_bound_or_gone_looks_the_same() {
    let host = host().await;
    let (owner, first, second) = (owner(&host).await, joiner(&host).await, joiner(&host).await);
    let nobody = ScreenName::new("9999").unwrap();
    assert_ne!(owner.name(), &nobody);
    let undelivered = |to: &ScreenName| Incoming::Undelivered {
        to: to.clone(),
        cookie: COOKIE,
        code: 4,
    };

    first
        .send(nobody.clone(), proposal(COOKIE, 1), false)
        .await
        .unwrap();
    assert_eq!(arrives(&first).await.unwrap(), undelivered(&nobody));

    first
        .send(owner.name().clone(), proposal(COOKIE, 1), false)
        .await
        .unwrap();
    assert_eq!(
        arrives(&owner).await.unwrap(),
        message(&first, proposal(COOKIE, 1))
    );
    second
        .send(owner.name().clone(), proposal(COOKIE, 1), false)
        .await
        .unwrap();
    assert_eq!(arrives(&second).await.unwrap(), undelivered(owner.name()));

    owner.close().await;
    first
        .send(owner.name().clone(), proposal(COOKIE, 3), false)
        .await
        .unwrap();
    assert_eq!(arrives(&first).await.unwrap(), undelivered(owner.name()));
    host.shutdown().await;
}

#[tokio::test]
async fn many_messages_at_once_arrive_all_and_in_order() {
    let host = host().await;
    let (owner, joiner) = (owner(&host).await, joiner(&host).await);
    for sequence in 1..=30 {
        joiner
            .send(owner.name().clone(), proposal(COOKIE, sequence), false)
            .await
            .unwrap();
    }
    for sequence in 1..=30 {
        assert_eq!(
            arrives(&owner).await.unwrap(),
            message(&joiner, proposal(COOKIE, sequence))
        );
    }
    host.shutdown().await;
}

#[tokio::test]
async fn what_was_said_before_a_close_still_arrives() {
    let host = host().await;
    let (owner, joiner) = (owner(&host).await, joiner(&host).await);
    for sequence in 1..=5 {
        joiner
            .send(owner.name().clone(), proposal(COOKIE, sequence), false)
            .await
            .unwrap();
    }
    joiner.close().await;
    for sequence in 1..=5 {
        assert_eq!(
            arrives(&owner).await.unwrap(),
            message(&joiner, proposal(COOKIE, sequence))
        );
    }
    host.shutdown().await;
}

#[tokio::test]
async fn a_host_without_free_numbers_says_so() {
    let config = HostConfig {
        numbers: 7..=7,
        ..HostConfig::default()
    };
    let host = Host::bind(config).await.unwrap().spawn();
    let owner = owner(&host).await;
    assert_eq!(owner.name().as_str(), "7");
    let refused = sign_on(&host, SignOn::Owner { expire: HOUR })
        .await
        .unwrap_err();
    let none_free = matches!(
        refused,
        OscarError::Refused {
            code: LoginErrorCode::UNAVAILABLE
        }
    );
    assert!(none_free, "{refused:?}");
    host.shutdown().await;
}

#[tokio::test]
async fn guests_meet_at_the_relay_that_the_host_names() {
    let host = host().await;
    let (owner, joiner) = (owner(&host).await, joiner(&host).await);
    let relay = owner.relay().await.unwrap().unwrap();
    assert!(relay.ticket.is_some());
    let (name, ticket) = (owner.name().clone(), relay.ticket.clone());
    let (waiting, created) = ars::create(
        &Route::default(),
        &relay.address,
        &name,
        COOKIE,
        NATIVE,
        ticket,
    )
    .await
    .unwrap();
    let route = Route::default();
    let joining = ars::join(
        &route,
        &relay.address,
        joiner.name(),
        created.token,
        COOKIE,
        NATIVE,
        relay.ticket,
    );
    let (ours, theirs) = tokio::join!(ars::wait_ready(waiting), joining);
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
    ours.write_all(b"through the relay").await.unwrap();
    let mut heard = [0; 17];
    theirs.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"through the relay");
    drop((ours, theirs));
    host.shutdown().await;
}

#[tokio::test]
async fn a_host_that_goes_away_ends_the_channel() {
    let host = host().await;
    let joiner = joiner(&host).await;
    host.shutdown().await;
    assert!(matches!(
        arrives(&joiner).await,
        Err(SignalingError::Closed)
    ));
}

/// A road to the host that can be cut.
struct Road {
    address: SocketAddr,
    cuts: Arc<watch::Sender<u32>>,
    silences: Arc<watch::Sender<u32>>,
}

impl Road {
    async fn to(host: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(watch::Sender::new(0));
        let silences = Arc::new(watch::Sender::new(0));
        let (cut_by, silenced_by) = (cuts.clone(), silences.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cut, mut silenced) = (cut_by.subscribe(), silenced_by.subscribe());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(host).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                        _ = silenced.changed() => {
                            // Nothing gets through, and neither end hears of it.
                            let _ = cut.changed().await;
                        }
                    }
                });
            }
        });
        Self {
            address,
            cuts,
            silences,
        }
    }

    fn silence(&self) {
        self.silences.send_modify(|silences| *silences += 1);
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

#[tokio::test]
async fn an_owner_gets_its_number_back_after_a_broken_connection() {
    let host = host().await;
    let road = Road::to(host.local_addrs()[0]).await;
    let address = road.address.to_string();
    let owner = Owner::connect(&address, &HostTrust::AcceptAny, HOUR, PATIENCE)
        .await
        .unwrap();
    let joiner = joiner(&host).await;
    let mut standing = owner.standing();
    road.cut();
    timeout(
        PATIENCE,
        standing.wait_for(|now| *now == Standing::ComingBack),
    )
    .await
    .unwrap()
    .unwrap();
    timeout(
        PATIENCE,
        standing.wait_for(|now| *now == Standing::SignedOn),
    )
    .await
    .unwrap()
    .unwrap();
    assert_eq!(owner.client().name(), &owner.local_name());

    joiner
        .send(owner.local_name(), proposal(COOKIE, 1), false)
        .await
        .unwrap();
    assert_eq!(arrives(&owner).await.unwrap(), Incoming::Restored);
    assert_eq!(
        arrives(&owner).await.unwrap(),
        message(&joiner, proposal(COOKIE, 1))
    );
    owner
        .send(joiner.name().clone(), proposal(COOKIE, 2), false)
        .await
        .unwrap();
    let Incoming::Message { from, .. } = arrives(&joiner).await.unwrap() else {
        panic!("not delivered")
    };
    assert_eq!(from, owner.local_name());
    owner.close().await;
    host.shutdown().await;
}

/// A joiner that has proposed to the owner of a number, and the road that it came by.
async fn joined(host: &HostHandle) -> (Client, Joiner, Road) {
    let road = Road::to(host.local_addrs()[0]).await;
    let address = road.address.to_string();
    let trust = HostTrust::AcceptAny;
    let joiner = Joiner::connect_by(&Route::default(), &address, &trust, PATIENCE)
        .await
        .unwrap();
    let owner = owner(host).await;
    joiner
        .send(owner.name().clone(), proposal(COOKIE, 1), false)
        .await
        .unwrap();
    arrives(&owner).await.unwrap();
    (owner, joiner, road)
}

/// It has the same name, and the number still knows it.
async fn speak_again(owner: &Client, joiner: &Joiner) {
    assert_eq!(arrives(joiner).await.unwrap(), Incoming::Restored);
    assert_eq!(joiner.client().name(), &joiner.local_name());
    joiner
        .send(owner.name().clone(), proposal(COOKIE, 3), false)
        .await
        .unwrap();
    let heard = Incoming::Message {
        from: joiner.local_name(),
        body: proposal(COOKIE, 3),
    };
    let mut arrived = arrives(owner).await.unwrap();
    if matches!(arrived, Incoming::NewSession { .. }) {
        // It signed on in another second than before.
        arrived = arrives(owner).await.unwrap();
    }
    assert_eq!(arrived, heard);
    owner
        .send(joiner.local_name(), proposal(COOKIE, 4), false)
        .await
        .unwrap();
    assert_eq!(
        arrives(joiner).await.unwrap(),
        message(owner, proposal(COOKIE, 4))
    );
}

#[tokio::test]
async fn a_joiner_gets_its_name_back_after_a_broken_connection() {
    let host = host().await;
    let (owner, joiner, road) = joined(&host).await;
    road.cut();
    speak_again(&owner, &joiner).await;
    joiner.close().await;
    host.shutdown().await;
}

#[tokio::test]
async fn a_joiner_in_doubt_leaves_a_connection_that_is_dead_and_keeps_one_that_is_not() {
    let host = host().await;
    let (owner, joiner, road) = joined(&host).await;
    joiner.doubt();
    owner
        .send(joiner.local_name(), proposal(COOKIE, 2), false)
        .await
        .unwrap();
    assert_eq!(
        arrives(&joiner).await.unwrap(),
        message(&owner, proposal(COOKIE, 2))
    );
    road.silence();
    let began = Instant::now();
    joiner.doubt();
    speak_again(&owner, &joiner).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    joiner.close().await;
    host.shutdown().await;
}
