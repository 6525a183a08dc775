//! `rdv doctor`: what kind of network this is, and what that means for transfers.
//!
//! Nobody is asked but the router, the host that is named, and its relay.

mod finding;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rdv::oscar::{Client, HostSecurity, SignOn};
use rdv::signaling::RelayDirectory;
use rdv::transport::Route;
use rdv::transport::network::{Examination, GatherReport};
use rdv::transport::survey::{self, Filtering, ServerAnswer};
use rdv::transport::tls::HostKeyStatus;
use serde_json::json;
use tokio::time::sleep;

use self::finding::Finding;
use crate::args::{self, Ways};
use crate::exit::{Exit, Failure};
use crate::road::{self, SIGN_ON_TIMEOUT, refused, with_port};
use crate::stop::{Stop, why};
use crate::ui::Ui;
use crate::ways;

/// Between two questions: hosts answer ten a second.
const PACE: Duration = Duration::from_millis(150);

/// What failed answers are called.
type Asked = Result<ServerAnswer, String>;

pub(crate) async fn run(args: args::Doctor, ui: &Ui, stop: &mut Stop) -> Result<Exit, Failure> {
    let route = ways::route(&args.ways)?;
    let host = args.host.as_deref().map(with_port).transpose()?;
    match &host {
        None => alone(&args.ways, ui, stop).await?,
        Some(host) => with_host(&args, host, &route, ui, stop).await?,
    }
    ui.succeeded();
    Ok(Exit::DONE)
}

/// What can be told without anybody's help.
async fn alone(ways: &Ways, ui: &Ui, stop: &mut Stop) -> Result<(), Failure> {
    let report = gather(ways, Vec::new(), None, stop).await?;
    let mut findings = vec![words::versions(None)];
    match &report {
        Some(report) => findings.extend([
            words::addresses(report),
            words::ipv6(report, None),
            words::port_mapping(report, asks_router(ways)),
            words::filtering(None),
            words::verdict(report, !ways.no_udp, None),
        ]),
        None => findings.push(words::behind_proxy(None)),
    }
    findings.iter().for_each(|finding| finding.tell(ui));
    ui.say(
        "The kind of NAT, UDP, the relay and the clock take a host to ask: rdv doctor --host HOST:PORT",
    );
    Ok(())
}

async fn with_host(
    args: &args::Doctor,
    host: &str,
    route: &Route,
    ui: &Ui,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let ways = &args.ways;
    let trust = road::trust(args.host_key.as_deref())?;
    let arrival = stop.or(async {
        let found = road::addresses(host, ways).await;
        let signed_on = Client::connect_by(route, host, &trust, SignOn::Join, SIGN_ON_TIMEOUT);
        Ok((found, signed_on.await))
    });
    let (found, signed_on) = arrival.await?;
    let client = match signed_on {
        Ok(client) => client,
        Err(error) => {
            // What can be told all the same may say why.
            let report = gather(ways, Vec::new(), None, stop).await?;
            let told = stop.or(async {
                let mut findings = vec![words::versions(None)];
                if let Some(report) = &report {
                    findings.extend([
                        words::addresses(report),
                        words::ipv6(report, None),
                        words::port_mapping(report, asks_router(ways)),
                    ]);
                }
                findings.push(words::host_tcp(
                    host,
                    borrowed(&over_tcp(route, host).await),
                ));
                let asked = over_udp(ways, found.first().copied()).await;
                findings.extend(asked.map(|asked| words::host_udp(host, borrowed(&asked))));
                findings.iter().for_each(|finding| finding.tell(ui));
                Err(refused(host, &error))
            });
            return told.await;
        }
    };
    // Behind a proxy nobody is to hear from this machine but the proxy.
    let direct = route.socks.is_none().then(|| client.host_address());
    let relays = stop.or(async {
        let relay = client.relay().await.ok().flatten();
        let at = match &relay {
            Some(relay) if direct.is_some() => road::addresses(&relay.address, ways).await,
            _ => Vec::new(),
        };
        Ok((relay, at))
    });
    let (relay, relay_at) = relays.await?;
    let servers: Vec<SocketAddr> = direct
        .into_iter()
        .chain(relay_at.first().copied())
        .collect();
    let verified = client.seen_address().map(|seen| seen.ip());
    let report = gather(ways, servers, verified, stop).await?;
    let asked = stop.or(async {
        let host_tcp = over_tcp(route, host).await;
        let host_udp = over_udp(ways, direct).await;
        let filtering = filtering(ways, direct).await;
        let relay_name = relay.as_ref().map(|relay| relay.address.as_str());
        let relay_tcp = match relay_name {
            Some(relay) => Some(over_tcp(route, relay).await),
            None => None,
        };
        let relay_udp = over_udp(ways, relay_at.first().copied()).await;
        let told = host_udp.as_ref().and_then(|asked| asked.as_ref().ok());
        let told = told.or(host_tcp.as_ref().ok());

        let mut findings = vec![words::versions(
            told.and_then(|told| told.software.as_deref()),
        )];
        if let Some(report) = &report {
            findings.extend([
                words::addresses(report),
                words::ipv6(report, over_ipv6(route, &found).await),
                words::mapping(report, !ways.no_udp),
                words::filtering(filtering),
                words::port_mapping(report, asks_router(ways)),
            ]);
        }
        findings.push(tls(host, &client));
        findings.push(words::host_tcp(host, borrowed(&host_tcp)));
        let udp = host_udp.as_ref();
        findings.extend(udp.map(|asked| words::host_udp(host, borrowed(asked))));
        let tcp = relay_name.zip(relay_tcp.as_ref());
        findings.push(words::relay_tcp(
            tcp.map(|(relay, asked)| (relay, borrowed(asked))),
        ));
        let udp = relay_name.zip(relay_udp.as_ref());
        findings.extend(udp.map(|(relay, asked)| words::relay_udp(relay, borrowed(asked))));
        findings.push(words::clock(told));
        let relayed = relay_tcp.as_ref().is_some_and(Result::is_ok);
        findings.push(match &report {
            Some(report) => words::verdict(report, !ways.no_udp, Some(relayed)),
            None => words::behind_proxy(Some(relayed)),
        });
        findings.iter().for_each(|finding| finding.tell(ui));
        road::tell_host(host, &client, ui);
        client.close().await;
        Ok(())
    });
    asked.await
}

