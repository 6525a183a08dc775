//! How to get to the other side.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Where to meet, and which ways to take.
#[derive(Debug, Args)]
pub(crate) struct Road {
    /// The host to meet at; without it, a host of one's own in the local network
    #[arg(long, value_name = "HOST:PORT", env = "RDV_HOST")]
    pub(crate) host: Option<String>,
    /// The fingerprint that the host must show; without it, the first one seen is remembered
    #[arg(long, value_name = "FINGERPRINT", requires = "host")]
    pub(crate) host_key: Option<String>,
    /// Whether the relay may, must or must not carry the bytes
    #[arg(long, value_enum, default_value_t = RelayUse::Auto, value_name = "WHEN")]
    pub(crate) relay: RelayUse,
    #[command(flatten)]
    pub(crate) ways: Ways,
    /// Print one JSON object per line on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// Give up after this time
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayUse {
    /// Until something direct works, and if nothing does
    Auto,
    /// Always: no address of yours goes out
    Only,
    /// Not at all
    Never,
}

/// Which ways connections to the other side may take.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Ways to the other side")]
pub(crate) struct Ways {
    /// Connect from this address of the machine, and tell the other side no other
    #[arg(long, value_name = "ADDR", conflicts_with = "proxy")]
    pub(crate) bind: Option<IpAddr>,
    /// Listen on this port, or on one of a range, for UDP and TCP; for routers that forward some
    #[arg(long, value_name = "P[-Q]", conflicts_with = "proxy")]
    pub(crate) port: Option<Ports>,
    /// Where this machine is reached from outside, if a port was forwarded by hand; without :PORT the one that is listened on
    #[arg(long, value_name = "IP[:PORT]", conflicts_with = "proxy")]
    pub(crate) external: Option<External>,
    /// Use no UDP, and so no QUIC: fewer networks let a direct connection through
    #[arg(long)]
    pub(crate) no_udp: bool,
    /// Do not ask the router for a port (PCP, NAT-PMP, UPnP)
    #[arg(long)]
    pub(crate) no_port_mapping: bool,
    #[command(flatten)]
    pub(crate) through: Through,
}

/// What all connections go through.
#[derive(Debug, Default, Args)]
pub(crate) struct Through {
    /// Make all connections, to the host and the relay as well, through this SOCKS5 proxy; nobody can then connect to us. With a
    /// password better by RDV_PROXY, which other users of the machine do not see
    #[arg(
        long,
        value_name = "socks5://[USER:PASS@]HOST:PORT",
        env = "RDV_PROXY",
        hide_env_values = true
    )]
    pub(crate) proxy: Option<ProxyUrl>,
}

/// `P` or `P-Q`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports(pub(crate) RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse().ok().filter(|port: &u16| *port > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first..=last)),
            (Some(_), Some(_)) => Err("the first port is above the last one"),
            _ => Err("a port from 1 to 65535, or two of them as P-Q"),
        }
    }
}

/// `IP` or `IP:PORT`; IPv6 with a port in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct External {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

impl FromStr for External {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse() {
            return Ok(Self { ip, port: None });
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => Ok(Self {
                ip: address.ip(),
                port: Some(address.port()),
            }),
            _ => Err("an IP address, or one with a port as IP:PORT (IPv6: [IP]:PORT)"),
        }
    }
}

/// As typed; what is wrong with it is found out later, for a password may be in it, which no error of the parser may show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProxyUrl(pub(crate) String);

impl From<String> for ProxyUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_or_a_range() {
        assert_eq!("50000".parse(), Ok(Ports(50000..=50000)));
        assert_eq!("50000-50099".parse(), Ok(Ports(50000..=50099)));
        for bad in ["", "0", "70000", "1-", "-2", "9-8", "1-2-3", "http"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }

    #[test]
    fn outside_addresses_are_literal_with_or_without_a_port() {
        for (typed, ip, port) in [
            ("192.0.2.7", "192.0.2.7", None),
            ("192.0.2.7:40000", "192.0.2.7", Some(40000)),
            ("2001:db8::7", "2001:db8::7", None),
            ("[2001:db8::7]", "2001:db8::7", None),
            ("[2001:db8::7]:40000", "2001:db8::7", Some(40000)),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(typed.parse(), Ok(External { ip, port }), "{typed}");
        }
        for bad in [
            "",
            "example.org",
            "192.0.2.7:0",
            "192.0.2.7:99999",
            "[192.0.2",
        ] {
            assert!(bad.parse::<External>().is_err(), "{bad}");
        }
    }

    #[test]
    fn s_26_a_proxy_is_not_shown() {
        let url = ProxyUrl::from("socks5://me:secret@192.0.2.7:1080".to_owned());
        assert_eq!(format!("{url:?}"), "***");
    }
}
