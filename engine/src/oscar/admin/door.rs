//! The way in: from a connection that is signed on to the one that the service has for itself.
//!
//! The host names an address and a cookie (01/04, 01/05); behind that address it expects the cookie and then the short
//! handshake of a service: what it offers, versions, rates, "online" (`sign-on`, section 3.1). What it leaves out of that is not
//! waited for long.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::{Hello, HostOnline, RateReply, tlv};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use tokio::time::{Instant, timeout};

use super::error::AdminError;
use super::talk::Talk;
use crate::oscar::client::{Client, Reader, Writer, begin, read_or_write};
use crate::oscar::error::OscarError;
use crate::oscar::link::{Demand, HostSecurity, Link};
use crate::oscar::pace::Pace;
use crate::oscar::session::services::ServiceAt;
use crate::oscar::sign_on::{self, dismissal, oservice};
use crate::transport::Route;
use crate::trust::HostTrust;

/// What we speak there.
const VERSIONS: [(Foodgroup, u16); 2] = [(Foodgroup::OSERVICE, 4), (Foodgroup::ADMIN, 1)];
/// The host's first word on a connection, and its answer to versions.
const HOST_ONLINE: u16 = 0x03;
const HOST_VERSIONS: u16 = 0x18;
/// An answer that has not come after this time does not come.
const STEP: Duration = Duration::from_secs(3);

// Request ids of the handshake.
const VERSIONS_ID: u32 = 1;
const RATES_ID: u32 = 2;
const SUBSCRIBE_ID: u32 = 3;
const ONLINE_ID: u32 = 4;

/// Opens the service for the user that `client` is signed on as; the caller sets the deadline.
///
/// `host` is where `client` was connected to: behind a router that forwards a port, the address that the host names is of use
/// inside only, but the host is the same.
pub(super) async fn open(
    client: Arc<Client>,
    route: &Route,
    host: &str,
) -> Result<Talk, AdminError> {
    let ServiceAt { address, cookie } = client.service(Foodgroup::ADMIN).await?;
    // Over TLS only the very host that we are signed on to is good enough, whatever its address.
    let (trust, demand) = match client.host_security() {
        HostSecurity::Tls { key, .. } => (HostTrust::Pinned(*key), Demand::Secure),
        HostSecurity::Plain => (HostTrust::AcceptAny, Demand::Plain),
    };
    let link = match Link::open(route, &address, &trust, demand).await {
        Err(OscarError::Unreachable { source, .. })
            if demand == Demand::Secure && address != host =>
        {
            tracing::debug!(%address, %source, "not there; trying where we came by");
            Link::open(route, host, &trust, demand).await
        }
        opened => opened,
    }?;
    let (_, mut reader, mut writer) = begin(link);
    let mut hello = Hello::new();
    hello.tlvs.push(tlv::COOKIE, cookie);
    writer.queue(Channel::SIGN_ON, hello.encode());
    let pace = shake_hands(&mut reader, &mut writer).await?;
    tracing::debug!(%host, "managing the account");
    Ok(Talk::new(client, reader, writer, pace))
}

/// Says what is to be said before the first request. Gives the pace that the host sets.
async fn shake_hands(reader: &mut Reader, writer: &mut Writer) -> Result<Pace, AdminError> {
    let online = hear(reader, writer, HOST_ONLINE).await?;
    let offered = HostOnline::decode(&online.body)?.foodgroups;
    if !offered.contains(&Foodgroup::ADMIN) {
        return Err(AdminError::Nowhere);
    }
    writer.queue_snac(&sign_on::versions(&VERSIONS, VERSIONS_ID));
    hear_or_go_on(reader, writer, HOST_VERSIONS).await?;
    writer.queue_snac(&sign_on::oservice_snac(
        oservice::RATE_QUERY,
        RATES_ID,
        Bytes::new(),
    ));
    let rates = hear_or_go_on(reader, writer, oservice::RATE_REPLY).await?;
    let now = Instant::now().into_std();
    let pace = match rates {
        Some(rates) => Pace::new(&RateReply::decode(&rates.body)?, now),
        None => Pace::unannounced(now),
    };
    writer.queue_snac(&sign_on::rate_subscription(SUBSCRIBE_ID));
    writer.queue_snac(&sign_on::online(&VERSIONS, ONLINE_ID));
    // Nothing else is waited for; who asks late must not be late with these.
    let drained = writer.drain().await;
    drained.map_err(|error| OscarError::Closed(Some(error)))?;
    Ok(pace)
}

/// As [`hear`], but without the answer it goes on as well.
async fn hear_or_go_on(
    reader: &mut Reader,
    writer: &mut Writer,
    subgroup: u16,
) -> Result<Option<Snac>, OscarError> {
    match timeout(STEP, hear(reader, writer, subgroup)).await {
        Ok(heard) => heard.map(Some),
        Err(_) => {
            tracing::debug!(subgroup, "the host left an answer out");
            Ok(None)
        }
    }
}

/// Writes what waits and reads up to the SNAC 0x0001/`subgroup`. Cancel-safe.
///
/// # Errors
/// [`OscarError::Refused`] (the cookie was not taken), [`OscarError::Closed`] or [`OscarError::Protocol`].
async fn hear(reader: &mut Reader, writer: &mut Writer, subgroup: u16) -> Result<Snac, OscarError> {
    loop {
        let Some(frame) = read_or_write(reader, writer).await? else {
            continue;
        };
        match frame.channel {
            Channel::DATA => {}
            Channel::SIGN_OFF => return Err(dismissal(frame.data)),
            _ => continue,
        }
        let snac = Snac::decode(frame.data)?;
        if snac.is(Foodgroup::OSERVICE, subgroup) {
            return Ok(snac);
        }
    }
}
