//! Files to and from old clients: the send-file service as work for the driver.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdv_proto::rendezvous::ConversationId;
use rdv_proto::transfer::oft::{ReceiveTerms, cookie_fits};
use rdv_proto::wire::oft::{Header, Kind};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service;
use rdv_proto::wire::tlv::TlvList;

use super::job::{Preparation, Prepared};
use super::legacy::{LegacyWork, Opened};
use super::orders::new_cookie;
use crate::proposal::LegacyOffer;
use crate::signaling::BoxFuture;
use crate::transfer::oft::{self, Outgoing};
use crate::transfer::{Control, Sink, Source, SourceError, TransferError};
use crate::transport::Lane;
use crate::transport::opening::{Opening, OpeningError, Terms};

/// Makes what is to be offered ready: one rendezvous per file or, as a batch, one for all.
pub(super) fn offer(source: Source, batch: bool, control: Control) -> Preparation {
    offer_listed(Box::pin(std::future::ready(Some(source))), batch, control)
}

/// The same for a source that somebody else has begun to list. None: it could not be.
pub(super) fn offer_listed(
    source: BoxFuture<'static, Option<Source>>,
    batch: bool,
    control: Control,
) -> Preparation {
    Box::pin(async move {
        let source = source.await.ok_or(SourceError::Nothing)?;
        let outgoing = Outgoing::prepare(source, batch, &control).await?;
        next(outgoing).await
    })
}

/// The first of `outgoing`, with the others behind it.
fn next(mut outgoing: VecDeque<Outgoing>) -> Preparation {
    Box::pin(async move {
        let first = outgoing.pop_front().ok_or(SourceError::Nothing)?;
        let cookie = new_cookie();
        let tags = first.offer().to_tags();
        let tags = tags.map_err(|error| TransferError::OldProtocol(error.into()))?;
        let prompted = first.prompt(cookie).await?;
        let opening = Arc::new(Prompting {
            cookie,
            prompt: prompted.header.encode(),
        });
        let run = move |opened: Opened, control: Control| -> BoxFuture<'static, _> {
            Box::pin(async move {
                let answer = header(&opened.first)?;
                oft::send(opened.lane, answer, prompted, &control).await
            })
        };
        Ok(Prepared {
            cookie,
            work: LegacyWork {
                service: service::SEND_FILE,
                tags,
                opening,
                run: Box::new(run),
            },
            next: (!outgoing.is_empty()).then(|| next(outgoing)),
        })
    })
}

/// What is done with files that an old client has offered and our user has accepted.
pub(super) fn accept(id: &ConversationId, sink: Sink, offer: &LegacyOffer) -> LegacyWork {
    let ConversationId { peer, cookie } = id.clone();
    let (files, bytes) = (offer.files, offer.bytes);
    let (name, folder) = (offer.name.clone(), offer.folder);
    let run = move |opened: Opened, control: Control| -> BoxFuture<'static, _> {
        Box::pin(async move {
            let prompt = header(&opened.first)?;
            let terms = ReceiveTerms {
                cookie,
                // It was judged when the connection proved itself; the sender will go on as it began.
                zero_cookie_counts: prompt.cookie.is_zero(),
                files,
                bytes,
                name,
                folder,
            };
            oft::receive(opened.lane, prompt, sink, &peer, terms, &control).await
        })
    };
    LegacyWork {
        service: service::SEND_FILE,
        tags: TlvList::new(),
        opening: Arc::new(Prompted { cookie }),
        run: Box::new(run),
    }
}

/// We have the files: our prompt, then an answer with the right cookie (L-15, L-17).
struct Prompting {
    cookie: Cookie,
    prompt: Bytes,
}

impl Opening for Prompting {
    fn first_words(&self, _terms: Terms) -> Option<Bytes> {
        Some(self.prompt.clone())
    }

    fn hear<'a>(
        &'a self,
        lane: &'a mut Lane,
        _terms: Terms,
    ) -> BoxFuture<'a, Result<Bytes, OpeningError>> {
        Box::pin(async move {
            let answer = read(lane).await?;
            match answer.kind {
                Kind::ACK | Kind::RESUME | Kind::DONE if answer.cookie == self.cookie => {
                    Ok(answer.encode())
                }
                Kind::ACK | Kind::RESUME | Kind::DONE => Err(OpeningError::WrongCookie),
                _ => Err(OpeningError::Foreign),
            }
        })
    }
}

/// The other side has the files: its prompt, in which the cookie may be missing where that is allowed (L-16).
struct Prompted {
    cookie: Cookie,
}

impl Opening for Prompted {
    fn first_words(&self, _terms: Terms) -> Option<Bytes> {
        None
    }

    fn hear<'a>(
        &'a self,
        lane: &'a mut Lane,
        terms: Terms,
    ) -> BoxFuture<'a, Result<Bytes, OpeningError>> {
        Box::pin(async move {
            let prompt = read(lane).await?;
            if prompt.kind != Kind::PROMPT {
                return Err(OpeningError::Foreign);
            }
            if !cookie_fits(&prompt, self.cookie, terms.zero_cookie_counts) {
                return Err(OpeningError::WrongCookie);
            }
            Ok(prompt.encode())
        })
    }
}

async fn read(lane: &mut Lane) -> Result<Header, OpeningError> {
    oft::read_header(lane).await.map_err(|error| match error {
        TransferError::LinkLost(error) => OpeningError::Io(error),
        TransferError::Stalled => OpeningError::TimedOut,
        _ => OpeningError::Foreign,
    })
}

/// The header that the opening has judged.
fn header(first: &Bytes) -> Result<Header, TransferError> {
    let whole = Header::decode(&mut BytesMut::from(&first[..]));
    let whole = whole.map_err(|error| TransferError::OldProtocol(error.into()))?;
    whole.ok_or_else(|| TransferError::LinkLost(std::io::ErrorKind::UnexpectedEof.into()))
}
