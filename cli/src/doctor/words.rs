//! What is made of measurements: findings, each with one sentence of what it means.

use std::net::{IpAddr, SocketAddr};

use rdv::show;
use rdv::transport::network::{CandidateKind, GatherReport, GatherResult, GatherSource, Mapping};
use rdv::transport::survey::{Filtering, ServerAnswer};
use serde_json::json;

use super::finding::Finding;

/// Clocks that differ by less are as good as equal.
const CLOCK_MS: u64 = 60_000;
/// Longest foreign text on a line.
const SHOWN_MAX: usize = 80;

pub(crate) fn versions(host: Option<&str>) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let (text, means) = match host.map(|host| show(host, SHOWN_MAX)) {
        Some(host) => (
            format!("rdv {own}, host {host}"),
            "Both are needed when something is to be reported.",
        ),
        None => (
            format!("rdv {own}"),
            "The version of the host is told by hosts of this kind alone, over UDP or TCP.",
        ),
    };
    let value = json!({ "client": own, "host": host });
    Finding::new(("versions", "versions"), value, text, means)
}

pub(crate) fn addresses(report: &GatherReport) -> Finding {
    let mut own: Vec<String> = Vec::new();
    for ip in own_ips(report) {
        own.push(ip.to_string());
    }
    let (text, means) = match own.is_empty() {
        true => (
            "none".to_owned(),
            "Without an address nothing but transfers on this very machine will work.",
        ),
        false => (
            own.join(", "),
            "Somebody in the same network connects to these directly.",
        ),
    };
    Finding::new(("addresses", "own addresses"), own, text, means)
}

/// `reached`: whether the host answered over IPv6, if it has such an address.
pub(crate) fn ipv6(report: &GatherReport, reached: Option<bool>) -> Finding {
    let has = own_ips(report)
        .any(|ip| matches!(ip, IpAddr::V6(v6) if v6.segments()[0] & 0xE000 == 0x2000));
    let (text, means) = match (has, reached) {
        (_, Some(true)) => (
            "reaches the host",
            "With somebody who has IPv6, too, a direct connection is almost sure, whatever the routers do to IPv4.",
        ),
        (true, Some(false)) => (
            "an address, but the host is not reached",
            "The address seems to lead nowhere, so that IPv4 has to do.",
        ),
        (true, None) => (
            "an address; not tested with the host",
            "With somebody who has IPv6, too, a direct connection is likely.",
        ),
        (false, Some(false)) => (
            "no address, and the host is not reached",
            "IPv4 has to do; who has IPv6 alone is reached through a relay that has both.",
        ),
        (false, None) => (
            "no address of the Internet",
            "IPv4 has to do; who has IPv6 alone is reached through a relay that has both.",
        ),
    };
    let value = json!({ "address": has, "host": reached });
    Finding::new(("ipv6", "IPv6"), value, text, means)
}

/// `udp`: whether it was looked at.
pub(crate) fn mapping(report: &GatherReport, udp: bool) -> Finding {
    let about = ("udp_mapping", "NAT: mapping");
    let finding = |value: &str, text: &str, means: &str| Finding::new(about, value, text, means);
    if !udp {
        return finding(
            "not_tested",
            "not tested: UDP is not to be used",
            "Without UDP, direct connections are those that a router lets in over TCP.",
        );
    }
    match report.network.udp {
        Mapping::Open => finding(
            "open",
            "none: the world sees our own address",
            "Anybody whom no firewall keeps out connects directly.",
        ),
        Mapping::Independent => finding(
            "endpoint_independent",
            "one outer port for all destinations",
            "Ways to the other side can be opened from both sides, so that almost everybody is reached directly.",
        ),
        Mapping::Dependent => finding(
            "endpoint_dependent",
            "another outer port for each destination (symmetric)",
            "Only those are reached directly who are easy to reach themselves; with the others the relay carries the bytes.",
        ),
        Mapping::Blocked => finding(
            "blocked",
            "UDP does not get out, or no answer comes back",
            "QUIC and the opening of ways over UDP are impossible; TCP or the relay has to do.",
        ),
        _ => finding(
            "unknown",
            "not known",
            "It takes two addresses or ports of a host that answer to tell; transfers try both ways.",
        ),
    }
}

