//! Shared folders: two engines, and an engine with a scripted old client on either side.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use rdv::signaling::memory::{MemoryChannel, MemoryHub};
use rdv::signaling::{Incoming, Signaling};
use rdv::{
    Builder, Engine, Error, ScreenName, Security, Services, Share, SharedFiles, Sink, SinkOptions,
};
use rdv_proto::transfer::oft::{ListRequester, RequesterEvent};
use rdv_proto::wire::oft::{Header, Kind, Listing, NameField};
use rdv_proto::wire::rendezvous::{
    CancelReason, Cookie, Message, MessageKind, NakCode, SequenceNumber, tag,
};
use rdv_proto::wire::service::{GET_FILE, get_file_tags};
use rdv_proto::wire::signal::Signal;
use rdv_tests::captures;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const COOKIE: Cookie = Cookie(*b"GF-0001\0");
const LONG: Duration = Duration::from_secs(20);

fn name(name: &str) -> ScreenName {
    ScreenName::new(name).unwrap()
}

fn builder(channel: MemoryChannel) -> Builder {
    Engine::builder(channel)
        .host_on_this_machine(true)
        .services(Services::NONE)
}

/// What bob shares, beside something that he does not.
fn folder() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let shared = place.path().join("shared");
    fs::create_dir_all(shared.join("photos")).unwrap();
    fs::write(shared.join("fox.txt"), "the quick brown fox").unwrap();
    fs::write(shared.join("photos/日.jpg"), vec![7; 300_001]).unwrap();
    fs::write(shared.join(".key"), "hidden").unwrap();
    fs::write(place.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(place.path(), shared.join("up")).unwrap();
    place
}

fn share(place: &Path, contacts: &[&str]) -> Share {
    let contacts = contacts.iter().map(|contact| name(contact));
    Share::folder(place.join("shared"), contacts).unwrap()
}

fn names(files: &SharedFiles) -> Vec<&str> {
    files.entries().iter().map(|entry| entry.name()).collect()
}

#[tokio::test]
async fn a_named_contact_looks_around_and_fetches_a_file() {
    let (place, inbox) = (folder(), tempfile::tempdir().unwrap());
    let (alice, bob) = MemoryHub::pair(name("alice"), name("bob"));
    let alice = builder(alice).build();
    let _bob = builder(bob).share(share(place.path(), &["A lice"])).build();
    let all = async {
        let mut files = alice.get_files(name("bob")).await.unwrap();
        assert!(matches!(files.security(), Security::Encrypted { .. }));
        assert_eq!(names(&files), ["fox.txt", "photos"]);
        let photos = files.entries()[1].clone();
        assert!(photos.folder);
        files.list(Some(&photos)).await.unwrap();
        assert_eq!(names(&files), ["日.jpg"]);
        let photo = files.entries()[0].clone();
        assert_eq!((photo.folder, photo.size), (false, 300_001));
        files.list(None).await.unwrap();
        assert_eq!(names(&files), ["fox.txt", "photos"]);
        let sink = Sink::folder(inbox.path(), SinkOptions::default()).unwrap();
        let transfer = files.fetch(&photo, sink).await.unwrap();
        transfer.finish(|_| true).await.unwrap()
    };
    let summary = timeout(LONG, all).await.unwrap();
    assert_eq!((summary.files, summary.bytes), (1, 300_001));
    assert_eq!(
        fs::read(inbox.path().join("日.jpg")).unwrap(),
        vec![7; 300_001]
    );
}

