//! Bytes from memory to memory over one authenticated connection: a lane of rdv's, or bare quinn with settings of choice.
//!
//! The sender listens and prints its address, the receiver dials and prints what it took; both are this program again, with a
//! role. Either may stand in a network namespace of its own.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::{AckFrequencyConfig, Endpoint, EndpointConfig, MtuDiscoveryConfig, TokioRuntime};
use quinn::{TransportConfig, VarInt};
use rdv::transport::quic::{self, QuicSocket};
use rdv::transport::tls::{self, Deadlines};
use rdv::trust::Identity;
use rdv_proto::trust::Terms;
use rdv_proto::trust::{Answering, CodeWords, Context, Proposing, Randomness, Secret, Session};
use rdv_proto::wire::{rendezvous::Cookie, service, text::ScreenName};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;
use crate::process::Running;

/// The word by which this program knows that it is to play a role of this room.
pub const ROLE: &str = "--lane";
/// Bytes of one write.
const CHUNK: usize = 64 << 10;
/// Limit of each step before the bytes flow.
const DEADLINE: Duration = Duration::from_secs(20);
/// The protocol of bare quinn.
const ALPN: &[u8] = b"bench";

/// The words behind the program's name that make it send `bytes` to whoever dials `bind`. `way`: `tls` or `quic` (lanes of rdv's), or
/// `bare` and settings that differ from rdv's, like `bare:mtu=1452,gso=0`. Keys are made in `place` (see [`prepare`]).
fn sender_words(way: &str, bytes: u64, place: &Path, bind: SocketAddr) -> Vec<String> {
    words("send", way, bytes, place, bind)
}

/// The words that make it receive them from `from`.
fn receiver_words(way: &str, bytes: u64, place: &Path, from: SocketAddr) -> Vec<String> {
    words("receive", way, bytes, place, from)
}

fn words(side: &str, way: &str, bytes: u64, place: &Path, address: SocketAddr) -> Vec<String> {
    let (bytes, address) = (bytes.to_string(), address.to_string());
    let place = place.display().to_string();
    [ROLE, side, way, &bytes, &place, &address]
        .map(str::to_owned)
        .to_vec()
}

/// Makes what both ends of all ways need in `place`.
///
/// # Errors
/// If it cannot be written.
pub fn prepare(place: &Path) -> Result<(), Failure> {
    crate::plain::make_keys(place)?;
    for key in ["proposer.key", "answerer.key"] {
        Identity::load_or_make(&place.join(key))?;
    }
    Ok(())
}

/// Plays the role that the command line asks for; `false` if it asks for none.
///
/// # Errors
/// Whatever goes wrong on the way.
pub fn play_role() -> Result<bool, Failure> {
    let words: Vec<String> = std::env::args().skip_while(|word| word != ROLE).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [_, side, way, bytes, place, address] = words[..] else {
        return if words.is_empty() {
            Ok(false)
        } else {
            Err("unknown role".into())
        };
    };
    let end = End {
        way: Way::read(way)?,
        bytes: bytes.parse()?,
        place: Path::new(place),
        address: address.parse()?,
    };
    let mut runtime = match end.way.several_threads() {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    match side {
        "send" => runtime.block_on(end.send())?,
        "receive" => runtime.block_on(end.receive())?,
        _ => return Err("unknown side".into()),
    }
    Ok(true)
}

/// One run of a way between two processes: seconds from the dial to the last byte. `bind` is where the sender listens; `inside` makes
/// the commands run where each end stands, the sender's first.
///
/// # Errors
/// If one of them fails.
pub fn measure(
    way: &str,
    bytes: u64,
    place: &Path,
    bind: SocketAddr,
    inside: impl Fn(usize) -> Command,
) -> Result<f64, Failure> {
    let mut sender = inside(0);
    sender.args(sender_words(way, bytes, place, bind));
    let mut sender = Running::start(sender.stdout(Stdio::piped()))?;
    let mut line = String::new();
    let out = sender.child().stdout.take().ok_or("no pipe")?;
    BufReader::new(out).read_line(&mut line)?;
    let words = receiver_words(way, bytes, place, line.trim().parse()?);
    let receiver = inside(1).args(words).output()?;
    if !receiver.status.success() {
        let said = String::from_utf8_lossy(&receiver.stderr);
        return Err(format!("{way}: {said}").into());
    }
    // All bytes have arrived. Over a lossy road the sender may not hear that, and would wait for it.
    drop(sender);
    let said = String::from_utf8(receiver.stdout)?;
    let (_, wall) = said.trim().split_once(' ').ok_or("no figures")?;
    Ok(wall.parse()?)
}

/// What carries the bytes.
enum Way {
    Tls,
    Quic,
    Bare(Settings),
}

/// Of bare quinn, where they differ from rdv's.
struct Settings(HashMap<String, String>);

impl Settings {
    fn number(&self, name: &str, usual: u32) -> Result<u32, Failure> {
        Ok(match self.0.get(name) {
            Some(value) => value.parse()?,
            None => usual,
        })
    }
}

impl Way {
    fn read(text: &str) -> Result<Self, Failure> {
        let (way, settings) = text.split_once(':').unwrap_or((text, ""));
        let settings = settings.split(',').filter_map(|one| one.split_once('='));
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(match way {
            "tls" => Self::Tls,
            "quic" => Self::Quic,
            "bare" => Self::Bare(Settings(settings.collect())),
            _ => return Err(format!("no such way: {text}").into()),
        })
    }

    fn several_threads(&self) -> bool {
        matches!(self, Self::Bare(settings) if settings.0.contains_key("threads"))
    }
}

struct End<'a> {
    way: Way,
    bytes: u64,
    place: &'a Path,
    address: SocketAddr,
}

