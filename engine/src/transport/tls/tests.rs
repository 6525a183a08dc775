//! Two peers, and everybody else who might be at the other end of a connection.

use rdv_proto::{
    trust::{Answering, CodeWords, Context, Proposing, Randomness, Secret, Terms},
    wire::{rendezvous::Cookie, security::ALPN_TCP, service, text::ScreenName},
};
use rustls::{
    ClientConfig, ServerConfig,
    crypto::ring,
    pki_types::PrivateKeyDer,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{DuplexStream, duplex},
    join,
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::*;

/// A connected pair over the loopback interface.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dialled, accepted) = join!(
        TcpStream::connect(listener.local_addr().unwrap()),
        listener.accept()
    );
    (dialled.unwrap(), accepted.unwrap().0)
}

/// The sessions of two ends after a real handshake.
pub(crate) struct Peers {
    pub(crate) proposer: (Identity, Session),
    pub(crate) answerer: (Identity, Session),
}

impl Peers {
    pub(crate) fn new(secret: Secret) -> Self {
        let identities = [(); 2].map(|()| Identity::generate().unwrap());
        let (p, a) = sessions(secret, &identities);
        let [proposer, answerer] = identities;
        Self {
            proposer: (proposer, p),
            answerer: (answerer, a),
        }
    }

    pub(crate) fn with_code() -> Self {
        Self::new(words("verse"))
    }

    /// The answerer dials, as it does in earnest.
    async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        dialled: S,
        accepted: S,
    ) -> (
        Result<TlsStream<S>, SecureError>,
        Result<TlsStream<S>, SecureError>,
    ) {
        join!(
            secure_as(&self.answerer, dialled, true),
            secure_as(&self.proposer, accepted, false)
        )
    }
}

pub(crate) fn words(last: &str) -> Secret {
    Secret::Code(CodeWords::new(["otter", "lamp", last]).unwrap())
}

pub(crate) fn sessions(secret: Secret, [p, a]: &[Identity; 2]) -> (Session, Session) {
    let context = Context {
        proposer: ScreenName::new("guestabcdefghij").unwrap(),
        answerer: ScreenName::new("7").unwrap(),
        cookie: Cookie([7; 8]),
        service: service::NATIVE,
    };
    let randomness = |seed| Randomness {
        pake: [seed; 64],
        ephemeral: [seed; 32],
        nonce: [seed; 16],
    };
    fn terms(block: &[u8]) -> Terms<'_> {
        Terms {
            request_secure: true,
            min: Some(1),
            max: Some(1),
            block,
        }
    }
    let (proposing, p1) =
        Proposing::start(context.clone(), secret.clone(), p.key_hash, randomness(1));
    let p1 = p1.encode();
    let answering =
        Answering::start(context, secret, a.key_hash, randomness(2), terms(&p1)).unwrap();
    let (c2, answerer) = answering.finish(terms(&p1), Some(1), Some(1), None);
    let proposer = proposing.finish(terms(&p1), terms(&c2.encode())).unwrap();
    (proposer, answerer)
}

async fn secure_as<S: AsyncRead + AsyncWrite + Unpin>(
    (identity, session): &(Identity, Session),
    stream: S,
    tls_client: bool,
) -> Result<TlsStream<S>, SecureError> {
    let deadlines = Deadlines::default();
    secure(stream, session, identity, tls_client, 0, deadlines).await
}

/// A client that speaks TLS with `config`, in place of the answerer.
async fn stranger(
    peers: &Peers,
    config: ClientConfig,
) -> (Result<(), io::Error>, Result<(), SecureError>) {
    let (dialled, accepted) = tcp().await;
    join!(
        async {
            let connector = TlsConnector::from(Arc::new(config));
            let mut stream = connector.connect(unnamed(), dialled).await?;
            stream.write_all(&[0; BIND_LEN]).await?;
            // Until the other side has made up its mind.
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        },
        async {
            let secured = secure_as(&peers.proposer, accepted, false).await;
            secured.map(drop)
        }
    )
}

pub(crate) fn no_certificate(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let verifier = HostKeyVerifier::new(None);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_TCP.into()];
    config
}

/// The certificate of one with the key of another.
fn impostor(certificate: &Identity, key: &Identity) -> Arc<SingleCertAndKey> {
    let key: PrivateKeyDer<'static> = key.key.clone_key();
    let key = ring::sign::any_supported_type(&key).unwrap();
    Arc::new(CertifiedKey::new(vec![certificate.cert.clone()], key).into())
}

#[tokio::test]
async fn the_right_keys_connect_and_exchange() {
    for secret in [words("verse"), Secret::None] {
        let peers = Peers::new(secret);
        for answerer_dials in [true, false] {
            let (one, two) = tcp().await;
            let (a, p) = join!(
                secure_as(&peers.answerer, one, answerer_dials),
                secure_as(&peers.proposer, two, !answerer_dials)
            );
            let (mut a, mut p) = (a.unwrap(), p.unwrap());
            let version = a.get_ref().1.protocol_version();
            assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));

            a.write_all(b"manifest").await.unwrap();
            a.flush().await.unwrap();
            let mut first = [0; 8];
            p.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"manifest", "nothing stands between BIND and it");
            p.write_all(b"yes").await.unwrap();
            p.shutdown().await.unwrap();
            let mut answer = Vec::new();
            a.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"yes");
        }
    }
}