/// It signed us on, and the user knows which key is to be expected.
fn tls(host: &str, client: &Client) -> Finding {
    use HostKeyStatus::{FirstUse, Known, NotKept};
    let means = match client.host_security() {
        HostSecurity::Tls { status: Known, .. } => {
            "What is said to it is encrypted, and its key is the one that is expected."
        }
        HostSecurity::Tls {
            status: FirstUse, ..
        } => {
            "What is said to it is encrypted; whether its key is the right one, its operator can tell."
        }
        HostSecurity::Tls {
            status: NotKept(_), ..
        } => {
            "What is said to it is encrypted; its key could not be put on file, so that another one would not be noticed."
        }
        HostSecurity::Tls { .. } => "What is said to it is encrypted, but any key would have done.",
        _ => "What is said to it is not encrypted.",
    };
    Finding::new(
        ("host_tls", "host over TLS"),
        json!({ "ok": true, "at": host }),
        format!("{host} signs us on"),
        means,
    )
}

/// Whether the router is asked for a port.
fn asks_router(ways: &Ways) -> bool {
    !ways.no_port_mapping
}

/// None behind a proxy: whoever wants one wants that nobody else hears from this machine, and transfers do not listen there.
async fn gather(
    ways: &Ways,
    servers: Vec<SocketAddr>,
    verified: Option<IpAddr>,
    stop: &mut Stop,
) -> Result<Option<GatherReport>, Failure> {
    if ways.through.proxy.is_some() {
        return Ok(None);
    }
    let mut look = Examination::default();
    look.stun = servers;
    look.verified = verified;
    look.bind = ways.bind;
    look.ports = ways.port.as_ref().map(|ports| ports.0.clone());
    look.external = ways.external.map(|external| (external.ip, external.port));
    look.port_mapping = asks_router(ways);
    look.udp = !ways.no_udp;
    let mut ended = None;
    let report = look.run(async { ended = Some(stop.asked().await) }).await;
    if let Some(exit) = ended {
        return Err(Failure::new(exit, why(exit)));
    }
    report.map(Some).map_err(|error| {
        Failure::new(
            Exit::OTHER,
            format!("no port can be listened on ({error}); see --port and --bind"),
        )
    })
}

/// None: UDP is not to be used, or the way there is a proxy.
async fn over_udp(ways: &Ways, server: Option<SocketAddr>) -> Option<Asked> {
    let server = server.filter(|_| !ways.no_udp && ways.through.proxy.is_none())?;
    sleep(PACE).await;
    let asked = survey::ask_udp(server, ways.bind).await;
    Some(asked.map_err(|error| error.to_string()))
}

async fn filtering(ways: &Ways, server: Option<SocketAddr>) -> Option<Filtering> {
    let server = server.filter(|_| !ways.no_udp && ways.through.proxy.is_none())?;
    sleep(PACE).await;
    Some(survey::filtering(server, ways.bind).await)
}

async fn over_tcp(route: &Route, server: &str) -> Asked {
    sleep(PACE).await;
    let asked = survey::ask_tcp(route, server).await;
    asked.map_err(|error| error.to_string())
}

/// Whether the host answers at one of its IPv6 addresses; none if it has none.
async fn over_ipv6(route: &Route, found: &[SocketAddr]) -> Option<bool> {
    let address = found.iter().find(|found| found.is_ipv6())?;
    Some(over_tcp(route, &address.to_string()).await.is_ok())
}

fn borrowed(asked: &Asked) -> Result<&ServerAnswer, &str> {
    asked.as_ref().map_err(String::as_str)
}