pub(crate) fn filtering(found: Option<Filtering>) -> Finding {
    let (text, means) = match found {
        Some(Filtering::EndpointIndependent) => (
            "anybody is let in",
            "Whoever knows our address connects at once.",
        ),
        Some(Filtering::AddressDependent) => (
            "those are let in to whose address we spoke, from any port",
            "Others connect as soon as we spoke to them, also from behind a NAT that changes ports.",
        ),
        Some(Filtering::AddressDependentOrLess) => (
            "at least those to whose address we spoke, from any port (one address of a host is too few to tell more)",
            "Others connect as soon as we spoke to them, also from behind a NAT that changes ports.",
        ),
        Some(Filtering::AddressAndPortDependent) => (
            "only those to whose very port we spoke",
            "Both sides have to speak first, which works with everybody whose NAT keeps one port; not with a symmetric one.",
        ),
        Some(Filtering::NotTested) => (
            "not tested: the host answers on one port only",
            "Transfers find it out by trying.",
        ),
        Some(_) => (
            "not tested: no answer over UDP",
            "Without UDP it does not matter.",
        ),
        None => ("not tested", "Transfers find it out by trying."),
    };
    let value = found.map_or("not_tested", Filtering::name);
    Finding::new(("udp_filtering", "NAT: filtering"), value, text, means)
}

pub(crate) fn port_mapping(report: &GatherReport, wanted: bool) -> Finding {
    let about = ("port_mapping", "port mapping");
    if !wanted {
        return Finding::new(
            about,
            Vec::<String>::new(),
            "not asked for",
            "The router is not asked for a port, so that a forwarded one has to be named (--port, --external).",
        );
    }
    if !report.lines.iter().any(|line| is_mapping(line.source)) {
        return Finding::new(
            about,
            Vec::<String>::new(),
            "not asked: nothing would be gained by it here",
            "Where the world sees our own address, or everything stays on this machine, no router has to open a port.",
        );
    }
    let protocols: Vec<&str> = report.mapped_by().map(GatherSource::name).collect();
    let (text, means) = match protocols.is_empty() {
        true => {
            let silent = report.lines.iter().filter(|line| is_mapping(line.source));
            let why: Vec<String> = silent
                .filter_map(|line| match &line.result {
                    GatherResult::Failed(why) => Some(format!(
                        "{}: {}",
                        line.source.name(),
                        show(why, SHOWN_MAX).trim_matches('"')
                    )),
                    _ => None,
                })
                .collect();
            let why = match why.is_empty() {
                true => String::new(),
                false => format!(" ({})", why.join("; ")),
            };
            (
                format!("no protocol answers{why}"),
                "The router opens no port for us; where there is none in between, none is needed.",
            )
        }
        false => (
            format!("{} answers", protocols.join(", ")),
            "The router opens a port while a transfer runs, so that everybody can connect to it.",
        ),
    };
    Finding::new(about, protocols, text, means)
}

fn is_mapping(source: GatherSource) -> bool {
    matches!(
        source,
        GatherSource::Pcp | GatherSource::NatPmp | GatherSource::Upnp
    )
}

pub(crate) fn host_tcp(host: &str, asked: Result<&ServerAnswer, &str>) -> Finding {
    reached(
        ("host_tcp", "host over TCP"),
        host,
        asked,
        (
            "The two sides can meet there.",
            "If it takes sign-ons all the same, it is of another kind, and tells nobody how the world sees them over TCP.",
        ),
    )
}

pub(crate) fn host_udp(host: &str, asked: Result<&ServerAnswer, &str>) -> Finding {
    reached(
        ("host_udp", "host over UDP"),
        host,
        asked,
        (
            "It tells how the world sees us, which direct connections over UDP need.",
            "If the relay does not answer over UDP either, direct connections over UDP are unlikely.",
        ),
    )
}

/// None: the host names no relay.
pub(crate) fn relay_tcp(relay: Option<(&str, Result<&ServerAnswer, &str>)>) -> Finding {
    let about = ("relay_tcp", "relay over TCP");
    match relay {
        Some((relay, asked)) => reached(
            about,
            relay,
            asked,
            (
                "Where nothing direct works, it carries the bytes, which it cannot read.",
                "Where nothing direct works, nothing works from here.",
            ),
        ),
        None => Finding::new(
            about,
            json!({ "ok": false, "at": null, "reason": "none" }),
            "the host names no relay",
            "Where nothing direct works, nothing works.",
        ),
    }
}

pub(crate) fn relay_udp(relay: &str, asked: Result<&ServerAnswer, &str>) -> Finding {
    reached(
        ("relay_udp", "relay over UDP"),
        relay,
        asked,
        (
            "It tells how the world sees us as well, so that the kind of NAT can be told.",
            "The kind of NAT may remain unknown; the relay itself works over TCP.",
        ),
    )
}

