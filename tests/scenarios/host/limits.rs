//! What a stranger may take of the host, and no more.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdv_host::{HostHandle, Limit};
use rdv_proto::pace::Pace;
use rdv_proto::session::RateClass;
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::icbm;
use rdv_proto::wire::rendezvous::{Cookie, Message, SequenceNumber};
use rdv_proto::wire::signon::{Hello, LoginErrorCode, tlv};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::tlv::TlvList;
use tokio::net::TcpStream;

use super::client::{Client, SERVICE};
use super::{host, host_with, port};

/// Never all zero: that is refused for its own sake.
fn cookie(n: u8) -> Cookie {
    Cookie([1, 0, 0, 0, 0, 0, 0, n])
}

fn proposal(n: u8, sequence: u16) -> Message {
    Message::propose(cookie(n), SERVICE, SequenceNumber::new(sequence).unwrap())
}

/// What a client was refused for shows in the metrics, under the name of that limit.
#[track_caller]
fn assert_counted(host: &HostHandle, limit: Limit) {
    assert!(host.metrics().refusals(limit) > 0, "{}", limit.label());
}

async fn refusal(host: &HostHandle, wish: u8) -> Option<LoginErrorCode> {
    let wish = TlvList::new().with(tlv::GUEST, vec![wish]);
    Client::guest(port(host), wish).await.err()
}

#[tokio::test]
async fn before_sign_on_a_frame_has_four_kib_at_most() {
    let host = host().await;
    for (length, answered_on) in [(4096, Channel::DATA), (4097, Channel::SIGN_OFF)] {
        let mut client = Client::tls(port(&host)).await;
        client.send(Channel::SIGN_ON, Hello::new().encode()).await;
        client.frame().await.unwrap();
        let snac = Snac::new(Foodgroup::BUCP, 0x06, 1, vec![0; length - 10]);
        client.send(Channel::DATA, snac.encode()).await;
        let answer = client.frame().await.unwrap();
        assert_eq!(answer.channel, answered_on);
    }
    assert_counted(&host, Limit::Frame);
}

#[tokio::test]
async fn ten_frames_are_enough_to_sign_on() {
    let host = host().await;
    let mut client = Client::tls(port(&host)).await;
    client.send(Channel::SIGN_ON, Hello::new().encode()).await;
    client.frame().await.unwrap();
    for _ in 0..11 {
        client.snac(Foodgroup::OSERVICE, 0x06, Bytes::new()).await;
    }
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn s_29_a_client_that_says_nothing_or_never_signs_on_is_sent_away() {
    let host = host_with(|config| {
        config.limits.greeting_delay = Duration::from_millis(1);
        config.limits.first_frame = Duration::from_millis(50);
        config.limits.sign_on = Duration::from_millis(300);
    })
    .await;
    let mut silent = Client::over(TcpStream::connect(port(&host)).await.unwrap());
    silent.frame().await.unwrap();
    silent.expect_sign_off().await;
    // Frames do not move the end of the sign-on.
    let mut slow = Client::over(TcpStream::connect(port(&host)).await.unwrap());
    slow.send(Channel::SIGN_ON, Hello::new().encode()).await;
    slow.frame().await.unwrap();
    slow.send(Channel::KEEP_ALIVE, Bytes::new()).await;
    slow.expect_sign_off().await;
    assert_counted(&host, Limit::FirstFrame);
    assert_counted(&host, Limit::SignOnTime);
}

#[tokio::test]
async fn a_silent_client_is_kept_alive_and_a_gone_one_is_not() {
    let host = host_with(|config| {
        config.limits.keep_alive = Duration::from_millis(30);
        config.limits.silence = Duration::from_millis(200);
    })
    .await;
    let mut client = Client::joiner(port(&host)).await;
    let mut kept_alive = 0;
    loop {
        match client.frame().await.unwrap().channel {
            Channel::KEEP_ALIVE => kept_alive += 1,
            channel => {
                assert_eq!(channel, Channel::SIGN_OFF);
                break;
            }
        }
    }
    assert!(kept_alive >= 2);
    assert_eq!(client.frame().await, None);
    assert_counted(&host, Limit::Silence);
}

#[tokio::test]
async fn an_address_has_sixteen_connections_that_have_not_signed_on() {
    let host = host().await;
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let mut client = Client::over(TcpStream::connect(port(&host)).await.unwrap());
        client.send(Channel::SIGN_ON, Hello::new().encode()).await;
        client.frame().await.unwrap();
        waiting.push(client);
    }
    let mut more = Client::over(TcpStream::connect(port(&host)).await.unwrap());
    assert_eq!(more.frame().await, None);
    // Another address is not concerned.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Client::over(socket.connect(port(&host)).await.unwrap());
    other.send(Channel::SIGN_ON, Hello::new().encode()).await;
    assert!(other.frame().await.is_some());
    assert_counted(&host, Limit::UnsignedPerAddress);
}