impl End<'_> {
    async fn send(&self) -> Result<(), Failure> {
        let say = |address: SocketAddr| println!("{address}");
        match &self.way {
            Way::Tls => {
                let (identity, session) = self.proposer()?;
                let listener = TcpListener::bind(self.address).await?;
                say(listener.local_addr()?);
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                let deadlines = Deadlines::default();
                let lane = tls::secure(stream, &session, &identity, false, 0, deadlines).await?;
                self.pour(lane).await
            }
            Way::Quic => {
                let (identity, session) = self.proposer()?;
                let (socket, _datagrams) = QuicSocket::new(UdpSocket::bind(self.address)?)?;
                say(socket.local_addr()?);
                let incoming = socket.incoming().await.ok_or("closed")?;
                let accepted = quic::accept(incoming, &session, &identity, DEADLINE).await?;
                self.pour(quic::bind(accepted, &session, 0, false, DEADLINE).await?)
                    .await
            }
            Way::Bare(settings) => {
                let config = bare_server(self.place, settings)?;
                let endpoint = bare_endpoint(self.address, Some(config), settings)?;
                say(endpoint.local_addr()?);
                let connection = endpoint.accept().await.ok_or("closed")?.await?;
                let (mut send, mut receive) = connection.accept_bi().await?;
                receive.read_exact(&mut [0; 32]).await?;
                send.write_all(&[0; 32]).await?;
                self.pour(&mut send).await?;
                // `shutdown` of quinn's does not wait.
                let _ = send.stopped().await;
                Ok(())
            }
        }
    }

    async fn receive(&self) -> Result<(), Failure> {
        let (identity, session) = self.answerer()?;
        let start = Instant::now();
        match &self.way {
            Way::Tls => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                let deadlines = Deadlines::default();
                let lane = tls::secure(stream, &session, &identity, true, 0, deadlines).await?;
                self.drain(start, lane).await
            }
            Way::Quic => {
                let any = (unspecified(self.address), 0);
                let (socket, _datagrams) = QuicSocket::new(UdpSocket::bind(any)?)?;
                let dialled = quic::dial(&socket, self.address, &session, &identity, DEADLINE);
                let lane = quic::bind(dialled.await?, &session, 0, true, DEADLINE).await?;
                self.drain(start, lane).await
            }
            Way::Bare(settings) => {
                let any = (unspecified(self.address), 0).into();
                let endpoint = bare_endpoint(any, None, settings)?;
                let config = bare_client(self.place, settings)?;
                let connecting = endpoint.connect_with(config, self.address, "localhost")?;
                let connection = connecting.await?;
                let (mut send, mut receive) = connection.open_bi().await?;
                send.write_all(&[0; 32]).await?;
                receive.read_exact(&mut [0; 32]).await?;
                self.drain(start, receive).await
            }
        }
    }

    async fn pour(&self, mut lane: impl AsyncWrite + Unpin) -> Result<(), Failure> {
        let chunk = vec![7; CHUNK];
        let mut left = self.bytes;
        while left > 0 {
            let now = left.min(CHUNK as u64);
            lane.write_all(&chunk[..now as usize]).await?;
            left -= now;
        }
        lane.shutdown().await?;
        Ok(())
    }

    /// Prints the seconds to the first byte of the stream's own and to the last one.
    async fn drain(&self, start: Instant, mut lane: impl AsyncRead + Unpin) -> Result<(), Failure> {
        let up = start.elapsed();
        let (mut chunk, mut got) = (vec![0; CHUNK], 0);
        loop {
            match lane.read(&mut chunk).await? {
                0 => break,
                count => got += count as u64,
            }
        }
        if got != self.bytes {
            return Err(format!("{got} bytes arrived").into());
        }
        println!("{} {}", up.as_secs_f64(), start.elapsed().as_secs_f64());
        Ok(())
    }

    fn proposer(&self) -> Result<(Identity, Session), Failure> {
        let (proposer, answerer) = self.identities()?;
        let (session, _) = sessions(&proposer, &answerer)?;
        Ok((proposer, session))
    }

    fn answerer(&self) -> Result<(Identity, Session), Failure> {
        let (proposer, answerer) = self.identities()?;
        let (_, session) = sessions(&proposer, &answerer)?;
        Ok((answerer, session))
    }

    fn identities(&self) -> Result<(Identity, Identity), Failure> {
        let load = |name| Identity::load_or_make(&self.place.join(name));
        Ok((load("proposer.key")?, load("answerer.key")?))
    }
}

