//! Direct IMs between two engines, and between an engine and a scripted old client.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdv::direct_im::{DirectIm, DirectImError, Event, Fault, Image, Message, Typing};
use rdv::signaling::memory::{MemoryChannel, MemoryHub};
use rdv::signaling::{Incoming, Signaling};
use rdv::{
    Builder, By, Engine, Error, PathKind, ProposalKind, RefusedWhy, ScreenName, Security, Services,
};
use rdv_proto::direct_im::{DirectIm as Machine, Event as Heard};
use rdv_proto::wire::rendezvous::{
    CancelReason, Cookie, Message as Rendezvous, MessageKind, NakCode, SequenceNumber,
};
use rdv_proto::wire::service::DIRECT_IM;
use rdv_proto::wire::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const COOKIE: Cookie = Cookie(*b"IM-0001\0");
const LONG: Duration = Duration::from_secs(20);

fn name(name: &str) -> ScreenName {
    ScreenName::new(name).unwrap()
}

fn builder(channel: MemoryChannel) -> Builder {
    let services = Services {
        direct_im: true,
        ..Services::NONE
    };
    Engine::builder(channel)
        .host_on_this_machine(true)
        .services(services)
}

fn two() -> (Engine, Engine) {
    let (alice, bob) = MemoryHub::pair(name("alice"), name("bob"));
    (builder(alice).build(), builder(bob).build())
}

/// Bob says yes to the next proposal.
async fn accepted(bob: &Engine) -> Result<DirectIm, Error> {
    let proposal = bob.next_proposal().await.unwrap();
    assert!(matches!(proposal.kind(), ProposalKind::DirectIm { .. }));
    proposal.accept_direct_im().await
}

async fn connect(alice: &Engine, bob: &Engine) -> (DirectIm, DirectIm) {
    let both = async { tokio::try_join!(alice.direct_im(name("bob")), accepted(bob)) };
    timeout(LONG, both).await.unwrap().unwrap()
}

async fn event(im: &mut DirectIm) -> Event {
    timeout(LONG, im.next_event()).await.unwrap().unwrap()
}