#[tokio::test]
async fn signed_on_guests_do_not_count_as_waiting_and_sixty_four_of_an_address_are_let_in() {
    let host =
        host_with(|config| config.limits.connections = Pace::new(1000, Duration::from_secs(1)))
            .await;
    let mut guests = Vec::new();
    for _ in 0..64 {
        guests.push(Client::joiner(port(&host)).await);
    }
    assert_eq!(refusal(&host, 2).await, Some(LoginErrorCode(0x16)));
    let gone = guests.pop().unwrap();
    drop(gone);
    // The place is free as soon as the host has seen the end of that connection.
    while refusal(&host, 2).await.is_some() {}
    assert_counted(&host, Limit::GuestsPerAddress);
}

#[tokio::test]
async fn ten_numbers_a_minute_are_given_to_an_address() {
    let host = host().await;
    for _ in 0..10 {
        assert_eq!(refusal(&host, 1).await, None);
    }
    assert_eq!(refusal(&host, 1).await, Some(LoginErrorCode(0x1D)));
    assert_eq!(refusal(&host, 2).await, None, "joiners are not concerned");
    assert_counted(&host, Limit::Numbers);
}

#[tokio::test]
async fn numbers_cannot_be_tried_one_after_the_other() {
    let host =
        host_with(|config| config.limits.proposals.first = Pace::new(100, Duration::from_secs(1)))
            .await;
    let mut eve = Client::joiner(port(&host)).await;
    for n in 0..10 {
        let id = eve
            .rendezvous(
                &format!("{}", 1000 + u16::from(n)),
                &proposal(n, 1),
                TlvList::new(),
            )
            .await;
        eve.expect_error(Foodgroup::ICBM, id, 0x04).await;
    }
    // From here on it is the same for those that are there and those that are not.
    let owner = Client::owner(port(&host)).await;
    for name in [owner.name(), "2000"] {
        let id = eve.rendezvous(name, &proposal(99, 1), TlvList::new()).await;
        eve.expect_error(Foodgroup::ICBM, id, 0x0D).await;
    }
    assert_counted(&host, Limit::NumberTries);
}

#[tokio::test]
async fn ten_first_proposals_come_at_once_and_later_ones_are_free() {
    let host = host().await;
    let mut bob = Client::joiner(port(&host)).await;
    for n in 0..10 {
        let id = bob
            .rendezvous(&format!("alice{n}"), &proposal(n, 1), TlvList::new())
            .await;
        bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
    }
    let id = bob
        .rendezvous("alice99", &proposal(99, 1), TlvList::new())
        .await;
    bob.expect_error(Foodgroup::ICBM, id, 0x0D).await;
    for sequence in 2..20 {
        let id = bob
            .rendezvous("alice1", &proposal(1, sequence), TlvList::new())
            .await;
        bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
    }
    assert_counted(&host, Limit::Proposals);
}

#[tokio::test]
async fn s_35_a_client_that_sends_too_fast_is_warned_dropped_and_sent_away() {
    let host = host_with(|config| config.limits.rate_icbm = RateClass::ICBM_LEGACY).await;
    let mut eve = Client::joiner(port(&host)).await;
    let mut told = Vec::new();
    for _ in 0..14 {
        eve.rendezvous("alice", &proposal(1, 1), TlvList::new())
            .await;
    }
    loop {
        let frame = eve.frame().await.expect("a sign-off comes first");
        if frame.channel == Channel::SIGN_OFF {
            break;
        }
        let snac = Snac::decode(frame.data).unwrap();
        told.push((
            snac.foodgroup.0,
            snac.subgroup,
            u16::from_be_bytes([snac.body[0], snac.body[1]]),
        ));
    }
    let count = |what| told.iter().filter(|&&it| it == what).count();
    assert_eq!(count((1, 0x0A, 2)), 1, "one warning");
    assert_eq!(count((1, 0x0A, 3)), 1, "one notice that it is limited");
    assert_eq!(count((4, 0x01, 4)), 7, "seven pass");
    assert_eq!(count((4, 0x01, 2)), 6, "six are dropped");
    assert_eq!(eve.frame().await, None);
    assert_counted(&host, Limit::RateMessages);
    assert_counted(&host, Limit::RateDisconnect);
}