#[tokio::test]
async fn s_02_a_stranger_at_the_other_end_fails_inside_the_handshake() {
    let mut peers = Peers::with_code();
    peers.answerer.0 = Identity::generate().unwrap();
    let (dialled, accepted) = tcp().await;
    let (a, p) = peers.connect(dialled, accepted).await;
    assert!(matches!(p, Err(SecureError::WrongKey)), "{p:?}");
    // The alert, or just a reset, if the alert was overtaken.
    assert!(
        matches!(a, Err(SecureError::Tls(_) | SecureError::Io(_))),
        "{a:?}"
    );

    let mut peers = Peers::with_code();
    peers.proposer.0 = Identity::generate().unwrap();
    let (dialled, accepted) = tcp().await;
    let (a, p) = peers.connect(dialled, accepted).await;
    assert!(matches!(a, Err(SecureError::WrongKey)), "{a:?}");
    assert!(matches!(p, Err(SecureError::Tls(_))), "{p:?}");
}

#[tokio::test]
async fn s_04_another_code_fails_at_bind() {
    let identities = [(); 2].map(|()| Identity::generate().unwrap());
    let (p, _) = sessions(words("verse"), &identities);
    let (_, a) = sessions(words("zoom"), &identities);
    let [proposer, answerer] = identities;
    let peers = Peers {
        proposer: (proposer, p),
        answerer: (answerer, a),
    };
    let (dialled, accepted) = tcp().await;
    let (a, p) = peers.connect(dialled, accepted).await;
    assert!(matches!(a, Err(SecureError::BindMismatch)), "{a:?}");
    assert!(matches!(p, Err(SecureError::BindMismatch)), "{p:?}");
}

#[tokio::test]
async fn another_lane_fails_at_bind() {
    let peers = Peers::with_code();
    let (dialled, accepted) = tcp().await;
    let (identity, session) = &peers.answerer;
    let (a, p) = join!(
        secure(dialled, session, identity, true, 1, Deadlines::default()),
        secure_as(&peers.proposer, accepted, false)
    );
    assert!(matches!(a, Err(SecureError::BindMismatch)), "{a:?}");
    assert!(matches!(p, Err(SecureError::BindMismatch)), "{p:?}");
}

#[tokio::test]
async fn s_02_whoever_ends_tls_in_the_middle_is_found_out() {
    let peers = Peers::with_code();
    let middle = Identity::generate().unwrap();
    let (a_dials, to_a) = tcp().await;
    let (to_p, p_accepts) = tcp().await;
    let as_server = async {
        let (identity, session) = (&middle, &peers.proposer.1);
        let deadlines = Deadlines::default();
        secure(to_a, session, identity, false, 0, deadlines).await
    };
    let as_client = async {
        let (identity, session) = (&middle, &peers.answerer.1);
        let deadlines = Deadlines::default();
        secure(to_p, session, identity, true, 0, deadlines).await
    };
    let (a, p, server, client) = join!(
        secure_as(&peers.answerer, a_dials, true),
        secure_as(&peers.proposer, p_accepts, false),
        as_server,
        as_client
    );
    assert!(matches!(a, Err(SecureError::WrongKey)), "{a:?}");
    assert!(matches!(p, Err(SecureError::WrongKey)), "{p:?}");
    assert!(server.is_err() && client.is_err());
}

/// Even with both private keys stolen, BIND tells one TLS connection from two.
#[tokio::test]
async fn s_02_binds_passed_on_between_two_connections_do_not_fit() {
    let peers = Peers::with_code();
    let (a_dials, to_a) = tcp().await;
    let (to_p, p_accepts) = tcp().await;
    let middle = async {
        let (p, a) = (&peers.proposer.0, &peers.answerer.0);
        let server = peer::server_config(p, a.key_hash, ALPN_TCP).unwrap();
        let client = peer::client_config(a, p.key_hash, ALPN_TCP).unwrap();
        let (mut to_a, mut to_p) = tokio::try_join!(
            TlsAcceptor::from(Arc::new(server)).accept(to_a),
            TlsConnector::from(Arc::new(client)).connect(unnamed(), to_p)
        )
        .unwrap();
        let _ = tokio::io::copy_bidirectional(&mut to_a, &mut to_p).await;
    };
    let (a, p, ()) = join!(
        async { secure_as(&peers.answerer, a_dials, true).await.map(drop) },
        async { secure_as(&peers.proposer, p_accepts, false).await.map(drop) },
        middle
    );
    assert!(matches!(a, Err(SecureError::BindMismatch)), "{a:?}");
    assert!(matches!(p, Err(SecureError::BindMismatch)), "{p:?}");
}