async fn text(im: &mut DirectIm) -> String {
    match event(im).await {
        Event::Message(message) => message.text(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_engines_talk_encrypted() {
    let (alice, bob) = two();
    let (mut a, mut b) = connect(&alice, &bob).await;
    assert_eq!((a.peer(), b.peer()), (&name("bob"), &name("alice")));
    for im in [&a, &b] {
        assert!(matches!(im.security(), Security::Encrypted { .. }));
        assert_eq!(im.path().kind, PathKind::Direct);
    }
    let image = Image {
        name: "fox.png".into(),
        width: 3,
        height: 4,
        data: Bytes::from(vec![0x89; 200_000]),
    };
    let message = Message::new().text("a fox: ").image(image.clone());
    a.typing(Typing::Typing).await.unwrap();
    a.send(message).await.unwrap();
    b.send(Message::new().text("日本")).await.unwrap();
    assert!(matches!(event(&mut b).await, Event::Typing(Typing::Typing)));
    match event(&mut b).await {
        Event::Message(message) => {
            assert_eq!(message.text(), "a fox: ");
            assert_eq!(message.images, [(1, image)]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(text(&mut a).await, "日本");
    a.close().await;
    assert!(matches!(event(&mut b).await, Event::Closed(Ok(By::Peer))));
}

#[tokio::test]
async fn a_newer_conversation_with_the_same_peer_takes_the_place_of_the_older_one() {
    let (alice, bob) = two();
    let (mut a, mut b) = connect(&alice, &bob).await;
    let (newer_a, mut newer_b) = connect(&alice, &bob).await;
    for older in [&mut a, &mut b] {
        assert!(matches!(event(older).await, Event::Closed(Ok(_))));
    }
    newer_a
        .send(Message::new().text("still here"))
        .await
        .unwrap();
    assert_eq!(text(&mut newer_b).await, "still here");
}

#[tokio::test]
async fn who_says_no_or_does_not_know_it_is_told_apart() {
    let (alice, bob) = two();
    let declined = async { bob.next_proposal().await.unwrap().decline() };
    let (outcome, ()) = tokio::join!(alice.direct_im(name("bob")), declined);
    assert!(matches!(outcome, Err(Error::Declined { by: By::Peer })));
    let (channel, other) = MemoryHub::pair(name("alice"), name("carol"));
    let alice = builder(channel).build();
    let _carol = Engine::builder(other).build();
    let outcome = alice.direct_im(name("carol")).await;
    assert!(
        matches!(outcome, Err(Error::Incompatible { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn of_two_at_once_one_counts_and_the_other_side_is_asked() {
    let (alice, bob) = two();
    // Whoever loses answers the proposal that counts.
    async fn talk(engine: &Engine, peer: &str) -> Result<DirectIm, Error> {
        match engine.direct_im(name(peer)).await {
            Err(Error::Crossed) => accepted(engine).await,
            other => other,
        }
    }
    let both = async { tokio::try_join!(talk(&alice, "bob"), talk(&bob, "alice")) };
    let (a, mut b) = timeout(LONG, both).await.unwrap().unwrap();
    a.send(Message::new().text("hello")).await.unwrap();
    assert_eq!(text(&mut b).await, "hello");
}

#[tokio::test]
async fn an_engine_that_ends_closes_its_conversations() {
    let (alice, bob) = two();
    let (_a, mut b) = connect(&alice, &bob).await;
    alice.close().await;
    assert!(matches!(event(&mut b).await, Event::Closed(Ok(By::Peer))));
}

/// An old client without TLS: its channel, and what it says and hears there.
struct Old {
    channel: MemoryChannel,
}

impl Old {
    fn meet(allow_plain: bool) -> (Engine, Self) {
        let (alice, channel) = MemoryHub::pair(name("alice"), name("bob"));
        let alice = builder(alice).plain(move |_: &ScreenName| allow_plain);
        (alice.build(), Self { channel })
    }

    async fn say(&self, message: Rendezvous) {
        let body = Signal::Rendezvous(message).encode();
        self.channel.send(name("alice"), body, true).await.unwrap();
    }

    async fn signal(&self) -> Signal {
        match timeout(LONG, self.channel.recv()).await.unwrap().unwrap() {
            Incoming::Message { body, .. } => Signal::decode(body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn hear(&self) -> Rendezvous {
        match self.signal().await {
            Signal::Rendezvous(message) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Proposes a direct IM at this listener.
    async fn propose(&self, listener: &TcpListener) {
        let here = Ipv4Addr::LOCALHOST;
        let port = listener.local_addr().unwrap().port();
        let first = Rendezvous::propose(COOKIE, DIRECT_IM, SequenceNumber::FIRST);
        self.say(first.with_direct(here, here, port)).await;
    }
}

fn machine(cookie: Cookie) -> (Machine, Bytes) {
    Machine::connector(cookie, name("bob"))
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// Where alice listens, as the old client dials it.
fn address(proposal: &Rendezvous) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, proposal.port().unwrap()).into()
}

#[tokio::test]
async fn an_old_client_that_proposes_is_answered_by_the_connector_who_shows_the_cookie() {
    let (alice, old) = Old::meet(true);
    let listener = listener().await;
    old.propose(&listener).await;
    let (mut im, stream) = tokio::join!(accepted(&alice), listener.accept());
    let im = im.as_mut().unwrap();
    let mut stream = stream.unwrap().0;
    assert_eq!(im.security(), Security::Plain);
    let mut hello = [0; 76];
    stream.read_exact(&mut hello).await.unwrap();
    let mut bob = Machine::listener(COOKIE, name("bob"));
    let Ok(Some(Heard::Confirmed(answer))) = bob.handle(&mut BytesMut::from(&hello[..])) else {
        panic!("no confirmation");
    };
    stream.write_all(&answer).await.unwrap();
    let words = bob.message_bytes(&Message::new().text("hi")).unwrap();
    stream.write_all(&words.concat()).await.unwrap();
    assert_eq!(text(im).await, "hi");
    assert_eq!(old.hear().await.kind, MessageKind::ACCEPT);
}

#[tokio::test]
async fn s_12_strangers_at_the_listener_fail_alone() {
    let (alice, old) = Old::meet(true);
    let connecting = tokio::spawn(async move { (alice.direct_im(name("bob")).await, alice) });
    let proposal = old.hear().await;
    assert_eq!(
        (proposal.service, proposal.service_data()),
        (DIRECT_IM, None)
    );
    let at = address(&proposal);
    // Without TLS, which is allowed for this peer.
    old.say(Rendezvous::accept(proposal.cookie, DIRECT_IM))
        .await;
    // Noise, silence, another cookie, and a long header that breaks off.
    drop(TcpStream::connect(at).await.unwrap());
    let (_, wrong) = machine(Cookie([9; 8]));
    for words in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), wrong.to_vec()] {
        let mut stranger = TcpStream::connect(at).await.unwrap();
        stranger.write_all(&words).await.unwrap();
        let mut heard = Vec::new();
        let _ = timeout(LONG, stranger.read_to_end(&mut heard))
            .await
            .unwrap();
        assert!(heard.is_empty(), "a stranger is told nothing");
    }
    let mut endless = TcpStream::connect(at).await.unwrap();
    endless.write_all(b"ODC2\xFF\xFF\0\x01").await.unwrap();
    drop(endless);
    let (bob, hello) = machine(proposal.cookie);
    let mut stream = TcpStream::connect(at).await.unwrap();
    let words = bob.message_bytes(&Message::new().text("it is me")).unwrap();
    stream
        .write_all(&[&hello[..], &words.concat()].concat())
        .await
        .unwrap();
    let (im, _alice) = timeout(LONG, connecting).await.unwrap().unwrap();
    assert_eq!(text(&mut im.unwrap()).await, "it is me");
    let mut answer = [0; 76];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..], machine_hello("alice", proposal.cookie)[..]);
}

fn machine_hello(who: &str, cookie: Cookie) -> Bytes {
    Machine::connector(cookie, name(who)).1
}

#[tokio::test]
async fn a_listener_that_shows_another_cookie_is_hung_up_on() {
    let (alice, old) = Old::meet(true);
    let listener = listener().await;
    old.propose(&listener).await;
    let (im, stream) = tokio::join!(accepted(&alice), listener.accept());
    let (_, wrong) = machine(Cookie([9; 8]));
    stream.unwrap().0.write_all(&wrong).await.unwrap();
    let end = event(&mut im.unwrap()).await;
    let Event::Closed(Err(DirectImError::Fault(Fault::WrongCookie))) = end else {
        panic!("{end:?}");
    };
}

#[tokio::test]
async fn s_03_without_tls_it_is_refused_unless_allowed_for_that_peer() {
    let (alice, old) = Old::meet(false);
    let listener = listener().await;
    old.propose(&listener).await;
    assert_eq!(old.signal().await.nak(), Some(NakCode::SECURITY_MISMATCH));
    assert_eq!(old.hear().await.cancel_reason(), CancelReason::UNKNOWN);
    let refused = alice.next_refused().await.unwrap();
    assert_eq!(
        (refused.peer, refused.why),
        (name("bob"), RefusedWhy::Plain)
    );
}

#[tokio::test]
async fn s_03_an_old_client_that_drops_tls_is_refused_unless_allowed() {
    let (alice, old) = Old::meet(false);
    let connecting = tokio::spawn(async move { alice.direct_im(name("bob")).await });
    let proposal = old.hear().await;
    assert!(proposal.request_secure());
    let mut stream = TcpStream::connect(address(&proposal)).await.unwrap();
    old.say(Rendezvous::accept(proposal.cookie, DIRECT_IM))
        .await;
    stream.write_all(&machine(proposal.cookie).1).await.unwrap();
    let outcome = timeout(LONG, connecting).await.unwrap().unwrap();
    assert!(
        matches!(outcome, Err(Error::Security { .. })),
        "{outcome:?}"
    );
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    assert!(heard.is_empty());
}

#[tokio::test]
async fn s_09_nothing_is_dialled_before_the_user_agrees_and_a_wait_that_is_dropped_is_called_off() {
    let (alice, old) = Old::meet(true);
    let listener = listener().await;
    old.propose(&listener).await;
    let proposal = alice.next_proposal().await.unwrap();
    proposal.decline();
    assert_eq!(old.signal().await.nak(), Some(NakCode::DENIED));
    assert_eq!(old.hear().await.kind, MessageKind::CANCEL);
    // Had it been dialled, it would be there by now.
    assert!(timeout(Duration::ZERO, listener.accept()).await.is_err());

    let waiting = tokio::spawn(async move {
        let _ = timeout(Duration::from_millis(300), alice.direct_im(name("bob"))).await;
        alice
    });
    assert_eq!(old.hear().await.kind, MessageKind::PROPOSE);
    assert_eq!(old.hear().await.kind, MessageKind::CANCEL);
    waiting.await.unwrap();
}