#[tokio::test]
async fn a_whole_rendezvous_at_once_is_not_too_fast() {
    let host = host().await;
    let mut alice = Client::owner(port(&host)).await;
    let mut bob = Client::joiner(port(&host)).await;
    for sequence in 1..=40 {
        bob.rendezvous(alice.name(), &proposal(1, sequence), TlvList::new())
            .await;
    }
    for _ in 0..40 {
        alice.expect_message().await;
    }
    bob.expect_nothing().await;
}

#[tokio::test]
async fn s_35_who_does_not_read_is_cut_off_and_the_others_are_served() {
    let host = host_with(|config| {
        config.limits.rate_icbm = RateClass {
            clear: 0,
            alert: 0,
            limit: 0,
            disconnect: 0,
            ..RateClass::ICBM
        };
        config.limits.proposals.proposals_per_cookie = u32::MAX;
    })
    .await;
    let deaf = Client::owner(port(&host)).await;
    let mut carol = Client::owner(port(&host)).await;
    let mut bob = Client::joiner(port(&host)).await;
    let ack = TlvList::new().with(icbm::tlv::REQUEST_HOST_ACK, vec![]);
    let mut big = BytesMut::from(&proposal(1, 1).encode()[..]);
    TlvList::new()
        .with(0x7777, vec![7; 7_900])
        .encode_rest(&mut big);
    let big = big.freeze();
    let mut delivered = 0;
    loop {
        bob.icbm(deaf.name(), cookie(1), big.clone(), ack.clone())
            .await;
        let answer = bob.expect_any(Foodgroup::ICBM).await;
        if answer.subgroup == 0x01 {
            assert_eq!(answer.body[..], [0, 0x0C], "the message was lost");
            break;
        }
        delivered += 1;
        assert!(delivered < 10_000, "the host takes without an end");
    }
    assert!(delivered > 0);
    bob.rendezvous(carol.name(), &proposal(2, 1), TlvList::new())
        .await;
    carol.expect_message().await;
}

#[tokio::test]
async fn a_full_host_says_that_it_is_not_available() {
    let host = host_with(|config| config.limits.clients = 1).await;
    let _guest = Client::joiner(port(&host)).await;
    assert_eq!(refusal(&host, 2).await, Some(LoginErrorCode::UNAVAILABLE));
    assert_counted(&host, Limit::Clients);
    let host = host_with(|config| config.numbers = 7..=7).await;
    let _owner = Client::owner(port(&host)).await;
    assert_eq!(refusal(&host, 1).await, Some(LoginErrorCode::UNAVAILABLE));
    assert_counted(&host, Limit::NumbersTaken);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_and_too_many_connections_are_hung_up_on() {
    let host = host_with(|config| {
        config.limits.tls_handshake = Duration::from_millis(20);
        config.limits.connections = Pace::new(2, Duration::from_secs(3600));
    })
    .await;
    let mut dawdler = TcpStream::connect(port(&host)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut dawdler, b"\x16\x03\x01")
        .await
        .unwrap();
    assert_eq!(Client::over(dawdler).frame().await, None);
    assert_counted(&host, Limit::TlsHandshake);
    for _ in 0..2 {
        let another = TcpStream::connect(port(&host)).await.unwrap();
        let mut another = Client::over(another);
        another.send(Channel::SIGN_ON, Hello::new().encode()).await;
        another.frame().await;
    }
    assert_counted(&host, Limit::Connections);
}

#[tokio::test]
async fn a_message_has_so_many_items_and_a_cookie_so_many_proposals() {
    let host = host_with(|config| config.limits.proposals.proposals_per_cookie = 2).await;
    let mut eve = Client::joiner(port(&host)).await;
    let mut body = BytesMut::from(&b"\x012345678\x00\x02\x05alice"[..]);
    let many = (0..129).fold(TlvList::new(), |tlvs, n| tlvs.with(0x7000 + n, vec![]));
    many.encode_rest(&mut body);
    let id = eve.snac(Foodgroup::ICBM, 0x06, body.freeze()).await;
    eve.expect_error(Foodgroup::ICBM, id, 0x0E).await;
    assert_counted(&host, Limit::Items);
    for (sequence, code) in [(1, 0x04), (2, 0x04), (3, 0x0D)] {
        let id = eve
            .rendezvous("alice", &proposal(1, sequence), TlvList::new())
            .await;
        eve.expect_error(Foodgroup::ICBM, id, code).await;
    }
    assert_counted(&host, Limit::ProposalsPerCookie);
}

#[tokio::test]
async fn stun_is_answered_ten_times_a_second_and_the_rest_is_counted() {
    let host = host().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(port(&host)).await.unwrap();
    let request = rdv_proto::wire::stun::Stun::request([7; 12]).encode();
    while host.metrics().refusals(Limit::StunRequests) == 0 {
        socket.send(&request).await.unwrap();
        tokio::task::yield_now().await;
    }
}
