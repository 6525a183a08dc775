//! `/metrics`, `/healthz` and `/readyz` over HTTP, for the machine itself. Bounded in everything, and answers nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rdv_host::{Health, Metrics};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

/// Connections at a time; more wait.
const CONNECTIONS: usize = 16;
/// Of a connection, from its first byte to its last: there is one request on each.
const CONNECTION: Duration = Duration::from_secs(10);
/// Until the head of the request is there.
const HEAD: Duration = Duration::from_secs(5);
/// Bytes of the head; hyper allows no less.
const HEAD_MAX: usize = 8 * 1024;
/// Fields of the head.
const FIELDS_MAX: usize = 32;
/// Pause after the system could not give us a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Text of OpenMetrics, as its specification names it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Whose state it is.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) metrics: Metrics,
    /// Of a host. A relay alone is ready as long as it takes something new.
    pub(crate) health: Option<Health>,
}

/// Answers until the process ends.
pub(crate) async fn serve(listener: TcpListener, subject: Subject) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let subject = subject.clone();
                tokio::spawn(async move {
                    if timeout(CONNECTION, converse(stream, subject))
                        .await
                        .is_err()
                    {
                        debug!("a reader of metrics took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "no connection could be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, subject: Subject) {
    let answer = service_fn(|request| {
        let subject = subject.clone();
        async move { Ok::<_, Infallible>(answer(&request, &subject).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_MAX)
        .max_headers(FIELDS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        debug!(%error, "a reader of metrics broke off");
    }
}

async fn answer(request: &Request<Incoming>, subject: &Subject) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            PLAIN,
            "GET alone is answered\n",
        );
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, OPEN_METRICS, subject.metrics.text()),
        // That it is answered is the answer.
        "/healthz" => text(StatusCode::OK, PLAIN, "ok\n"),
        "/readyz" => match troubles(subject).await {
            troubles if troubles.is_empty() => text(StatusCode::OK, PLAIN, "ready\n"),
            troubles => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, troubles),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            PLAIN,
            "there are /metrics, /healthz and /readyz\n",
        ),
    }
}

/// One line for each.
async fn troubles(subject: &Subject) -> String {
    match &subject.health {
        Some(health) => {
            let troubles = health.troubles().await;
            troubles
                .iter()
                .map(|trouble| format!("{trouble}\n"))
                .collect()
        }
        None if subject.metrics.is_draining() => "draining\n".to_owned(),
        None => String::new(),
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
