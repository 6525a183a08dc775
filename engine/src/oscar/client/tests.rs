//! The client against a scripted host behind real TLS on loopback.

use std::sync::Arc;

use rdv_proto::wire::flap::Frame;
use rdv_proto::wire::icbm::UserInfo;
use rdv_proto::wire::signon::{LoginErrorCode, LoginReply, RateReply, ServiceReply, UserList, tlv};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::tlv::TlvList;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server};

use rdv_proto::trust::Fingerprint;

use super::*;
use crate::transport::tls::{self, HostKeyStatus};

const LIMIT: Duration = Duration::from_secs(10);

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn acceptor() -> TlsAcceptor {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["host.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn connect_with(
    address: &str,
    trust: &HostTrust,
    limit: Duration,
) -> Result<Client, OscarError> {
    let sign_on = SignOn::Owner {
        expire: Duration::from_secs(60),
    };
    Client::connect(address, trust, sign_on, limit).await
}

async fn connect_to(address: &str) -> Result<Client, OscarError> {
    connect_with(address, &HostTrust::AcceptAny, LIMIT).await
}

/// The host's end of one connection.
struct Host {
    reader: FrameReader<ReadHalf<server::TlsStream<TcpStream>>>,
    stream: WriteHalf<server::TlsStream<TcpStream>>,
    sequence: u16,
}

impl Host {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let (reader, stream) = split(acceptor().accept(stream).await.unwrap());
        Self {
            reader: FrameReader::new(reader),
            stream,
            sequence: 0,
        }
    }

    /// Takes the burst without having said a word.
    async fn hear_burst(&mut self) -> Vec<Snac> {
        assert_eq!(self.hear().await.channel, Channel::SIGN_ON);
        let mut burst = Vec::new();
        while burst
            .last()
            .is_none_or(|snac: &Snac| !snac.is(Foodgroup::OSERVICE, 0x02))
        {
            burst.push(Snac::decode(self.hear().await.data).unwrap());
        }
        burst
    }

    async fn hear(&mut self) -> Frame {
        self.reader.next().await.unwrap()
    }

    fn frame(&mut self, channel: Channel, data: Bytes) -> Vec<u8> {
        let mut out = bytes::BytesMut::new();
        Frame {
            channel,
            sequence: self.sequence,
            data,
        }
        .encode(&mut out)
        .unwrap();
        self.sequence += 1;
        out.to_vec()
    }

    /// The answers to a burst, in one piece.
    fn answers(&mut self, login: TlvList) -> Vec<u8> {
        let seen = TlvList::new().with(tlv::SEEN_ADDRESS, "203.0.113.5 51234");
        let own = UserInfo {
            name: ScreenName::new("7").unwrap(),
            warning: 0,
            tlvs: seen,
        };
        let relay = TlvList::new()
            .with(tlv::ADDRESS, "[2001:db8::1]:5190")
            .with(tlv::COOKIE, "ticket");
        let oservice = |sub, id, body| Snac::new(Foodgroup::OSERVICE, sub, id, body);
        let snacs = [
            Snac::new(
                Foodgroup::BUCP,
                0x03,
                1,
                LoginReply { tlvs: login }.encode(),
            ),
            oservice(0x03, 0x8000_0000, Bytes::from_static(&[0, 1, 0, 2, 0, 4])),
            oservice(0x18, 2, Bytes::new()),
            oservice(0x07, 3, RateReply::default().encode()),
            oservice(0x0F, 5, UserList { users: vec![own] }.encode()),
            oservice(0x05, 6, ServiceReply { tlvs: relay }.encode()),
        ];
        let mut out = self.frame(Channel::SIGN_ON, Hello::new().encode());
        for snac in snacs {
            out.extend(self.frame(Channel::DATA, snac.encode()));
        }
        out
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }
}

