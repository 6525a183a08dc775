//! A client as lean as can be: one socket, raw frames. Signs on as libpurple does, or as a guest over TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdv_benches::Failure;
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::service::{SEND_FILE, short_capability};
use rdv_proto::wire::signon::{
    Challenge, ChallengeRequest, ClientOnline, DigestKind, GuestWish, Hello, IcbmParameters,
    LocateInfo, Login, LoginReply, RateSubscription, Tool, Versions, digest, tlv,
};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::tlv::TlvList;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Addresses that clients come from.
const ADDRESSES: usize = 1_000;
/// Foodgroups and versions that libpurple declares.
const VERSIONS: [(Foodgroup, u16); 6] = [
    (Foodgroup(0x13), 4),
    (Foodgroup(9), 1),
    (Foodgroup(4), 1),
    (Foodgroup(3), 1),
    (Foodgroup(2), 1),
    (Foodgroup(1), 3),
];

/// A connection to `host` from the address of client `number`.
pub(crate) async fn connect(host: SocketAddr, number: usize) -> Result<TcpStream, Failure> {
    let [.., high, low] = (number % ADDRESSES).to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 8, high, low), 0).into())?;
    let stream = socket.connect(host).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A stream of frames.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    read: BytesMut,
    sequence: u16,
    next_id: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            sequence: 0,
            next_id: 1,
        }
    }

    async fn frame(&mut self) -> Result<Frame, Failure> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.read, 0xFFFF)? {
                return Ok(frame);
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err("the host hung up".into());
            }
        }
    }

    async fn snac(&mut self) -> Result<Snac, Failure> {
        loop {
            let frame = self.frame().await?;
            match frame.channel {
                Channel::DATA => return Ok(Snac::decode(frame.data)?),
                Channel::SIGN_OFF => {
                    return Err(format!("signed off: {:02x?}", &frame.data[..]).into());
                }
                _ => {}
            }
        }
    }

    /// Reads until that SNAC comes.
    async fn until(&mut self, foodgroup: Foodgroup, subgroup: u16) -> Result<Snac, Failure> {
        loop {
            let snac = self.snac().await?;
            if snac.is(foodgroup, subgroup) {
                return Ok(snac);
            }
        }
    }

    fn put(&mut self, out: &mut BytesMut, channel: Channel, data: Bytes) -> Result<(), Failure> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let frame = Frame {
            channel,
            sequence,
            data,
        };
        Ok(frame.encode(out)?)
    }

    fn put_snac(
        &mut self,
        out: &mut BytesMut,
        (foodgroup, subgroup): (Foodgroup, u16),
        body: Bytes,
    ) -> Result<u32, Failure> {
        let id = self.next_id;
        self.next_id += 1;
        let snac = Snac::new(foodgroup, subgroup, id, body);
        self.put(out, Channel::DATA, snac.encode())?;
        Ok(id)
    }

    /// Everything from the versions to ready, in two bursts; returns when the host has done it all.
    async fn set_up(&mut self, party: Party) -> Result<(), Failure> {
        self.until(Foodgroup::OSERVICE, 0x03).await?;
        let mut out = BytesMut::new();
        let pairs = VERSIONS.to_vec();
        let versions = Versions { pairs }.encode();
        self.put_snac(&mut out, (Foodgroup::OSERVICE, 0x17), versions)?;
        self.put_snac(&mut out, (Foodgroup::OSERVICE, 0x06), Bytes::new())?;
        self.stream.write_all(&out).await?;
        self.until(Foodgroup::OSERVICE, 0x07).await?;
        out.clear();
        if party == Party::Old {
            let ids = vec![1, 2, 3, 4, 5];
            let subscription = RateSubscription { ids }.encode();
            self.put_snac(&mut out, (Foodgroup::OSERVICE, 0x08), subscription)?;
            for (foodgroup, subgroup) in [
                (1, 0x0E),
                (0x13, 2),
                (0x13, 4),
                (2, 2),
                (3, 2),
                (4, 4),
                (9, 2),
            ] {
                self.put_snac(&mut out, (Foodgroup(foodgroup), subgroup), Bytes::new())?;
            }
            self.put_snac(&mut out, (Foodgroup::FEEDBAG, 0x07), Bytes::new())?;
        }
        let info = LocateInfo::of_capabilities(&[short_capability(0), SEND_FILE]);
        self.put_snac(&mut out, (Foodgroup::LOCATE, 0x04), info.encode())?;
        let parameters = IcbmParameters {
            channel: 0,
            flags: 0x051B,
            incoming_max: 8_000,
            source_warning_max: 999,
            destination_warning_max: 999,
            interval_min_ms: 0,
            trailing: Bytes::new(),
        };
        self.put_snac(&mut out, (Foodgroup::ICBM, 0x02), parameters.encode())?;
        let tools = VERSIONS.map(|(foodgroup, version)| Tool {
            foodgroup,
            version,
            tool: 0x0110,
            tool_version: 0x0629,
        });
        let online = ClientOnline {
            tools: tools.to_vec(),
        };
        self.put_snac(&mut out, (Foodgroup::OSERVICE, 0x02), online.encode())?;
        let last = self.put_snac(&mut out, (Foodgroup::ICBM, 0x04), Bytes::new())?;
        self.stream.write_all(&out).await?;
        while self.snac().await?.request_id != last {}
        self.read = BytesMut::new();
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Party {
    Guest,
    Old,
}

/// Signs on with a digest, as client `number`: the login connection, then the one with the cookie.
pub(crate) async fn sign_on(
    host: SocketAddr,
    number: usize,
    (name, password): (&str, &str),
) -> Result<Client<TcpStream>, Failure> {
    let mut login = Client::new(connect(host, number).await?);
    let mut out = BytesMut::new();
    login.put(&mut out, Channel::SIGN_ON, Hello::new().encode())?;
    let tlvs = TlvList::new().with(tlv::SCREEN_NAME, name.as_bytes().to_vec());
    let request = ChallengeRequest { tlvs }.encode();
    login.put_snac(&mut out, (Foodgroup::BUCP, 0x06), request)?;
    login.stream.write_all(&out).await?;
    let challenge = login.until(Foodgroup::BUCP, 0x07).await?;
    let key = Challenge::decode(&challenge.body)?.key;
    let answer = digest(DigestKind::New, &key, password.as_bytes());
    let tlvs = TlvList::new()
        .with(tlv::SCREEN_NAME, name.as_bytes().to_vec())
        .with(tlv::DIGEST, answer.to_vec())
        .with(tlv::NEW_DIGEST, Bytes::new())
        .with(tlv::CLIENT_NAME, &b"Purple/2.14.1"[..])
        .with(tlv::MULTIPLE_SESSIONS, vec![1]);
    out.clear();
    login.put_snac(&mut out, (Foodgroup::BUCP, 0x02), Login { tlvs }.encode())?;
    login.stream.write_all(&out).await?;
    let reply = login.until(Foodgroup::BUCP, 0x03).await?;
    let reply = LoginReply::decode(&reply.body)?;
    if let Some(code) = reply.error() {
        return Err(format!("{name} may not sign on: {code:?}").into());
    }
    let cookie = reply.tlvs.first(tlv::COOKIE).ok_or("no cookie")?.clone();
    drop(login);
    let mut client = Client::new(connect(host, number).await?);
    let mut hello = Hello::new();
    hello.tlvs.push(tlv::COOKIE, cookie);
    out.clear();
    client.put(&mut out, Channel::SIGN_ON, hello.encode())?;
    client.stream.write_all(&out).await?;
    client.set_up(Party::Old).await?;
    Ok(client)
}

/// Signs on as a guest that joins somebody, over TLS.
pub(crate) async fn sign_on_guest(
    host: SocketAddr,
    number: usize,
    tls: &TlsConnector,
) -> Result<Client<TlsStream<TcpStream>>, Failure> {
    let stream = connect(host, number).await?;
    let stream = tls.connect(ServerName::try_from("rdv")?, stream).await?;
    let mut client = Client::new(stream);
    let mut out = BytesMut::new();
    client.put(&mut out, Channel::SIGN_ON, Hello::new().encode())?;
    let tlvs = TlvList::new()
        .with(tlv::SCREEN_NAME, &b"guest"[..])
        .with(tlv::GUEST, vec![GuestWish::JOIN.0]);
    client.put_snac(&mut out, (Foodgroup::BUCP, 0x02), Login { tlvs }.encode())?;
    client.stream.write_all(&out).await?;
    let reply = client.until(Foodgroup::BUCP, 0x03).await?;
    if let Some(code) = LoginReply::decode(&reply.body)?.error() {
        return Err(format!("a guest may not sign on: {code:?}").into());
    }
    client.set_up(Party::Guest).await?;
    Ok(client)
}

/// TLS that trusts everybody and resumes nothing: the host is what is measured.
pub(crate) fn tls() -> Result<TlsConnector, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
