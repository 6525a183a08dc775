//! One port for everything: the first byte says whether a connection is TLS, plain FLAP, or ARS or STUN (G-06).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, trace};

use crate::connection::Arrival;
use crate::drain::Leave;
use crate::gate::Pass;
use crate::host::Shared;
use crate::metrics::{Limit, Transport};

#[derive(Debug, PartialEq, Eq)]
enum Speaks {
    Tls,
    Flap,
    /// Or STUN, which the relay tells apart.
    Ars,
    Stun,
    Nothing,
}

/// Serves a connection until it ends.
pub(crate) async fn enter(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    arrived: Instant,
    listener: usize,
    pass: Pass,
    stop: Leave,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let _open = shared.metrics.connected();
    let mut stream = stream;
    let speaks = listen_for(&stream, &shared).await;
    shared.metrics.spoke(match speaks {
        Speaks::Tls => Transport::Tls,
        Speaks::Flap => Transport::Plain,
        Speaks::Ars => Transport::Relay,
        Speaks::Stun => Transport::Stun,
        Speaks::Nothing => Transport::Other,
    });
    trace!(?speaks, ipv6 = peer.is_ipv6(), "connection");
    let arrival = Arrival {
        shared: Arc::clone(&shared),
        pass,
        peer,
        local,
        arrived,
        listener,
        tls: speaks == Speaks::Tls,
        stop,
    };
    match speaks {
        Speaks::Tls => {
            let handshake = TlsAcceptor::from(Arc::clone(&shared.tls)).accept(stream);
            match Box::pin(timeout(shared.limits.tls_handshake, handshake)).await {
                Ok(Ok(stream)) => Box::pin(arrival.serve(stream)).await,
                Ok(Err(error)) => debug!(kind = ?error.kind(), "TLS handshake failed"),
                Err(_) => {
                    shared.metrics.refused(Limit::TlsHandshake);
                    debug!("TLS handshake took too long");
                }
            }
        }
        // Boxed, each of them: so a connection holds no more than its own way takes.
        Speaks::Flap => Box::pin(arrival.serve(stream)).await,
        Speaks::Ars => {
            if let Some(meeting) = &shared.meeting {
                // The relay counts its own.
                drop(arrival);
                Box::pin(meeting.serve(stream, peer, local)).await;
            }
        }
        Speaks::Stun => {
            let stun = shared.stun.clone();
            Box::pin(stun.serve_stream(&mut stream, BytesMut::new(), peer)).await;
        }
        Speaks::Nothing => {}
    }
}

/// Looks at the first byte without taking it. A client that is silent is an old one, which waits for our greeting.
async fn listen_for(stream: &TcpStream, shared: &Shared) -> Speaks {
    let mut first = [0];
    match timeout(shared.limits.greeting_delay, stream.peek(&mut first)).await {
        Err(_) => Speaks::Flap,
        Ok(Ok(1..)) => match first[0] {
            0x16 => Speaks::Tls,
            0x2A => Speaks::Flap,
            0x00..=0x03 if shared.meeting.is_some() => Speaks::Ars,
            0x00 => Speaks::Stun,
            _ => Speaks::Nothing,
        },
        Ok(_) => Speaks::Nothing,
    }
}