fn unspecified(like: SocketAddr) -> std::net::IpAddr {
    match like {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The sessions that both ends of a conversation would hold, the same in each process.
fn sessions(p: &Identity, a: &Identity) -> Result<(Session, Session), Failure> {
    fn terms(block: &[u8]) -> Terms<'_> {
        Terms {
            request_secure: true,
            min: Some(1),
            max: Some(1),
            block,
        }
    }
    let secret = Secret::Code(CodeWords::new(["otter", "lamp", "verse"])?);
    let context = Context {
        proposer: ScreenName::new("guestabcdefghij")?,
        answerer: ScreenName::new("7")?,
        cookie: Cookie([7; 8]),
        service: service::NATIVE,
    };
    let randomness = |seed| Randomness {
        pake: [seed; 64],
        ephemeral: [seed; 32],
        nonce: [seed; 16],
    };
    let (proposing, p1) =
        Proposing::start(context.clone(), secret.clone(), p.key_hash, randomness(1));
    let p1 = p1.encode();
    let answering = Answering::start(context, secret, a.key_hash, randomness(2), terms(&p1))?;
    let (c2, answerer) = answering.finish(terms(&p1), Some(1), Some(1), None);
    let proposer = proposing.finish(terms(&p1), terms(&c2.encode()))?;
    Ok((proposer, answerer))
}

fn bare_endpoint(
    bind: SocketAddr,
    server: Option<quinn::ServerConfig>,
    settings: &Settings,
) -> Result<Endpoint, Failure> {
    let socket = UdpSocket::bind(bind)?;
    let buffer = settings.number("socket", 4 << 10)? as usize;
    if buffer > 0 {
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, buffer << 10)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, buffer << 10)?;
    }
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(u16::try_from(settings.number("mtu", 6_500)?.max(1_472))?)?;
    Ok(Endpoint::new(
        config,
        server,
        socket,
        Arc::new(TokioRuntime),
    )?)
}

fn transport(settings: &Settings) -> Result<Arc<TransportConfig>, Failure> {
    let mut config = TransportConfig::default();
    let window = settings.number("window", 16 << 10)?;
    if window > 0 {
        config
            .stream_receive_window(VarInt::from_u32(window << 10))
            .receive_window(VarInt::from_u32(window << 10))
            .send_window(u64::from(window) << 10);
    }
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(u16::try_from(settings.number("mtu", 6_500)?)?);
    config.mtu_discovery_config(Some(mtu));
    config.enable_segmentation_offload(settings.number("gso", 1)? == 1);
    if settings.0.get("cc").is_some_and(|name| name == "cubic") {
        config.congestion_controller_factory(Arc::new(CubicConfig::default()));
    } else {
        config.congestion_controller_factory(Arc::new(BbrConfig::default()));
    }
    let acks = settings.number("acks", 0)?;
    if acks > 0 {
        let mut frequency = AckFrequencyConfig::default();
        frequency.ack_eliciting_threshold(VarInt::from_u32(acks));
        config.ack_frequency_config(Some(frequency));
    }
    config.initial_rtt(Duration::from_millis(100));
    Ok(Arc::new(config))
}

fn bare_server(place: &Path, settings: &Settings) -> Result<quinn::ServerConfig, Failure> {
    let certificate = CertificateDer::from(fs::read(place.join("keys.crt"))?);
    let key = PrivateKeyDer::from_pem_file(place.join("keys.key"))?;
    let mut tls = ServerConfig::builder_with_provider(ring())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![ALPN.into()];
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport(settings)?);
    Ok(config)
}

fn bare_client(place: &Path, settings: &Settings) -> Result<quinn::ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(fs::read(place.join("keys.crt"))?))?;
    let mut tls = ClientConfig::builder_with_provider(ring())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.into()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(transport(settings)?);
    Ok(config)
}

/// ring, with AES-128-GCM first as rdv has it.
fn ring() -> Arc<rustls::crypto::CryptoProvider> {
    use rustls::crypto::ring::{cipher_suite::TLS13_AES_128_GCM_SHA256, default_provider};
    Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
        ..default_provider()
    })
}
