//! From a rendezvous to a direct IM: the first words, and one conversation per peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rdv_proto::direct_im::DirectIm as Machine;
use rdv_proto::limits;
use rdv_proto::rendezvous::ConversationId;
use rdv_proto::wire::odc::{HEADER_LEN, Header};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use super::{DirectIm, Ends, Talk};
use crate::driver::{LegacyWork, Opened};
use crate::error::Error;
use crate::handle::{Transfer, TransferEvent};
use crate::signaling::BoxFuture;
use crate::transfer::{Control, Summary, TransferError};
use crate::transport::Lane;
use crate::transport::connect;
use crate::transport::opening::{Opening, OpeningError, Terms};

/// Bytes that tell how long a header is.
const LENGTH_KNOWN: usize = 6;

/// The direct IMs of an engine: at most one with each peer.
#[derive(Clone)]
pub(crate) struct DirectIms {
    local: ScreenName,
    open: Arc<Mutex<BTreeMap<ScreenName, (Cookie, Control)>>>,
}

impl DirectIms {
    pub(crate) fn new(local: ScreenName) -> Self {
        Self {
            local,
            open: Arc::default(),
        }
    }

    /// A direct IM as work for the driver, and where its handle will come out.
    pub(crate) fn work(&self, id: ConversationId) -> (LegacyWork, oneshot::Receiver<Ends>) {
        let (out, opened) = oneshot::channel();
        let ConversationId { peer, cookie } = id;
        let opening = Greeting {
            cookie,
            local: self.local.clone(),
        };
        let all = self.clone();
        let run = move |opened: Opened, control: Control| -> BoxFuture<'static, _> {
            Box::pin(all.run(peer, cookie, opened, control, out))
        };
        let work = LegacyWork {
            service: service::DIRECT_IM,
            tags: TlvList::new(),
            opening: Arc::new(opening),
            run: Box::new(run),
        };
        (work, opened)
    }

    async fn run(
        self,
        peer: ScreenName,
        cookie: Cookie,
        Opened { lane, first }: Opened,
        control: Control,
        out: oneshot::Sender<Ends>,
    ) -> Result<Summary, TransferError> {
        if let Some(Err(error)) = lane.tcp().map(connect::prepare) {
            tracing::debug!(%error, "no keep-alive");
        }
        let earlier = self.open().insert(peer.clone(), (cookie, control.clone()));
        if let Some((_, earlier)) = earlier {
            earlier.cancel();
        }
        let talk = Talk {
            cookie,
            local: self.local.clone(),
        };
        // Who was dialled has heard something before it came here.
        let connector = first.is_empty();
        let (ends, running) = talk.run(lane, connector, first, control);
        // If nobody wants it any more it is closed at once.
        let _ = out.send(ends);
        running.await;
        let mut open = self.open();
        if open.get(&peer).is_some_and(|(latest, _)| *latest == cookie) {
            open.remove(&peer);
        }
        Ok(Summary::default())
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<ScreenName, (Cookie, Control)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a direct IM is connected. Dropped before, it is called off.
pub(crate) async fn connected(
    peer: ScreenName,
    mut transfer: Transfer,
    opened: oneshot::Receiver<Ends>,
) -> Result<DirectIm, Error> {
    let (path, security) = loop {
        match transfer.next_event().await {
            Some(TransferEvent::Connected { path, security }) => break (path, security),
            Some(TransferEvent::Ended(Err(error))) => return Err(error),
            Some(TransferEvent::Ended(Ok(_))) | None => return Err(Error::EngineEnded),
            Some(_) => {}
        }
    };
    match opened.await {
        Ok(ends) => {
            // From here on the handle says how long it lasts.
            transfer.over = true;
            Ok(DirectIm {
                peer,
                path,
                security,
                ends,
            })
        }
        Err(_) => match transfer.next_event().await {
            Some(TransferEvent::Ended(Err(error))) => Err(error),
            _ => Err(Error::EngineEnded),
        },
    }
}

/// Who connects shows the cookie at once. Who was dialled takes any first frame that carries it.
struct Greeting {
    cookie: Cookie,
    local: ScreenName,
}

impl Opening for Greeting {
    fn first_words(&self, terms: Terms) -> Option<Bytes> {
        let hello = || Machine::connector(self.cookie, self.local.clone()).1;
        terms.connector.then(hello)
    }

    fn hear<'a>(
        &'a self,
        lane: &'a mut Lane,
        terms: Terms,
    ) -> BoxFuture<'a, Result<Bytes, OpeningError>> {
        Box::pin(async move {
            // Not every listener answers before its user has something to say.
            if terms.connector {
                return Ok(Bytes::new());
            }
            let mut raw = vec![0; LENGTH_KNOWN];
            lane.read_exact(&mut raw).await?;
            let length = usize::from(u16::from_be_bytes([raw[4], raw[5]]));
            raw.resize(length.clamp(HEADER_LEN, limits::ODC_HEADER), 0);
            lane.read_exact(&mut raw[LENGTH_KNOWN..]).await?;
            match Header::decode(&mut BytesMut::from(&raw[..])) {
                Ok(Some(header)) if header.cookie == self.cookie => Ok(raw.into()),
                Ok(Some(_)) => Err(OpeningError::WrongCookie),
                _ => Err(OpeningError::Foreign),
            }
        })
    }
}
