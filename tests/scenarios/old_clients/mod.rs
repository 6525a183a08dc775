//! Files to and from old clients through the engine: between two of ours, and with a scripted one.

mod cancels;
mod engines;
mod policies;
mod strangers;

use std::fs;
use std::net::SocketAddr;

use rdv::signaling::RelayInfo;
use rdv::signaling::memory::MemoryHub;
use rdv::{
    Builder, Engine, Error, OfferOptions, Path, PathKind, Proposal, ProposalKind, ScreenName,
    Security, ServiceChoice, Services, Sink, SinkOptions, Source, SourceOptions, Summary, Transfer,
    TransferEvent,
};
use rdv_host::{Relay, RelayConfig};
use rdv_tests::channel::{Edit, Meddled, Said, honest};
use rdv_tests::old_peer::OldPeer;

const SEND_FILE: OfferOptions = OfferOptions {
    service: ServiceChoice::SendFile,
    batch: false,
};

fn name(text: &str) -> ScreenName {
    ScreenName::new(text).unwrap()
}

/// A hub, folders for files, and perhaps a relay.
struct Town {
    hub: MemoryHub,
    folder: tempfile::TempDir,
}

impl Town {
    fn new() -> Self {
        Self {
            hub: MemoryHub::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Opens a relay for everybody; it runs as long as the test.
    async fn with_relay(self) -> Self {
        let config = RelayConfig {
            open: true,
            ..RelayConfig::default()
        };
        let relay = Relay::bind(config).await.unwrap();
        let address: SocketAddr = relay.local_addrs()[0];
        tokio::spawn(relay.run(std::future::pending()));
        self.hub.set_relay(Some(RelayInfo {
            address: address.to_string(),
            ticket: None,
        }));
        self
    }

    /// An engine that takes files from old clients, and may be plain.
    fn engine(&self, who: &str, edit: Edit) -> (Engine, Said) {
        self.engine_with(who, edit, |builder| builder.plain(|_: &ScreenName| true))
    }

    fn engine_with(
        &self,
        who: &str,
        edit: Edit,
        more: impl FnOnce(Builder) -> Builder,
    ) -> (Engine, Said) {
        let (channel, said) = Meddled::new(self.hub.join(name(who)), edit);
        let channel = std::sync::Arc::new(channel);
        let builder = Engine::builder(channel.clone())
            .relays(channel)
            .services(Services::FILES)
            .host_on_this_machine(true);
        (more(builder).build(), said)
    }

    /// The same, for a channel that knows when others sign on anew.
    fn engine_restarting(&self, who: &str) -> (Engine, Restarts) {
        let (channel, said) = Meddled::new(self.hub.join(name(who)), honest);
        let (channel, restarted) = channel.telling_restarts();
        let engine = Engine::builder(channel)
            .services(Services::FILES)
            .plain(|_: &ScreenName| true)
            .host_on_this_machine(true)
            .build();
        (engine, Restarts { said, restarted })
    }

    /// An old client called `who` that talks to `peer`.
    fn old_client(&self, who: &str, peer: &str) -> OldPeer {
        OldPeer::join(&self.hub, &name(who), &name(peer))
    }

    fn file(&self, called: &str, content: &[u8]) -> Source {
        let path = self.folder.path().join(called);
        fs::write(&path, content).unwrap();
        Source::paths(vec![path], SourceOptions::default()).unwrap()
    }

    fn files(&self, all: &[(&str, &[u8])]) -> Source {
        let paths = all.iter().map(|(called, content)| {
            let path = self.folder.path().join(called);
            fs::write(&path, content).unwrap();
            path
        });
        Source::paths(paths.collect(), SourceOptions::default()).unwrap()
    }

    fn sink(&self) -> Sink {
        Sink::folder(self.folder.path().join("out"), SinkOptions::default()).unwrap()
    }

    fn arrived(&self, called: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join("out").join(called)).ok()
    }

    fn nothing_arrived(&self) -> bool {
        fs::read_dir(self.folder.path().join("out")).map_or(true, |mut all| all.next().is_none())
    }
}

/// Who has signed on anew, as a host tells.
struct Restarts {
    said: Said,
    restarted: tokio::sync::mpsc::UnboundedSender<ScreenName>,
}

impl Restarts {
    fn restarts(&self, who: &ScreenName) {
        self.restarted.send(who.clone()).unwrap();
    }
}

/// How a transfer ended, and over what.
#[derive(Debug)]
struct End {
    lanes: Vec<(PathKind, Security)>,
    outcome: Result<Summary, Error>,
}

impl End {
    /// The only lane of a transfer that worked.
    fn lane(&self) -> (PathKind, &'static str) {
        assert!(self.outcome.is_ok(), "{:?}", self.outcome);
        let [(path, security)] = self.lanes[..] else {
            panic!("{:?}", self.lanes)
        };
        (path, security.word())
    }
}

async fn end(mut transfer: Transfer) -> End {
    let mut lanes = Vec::new();
    loop {
        match transfer.next_event().await.unwrap() {
            TransferEvent::Connected {
                path: Path { kind, .. },
                security,
                ..
            } => lanes.push((kind, security)),
            TransferEvent::Offered(_) => transfer.accept(),
            TransferEvent::Ended(outcome) => return End { lanes, outcome },
            _ => {}
        }
    }
}

/// Waits until a lane is there.
async fn connected(transfer: &mut Transfer) {
    while !matches!(
        transfer.next_event().await.unwrap(),
        TransferEvent::Connected { .. }
    ) {}
}

/// The name, files and bytes of what an old client offers.
fn offered(proposal: &Proposal) -> (String, u32, u64) {
    match proposal.kind() {
        ProposalKind::SendFile(offer) => (offer.name.clone(), offer.files, offer.bytes),
        other => panic!("{other:?}"),
    }
}