/// How a server is reached over something; `at`: which, in words; what it means if it is, and if not.
fn reached(
    about: (&'static str, &'static str),
    at: &str,
    reached: Result<&ServerAnswer, &str>,
    means: (&'static str, &'static str),
) -> Finding {
    let at = show(at, SHOWN_MAX);
    let at = at.trim_matches('"');
    match reached {
        Ok(answer) => Finding::new(
            about,
            json!({ "ok": true, "at": at, "ms": ms(answer), "seen_as": answer.mapped.map(|seen| seen.to_string()) }),
            format!(
                "{at} answers after {} ms{}",
                ms(answer),
                seen(answer.mapped)
            ),
            means.0,
        ),
        Err(why) => Finding::new(
            about,
            json!({ "ok": false, "at": at, "reason": why }),
            format!("{at} does not answer ({why})"),
            means.1,
        ),
    }
}

pub(crate) fn clock(answer: Option<&ServerAnswer>) -> Finding {
    let about = ("clock", "clock");
    let Some(ahead) = answer.and_then(|answer| answer.clock_ahead_ms) else {
        return Finding::new(
            about,
            json!({ "host_ahead_ms": null }),
            "not compared: the host does not tell its time",
            "Transfers do not depend on it; only the times of files and certificates do.",
        );
    };
    let text = match ahead {
        0.. => format!("the host is {} ms ahead of us", ahead.unsigned_abs()),
        _ => format!("the host is {} ms behind us", ahead.unsigned_abs()),
    };
    let means = match ahead.unsigned_abs() < CLOCK_MS {
        true => "That is near enough for everything.",
        false => {
            "Tickets for the relay and certificates may be taken for expired; set the clock of the one that is wrong."
        }
    };
    Finding::new(about, json!({ "host_ahead_ms": ahead }), text, means)
}

/// All that can be said where a proxy carries everything.
pub(crate) fn behind_proxy(relay: Option<bool>) -> Finding {
    let means = match relay {
        Some(true) => "Those who cannot be reached through it are met at the relay.",
        Some(false) => {
            "Those who cannot be reached through it are not reached at all, for no relay is."
        }
        None => {
            "Those who cannot be reached through it are met at a relay, which a host names (--host)."
        }
    };
    Finding::new(
        ("verdict", "all in all"),
        "proxy",
        "everything goes through the proxy, over TCP; own addresses, NAT and router were not looked at",
        means,
    )
}

/// All of it in one word. `udp`: whether it was looked at.
pub(crate) fn verdict(report: &GatherReport, udp: bool, relay: Option<bool>) -> Finding {
    let mapped = report.mapped_by().next().is_some()
        || report
            .candidates
            .iter()
            .any(|own| own.kind == CandidateKind::FORWARDED);
    let (value, text) = match report.network.udp {
        Mapping::Open => ("easy", "direct connections are easy"),
        _ if mapped => (
            "easy",
            "direct connections are easy, through the port that the router opens",
        ),
        _ if !udp => (
            "hard",
            "direct connections work with few networks without UDP",
        ),
        Mapping::Independent => ("good", "direct connections are likely"),
        Mapping::Dependent => ("hard", "direct connections work with some networks"),
        Mapping::Blocked => ("hard", "direct connections work with few networks"),
        _ => (
            "unknown",
            "not known without a host to ask; name one with --host",
        ),
    };
    let means = match relay {
        Some(true) => "Where nothing direct works, the relay carries the bytes.",
        Some(false) => "Where nothing direct works nothing works, for no relay is reached.",
        None => "Where nothing direct works it takes a relay, which a host names (--host).",
    };
    Finding::new(("verdict", "all in all"), value, text, means)
}

fn own_ips(report: &GatherReport) -> impl Iterator<Item = IpAddr> + '_ {
    let mut seen = Vec::new();
    report.candidates.iter().filter_map(move |own| {
        let ip = own.address.ip();
        let new = own.kind == CandidateKind::HOST && !seen.contains(&ip);
        if new {
            seen.push(ip);
        }
        new.then_some(ip)
    })
}

fn ms(answer: &ServerAnswer) -> u64 {
    u64::try_from(answer.round_trip.as_millis()).unwrap_or(u64::MAX)
}

fn seen(mapped: Option<SocketAddr>) -> String {
    mapped
        .map(|mapped| format!(" and sees us as {mapped}"))
        .unwrap_or_default()
}
