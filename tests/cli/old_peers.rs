//! Old clients, who know no encryption: plain only where it is allowed, and said each time (S-01, S-03).

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::BytesMut;
use rdv_proto::wire::icbm::ClientError;
use rdv_proto::wire::oft::{Checksum, Header, Kind, NameField, RunningChecksum};
use rdv_proto::wire::rendezvous::{Cookie, Message, MessageKind, NakCode, SequenceNumber, tag};
use rdv_proto::wire::service::{FileSetKind, SEND_FILE, SendFileData};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::{Manners, OldClient};
use rdv_tests::process::ERR;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::accounts::{account, host, listen, user};
use crate::desk::{HostRun, assert_nothing_in, small_file};

const COOKIE: Cookie = Cookie(*b"1234567\0");
const CONTENT: &[u8] = b"what an old client sends, odd.";
const PLAIN: &str = "NOT ENCRYPTED, NOT VERIFIED: anyone between you can read and change this file";
/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

async fn old_client(host: &HostRun, name: &str) -> OldClient {
    let made = account(host, name, &["--legacy"]);
    let password = made["legacy_password"].as_str().expect("a string");
    OldClient::sign_on(host.address, name, password, &Manners::default())
        .await
        .expect("signed on")
}

/// A file proposal as libpurple makes it: an address, and no word of security.
fn proposal(port: u16) -> Message {
    let total = u32::try_from(CONTENT.len()).expect("a short text");
    let data = SendFileData::new(FileSetKind::ONE_FILE, 1, total.into(), "old.txt");
    Message::propose(COOKIE, SEND_FILE, SequenceNumber::new(1).expect("1"))
        .with_direct(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, port)
        .with_host_check()
        .with_send_file(&data.expect("good data"), total.into())
}

async fn read_header(stream: &mut TcpStream) -> Header {
    let mut buffer = BytesMut::new();
    loop {
        if let Some(header) = Header::decode(&mut buffer).expect("a header") {
            return header;
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut buffer));
        assert_ne!(read.await.expect("in time").expect("a connection"), 0);
    }
}

