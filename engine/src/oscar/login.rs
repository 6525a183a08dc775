//! How an account signs on: challenge first, then whatever the host turns out to want.
//!
//! A host of our kind takes the password over TLS and goes on on the same connection (rulings G-10). Any other gets the old
//! sign-on (BUCP with MD5), if the user allowed that for it, and sends us to a second connection.

use std::sync::Arc;

use bytes::Bytes;
use rdv_proto::wire::admin::AdminErrorCode;
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::{Challenge, ChallengeRequest, Hello, Login, LoginReply, tlv};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::time::Instant;

use super::account::AccountSettings;
use super::client::{Client, Reader, Writer, begin, exchange};
use super::error::OscarError;
use super::link::{Demand, Link};
use super::old_host::OldHost;
use super::presence::Presence;
use super::sign_on::{self, Answers, LOGIN_ID, bucp, dismissal, is_address};

/// Request id of the first question.
const CHALLENGE_ID: u32 = 0x10;
/// Tags of an old login that say which program this is.
const CLIENT_ID: u16 = 0x16;
const CLIENT_MAJOR: u16 = 0x17;
const CLIENT_MINOR: u16 = 0x18;
const CLIENT_POINT: u16 = 0x19;
const CLIENT_BUILD: u16 = 0x1A;
const DISTRIBUTION: u16 = 0x14;
const LANGUAGE: u16 = 0x0F;
const COUNTRY: u16 = 0x0E;
/// Value of [`tlv::MULTIPLE_SESSIONS`]: the account may be signed on elsewhere, too.
const BESIDE_OTHERS: u8 = 1;
/// Port of an old host that names none.
const OLD_PORT: u16 = 5190;

/// Signs on; the caller sets the deadline.
pub(super) async fn sign_on(
    settings: &AccountSettings,
    presence: Arc<Presence>,
) -> Result<Client, OscarError> {
    enter(settings, None, presence).await
}

/// Makes the account, with a mail address or an empty one, and signs on; the caller sets the deadline.
///
/// # Errors
/// [`OscarError::NoAccountsMade`] at hosts that are not of our kind, or that are not spoken to over TLS: the password would be
/// readable.
pub(super) async fn create(
    settings: &AccountSettings,
    email: &str,
    presence: Arc<Presence>,
) -> Result<Client, OscarError> {
    enter(settings, Some(email), presence).await
}

/// `new`: the mail address of an account that is to be made.
async fn enter(
    settings: &AccountSettings,
    new: Option<&str>,
    presence: Arc<Presence>,
) -> Result<Client, OscarError> {
    let demand = match settings.old_host {
        true => Demand::SecureIfPossible,
        false => Demand::Secure,
    };
    let link = Link::open(&settings.route, &settings.host, &settings.trust, demand).await?;
    let secure = link.is_secure();
    let (host, mut reader, mut writer) = begin(link);
    writer.queue(Channel::SIGN_ON, Hello::new().encode());
    writer.queue_snac(&challenge_request(&settings.name));
    let challenge = answer(&mut reader, &mut writer, bucp::CHALLENGE).await?;
    let challenge = Challenge::decode(&challenge.body)?;

    // The password itself goes to nobody but the host whose key was checked.
    if secure && takes_password(&challenge) {
        writer.queue_snac(&password_login(settings, new));
        let reply = answer(&mut reader, &mut writer, bucp::LOGIN_REPLY).await?;
        let mut answers = Answers::default();
        answers.take_snac(&reply, Instant::now().into_std())?;
        for snac in sign_on::burst(&settings.capabilities) {
            writer.queue_snac(&snac);
        }
        let signed_on = exchange(&mut reader, &mut writer, answers).await?;
        tracing::debug!(host = %settings.host, "signed on");
        return Ok(Client::start(signed_on, host, reader, writer, presence));
    }
    if new.is_some() {
        return Err(OscarError::NoAccountsMade);
    }
    if !settings.old_host {
        return Err(OscarError::OldSignOnOnly);
    }
    writer.queue_snac(&digest_login(settings, &challenge));
    let reply = answer(&mut reader, &mut writer, bucp::LOGIN_REPLY).await?;
    let ticket = Ticket::from_reply(&LoginReply::decode(&reply.body)?, settings)?;
    // The host closes this connection, too; both may.
    drop((reader, writer));

    let demand = match secure {
        true => Demand::Secure,
        false => Demand::Plain,
    };
    let link = Link::open(&settings.route, &ticket.address, &settings.trust, demand).await?;
    let (host, mut reader, mut writer) = begin(link);
    let mut hello = Hello::new();
    hello.tlvs.push(tlv::COOKIE, ticket.cookie);
    writer.queue(Channel::SIGN_ON, hello.encode());
    let machine = OldHost::new(ticket.name, settings.capabilities.clone());
    let signed_on = machine.run(&mut reader, &mut writer).await?;
    tracing::debug!(host = %settings.host, secure, "signed on to a host of the old kind");
    Ok(Client::start(signed_on, host, reader, writer, presence))
}

