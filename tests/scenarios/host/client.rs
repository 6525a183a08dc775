//! A scripted client: it sends what it is told, and says what came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::icbm::{self, MessageToClient, MessageToHost};
use rdv_proto::wire::rendezvous::{Cookie, Message};
use rdv_proto::wire::signon::{
    ClientOnline, Hello, LocateInfo, Login, LoginErrorCode, LoginReply, Tool, Versions, tlv,
};
use rdv_proto::wire::snac::{Foodgroup, Snac, SnacError};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// The service that all test rendezvous are about.
pub(super) const SERVICE: Uuid = Uuid::from_u128(0x7d6b8a52_3c1e_4f0a_9b47_d2e5610c98af);

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(super) struct Client {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    sequence: u16,
    next_id: u32,
    name: String,
    token: Option<Bytes>,
}

impl Client {
    /// TLS 1.3, and nothing said yet.
    pub(super) async fn tls(host: SocketAddr) -> Self {
        Self::tls_of(host, &rustls::version::TLS13).await
    }

    pub(super) async fn tls_of(
        host: SocketAddr,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        let tcp = TcpStream::connect(host).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("rdv-host").unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp);
        Self::over(timeout(PATIENCE, tls).await.unwrap().unwrap())
    }

    pub(super) fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: BytesMut::new(),
            sequence: 7,
            next_id: 1,
            name: String::new(),
            token: None,
        }
    }

    /// The owner of a number, online.
    pub(super) async fn owner(host: SocketAddr) -> Self {
        let wish = TlvList::new().with(tlv::GUEST, vec![1]);
        Self::guest(host, wish).await.unwrap()
    }

    /// A guest without a number, online.
    pub(super) async fn joiner(host: SocketAddr) -> Self {
        let wish = TlvList::new().with(tlv::GUEST, vec![2]);
        Self::guest(host, wish).await.unwrap()
    }

    /// Signs on with everything sent at once, as our own client does.
    pub(super) async fn guest(host: SocketAddr, wish: TlvList) -> Result<Self, LoginErrorCode> {
        let mut client = Self::tls(host).await;
        client.login("guest", wish).await;
        let versions = Versions {
            pairs: vec![
                (Foodgroup::OSERVICE, 4),
                (Foodgroup::LOCATE, 1),
                (Foodgroup::ICBM, 1),
            ],
        };
        let tools = versions
            .pairs
            .iter()
            .map(|&(foodgroup, version)| Tool {
                foodgroup,
                version,
                tool: 0x0110,
                tool_version: 1,
            })
            .collect();
        client
            .snac(Foodgroup::OSERVICE, 0x17, versions.encode())
            .await;
        let capabilities = LocateInfo::of_capabilities(&[SERVICE]);
        client
            .snac(Foodgroup::LOCATE, 0x04, capabilities.encode())
            .await;
        client
            .snac(Foodgroup::OSERVICE, 0x02, ClientOnline { tools }.encode())
            .await;
        // The answer to the last request says that all before it is done.
        let last = client
            .snac(
                Foodgroup::ICBM,
                icbm::subgroup::PARAMETER_QUERY,
                Bytes::new(),
            )
            .await;
        let reply = client.expect(Foodgroup::BUCP, 0x03).await;
        let reply = LoginReply::decode(&reply.body).unwrap();
        if let Some(code) = reply.error() {
            return Err(code);
        }
        client.name = reply.screen_name().unwrap().as_str().to_owned();
        client.token = reply.tlvs.first(tlv::TOKEN).cloned();
        client.expect(Foodgroup::OSERVICE, 0x03).await;
        client.expect(Foodgroup::OSERVICE, 0x18).await;
        let parameters = client
            .expect(Foodgroup::ICBM, icbm::subgroup::PARAMETER_REPLY)
            .await;
        assert_eq!(parameters.request_id, last);
        Ok(client)
    }

    /// The greeting both ways, and 0x0017/0x0002.
    pub(super) async fn login(&mut self, name: &str, wish: TlvList) {
        self.send(Channel::SIGN_ON, Hello::new().encode()).await;
        let mut tlvs = TlvList::new().with(tlv::SCREEN_NAME, name.as_bytes().to_vec());
        tlvs.0.extend(wish.0);
        self.snac(Foodgroup::BUCP, 0x02, Login { tlvs }.encode())
            .await;
        let greeting = self.frame().await.unwrap();
        assert_eq!(
            (greeting.channel, &greeting.data[..]),
            (Channel::SIGN_ON, &[0, 0, 0, 1][..])
        );
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn token(&self) -> Bytes {
        self.token.clone().unwrap()
    }

    pub(super) async fn send(&mut self, channel: Channel, data: Bytes) {
        let frame = Frame {
            channel,
            sequence: self.sequence,
            data,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes).unwrap();
        // The host may have hung up; what it said is still to be read.
        self.stream.write_all(&bytes).await.ok();
        self.stream.flush().await.ok();
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a SNAC; its request id.
    pub(super) async fn snac(&mut self, foodgroup: Foodgroup, subgroup: u16, body: Bytes) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let snac = Snac::new(foodgroup, subgroup, id, body);
        self.send(Channel::DATA, snac.encode()).await;
        id
    }

    /// The next frame; none when the host hung up.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer, 0xFFFF).unwrap() {
                return Some(frame);
            }
            let read = self.stream.read_buf(&mut self.buffer);
            match timeout(PATIENCE, read)
                .await
                .expect("the host says nothing")
            {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// The next SNAC, which must be of this foodgroup.
    pub(super) async fn expect_any(&mut self, foodgroup: Foodgroup) -> Snac {
        let frame = self.frame().await.expect("the host hung up");
        assert_eq!(frame.channel, Channel::DATA, "{frame:?}");
        let snac = Snac::decode(frame.data).unwrap();
        assert_eq!(snac.foodgroup, foodgroup, "{snac:?}");
        snac
    }

    /// The next SNAC, which must be this one.
    pub(super) async fn expect(&mut self, foodgroup: Foodgroup, subgroup: u16) -> Snac {
        let snac = self.expect_any(foodgroup).await;
        assert_eq!(snac.subgroup, subgroup, "{snac:?}");
        snac
    }

    /// The next SNAC, which must be this error.
    pub(super) async fn expect_error(&mut self, foodgroup: Foodgroup, id: u32, code: u16) {
        let snac = self.expect(foodgroup, 0x01).await;
        assert_eq!(snac.request_id, id);
        assert_eq!(SnacError::decode(&snac.body).unwrap().code, code);
    }

    /// The host signs off and hangs up.
    pub(super) async fn expect_sign_off(&mut self) -> Bytes {
        let frame = self.frame().await.expect("the host hung up without a word");
        assert_eq!(frame.channel, Channel::SIGN_OFF, "{frame:?}");
        assert_eq!(self.frame().await, None);
        frame.data
    }

    /// Waits until the host has done all that was asked; nothing else may come.
    pub(super) async fn expect_nothing(&mut self) {
        let id = self.snac(Foodgroup::OSERVICE, 0x06, Bytes::new()).await;
        assert_eq!(self.expect(Foodgroup::OSERVICE, 0x07).await.request_id, id);
    }

    /// Sends a rendezvous message in an ICBM with these other TLVs before it; its request id.
    pub(super) async fn rendezvous(&mut self, to: &str, message: &Message, others: TlvList) -> u32 {
        self.icbm(to, message.cookie, message.encode(), others)
            .await
    }

    pub(super) async fn icbm(
        &mut self,
        to: &str,
        cookie: Cookie,
        block: Bytes,
        others: TlvList,
    ) -> u32 {
        let message = MessageToHost {
            cookie,
            channel: icbm::Channel::RENDEZVOUS,
            recipient: ScreenName::new(to).unwrap(),
            tlvs: others.with(icbm::tlv::RENDEZVOUS, block),
        };
        self.snac(
            Foodgroup::ICBM,
            icbm::subgroup::MESSAGE_TO_HOST,
            message.encode(),
        )
        .await
    }

    /// The next SNAC, which must be a message.
    pub(super) async fn expect_message(&mut self) -> MessageToClient {
        let snac = self
            .expect(Foodgroup::ICBM, icbm::subgroup::MESSAGE_TO_CLIENT)
            .await;
        assert_eq!(snac.request_id & 0x8000_0000, 0x8000_0000);
        MessageToClient::decode(&snac.body).unwrap()
    }
}

/// The block of a message.
pub(super) fn block(message: &MessageToClient) -> Message {
    Message::decode(message.tlvs.first(icbm::tlv::RENDEZVOUS).unwrap().clone()).unwrap()
}

/// Takes any certificate: these tests are about what comes after.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
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
