//! Looking at the network without a conversation.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::timeout;

use super::GatherReport;
use crate::transport::site::{Site, SiteEvent, SiteOptions};

/// More than any source takes.
const LIMIT: Duration = Duration::from_secs(6);

/// What to look at, and whom to ask.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Examination {
    /// Where host and relay answer STUN.
    pub stun: Vec<SocketAddr>,
    /// Our address as the host sees it.
    pub verified: Option<IpAddr>,
    /// Our own address, and with it the family.
    pub bind: Option<IpAddr>,
    /// The ports to choose from.
    pub ports: Option<RangeInclusive<u16>>,
    /// Where the world reaches us, if the user knows.
    pub external: Option<(IpAddr, Option<u16>)>,
    /// Whether the gateway is asked for a mapping, which is given back at the end.
    pub port_mapping: bool,
    /// Whether UDP is looked at.
    pub udp: bool,
}

impl Default for Examination {
    fn default() -> Self {
        Self {
            stun: Vec::new(),
            verified: None,
            bind: None,
            ports: None,
            external: None,
            port_mapping: true,
            udp: true,
        }
    }
}

impl Examination {
    /// Gathers own addresses as a transfer would, with sockets of its own, until everybody has answered or was given up: two
    /// seconds as a rule, six at the most; or until `stopped` resolves. Touches the gateway and those in [`stun`](Self::stun), nobody
    /// else; a port that the gateway opened is given back before this ends.
    ///
    /// # Errors
    /// As the system says if no socket can be opened; [`io::ErrorKind::AddrInUse`] if all allowed ports are taken.
    pub async fn run(self, stopped: impl Future<Output = ()>) -> io::Result<GatherReport> {
        let mut site = Site::open(SiteOptions {
            bind: self.bind,
            ports: self.ports,
            external: self.external,
            stun: self.stun,
            verified: self.verified,
            port_mapping: self.port_mapping,
            udp: self.udp,
            ..SiteOptions::default()
        })?;
        let complete = async {
            loop {
                if let SiteEvent::Found(found) = site.next().await
                    && found.complete
                {
                    return;
                }
            }
        };
        // What is missing then is told as waiting.
        tokio::select! {
            () = stopped => {}
            _ = timeout(LIMIT, complete) => {}
        }
        let report = site.report();
        site.close().await;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::network::{GatherResult, GatherSource};

    #[tokio::test]
    async fn a_server_that_is_not_there_is_reported_as_silent_and_nothing_is_left_waiting() {
        let unbound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = unbound.local_addr().unwrap();
        let examination = Examination {
            stun: vec![server],
            bind: Some([127, 0, 0, 1].into()),
            ..Examination::default()
        };
        let report = examination.run(std::future::pending()).await.unwrap();
        assert!(report.complete);
        let of = |source| {
            let mut lines = report.lines.iter();
            lines.find(|line| line.source == source).cloned()
        };
        let udp = of(GatherSource::StunUdp).unwrap();
        assert_eq!(udp.asked, Some(server));
        assert_eq!(udp.result, GatherResult::Failed("no answer".to_owned()));
        let tcp = of(GatherSource::StunTcp).unwrap();
        assert!(matches!(tcp.result, GatherResult::Failed(_)), "{tcp:?}");
        assert!(of(GatherSource::Pcp).is_none(), "host on this machine");
        assert_eq!(report.mapped_by().count(), 0);
    }
}