fn number() -> TlvList {
    TlvList::new()
        .with(tlv::SCREEN_NAME, "7")
        .with(tlv::TOKEN, vec![5; 16])
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn signed_on() -> (Client, Host) {
    let (listener, address) = listen().await;
    let host = async {
        let mut host = Host::accept(&listener).await;
        host.hear_burst().await;
        let answers = host.answers(number());
        host.say(&answers).await;
        host
    };
    let (client, host) = tokio::join!(connect_to(&address), host);
    (client.unwrap(), host)
}

#[tokio::test]
async fn a_number_is_there_after_one_burst() {
    let (client, _host) = signed_on().await;
    assert_eq!(client.name().as_str(), "7");
    assert_eq!(client.token(), Some(&Token([5; 16])));
    assert_eq!(
        client.seen_address(),
        Some("203.0.113.5:51234".parse().unwrap())
    );
    assert!(client.host_is_local());
    let security = client.host_security();
    let unchecked = matches!(security, HostSecurity::Tls { status, .. } if matches!(status, HostKeyStatus::Unchecked));
    assert!(unchecked, "{security:?}");
    let relay = client.relay().await.unwrap().unwrap();
    assert_eq!(
        (relay.address.as_str(), relay.ticket),
        ("[2001:db8::1]:5190", Some(Bytes::from_static(b"ticket")))
    );
}

#[tokio::test]
async fn answers_may_come_byte_by_byte() {
    let (listener, address) = listen().await;
    let host = async {
        let mut host = Host::accept(&listener).await;
        // All answers may even be ahead of the questions.
        let answers = host.answers(number());
        for byte in answers {
            host.say(&[byte]).await;
        }
        host
    };
    let (client, _host) = tokio::join!(connect_to(&address), host);
    assert_eq!(client.unwrap().name().as_str(), "7");
}

#[tokio::test]
async fn closing_lets_the_last_message_out() {
    let (client, mut host) = signed_on().await;
    let signal = rdv_proto::wire::signal::Signal::client_error(
        rdv_proto::wire::rendezvous::Cookie(*b"TRYST001"),
        rdv_proto::wire::rendezvous::NakCode::DENIED,
    );
    client
        .send(ScreenName::new("bob").unwrap(), signal.encode(), false)
        .await
        .unwrap();
    let heard = async {
        let heard = [host.hear().await.channel, host.hear().await.channel];
        (heard, host.reader.next().await.is_err())
    };
    let ((), (heard, ended)) = tokio::join!(client.close(), heard);
    assert_eq!(heard, [Channel::DATA, Channel::SIGN_OFF]);
    assert!(ended);
    let body = signal.encode();
    let late = client
        .send(ScreenName::new("bob").unwrap(), body, false)
        .await;
    assert!(matches!(late, Err(SignalingError::Closed)), "{late:?}");
    assert!(matches!(client.recv().await, Err(SignalingError::Closed)));
    client.close().await;
}

#[tokio::test]
async fn a_lost_connection_is_told_to_everybody() {
    let (client, host) = signed_on().await;
    drop(host);
    assert!(matches!(client.recv().await, Err(SignalingError::Closed)));
    assert!(client.commands.is_closed());
}

#[tokio::test]
async fn a_refusal_keeps_its_reason() {
    let (listener, address) = listen().await;
    let host = async {
        let mut host = Host::accept(&listener).await;
        let refusal = TlvList::new().with_u16(tlv::ERROR_CODE, LoginErrorCode::UNAVAILABLE.0);
        let answers = host.answers(refusal);
        host.say(&answers).await;
        host
    };
    let (refused, _host) = tokio::join!(connect_to(&address), host);
    let refused = refused.unwrap_err();
    assert!(
        matches!(
            refused,
            OscarError::Refused {
                code: LoginErrorCode::UNAVAILABLE
            }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn each_step_fails_with_its_own_error() {
    let (listener, address) = listen().await;
    drop(listener);
    let refused = connect_to(&address).await.unwrap_err();
    assert!(
        matches!(refused, OscarError::Unreachable { .. }),
        "{refused:?}"
    );

    let (listener, address) = listen().await;
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH").await.unwrap();
        stream
    };
    let (no_tls, _) = tokio::join!(connect_to(&address), plain);
    let no_tls = no_tls.unwrap_err();
    assert!(matches!(no_tls, OscarError::TlsFailed { .. }), "{no_tls:?}");

    let (listener, address) = listen().await;
    let pinned = HostTrust::Pinned(Fingerprint::of(&[7; 32]));
    let other_key = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor().accept(stream).await.is_err()
    };
    let (changed, _) = tokio::join!(connect_with(&address, &pinned, LIMIT), other_key);
    let changed = changed.unwrap_err();
    let wrong_key = matches!(
        changed,
        OscarError::TlsFailed {
            source: tls::HostTlsError::Key(_),
            ..
        }
    );
    assert!(wrong_key, "{changed:?}");

    let (listener, address) = listen().await;
    let http = async {
        let mut host = Host::accept(&listener).await;
        host.say(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        host
    };
    let (foreign, _) = tokio::join!(connect_to(&address), http);
    let foreign = foreign.unwrap_err();
    assert!(matches!(foreign, OscarError::Protocol(_)), "{foreign:?}");

    let (listener, address) = listen().await;
    let (closed, ()) = tokio::join!(connect_to(&address), async {
        drop(Host::accept(&listener).await)
    });
    let closed = closed.unwrap_err();
    assert!(matches!(closed, OscarError::Closed(_)), "{closed:?}");

    let (_listener, address) = listen().await;
    let silent = connect_with(&address, &HostTrust::AcceptAny, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(silent, OscarError::Timeout), "{silent:?}");
}
