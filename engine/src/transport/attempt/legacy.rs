//! The proof on a connection of an old service: TLS or not, then the first words.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Proof, Proven, Reporter, SecureOrder, Why};
use crate::transport::Lane;
use crate::transport::opening::{FIRST_HEADER, Opening, OpeningError, Terms};
use crate::transport::tls::{self, Deadlines, SecureError};
use crate::trust::Identity;

/// The first byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// The first byte of OFT2 and ODC2.
const OSCAR: u8 = b'O';

/// How a connection to an old client is to be secured.
pub(crate) struct LegacyOrder {
    /// What we present over TLS. `None`: no TLS.
    pub(crate) tls: Option<Arc<Identity>>,
    pub(crate) terms: Terms,
    pub(crate) opening: Arc<dyn Opening>,
}

/// Carries out `order`, or the one that takes its place while nothing was said yet.
pub(super) async fn prove(
    stream: TcpStream,
    mut order: LegacyOrder,
    orders: &mut mpsc::Receiver<SecureOrder>,
    reporter: &Reporter,
) -> Result<Proven, Why> {
    let deadline = Deadlines::default().handshake;
    let (mut lane, key) = loop {
        let Some(identity) = &order.tls else {
            break (Lane::Plain(stream), None);
        };
        if !order.terms.connector
            && let Wait::Replaced(later) = wait(&stream, orders, reporter).await?
        {
            order = later;
            continue;
        }
        let (stream, key) =
            tls::secure_legacy(stream, identity, order.terms.connector, deadline).await?;
        break (Lane::Tls(Box::new(stream)), Some(key));
    };
    let LegacyOrder { terms, opening, .. } = order;
    let first = timeout(FIRST_HEADER, async {
        if let Some(words) = opening.first_words(terms) {
            lane.write_all(&words).await?;
            lane.flush().await?;
        }
        if let Lane::Plain(stream) = &lane
            && !terms.connector
        {
            // A stranger with other words gives its place up at once.
            if first_byte(stream).await? != OSCAR {
                return Err(OpeningError::Foreign);
            }
            reporter.heard().await;
        }
        opening.hear(&mut lane, terms).await
    })
    .await
    .map_err(|_| OpeningError::TimedOut)??;
    Ok(Proven {
        lane,
        proof: Proof::Legacy { first, key },
    })
}

/// What came of waiting for a TLS client.
enum Wait {
    /// It speaks.
    Tls,
    /// The terms have changed before it did.
    Replaced(LegacyOrder),
}

/// Waits at our listener for the first byte (rendezvous flows, section 9). A peer that says the first words of the service
/// instead may have dropped TLS in a message that is still on its way: it is kept until that is known, or its time is over.
async fn wait(
    stream: &TcpStream,
    orders: &mut mpsc::Receiver<SecureOrder>,
    reporter: &Reporter,
) -> Result<Wait, Why> {
    let first = tokio::select! {
        // Who does speak TLS keeps to it, whatever was changed in the messages meanwhile.
        biased;
        first = first_byte(stream) => first.map_err(SecureError::Io)?,
        later = orders.recv() => return replaced(later),
    };
    match first {
        TLS_HANDSHAKE => {
            reporter.heard().await;
            Ok(Wait::Tls)
        }
        // Until then it counts as silent: any stranger can say that much.
        OSCAR => replaced(orders.recv().await),
        _ => Err(SecureError::NotTls.into()),
    }
}

/// The first byte of the other end, which stays where it is.
async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}

fn replaced(later: Option<SecureOrder>) -> Result<Wait, Why> {
    match later {
        Some(SecureOrder::Legacy(later)) => Ok(Wait::Replaced(later)),
        _ => Err(Why::Dropped),
    }
}

#[cfg(test)]
mod tests;