/// Sends [`CONTENT`] as old clients do: prompt, answer, bytes, done.
async fn send_the_old_way(stream: &mut TcpStream) {
    let mut sum = RunningChecksum::new();
    sum.update(CONTENT);
    let (charset, name) = NameField::encode(["old.txt"]).expect("a name");
    let mut prompt = Header::new(Kind::PROMPT, COOKIE, charset, name);
    prompt.total_size = u32::try_from(CONTENT.len()).expect("a short text");
    prompt.size = prompt.total_size;
    prompt.mtime = 1_700_000_000;
    prompt.checksum = sum.value();
    prompt.received_checksum = Checksum::EMPTY;
    stream.write_all(&prompt.encode()).await.expect("a peer");
    assert_eq!(read_header(stream).await.kind, Kind::ACK);
    stream.write_all(CONTENT).await.expect("a peer");
    assert_eq!(read_header(stream).await.kind, Kind::DONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_01_a_plain_file_is_refused_unless_it_is_allowed() {
    let host = host();
    let bob = user(&host, "bob");
    let mut old = old_client(&host, "oldie").await;
    let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = door.local_addr().expect("bound").port();

    let mut bobs = listen(&bob, &["--from", "oldie", "--yes"]);
    old.rendezvous("bob", &proposal(port), TlvList::new()).await;
    let refusal = old.expect(Foodgroup::ICBM, 0x0B).await;
    let refusal = ClientError::decode(&refusal.body).expect("a refusal");
    assert_eq!(
        (refusal.cookie, refusal.nak()),
        (COOKIE, Some(NakCode::SECURITY_MISMATCH))
    );
    let refused = bobs.event("refused");
    assert_eq!(
        (&refused["peer"], &refused["exit"]),
        (&"oldie".into(), &5.into())
    );
    bobs.line_with(ERR, "--allow-plain");
    bobs.ctrl_c();
    bobs.finish().expect_code(130);
    assert_nothing_in(&bob.path("in"));
    // Nobody connected (S-09).
    assert!(timeout(Duration::ZERO, door.accept()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_plain_file_arrives_and_is_called_plain_even_if_quiet() {
    let host = host();
    let bob = user(&host, "bob");
    let mut old = old_client(&host, "oldie").await;
    let contact = ["contact", "add", "oldie", "--allow-plain"];
    for (round, more) in [&["--allow-plain", "--from", "oldie"][..], &[]]
        .iter()
        .enumerate()
    {
        if round == 1 {
            // The same, allowed for the contact alone.
            bob.run(contact).finish().expect_code(0);
        }
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = door.local_addr().expect("bound").port();
        let mut args = vec!["-q", "--yes", "--count", "1"];
        args.extend(*more);
        let mut bobs = listen(&bob, &args);
        old.rendezvous("bob", &proposal(port), TlvList::new()).await;
        let (mut stream, _) = timeout(PATIENCE, door.accept())
            .await
            .expect("in time")
            .expect("a peer");
        send_the_old_way(&mut stream).await;
        let offer = bobs.event("offer");
        assert_eq!(
            (&offer["security"], &offer["name"]),
            (&"plain".into(), &"old.txt".into())
        );
        let ended = bobs.finish().expect_code(0);
        let end = ended
            .events()
            .into_iter()
            .find(|event| event["event"] == "transfer");
        let end = end.expect("an end");
        assert_eq!(
            (&end["ok"], &end["security"]),
            (&true.into(), &"plain".into())
        );
        assert!(ended.err.contains(PLAIN), "{}", ended.err);
        let got = bob.path("in/old.txt");
        assert_eq!(fs::read(&got).expect("a file"), CONTENT);
        fs::remove_file(got).expect("a file");
        let (_, accept) = old.expect_rendezvous().await;
        assert_eq!(accept.kind, MessageKind::ACCEPT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_01_no_byte_goes_to_an_old_client_in_the_clear_unless_it_is_allowed() {
    let host = host();
    let alice = user(&host, "alice");
    small_file(&alice, "a");
    let content = fs::read(alice.path("a")).expect("a file");
    let mut old = old_client(&host, "oldie").await;
    for allowed in [false, true] {
        let mut args = vec!["send", "-q", "--json", "--to", "oldie", "a"];
        if allowed {
            args.push("--allow-plain");
        }
        let sender = alice.run(args);
        let (from, proposed) = old.expect_rendezvous().await;
        assert_eq!((from.as_str(), proposed.service), ("alice", SEND_FILE));
        assert!(proposed.params().contains(tag::REQUEST_SECURE));
        let port = proposed.params().u16(tag::PORT).expect("a port");
        // It knows nothing of encryption: it connects and waits for the prompt.
        let accept = Message::accept(proposed.cookie, SEND_FILE);
        old.rendezvous("alice", &accept, TlvList::new()).await;
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        if !allowed {
            // The accept without encryption may have ended it already.
            if let Ok(mut stream) = connected {
                let mut heard = Vec::new();
                let _ = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
                assert!(heard.is_empty(), "{heard:?}");
            }
            let ended = sender.finish().expect_code(5);
            assert_eq!(ended.result()["exit"], 5);
            let refusal = old.expect(Foodgroup::ICBM, 0x0B).await;
            let refusal = ClientError::decode(&refusal.body).expect("a refusal");
            assert_eq!(refusal.nak(), Some(NakCode::SECURITY_MISMATCH));
            let (_, cancelled) = old.expect_rendezvous().await;
            assert_eq!(cancelled.kind, MessageKind::CANCEL);
            continue;
        }
        let mut stream = connected.expect("the sender listens");
        let prompt = read_header(&mut stream).await;
        assert_eq!(
            (prompt.kind, prompt.cookie),
            (Kind::PROMPT, proposed.cookie)
        );
        let mut answer = prompt.clone();
        answer.kind = Kind::ACK;
        stream.write_all(&answer.encode()).await.expect("a peer");
        let mut body = vec![0; content.len()];
        timeout(PATIENCE, stream.read_exact(&mut body))
            .await
            .expect("in time")
            .expect("the file");
        assert_eq!(body, content);
        let mut sum = RunningChecksum::new();
        sum.update(&body);
        answer.kind = Kind::DONE;
        answer.received = answer.size;
        answer.received_checksum = sum.value();
        (answer.files_left, answer.parts_left) = (0, 0);
        stream.write_all(&answer.encode()).await.expect("a peer");
        let ended = sender.finish().expect_code(0);
        assert_eq!(ended.result()["security"], "plain");
        assert!(ended.err.contains(PLAIN), "{}", ended.err);
    }
}
