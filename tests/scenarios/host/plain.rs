//! Old clients at a host without accounts: greeted, challenged, and refused.

use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::{Challenge, ChallengeRequest, Hello, Login, tlv};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::tlv::TlvList;
use tokio::net::TcpStream;

use super::client::Client;
use super::{host, host_with, port};

async fn plain(host: &rdv_host::HostHandle) -> Client {
    Client::over(TcpStream::connect(port(host)).await.unwrap())
}

/// The answer to a BUCP sign-on of this name with these further TLVs, and the key of the challenge.
async fn bucp(client: &mut Client, name: &str, more: TlvList) -> (Bytes, Bytes) {
    client.send(Channel::SIGN_ON, Hello::new().encode()).await;
    assert_eq!(client.frame().await.unwrap().channel, Channel::SIGN_ON);
    let tlvs = TlvList::new().with(tlv::SCREEN_NAME, name.as_bytes().to_vec());
    let request = ChallengeRequest { tlvs: tlvs.clone() };
    let id = client.snac(Foodgroup::BUCP, 0x06, request.encode()).await;
    let challenge = client.expect(Foodgroup::BUCP, 0x07).await;
    assert_eq!(challenge.request_id, id);
    let key = Challenge::decode(&challenge.body).unwrap().key;
    let mut tlvs = tlvs.with(tlv::DIGEST, vec![7; 16]);
    tlvs.0.extend(more.0);
    client
        .snac(Foodgroup::BUCP, 0x02, Login { tlvs }.encode())
        .await;
    let refusal = client.frame().await.unwrap();
    let refusal = Snac::decode(refusal.data).unwrap();
    assert!(refusal.is(Foodgroup::BUCP, 0x03));
    assert_eq!(&client.expect_sign_off().await[..], b"");
    (key, refusal.body)
}

#[tokio::test]
async fn so_06_s_32_each_challenge_is_fresh_and_printable() {
    let host = host().await;
    let (first, _) = bucp(&mut plain(&host).await, "alice", TlvList::new()).await;
    let (second, _) = bucp(&mut plain(&host).await, "alice", TlvList::new()).await;
    assert_eq!(first.len(), 32);
    assert!(first.iter().all(u8::is_ascii_hexdigit));
    assert_ne!(first, second);
}

#[tokio::test]
async fn s_32_e_06_all_names_are_refused_alike() {
    let host = host().await;
    for name in ["alice", "carol"] {
        let (_, refusal) = bucp(&mut plain(&host).await, name, TlvList::new()).await;
        let expected = [&[0, 1, 0, 5][..], name.as_bytes(), &[0, 8, 0, 2, 0, 5]].concat();
        assert_eq!(refusal, expected);
    }
}

#[tokio::test]
async fn guests_are_taken_over_tls_only() {
    let host = host().await;
    let wish = TlvList::new().with(tlv::GUEST, vec![1]);
    let (_, refusal) = bucp(&mut plain(&host).await, "guest", wish).await;
    assert_eq!(refusal[refusal.len() - 6..], [0, 8, 0, 2, 0, 5]);
    // And over TLS nobody else is.
    let (_, refusal) = bucp(&mut Client::tls(port(&host)).await, "alice", TlvList::new()).await;
    assert_eq!(refusal[refusal.len() - 6..], [0, 8, 0, 2, 0, 5]);
}

#[tokio::test]
async fn a_roasted_sign_on_is_refused_in_a_sign_off_frame() {
    let host = host().await;
    let mut client = plain(&host).await;
    let mut hello = Hello::new();
    hello.tlvs = TlvList::new()
        .with(tlv::SCREEN_NAME, &b"alice"[..])
        .with(2, vec![0x80, 0x43, 0xE2, 0xB6, 0x5C, 0xF2]);
    client.send(Channel::SIGN_ON, hello.encode()).await;
    client.frame().await.unwrap();
    assert_eq!(
        &client.expect_sign_off().await[..],
        b"\0\x01\0\x05alice\0\x08\0\x02\0\x05"
    );
}

#[tokio::test]
async fn a_cookie_that_nobody_gave_out_opens_nothing() {
    let host = host().await;
    let mut client = plain(&host).await;
    let mut hello = Hello::new();
    hello.tlvs = TlvList::new().with(tlv::COOKIE, vec![7; 256]);
    client.send(Channel::SIGN_ON, hello.encode()).await;
    client.frame().await.unwrap();
    assert_eq!(&client.expect_sign_off().await[..], [0, 8, 0, 2, 0, 0x1A]);
}

#[tokio::test]
async fn a_client_that_waits_is_greeted() {
    let host = host_with(|config| config.limits.greeting_delay = Duration::from_millis(20)).await;
    let mut client = plain(&host).await;
    let greeting = client.frame().await.unwrap();
    assert_eq!(
        (greeting.channel, &greeting.data[..]),
        (Channel::SIGN_ON, &[0, 0, 0, 1][..])
    );
}

#[tokio::test]
async fn so_03_what_is_no_protocol_of_ours_is_hung_up_on() {
    let host = host().await;
    let mut client = plain(&host).await;
    client.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.frame().await, None);
    let mut client = plain(&host).await;
    client.send(Channel::SIGN_ON, Hello::new().encode()).await;
    client.frame().await.unwrap();
    client.raw(b"\x2B\x02\0\0\0\0").await;
    assert_eq!(client.frame().await, None);
}
