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
use rdv::transport::network::GatherReport;
use rdv::transport::survey::{self, Filtering, ServerAnswer, Survey};
use rdv::transport::tls::HostKeyStatus;
use serde_json::json;
use tokio::time::sleep;

use self::finding::Finding;
use crate::args::{self, Ways};
use crate::exit::{Exit, Failure};
use crate::road::{self, SIGN_ON_TIMEOUT, refused, with_port};
use crate::stop::Stop;
use crate::ui::Ui;
use crate::ways;

/// Between two questions: hosts answer ten a second.
const PACE: Duration = Duration::from_millis(150);

/// What failed answers are called.
type Asked = Result<ServerAnswer, String>;

pub(crate) async fn run(args: args::Doctor, ui: &Ui, stop: &mut Stop) -> Result<Exit, Failure> {
    let route = ways::route(&args.ways)?;
    let host = args.host.as_deref().map(with_port).transpose()?;
    let examined = stop.or(async {
        match &host {
            None => alone(&args.ways, &route, ui).await,
            Some(host) => with_host(&args, host, &route, ui).await,
        }
    });
    examined.await?;
    ui.succeeded();
    Ok(Exit::DONE)
}

/// What can be told without anybody's help.
async fn alone(ways: &Ways, route: &Route, ui: &Ui) -> Result<(), Failure> {
    let report = gather(ways, route, Vec::new(), None).await?;
    let findings = [
        words::versions(None),
        words::addresses(&report),
        words::ipv6(&report, None),
        words::port_mapping(&report, !ways.no_port_mapping),
        words::filtering(None),
        words::verdict(&report, None),
    ];
    findings.iter().for_each(|finding| finding.tell(ui));
    ui.say(
        "The kind of NAT, UDP, the relay and the clock take a host to ask: rdv doctor --host HOST:PORT",
    );
    Ok(())
}

async fn with_host(args: &args::Doctor, host: &str, route: &Route, ui: &Ui) -> Result<(), Failure> {
    let ways = &args.ways;
    let trust = road::trust(args.host_key.as_deref())?;
    let found = road::addresses(host, ways).await;
    let signed_on = Client::connect_by(route, host, &trust, SignOn::Join, SIGN_ON_TIMEOUT).await;
    let client = match signed_on {
        Ok(client) => client,
        Err(error) => {
            // What can be told all the same may say why.
            alone(ways, route, ui).await?;
            return Err(refused(host, &error));
        }
    };
    let direct = route.socks.is_none().then(|| client.host_address());
    let relay = client.relay().await.ok().flatten();
    let relay_at = match &relay {
        Some(relay) => road::addresses(&relay.address, ways).await,
        None => Vec::new(),
    };
    let servers: Vec<SocketAddr> = direct
        .into_iter()
        .chain(relay_at.first().copied())
        .collect();
    let verified = client.seen_address().map(|seen| seen.ip());
    let report = gather(ways, route, servers, verified).await?;
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

    let mut findings = vec![
        words::versions(told.and_then(|told| told.software.as_deref())),
        words::addresses(&report),
        words::ipv6(&report, over_ipv6(route, &found).await),
        words::mapping(&report),
        words::filtering(filtering),
        words::port_mapping(&report, !ways.no_port_mapping),
        tls(host, &client),
        words::reached(
            ("host_tcp", "host over TCP"),
            host,
            borrowed(&host_tcp),
            (
                "The two sides can meet there.",
                "It takes sign-ons, but does not say how it sees us over TCP, so that fewer direct connections over TCP come about.",
            ),
        ),
    ];
    findings.extend(host_udp.as_ref().map(|asked| {
        words::reached(
            ("host_udp", "host over UDP"),
            host,
            borrowed(asked),
            (
                "It tells how the world sees us, which direct connections over UDP need.",
                "If the relay does not answer over UDP either, direct connections over UDP are unlikely.",
            ),
        )
    }));
    findings.push(match (relay_name, &relay_tcp) {
        (Some(relay), Some(asked)) => words::reached(
            ("relay_tcp", "relay over TCP"),
            relay,
            borrowed(asked),
            (
                "Where nothing direct works, it carries the bytes, which it cannot read.",
                "Where nothing direct works, nothing works from here.",
            ),
        ),
        _ => Finding::new(
            ("relay_tcp", "relay over TCP"),
            json!({ "ok": false, "at": null, "reason": "none" }),
            "the host names no relay",
            "Where nothing direct works, nothing works.",
        ),
    });
    if let (Some(relay), Some(asked)) = (relay_name, &relay_udp) {
        findings.push(words::reached(
            ("relay_udp", "relay over UDP"),
            relay,
            borrowed(asked),
            (
                "It tells how the world sees us as well, so that the kind of NAT can be told.",
                "The kind of NAT may remain unknown; the relay itself works over TCP.",
            ),
        ));
    }
    findings.push(words::clock(told));
    let relayed = relay_tcp.as_ref().is_some_and(Result::is_ok);
    findings.push(words::verdict(&report, Some(relayed)));
    findings.iter().for_each(|finding| finding.tell(ui));
    road::tell_host(host, &client, ui);
    client.close().await;
    Ok(())
}

/// It signed us on, and the user knows which key is to be expected.
fn tls(host: &str, client: &Client) -> Finding {
    let first = matches!(
        client.host_security(),
        HostSecurity::Tls {
            status: HostKeyStatus::FirstUse,
            ..
        }
    );
    Finding::new(
        ("host_tls", "host over TLS"),
        json!({ "ok": true, "at": host }),
        format!("{host} signs us on"),
        match first {
            true => {
                "What is said to it is encrypted; whether its key is the right one, its operator can tell."
            }
            false => "What is said to it is encrypted, and its key is the one that is expected.",
        },
    )
}

async fn gather(
    ways: &Ways,
    route: &Route,
    servers: Vec<SocketAddr>,
    verified: Option<IpAddr>,
) -> Result<GatherReport, Failure> {
    let mut survey = Survey::by(route.clone());
    survey.ports = ways.port.as_ref().map(|ports| ports.0.clone());
    survey.external = ways.external.map(|external| (external.ip, external.port));
    survey.servers = servers;
    survey.verified = verified;
    survey.port_mapping = !ways.no_port_mapping;
    survey.udp = !ways.no_udp;
    survey.gather().await.map_err(|error| {
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
