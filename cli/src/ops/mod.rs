//! What the operator of a host or relay sees of it, and how it is started and stopped by the system.

pub(crate) mod descriptors;
mod http;
pub(crate) mod log;
pub(crate) mod systemd;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use rdv_host::DrainConfig;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::Settings;
use crate::exit::{Exit, Failure};
use crate::stop::Stop;

pub(crate) use http::Subject;

/// Whether metrics may be served there: they tell strangers too much.
pub(crate) fn may_listen(address: SocketAddr, for_all: bool) -> Result<(), Failure> {
    if address.ip().to_canonical().is_loopback() || for_all {
        return Ok(());
    }
    Err(Failure::new(
        Exit::USAGE,
        format!(
            "metrics on {address} could be read by others; take a loopback address, or say --metrics-for-all (in the file: for_all = true)"
        ),
    ))
}

/// Opens the port for the operator, if one is wanted, and serves it from here on; says where.
pub(crate) async fn serve(
    settings: &Settings,
    subject: Subject,
) -> Result<Option<SocketAddr>, Failure> {
    let Some(address) = settings.metrics else {
        return Ok(None);
    };
    may_listen(address, settings.metrics_for_all)?;
    let cannot = |error: std::io::Error| {
        Failure::new(
            Exit::HOST,
            format!("cannot listen on {address} for metrics: {error}"),
        )
    };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    tokio::spawn(http::serve(listener, subject));
    Ok(Some(address))
}

/// The two steps of the way down, as a server waits for them.
pub(crate) struct Down {
    /// Nothing new is to be begun.
    pub(crate) drain: Asked<DrainConfig>,
    /// It is to end at once.
    pub(crate) end: Asked<()>,
}

/// Resolves when it is asked for.
pub(crate) type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// SIGTERM drains, and ends when it comes again. Ctrl-C ends: who sits at the terminal does not wait.
pub(crate) fn down(mut stop: Stop, config: DrainConfig) -> Down {
    let (drain, drained) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        if stop.asked().await == Exit::TERMINATED {
            systemd::stopping();
            drain.send(config).ok();
            stop.asked().await;
        }
        end.send(()).ok();
    });
    Down {
        drain: Box::pin(or_never(drained)),
        end: Box::pin(or_never(ended)),
    }
}

async fn or_never<T>(asked: oneshot::Receiver<T>) -> T {
    match asked.await {
        Ok(asked) => asked,
        Err(_) => std::future::pending().await,
    }
}
