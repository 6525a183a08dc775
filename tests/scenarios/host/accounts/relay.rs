//! The host's relay for old clients, which have no tickets: by name and address.

use std::net::SocketAddr;

use bytes::BytesMut;
use rdv_proto::wire::ars::{Command, ErrorCode, Frame, TLV_SERVICE};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service::SEND_FILE;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::{Manners, OldClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::Town;

/// As libpurple makes them: seven digits and a zero.
const COOKIE: Cookie = Cookie(*b"3855154\0");

/// Somebody with an address of their own.
struct Neighbour {
    name: &'static str,
    address: &'static str,
    /// Signed on as long as it is kept.
    client: OldClient,
}

impl Neighbour {
    async fn new(town: &Town, name: &'static str, address: &'static str) -> Self {
        let password = town.account(name).await;
        let manners = Manners {
            from: Some(address.parse().unwrap()),
            ..Manners::default()
        };
        let client = OldClient::sign_on(town.port(), name, &password, &manners)
            .await
            .unwrap();
        Self {
            name,
            address,
            client,
        }
    }

    async fn creates(&self, town: &Town) -> (TcpStream, Command) {
        says(town.port(), self.address, create(self.name)).await
    }

    async fn joins(&self, town: &Town, token: u16) -> (TcpStream, Command) {
        says(town.port(), self.address, join(self.name, token)).await
    }
}

fn create(name: &str) -> Command {
    Command::Create {
        name: ScreenName::new(name).unwrap(),
        cookie: COOKIE,
        tlvs: TlvList::new().with(TLV_SERVICE, SEND_FILE.as_bytes().to_vec()),
    }
}

fn join(name: &str, token: u16) -> Command {
    Command::Join {
        name: ScreenName::new(name).unwrap(),
        token,
        cookie: COOKIE,
        tlvs: TlvList::new().with(TLV_SERVICE, SEND_FILE.as_bytes().to_vec()),
    }
}

/// Connects from that address, says this, and hears the answer.
async fn says(relay: SocketAddr, from: &str, command: Command) -> (TcpStream, Command) {
    let socket = TcpSocket::new_v4().unwrap();
    let from = from.parse().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let mut stream = socket.connect(relay).await.unwrap();
    stream
        .write_all(&Frame::new(command).encode())
        .await
        .unwrap();
    let answer = answer(&mut stream).await;
    (stream, answer)
}

/// The next frame, and nothing of what comes behind it.
async fn answer(stream: &mut TcpStream) -> Command {
    let length = stream.read_u16().await.unwrap();
    let mut frame = BytesMut::from(&length.to_be_bytes()[..]);
    frame.resize(2 + usize::from(length), 0);
    stream.read_exact(&mut frame[2..]).await.unwrap();
    Frame::decode(&mut frame).unwrap().unwrap().command
}

#[track_caller]
fn token_of(created: &Command) -> u16 {
    match created {
        Command::Created { token, ip } => {
            assert_eq!(ip.to_string(), "127.0.0.1", "where it was reached");
            *token
        }
        other => panic!("{other:?}"),
    }
}

const REFUSED: Command = Command::Error(ErrorCode::BAD_REQUEST);

#[tokio::test]
async fn s_37_two_old_clients_meet_at_the_relay_by_name_and_address() {
    let town = Town::new().await;
    let alice = Neighbour::new(&town, "alice", "127.0.0.2").await;
    let bob = Neighbour::new(&town, "Bob B", "127.0.0.3").await;
    let (mut creator, created) = alice.creates(&town).await;
    let (mut joiner, ready) = bob.joins(&town, token_of(&created)).await;
    assert_eq!(ready, Command::Ready);
    assert_eq!(answer(&mut creator).await, Command::Ready);
    joiner.write_all(b"OFT2").await.unwrap();
    let mut heard = [0; 4];
    creator.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"OFT2");
}

#[tokio::test]
async fn s_37_a_name_from_elsewhere_and_one_that_is_not_signed_on_are_refused() {
    let town = Town::new().await;
    let alice = Neighbour::new(&town, "alice", "127.0.0.2").await;
    let bob = Neighbour::new(&town, "bob", "127.0.0.3").await;
    town.account("carol").await;
    let port = town.port();
    for (from, name) in [
        ("127.0.0.3", "alice"),
        ("127.0.0.2", "carol"),
        ("127.0.0.2", "nobody"),
    ] {
        assert_eq!(says(port, from, create(name)).await.1, REFUSED, "{name}");
    }
    let (mut creator, created) = alice.creates(&town).await;
    let token = token_of(&created);
    for (from, name) in [("127.0.0.2", "bob"), ("127.0.0.3", "carol")] {
        let refused = says(port, from, join(name, token)).await.1;
        assert_eq!(refused, REFUSED, "{name}");
    }
    assert_eq!(bob.joins(&town, token ^ 1).await.1, REFUSED);
    let (_joiner, ready) = bob.joins(&town, token).await;
    assert_eq!(ready, Command::Ready);
    assert_eq!(answer(&mut creator).await, Command::Ready);
    bob.client.leave().await;
    let gone = says(port, "127.0.0.3", create("bob")).await.1;
    assert_eq!(gone, REFUSED, "who left is a stranger");
}

#[tokio::test]
async fn l_25_what_is_announced_is_the_public_address_where_one_is_set() {
    let town = Town::with(|config| {
        config.public_address = Some("198.51.100.80".parse().unwrap());
    })
    .await;
    let password = town.account("alice").await;
    // Where to go on is said with the public address, too; this one knows better.
    let manners = Manners::default();
    let ticket = OldClient::login(town.port(), "alice", &password, &manners)
        .await
        .unwrap();
    assert!(ticket.address.starts_with("198.51.100.80:"));
    let mut alice = OldClient::bos(town.port(), "alice", &ticket.cookie, &manners)
        .await
        .unwrap();
    alice.set_up(&manners).await;
    let created = says(town.port(), "127.0.0.1", create("alice")).await.1;
    let public: std::net::Ipv4Addr = "198.51.100.80".parse().unwrap();
    assert!(matches!(created, Command::Created { ip, .. } if ip == public));
}
