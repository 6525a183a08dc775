//! Which way bytes take, as people and `--json` are told it.

use std::fmt;
use std::net::SocketAddr;

use rdv_proto::rendezvous::Carrier;

/// How the bytes of a lane travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathKind {
    /// From machine to machine.
    Direct,
    /// From machine to machine, with an old client: the one that was proposed to could not reach the other, and was dialled instead.
    Redirect,
    /// Over an ARS relay, which sees what the path sees.
    Relay,
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Redirect => "redirect",
            Self::Relay => "relay",
        })
    }
}

/// The path of a lane, as people and `--json` are told it. As text: `direct QUIC 192.0.2.7:40112 (punched)`,
/// `direct TCP 10.0.0.2:5000`, `relay 192.0.2.1:5190`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path {
    /// Direct, redirected or by relay.
    pub kind: PathKind,
    /// What carries it. `None`: a relay, which is always TCP.
    pub carrier: Option<Carrier>,
    /// Both sides had to send before anything came through: a way was opened through a NAT or a firewall.
    pub punched: bool,
    /// The other end of our connection: the peer, or the relay.
    pub remote: Option<SocketAddr>,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match self.carrier {
            Some(Carrier::Tcp | Carrier::TcpOpen) => f.write_str(" TCP")?,
            Some(Carrier::Quic) => f.write_str(" QUIC")?,
            None => {}
        }
        if let Some(remote) = self.remote {
            write!(f, " {remote}")?;
        }
        if self.punched {
            f.write_str(" (punched)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_in_few_words() {
        let told = |kind, carrier, punched, remote: &str| {
            let path = Path {
                kind,
                carrier,
                punched,
                remote: Some(remote.parse().unwrap()),
            };
            path.to_string()
        };
        assert_eq!(
            told(
                PathKind::Direct,
                Some(Carrier::Quic),
                true,
                "192.0.2.7:40112"
            ),
            "direct QUIC 192.0.2.7:40112 (punched)"
        );
        assert_eq!(
            told(PathKind::Direct, Some(Carrier::Tcp), false, "10.0.0.2:5000"),
            "direct TCP 10.0.0.2:5000"
        );
        assert_eq!(
            told(PathKind::Relay, None, false, "192.0.2.1:5190"),
            "relay 192.0.2.1:5190"
        );
        assert_eq!(
            told(
                PathKind::Direct,
                Some(Carrier::TcpOpen),
                true,
                "[2001:db8::1]:5"
            ),
            "direct TCP [2001:db8::1]:5 (punched)"
        );
    }
}
