//! Both sides of OFT2 as the engine uses them, and old clients that say whatever the test wants.

use rdv_proto::transfer::oft::ReceiveTerms;
use rdv_proto::wire::oft::{Checksum, Header, Kind, NameField, RunningChecksum};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service::SendFileOffer;
use rdv_proto::wire::text::ScreenName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::oft::{Outgoing, read_header, write_header};
use super::super::{oft, *};
use super::*;

pub(super) const COOKIE: Cookie = Cookie(*b"TRYST01\0");

pub(super) fn alice() -> ScreenName {
    ScreenName::new("Alice").unwrap()
}

/// What the user said yes to.
pub(super) fn terms(offer: &SendFileOffer) -> ReceiveTerms {
    ReceiveTerms {
        cookie: COOKIE,
        zero_cookie_counts: false,
        files: offer.files.into(),
        bytes: offer.bytes,
        name: offer.name.clone(),
        folder: offer.folder,
    }
}

/// Terms of a single file.
pub(super) fn one(name: &str, bytes: u64) -> ReceiveTerms {
    terms(&SendFileOffer {
        folder: false,
        files: 1,
        bytes,
        name: name.into(),
    })
}

/// Terms of files in a folder.
pub(super) fn many(name: &str, files: u16, bytes: u64) -> ReceiveTerms {
    terms(&SendFileOffer {
        folder: true,
        files,
        bytes,
        name: name.into(),
    })
}

/// Sends one rendezvous.
pub(super) async fn send_over<S>(mut stream: S, outgoing: Outgoing, control: &Control) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let prompted = outgoing.prompt(COOKIE).await?;
    write_header(&mut stream, &prompted.header).await?;
    let answer = read_header(&mut stream).await?;
    oft::send(stream, answer, prompted, control).await
}

/// Receives one rendezvous.
pub(super) async fn receive_over<S>(
    mut stream: S,
    sink: Sink,
    terms: ReceiveTerms,
    control: &Control,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let first = read_header(&mut stream).await?;
    oft::receive(stream, first, sink, &alice(), terms, control).await
}

/// All rendezvous of a source, one after the other.
pub(super) async fn exchange(source: Source, batch: bool, sink: Sink) -> Vec<(Ended, Ended)> {
    let control = Control::new();
    let mut ended = Vec::new();
    for outgoing in Outgoing::prepare(source, batch, &control).await.unwrap() {
        let (a, b) = stream();
        let terms = terms(outgoing.offer());
        let theirs = Control::new();
        ended.push(tokio::join!(
            send_over(a, outgoing, &control),
            receive_over(b, sink.clone(), terms, &theirs)
        ));
    }
    if ended.iter().all(|(sent, _)| sent.is_ok()) {
        assert_eq!(control.progress().phase, Phase::Over);
    }
    ended
}

pub(super) fn checksum(bytes: &[u8]) -> Checksum {
    let mut running = RunningChecksum::new();
    running.update(bytes);
    running.value()
}

/// A prompt for one file, as AIM sends it.
pub(super) fn prompt(parts: &[&str], content: &[u8]) -> Header {
    let (charset, name) = NameField::encode(parts.iter().copied()).unwrap();
    let size = u32::try_from(content.len()).unwrap();
    Header {
        size,
        total_size: size,
        mtime: 0x6600_0000,
        checksum: checksum(content),
        ..Header::new(Kind::PROMPT, COOKIE, charset, name)
    }
}

/// An old client.
pub(super) struct Old(pub(super) DuplexStream);

impl Old {
    pub(super) async fn say(&mut self, header: &Header) {
        self.bytes(&header.encode()).await;
    }

    /// The other side may have gone already: that is its right.
    pub(super) async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// A header of this kind, or none if the connection is closed.
    pub(super) async fn hear(&mut self, kind: Kind) -> Option<Header> {
        let header = read_header(&mut self.0).await.ok()?;
        assert_eq!(header.kind, kind);
        Some(header)
    }

    pub(super) async fn body(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Nothing comes any more.
    pub(super) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest).await;
        assert!(
            rest.is_empty() || read.is_err(),
            "{} more bytes",
            rest.len()
        );
    }
}