#[tokio::test]
async fn a_file_that_changed_since_the_listing_is_not_taken() {
    let (place, inbox) = (folder(), tempfile::tempdir().unwrap());
    let (alice, bob) = MemoryHub::pair(name("alice"), name("bob"));
    let alice = builder(alice).build();
    let _bob = builder(bob).share(share(place.path(), &["alice"])).build();
    let files = alice.get_files(name("bob")).await.unwrap();
    let fox = files.entries()[0].clone();
    fs::write(
        place.path().join("shared/fox.txt"),
        "longer than it was before",
    )
    .unwrap();
    let sink = Sink::folder(inbox.path(), SinkOptions::default()).unwrap();
    let transfer = files.fetch(&fox, sink).await.unwrap();
    let outcome = timeout(LONG, transfer.finish(|_| true)).await.unwrap();
    assert!(matches!(outcome, Err(Error::Transfer(_))), "{outcome:?}");
    assert_eq!(fs::read_dir(inbox.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn to_everybody_else_there_is_no_such_service() {
    let place = folder();
    for contacts in [&["carol"][..], &[]] {
        let (alice, bob) = MemoryHub::pair(name("alice"), name("bob"));
        let alice = builder(alice).build();
        let _bob = builder(bob).share(share(place.path(), contacts)).build();
        let outcome = timeout(LONG, alice.get_files(name("bob"))).await.unwrap();
        assert!(
            matches!(outcome, Err(Error::Incompatible { .. })),
            "{outcome:?}"
        );
    }
}

/// An old client at the other end of alice's channel.
struct Old(MemoryChannel);

impl Old {
    async fn say(&self, message: Message) {
        let body = Signal::Rendezvous(message).encode();
        self.0.send(name("alice"), body, true).await.unwrap();
    }

    async fn signal(&self) -> Signal {
        match timeout(LONG, self.0.recv()).await.unwrap().unwrap() {
            Incoming::Message { body, .. } => Signal::decode(body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn hear(&self) -> Message {
        match self.signal().await {
            Signal::Rendezvous(message) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for alice's files at this listener.
    async fn ask(&self, listener: &TcpListener) {
        let here = Ipv4Addr::LOCALHOST;
        let port = listener.local_addr().unwrap().port();
        let mut first =
            Message::propose(COOKIE, GET_FILE, SequenceNumber::FIRST).with_direct(here, here, port);
        for tlv in get_file_tags().0 {
            first = first.with_param(tlv.tag, tlv.value).unwrap();
        }
        self.say(first).await;
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

async fn header(stream: &mut TcpStream) -> Option<Header> {
    let mut raw = vec![0; 6];
    timeout(LONG, stream.read_exact(&mut raw))
        .await
        .unwrap()
        .ok()?;
    raw.resize(u16::from_be_bytes([raw[4], raw[5]]).into(), 0);
    stream.read_exact(&mut raw[6..]).await.unwrap();
    Header::decode(&mut BytesMut::from(&raw[..])).unwrap()
}

/// The requester's half of a listing.
async fn listing(stream: &mut TcpStream, machine: &mut ListRequester) -> Listing {
    let prompt = header(stream).await.unwrap();
    let RequesterEvent::ReceiveListing { reply, len } = machine.handle(&prompt).unwrap();
    stream.write_all(&reply.encode()).await.unwrap();
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    let (reply, listing) = machine.received(&bytes.into()).unwrap();
    stream.write_all(&reply.encode()).await.unwrap();
    listing
}

#[tokio::test]
async fn our_request_is_that_of_an_old_client() {
    let example = Message::decode(captures::vector("getfile_payload")).unwrap();
    let (alice, old) = MemoryHub::pair(name("alice"), name("bob"));
    let alice = builder(alice).plain(|_: &ScreenName| true).build();
    let old = Old(old);
    let asking = tokio::spawn(async move { alice.get_files(name("bob")).await });
    let ours = old.hear().await;
    assert_eq!((ours.service, ours.kind), (GET_FILE, MessageKind::PROPOSE));
    for tag in [tag::SERVICE_DATA, tag::FILE_NAME_CHARSET] {
        assert_eq!(ours.params().last(tag), example.params().last(tag));
    }
    old.say(Message::cancel(ours.cookie, GET_FILE, CancelReason::USER))
        .await;
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test]
async fn what_is_not_shared_is_not_served_whatever_an_old_client_asks_for() {
    let place = folder();
    let outside: [(Kind, &[&str]); 8] = [
        (Kind::REQUEST_FILE, &["..", "secret"]),
        (Kind::REQUEST_FILE, &["../secret"]),
        (Kind::REQUEST_FILE, &["up", "secret"]),
        (Kind::REQUEST_FILE, &[".key"]),
        (Kind::REQUEST_FILE, &["/etc/passwd"]),
        (Kind::REQUEST_FILE, &[]),
        (Kind::REQUEST_LISTING, &["up"]),
        (Kind::REQUEST_LISTING, &[".."]),
    ];
    for (kind, parts) in outside {
        let (alice, old) = MemoryHub::pair(name("alice"), name("bob"));
        let _alice = builder(alice)
            .share(share(place.path(), &["bob"]))
            .plain(|_: &ScreenName| true)
            .build();
        let (old, listener) = (Old(old), listener().await);
        old.ask(&listener).await;
        let mut stream = listener.accept().await.unwrap().0;
        let mut machine = ListRequester::new(COOKIE, false);
        let top = listing(&mut stream, &mut machine).await;
        let told: Vec<_> = top.0.iter().map(|entry| entry.path().unwrap()).collect();
        assert_eq!(told, [["fox.txt"], ["photos"]]);
        let (charset, field) = NameField::encode(parts.iter().copied()).unwrap();
        let request = Header::new(kind, COOKIE, charset, field);
        stream.write_all(&request.encode()).await.unwrap();
        assert_eq!(
            header(&mut stream).await,
            None,
            "{parts:?}: closed without a word"
        );
    }
}

#[tokio::test]
async fn an_old_client_fetches_a_file_by_the_name_in_the_listing() {
    let place = folder();
    let (alice, old) = MemoryHub::pair(name("alice"), name("bob"));
    let _alice = builder(alice)
        .share(share(place.path(), &["bob"]))
        .plain(|_: &ScreenName| true)
        .build();
    let (old, listener) = (Old(old), listener().await);
    old.ask(&listener).await;
    let mut stream = listener.accept().await.unwrap().0;
    let mut machine = ListRequester::new(COOKIE, false);
    listing(&mut stream, &mut machine).await;
    let request = machine.want_file(["fox.txt"]).unwrap();
    stream.write_all(&request.encode()).await.unwrap();
    let prompt = header(&mut stream).await.unwrap();
    assert_eq!(
        (prompt.kind, prompt.cookie, prompt.size),
        (Kind::PROMPT, COOKIE, 19)
    );
    let ack = prompt.reply(Kind::ACK, COOKIE);
    stream.write_all(&ack.encode()).await.unwrap();
    let mut content = [0; 19];
    stream.read_exact(&mut content).await.unwrap();
    assert_eq!(content, *b"the quick brown fox");
    let done = Header {
        received: 19,
        ..prompt.reply(Kind::DONE, COOKIE)
    };
    stream.write_all(&done.encode()).await.unwrap();
    assert_eq!(header(&mut stream).await, None, "closed in peace");
    assert_eq!(old.hear().await.kind, MessageKind::ACCEPT);
}

#[tokio::test]
async fn a_requester_with_another_cookie_gets_no_listing_and_a_stranger_no_answer_but_unsupported()
{
    let place = folder();
    let (alice, old) = MemoryHub::pair(name("alice"), name("bob"));
    let _alice = builder(alice)
        .share(share(place.path(), &["bob"]))
        .plain(|_: &ScreenName| true)
        .build();
    let (old, listener) = (Old(old), listener().await);
    old.ask(&listener).await;
    let mut stream = listener.accept().await.unwrap().0;
    let prompt = header(&mut stream).await.unwrap();
    let ack = prompt.reply(Kind::LIST_ACK, Cookie([9; 8]));
    stream.write_all(&ack.encode()).await.unwrap();
    assert_eq!(header(&mut stream).await, None);

    let (alice, old) = MemoryHub::pair(name("alice"), name("mallory"));
    let _alice = builder(alice).share(share(place.path(), &["bob"])).build();
    let old = Old(old);
    old.ask(&listener).await;
    // Not that it is plain: that there is such a service is not for strangers to know.
    assert_eq!(old.signal().await.nak(), Some(NakCode::UNSUPPORTED));
}

#[tokio::test]
async fn a_listing_that_is_not_what_was_announced_is_refused() {
    let (alice, old) = MemoryHub::pair(name("alice"), name("bob"));
    let alice = builder(alice).plain(|_: &ScreenName| true).build();
    let old = Old(old);
    let asking = tokio::spawn(async move { alice.get_files(name("bob")).await });
    let proposal = old.hear().await;
    old.say(Message::accept(proposal.cookie, GET_FILE)).await;
    let at = (Ipv4Addr::LOCALHOST, proposal.port().unwrap());
    let mut stream = TcpStream::connect(at).await.unwrap();
    let (charset, field) = NameField::empty();
    let prompt = Header {
        size: 4,
        total_size: 4,
        ..Header::new(Kind::LIST_PROMPT, proposal.cookie, charset, field)
    };
    stream.write_all(&prompt.encode()).await.unwrap();
    assert_eq!(header(&mut stream).await.unwrap().kind, Kind::LIST_ACK);
    stream.write_all(b"Lst1").await.unwrap();
    assert_eq!(header(&mut stream).await.unwrap().kind, Kind::LIST_CORRUPT);
    let outcome = timeout(LONG, asking).await.unwrap().unwrap();
    assert!(matches!(outcome, Err(Error::Transfer(_))), "{outcome:?}");
}
