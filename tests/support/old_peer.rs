//! An old client with a script instead of a user: plain OFT2 over real sockets, as libpurple speaks it.

use std::net::SocketAddr;

use bytes::BytesMut;
use rdv::ScreenName;
use rdv::signaling::memory::{MemoryChannel, MemoryHub};
use rdv::signaling::{Incoming, Signaling};
use rdv_proto::wire::oft::{Header, Kind, NameField, RunningChecksum};
use rdv_proto::wire::rendezvous::{
    CancelReason, Cookie, Message, MessageKind, NakCode, SequenceNumber,
};
use rdv_proto::wire::service::{SEND_FILE, SendFileOffer};
use rdv_proto::wire::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An old client that is signed on to a hub.
pub struct OldPeer {
    channel: MemoryChannel,
    peer: ScreenName,
    /// Of the conversation.
    pub cookie: Cookie,
}

impl OldPeer {
    /// Signs on and will talk to `peer` alone.
    #[must_use]
    pub fn join(hub: &MemoryHub, name: &ScreenName, peer: &ScreenName) -> Self {
        Self {
            channel: hub.join(name.clone()),
            peer: peer.clone(),
            cookie: Cookie(*b"3855154\0"),
        }
    }

    /// The next thing that the peer says.
    pub async fn hear(&self) -> Signal {
        loop {
            let incoming = self.channel.recv().await.expect("the hub is there");
            if let Incoming::Message { body, .. } = incoming {
                return Signal::decode(body).expect("a signal");
            }
        }
    }

    /// The next message of that kind; others are skipped.
    pub async fn hear_message(&self, kind: MessageKind) -> Message {
        loop {
            if let Signal::Rendezvous(message) = self.hear().await
                && message.kind == kind
            {
                return message;
            }
        }
    }

    /// Waits for the peer's proposal and takes over its cookie.
    pub async fn hear_proposal(&mut self) -> Message {
        let message = self.hear_message(MessageKind::PROPOSE).await;
        self.cookie = message.cookie;
        message
    }

    /// Says something.
    pub async fn say(&self, signal: Signal) {
        self.channel
            .send(self.peer.clone(), signal.encode(), false)
            .await
            .expect("the hub is there");
    }

    /// Says ACCEPT.
    pub async fn accept(&self) {
        self.say(Signal::Rendezvous(Message::accept(self.cookie, SEND_FILE)))
            .await;
    }

    /// Says CANCEL, as libpurple does on every occasion.
    pub async fn cancel(&self) {
        let cancel = Message::cancel(self.cookie, SEND_FILE, CancelReason::USER);
        self.say(Signal::Rendezvous(cancel)).await;
    }

    /// Refuses with a client error.
    pub async fn nak(&self, nak: NakCode) {
        self.say(Signal::client_error(self.cookie, nak)).await;
    }

    /// Proposes with a listener at `at`: a file of `bytes` with the first number, else a redirect.
    pub async fn propose(&self, number: u16, at: SocketAddr, file: Option<(&str, u64)>) {
        let SocketAddr::V4(at) = at else {
            panic!("old clients know IPv4")
        };
        let number = SequenceNumber::new(number).expect("a number");
        let mut message = Message::propose(self.cookie, SEND_FILE, number).with_direct(
            *at.ip(),
            *at.ip(),
            at.port(),
        );
        if let Some((name, bytes)) = file {
            let offer = SendFileOffer {
                folder: false,
                files: 1,
                bytes,
                name: name.into(),
            };
            for tlv in offer.to_tags().expect("a good offer").0 {
                message = message.with_param(tlv.tag, tlv.value).expect("a tag");
            }
        }
        self.say(Signal::Rendezvous(message)).await;
    }
}

/// A listener on this machine, and where it is.
pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("a bound port");
    (listener, at)
}

/// Where a direct proposal says that its sender listens, on this machine.
#[must_use]
pub fn at(proposal: &Message) -> SocketAddr {
    ([127, 0, 0, 1], proposal.port().expect("a port")).into()
}

/// A prompt as libpurple writes it: without a cookie.
#[must_use]
pub fn prompt(name: &str, content: &[u8]) -> Header {
    let (charset, field) = NameField::encode([name]).expect("a short name");
    let mut sum = RunningChecksum::new();
    sum.update(content);
    let size = u32::try_from(content.len()).expect("a small file");
    Header {
        total_size: size,
        size,
        checksum: sum.value(),
        ..Header::new(Kind::PROMPT, Cookie::ZERO, charset, field)
    }
}

/// The header with another kind and cookie, as a receiver answers.
#[must_use]
pub fn answer(header: &Header, kind: Kind, cookie: Cookie) -> Header {
    Header {
        kind,
        cookie,
        received: if kind == Kind::DONE { header.size } else { 0 },
        ..header.clone()
    }
}

/// Writes a header; the other end may be gone.
pub async fn write(stream: &mut TcpStream, header: &Header) -> bool {
    stream.write_all(&header.encode()).await.is_ok()
}

/// Reads one header; none if the other end closes first.
pub async fn read(stream: &mut TcpStream) -> Option<Header> {
    let mut buffer = BytesMut::new();
    loop {
        let header = Header::decode(&mut buffer).expect("a header");
        if header.is_some() {
            return header;
        }
        let missing = Header::length(&buffer)
            .expect("a header")
            .map_or(6 - buffer.len().min(5), |length| length - buffer.len());
        let mut more = vec![0; missing];
        stream.read_exact(&mut more).await.ok()?;
        buffer.extend_from_slice(&more);
    }
}

/// Receives one file whole, as libpurple does; its bytes.
pub async fn receive(stream: &mut TcpStream, cookie: Cookie) -> Vec<u8> {
    let prompt = read(stream).await.expect("a prompt");
    assert!(write(stream, &answer(&prompt, Kind::ACK, cookie)).await);
    let mut content = vec![0; usize::try_from(prompt.size).expect("a small file")];
    stream.read_exact(&mut content).await.expect("the file");
    assert!(write(stream, &answer(&prompt, Kind::DONE, cookie)).await);
    content
}

/// Sends one file whole, as libpurple does; the last header of the other end.
pub async fn send(stream: &mut TcpStream, name: &str, content: &[u8]) -> Header {
    assert!(write(stream, &prompt(name, content)).await);
    let ack = read(stream).await.expect("an answer");
    assert_eq!(ack.kind, Kind::ACK);
    stream.write_all(content).await.expect("a reader");
    read(stream).await.expect("a last word")
}

/// Whether the other end closes without another byte.
pub async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_))
}