fn challenge_request(name: &ScreenName) -> Snac {
    let tlvs = TlvList::new().with(tlv::SCREEN_NAME, name.as_str().as_bytes().to_vec());
    let body = ChallengeRequest { tlvs }.encode();
    Snac::new(Foodgroup::BUCP, bucp::CHALLENGE_REQUEST, CHALLENGE_ID, body)
}

fn takes_password(challenge: &Challenge) -> bool {
    let welcome = challenge.tlvs.first(tlv::NORMAL_SIGN_ON);
    welcome.is_some_and(|value| value[..] == [1])
}

fn password_login(settings: &AccountSettings, new: Option<&str>) -> Snac {
    let mut tlvs = TlvList::new()
        .with(tlv::SCREEN_NAME, settings.name.as_str().as_bytes().to_vec())
        .with(
            tlv::PASSWORD,
            settings.password.reveal().as_bytes().to_vec(),
        )
        .with(tlv::MULTIPLE_SESSIONS, vec![BESIDE_OTHERS]);
    if let Some(email) = new {
        tlvs.push(tlv::CREATE_ACCOUNT, email.as_bytes().to_vec());
    }
    login(tlvs)
}

/// The tags of the clients of old: some hosts look for them.
fn digest_login(settings: &AccountSettings, challenge: &Challenge) -> Snac {
    let short = challenge.tlvs.contains(tlv::SHORT_PASSWORD);
    let digest = settings.password.digest(&challenge.key, short);
    let tlvs = TlvList::new()
        .with(tlv::SCREEN_NAME, settings.name.as_str().as_bytes().to_vec())
        .with(tlv::DIGEST, digest.to_vec())
        .with(tlv::NEW_DIGEST, Bytes::new())
        .with(tlv::CLIENT_NAME, concat!("rdv/", env!("CARGO_PKG_VERSION")))
        .with_u16(CLIENT_ID, 0x0109)
        .with_u16(CLIENT_MAJOR, 5)
        .with_u16(CLIENT_MINOR, 1)
        .with_u16(CLIENT_POINT, 0)
        .with_u16(CLIENT_BUILD, 0x0BDC)
        .with_u32(DISTRIBUTION, 0x0611)
        .with(LANGUAGE, "en")
        .with(COUNTRY, "us")
        .with(tlv::MULTIPLE_SESSIONS, vec![BESIDE_OTHERS]);
    login(tlvs)
}

fn login(tlvs: TlvList) -> Snac {
    let body = Login { tlvs }.encode();
    Snac::new(Foodgroup::BUCP, bucp::LOGIN, LOGIN_ID, body)
}

/// What opens the second connection.
struct Ticket {
    name: ScreenName,
    address: String,
    cookie: Bytes,
}

impl Ticket {
    fn from_reply(reply: &LoginReply, settings: &AccountSettings) -> Result<Self, OscarError> {
        use rdv_proto::wire::error::DecodeError::Missing;
        let name = reply.screen_name().unwrap_or(settings.name.clone());
        let cookie = reply.tlvs.first(tlv::COOKIE).cloned();
        let address = reply.tlvs.text(tlv::ADDRESS).map(with_port);
        let address = address.filter(|address| is_address(address));
        Ok(Self {
            name,
            address: address.ok_or(Missing {
                what: "address of the next connection",
            })?,
            cookie: cookie.ok_or(Missing {
                what: "cookie of the next connection",
            })?,
        })
    }
}

/// Old hosts name addresses without brackets and sometimes without a port.
pub(super) fn with_port(address: &str) -> String {
    if address.contains(':') {
        address.to_owned()
    } else {
        format!("{address}:{OLD_PORT}")
    }
}

/// Writes what waits and reads up to the SNAC 0x0017/`subgroup`.
///
/// # Errors
/// [`OscarError::Refused`] if a login reply with an error comes instead, or a sign-off.
async fn answer(
    reader: &mut Reader,
    writer: &mut Writer,
    subgroup: u16,
) -> Result<Snac, OscarError> {
    loop {
        tokio::select! {
            written = writer.step(), if !writer.is_idle() => {
                written.map_err(|error| OscarError::Closed(Some(error)))?;
            }
            frame = reader.next() => {
                let frame = frame?;
                match frame.channel {
                    Channel::SIGN_OFF => return Err(dismissal(frame.data)),
                    Channel::DATA => {}
                    _ => continue,
                }
                let snac = Snac::decode(frame.data)?;
                if snac.is(Foodgroup::BUCP, bucp::LOGIN_REPLY) {
                    let reply = LoginReply::decode(&snac.body)?;
                    if let Some(code) = reply.error() {
                        let reason = reply.tlvs.u16(tlv::CREATE_ACCOUNT).map(AdminErrorCode);
                        return Err(match reason {
                            Some(code) => OscarError::NotCreated { code },
                            None => OscarError::Refused { code },
                        });
                    }
                }
                if snac.is(Foodgroup::BUCP, subgroup) {
                    return Ok(snac);
                }
            }
        }
    }
}