#[tokio::test]
async fn a_right_certificate_without_its_key_does_not_help() {
    let peers = Peers::with_code();
    let thief = Identity::generate().unwrap();

    let mut client = no_certificate(&[&TLS13]);
    client.client_auth_cert_resolver = impostor(&peers.answerer.0, &thief);
    let (_, refused) = stranger(&peers, client).await;
    assert!(
        matches!(&refused, Err(SecureError::Tls(error)) if error.to_string().contains("BadSignature")),
        "{refused:?}"
    );

    let mut server = peer::server_config(&thief, peers.answerer.0.key_hash, ALPN_TCP).unwrap();
    server.cert_resolver = impostor(&peers.proposer.0, &thief);
    let (dialled, accepted) = tcp().await;
    let (a, _) = join!(
        secure_as(&peers.answerer, dialled, true),
        TlsAcceptor::from(Arc::new(server)).accept(accepted)
    );
    assert!(
        matches!(&a, Err(SecureError::Tls(error)) if error.to_string().contains("BadSignature")),
        "{a:?}"
    );
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let peers = Peers::with_code();
    let (theirs, refused) = stranger(&peers, no_certificate(&[&TLS13])).await;
    assert!(
        matches!(
            refused,
            Err(SecureError::Tls(rustls::Error::NoCertificatesPresented))
        ),
        "{refused:?}"
    );
    assert!(theirs.is_err());
}

#[tokio::test]
async fn tls_1_2_is_refused_on_both_sides() {
    let peers = Peers::with_code();
    let (theirs, refused) = stranger(&peers, no_certificate(&[&TLS12])).await;
    assert!(
        matches!(
            refused,
            Err(SecureError::Tls(rustls::Error::PeerIncompatible(_)))
        ),
        "{refused:?}"
    );
    assert!(theirs.is_err());

    let old = Identity::generate().unwrap();
    let old = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![old.cert], old.key)
        .unwrap();
    let (dialled, accepted) = tcp().await;
    let (a, _) = join!(
        secure_as(&peers.answerer, dialled, true),
        TlsAcceptor::from(Arc::new(old)).accept(accepted)
    );
    assert!(matches!(a, Err(SecureError::Tls(_))), "{a:?}");
}

#[tokio::test]
async fn another_protocol_or_none_is_refused() {
    let peers = Peers::with_code();
    for alpn in [vec![], vec![b"h2".to_vec()]] {
        let (p, a) = (&peers.proposer.0, &peers.answerer.0);
        let mut config = peer::client_config(a, p.key_hash, ALPN_TCP).unwrap();
        config.alpn_protocols = alpn;
        let (_, refused) = stranger(&peers, config).await;
        assert!(
            matches!(
                refused,
                Err(SecureError::Tls(rustls::Error::NoApplicationProtocol))
            ),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn s_12_garbage_is_turned_away() {
    let peers = Peers::with_code();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"OFT2\x01\x00\x01\x01",
        &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
        &[0xff; 4096],
    ] {
        for as_client in [true, false] {
            let (mut noise, ours) = tcp().await;
            noise.write_all(garbage).await.unwrap();
            noise.shutdown().await.unwrap();
            let peer = [&peers.proposer, &peers.answerer][usize::from(as_client)];
            let refused = secure_as(peer, ours, as_client).await;
            assert!(
                matches!(refused, Err(SecureError::Tls(_) | SecureError::Io(_))),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_comes_before_bind_is_not_believed() {
    let peers = Peers::with_code();
    let (p, a) = (&peers.proposer.0, &peers.answerer.0);
    let config = peer::client_config(a, p.key_hash, ALPN_TCP).unwrap();
    let (_, refused) = stranger(&peers, config).await;
    assert!(
        matches!(refused, Err(SecureError::BindMismatch)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error() {
    let peers = Peers::with_code();
    let (dialled, accepted) = tcp().await;
    drop(dialled);
    let broken = secure_as(&peers.proposer, accepted, false).await;
    assert!(matches!(broken, Err(SecureError::Io(_))), "{broken:?}");
}

#[tokio::test(start_paused = true)]
async fn s_29_silence_ends_by_the_deadline() {
    let peers = Peers::with_code();
    for as_client in [true, false] {
        let (_silent, ours): (DuplexStream, _) = duplex(64 * 1024);
        let start = Instant::now();
        let peer = [&peers.proposer, &peers.answerer][usize::from(as_client)];
        let ended = secure_as(peer, ours, as_client).await;
        assert!(matches!(ended, Err(SecureError::HandshakeTimedOut)));
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }
}

#[tokio::test(start_paused = true)]
async fn s_29_a_bind_that_never_comes_ends_by_the_deadline() {
    let peers = Peers::with_code();
    let (dialled, accepted) = duplex(64 * 1024);
    let silent = async {
        let (p, a) = (&peers.proposer.0, &peers.answerer.0);
        let config = peer::client_config(a, p.key_hash, ALPN_TCP).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(unnamed(), dialled).await.unwrap();
        stream.write_all(&[0; BIND_LEN - 1]).await.unwrap();
        stream.flush().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let start = Instant::now();
    let (ended, ()) = join!(secure_as(&peers.proposer, accepted, false), silent);
    assert!(matches!(ended, Err(SecureError::BindTimedOut)), "{ended:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}
