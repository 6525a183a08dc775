//! The proof between two of our own kind: both keys, then BIND, then USE from the one who chooses.

use std::sync::Arc;
use std::time::Duration;

use rdv_proto::trust::{Role, Session};
use tokio::io::AsyncReadExt;

use super::connect::{Connection, round_trip};
use super::why::Why;
use super::{Proof, Proven, Report, Reporter, USE_HEAD};
use crate::transport::tls::{self, Deadlines};
use crate::transport::{Lane, quic};
use crate::trust::Identity;

/// Which lane of the session every attempt proves itself for. The value that BIND is bound to differs between connections, so
/// that one number does for all.
const LANE: u32 = 0;

/// How a connection of our own kind is to be secured.
pub(crate) struct NativeOrder {
    pub(crate) session: Session,
    pub(crate) identity: Arc<Identity>,
    /// Over TCP alone; over QUIC who dialled is the client.
    pub(crate) tls_client: bool,
}

/// Carries out `order`. The controller is done with that; the other side waits for its USE.
pub(super) async fn prove(
    reporter: &Reporter,
    connection: Connection,
    order: NativeOrder,
) -> Result<(), Why> {
    let NativeOrder {
        session,
        identity,
        tls_client,
    } = order;
    let deadlines = Deadlines::default();
    let (lane, round_trip) = match connection {
        Connection::Tcp {
            stream,
            round_trip: connecting,
        } => {
            if !tls_client {
                // Who only connects and says nothing makes room first (`security.md` 6.2).
                stream.readable().await.map_err(Why::Dial)?;
                reporter.heard().await;
            }
            let secured =
                tls::secure_timed(stream, &session, &identity, tls_client, LANE, deadlines);
            let (stream, took) = secured.await?;
            let round_trip = connecting.map_or(took, |connecting| connecting.min(took));
            (Lane::Tls(Box::new(stream)), round_trip)
        }
        Connection::Quic(connection) => {
            let lane = quic::bind(connection, &session, LANE, true, deadlines.bind).await?;
            let round_trip = round_trip(lane.remote(), lane.round_trip());
            (Lane::Quic(Box::new(lane)), round_trip)
        }
        Connection::Knocking(incoming) => {
            // A first packet may have a forged source; who finishes the handshake has shown the key.
            let connection =
                quic::accept(*incoming, &session, &identity, deadlines.handshake).await?;
            reporter.heard().await;
            let lane = quic::bind(connection, &session, LANE, false, deadlines.bind).await?;
            let round_trip = round_trip(lane.remote(), lane.round_trip());
            (Lane::Quic(Box::new(lane)), round_trip)
        }
    };
    proven(reporter, lane, session, round_trip).await
}

async fn proven(
    reporter: &Reporter,
    mut lane: Lane,
    session: Session,
    round_trip: Duration,
) -> Result<(), Why> {
    let attempt = reporter.attempt;
    let round_trip = Some(round_trip);
    if session.role() == Role::Answerer {
        // The sender of C2 is the controller: it nominates, so the lane goes to the driver as it is.
        let proof = Proof::Native(session);
        let lane = Some(Box::new(Proven { lane, proof }));
        let secured = Report::Secured {
            attempt,
            lane,
            round_trip,
        };
        reporter.say(secured).await;
        return Ok(());
    }
    let not_yet = Report::Secured {
        attempt,
        lane: None,
        round_trip,
    };
    reporter.say(not_yet).await;
    let mut head = [0; USE_HEAD.len()];
    lane.read_exact(&mut head)
        .await
        .map_err(|_| Why::NotNominated)?;
    if head != USE_HEAD {
        return Err(Why::NotNominated);
    }
    let number = lane.read_u32().await.map_err(|_| Why::NotNominated)?;
    let proof = Proof::Native(session);
    let lane = Box::new(Proven { lane, proof });
    let nominated = Report::Nominated {
        attempt,
        number,
        lane,
    };
    reporter.say(nominated).await;
    Ok(())
}
