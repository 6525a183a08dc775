//! PCP, and NAT-PMP where a gateway is too old for it. One port of the gateway serves both.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{
    GATEWAY_PORT, GatewayAddress, InternetProtocol, PortMapping, PortMappingOptions, TimeoutConfig,
    natpmp, pcp,
};
use tokio::time::Instant;

use super::Wanted;
use super::lease::Lease;
use crate::transport::network::{GatherLine, GatherResult, GatherSource};

/// Twice 250 ms: a gateway is one hop away.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 1,
    max_retry_timeout: Some(Duration::from_millis(250)),
};

/// What the gateway grants, `None` if that is nothing. `line` gets one report per protocol.
pub(super) async fn acquire(
    gateway: Ipv4Addr,
    wanted: &Wanted,
    lease: Duration,
    line: &(impl Fn(GatherLine) + Sync),
) -> Option<Lease> {
    let begun = Instant::now();
    let asked = Some(SocketAddr::from((gateway, GATEWAY_PORT)));
    let waiting = |source| GatherLine::waiting(source, asked);
    line(waiting(GatherSource::Pcp));
    line(waiting(GatherSource::NatPmp));
    // The outer address is only a question: nothing of it stays if PCP answers.
    let outer = natpmp::external_address(gateway.into(), Some(PATIENCE));
    let (by_pcp, outer) = tokio::join!(by_pcp(gateway, wanted, lease), outer);
    let ended = |source, result: Result<Vec<SocketAddr>, String>| {
        let result = result.map_or_else(GatherResult::Failed, GatherResult::Found);
        line(waiting(source).ended(result, begun.elapsed()));
    };
    let failed = match by_pcp {
        Ok(lease) => {
            ended(GatherSource::Pcp, Ok(lease.addresses()));
            let spoken = outer.map(|_| Vec::new());
            ended(GatherSource::NatPmp, spoken.map_err(|e| e.to_string()));
            return Some(lease);
        }
        Err(error) => error,
    };
    ended(GatherSource::Pcp, Err(failed));
    let granted = match outer {
        Ok(outer) => by_natpmp(gateway, wanted, lease, outer).await,
        Err(error) => Err(error.to_string()),
    };
    let addresses = granted.as_ref().map(Lease::addresses);
    ended(GatherSource::NatPmp, addresses.map_err(Clone::clone));
    granted.ok()
}

async fn by_pcp(gateway: Ipv4Addr, wanted: &Wanted, lease: Duration) -> Result<Lease, String> {
    let own = IpAddr::V4(wanted.own);
    let map = async |protocol, port: Option<NonZeroU16>| {
        let port = port?;
        let request = pcp::BaseMapRequest::new(gateway.into(), own, protocol, port);
        Some(pcp::port_mapping(request, None, None, options(port, lease)).await)
    };
    let (udp, tcp) = tokio::join!(
        map(InternetProtocol::Udp, wanted.udp),
        map(InternetProtocol::Tcp, wanted.tcp),
    );
    granted(udp, tcp, None)
}

async fn by_natpmp(
    gateway: Ipv4Addr,
    wanted: &Wanted,
    lease: Duration,
    outer: Ipv4Addr,
) -> Result<Lease, String> {
    let map = async |protocol, port: Option<NonZeroU16>| {
        let port = port?;
        let gateway = GatewayAddress::from(gateway);
        Some(natpmp::port_mapping(gateway, protocol, port, options(port, lease)).await)
    };
    let (udp, tcp) = tokio::join!(
        map(InternetProtocol::Udp, wanted.udp),
        map(InternetProtocol::Tcp, wanted.tcp),
    );
    granted(udp, tcp, Some(outer))
}

/// One port is better than none.
fn granted<E: ToString>(
    udp: Option<Result<PortMapping, E>>,
    tcp: Option<Result<PortMapping, E>>,
    outer: Option<Ipv4Addr>,
) -> Result<Lease, String> {
    let mut failed = String::new();
    let mut kept = |answer: Option<Result<PortMapping, E>>| match answer? {
        Ok(mapping) => Some(mapping),
        Err(error) => {
            failed = error.to_string();
            None
        }
    };
    let (udp, tcp) = (kept(udp), kept(tcp));
    if udp.is_none() && tcp.is_none() {
        return Err(failed);
    }
    Ok(Lease::Control { udp, tcp, outer })
}

/// The same port outside, if it is free: then a legacy peer, which assumes that, gets through, too.
fn options(port: NonZeroU16, lease: Duration) -> PortMappingOptions {
    PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: u32::try_from(lease.as_secs()).ok(),
        timeout_config: Some(PATIENCE),
    }
}
