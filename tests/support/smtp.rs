//! A small mail server on loopback that takes mail, or does what mail servers do instead: refuses, puts off, hangs up, says
//! nothing, wants TLS or a password. It speaks as much SMTP (RFC 5321) as that needs.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a mail that is taken.
const MAIL_MAX: usize = 64 * 1024;

/// How the server behaves. By default it takes everything.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// Its replies to recipients, one after the other; then it takes them.
    pub recipients: Vec<&'static str>,
    /// It hangs up when this command comes; empty: at once.
    pub hangs_up_at: Option<&'static str>,
    /// It never says a word.
    pub is_silent: bool,
    /// What it can do with TLS.
    pub tls: Tls,
    /// It wants this user and password before it takes anything.
    pub login: Option<(&'static str, &'static str)>,
}

/// What a server can do with TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Nothing.
    #[default]
    None,
    /// When it is asked (RFC 3207).
    StartTls,
    /// From the first byte (RFC 8314).
    AtOnce,
}

/// A mail that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Who it is from, as the envelope says.
    pub from: String,
    /// For whom.
    pub to: Vec<String>,
    /// Headers and text, lines ending in `\n`.
    pub text: String,
    /// It came over TLS.
    pub tls: bool,
    /// As whom its sender signed in.
    pub user: Option<String>,
}

impl Delivered {
    /// The code that is to be typed.
    ///
    /// # Panics
    /// If there is none.
    pub fn code(&self) -> String {
        let (_, after) = self
            .text
            .split_once("rdv account confirm ")
            .expect("a code");
        after.split_whitespace().next().expect("a code").to_owned()
    }
}

/// See the module. Dropped, it is gone.
#[derive(Debug)]
pub struct SmtpServer {
    address: SocketAddr,
    certificate: String,
    state: Arc<State>,
    delivered: mpsc::UnboundedReceiver<Delivered>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    manners: Manners,
    replies: Mutex<VecDeque<&'static str>>,
    commands: Mutex<Vec<String>>,
    delivered: mpsc::UnboundedSender<Delivered>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

#[expect(clippy::missing_panics_doc, reason = "a test that cannot go on fails")]
impl SmtpServer {
    /// Listens on 127.0.0.1.
    pub async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a port");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let made = made.expect("a certificate");
        let certificate = made.cert.pem();
        let acceptor = acceptor(made.cert.der().clone(), &made.signing_key);
        let (sender, delivered) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            replies: Mutex::new(manners.recipients.iter().copied().collect()),
            manners,
            commands: Mutex::default(),
            delivered: sender,
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (Arc::clone(&shared), acceptor.clone());
                // Who hangs up in the middle is no failure of the server.
                tokio::spawn(async move { state.serve(stream, acceptor).await.ok() });
            }
        });
        Self {
            address,
            certificate,
            state,
            delivered,
            task,
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate (PEM), for who is to trust it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// All commands that came, with what was said to be secret left away.
    pub fn commands(&self) -> Vec<String> {
        self.state.commands.lock().expect("no panic").clone()
    }

    /// The next mail.
    pub async fn next(&mut self) -> Delivered {
        let next = timeout(PATIENCE, self.delivered.recv()).await;
        next.expect("no mail came").expect("the server runs")
    }

    /// Whether there is a mail that nobody looked at.
    pub fn is_empty(&mut self) -> bool {
        self.delivered.is_empty()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(certificate: CertificateDer<'static>, key: &rcgen::KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}

/// One mail as it comes.
#[derive(Default)]
struct Envelope {
    from: String,
    to: Vec<String>,
    user: Option<String>,
}

impl State {
    async fn serve(&self, stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
        if self.manners.hangs_up_at == Some("") {
            return Ok(());
        }
        if self.manners.is_silent {
            std::future::pending::<()>().await;
        }
        let mut tls = self.manners.tls == Tls::AtOnce;
        let stream: Box<dyn Stream> = match tls {
            true => Box::new(acceptor.accept(stream).await?),
            false => Box::new(stream),
        };
        let mut stream = BufReader::new(stream);
        say(&mut stream, "220 mail.example ESMTP").await?;
        let mut envelope = Envelope::default();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            let verb = line
                .split([' ', ':'])
                .next()
                .unwrap_or_default()
                .to_uppercase();
            let noted = if verb == "AUTH" { "AUTH …" } else { line };
            self.commands
                .lock()
                .expect("no panic")
                .push(noted.to_owned());
            if self.manners.hangs_up_at == Some(&verb) {
                return Ok(());
            }
            match verb.as_str() {
                "EHLO" => self.greet(&mut stream, tls).await?,
                "STARTTLS" if self.manners.tls == Tls::StartTls && !tls => {
                    say(&mut stream, "220 go ahead").await?;
                    stream = BufReader::new(Box::new(acceptor.accept(stream.into_inner()).await?));
                    tls = true;
                    envelope = Envelope::default();
                }
                "AUTH" => {
                    let right = self.is_right(line);
                    envelope.user = right.then(|| self.manners.login.unwrap_or_default().0.into());
                    let reply = if right {
                        "235 2.7.0 welcome"
                    } else {
                        "535 5.7.8 wrong"
                    };
                    say(&mut stream, reply).await?;
                }
                "MAIL" if self.manners.login.is_some() && envelope.user.is_none() => {
                    say(&mut stream, "530 5.7.0 sign in first").await?;
                }
                "MAIL" => {
                    envelope.from = address_in(line);
                    envelope.to.clear();
                    say(&mut stream, "250 2.1.0 ok").await?;
                }
                "RCPT" => {
                    let reply = self.replies.lock().expect("no panic").pop_front();
                    let reply = reply.unwrap_or("250 2.1.5 ok");
                    if reply.starts_with('2') {
                        envelope.to.push(address_in(line));
                    }
                    say(&mut stream, reply).await?;
                }
                "DATA" if envelope.to.is_empty() => {
                    say(&mut stream, "503 5.5.1 no recipient").await?;
                }
                "DATA" => {
                    say(&mut stream, "354 go on").await?;
                    let text = read_text(&mut stream).await?;
                    let delivered = Delivered {
                        from: envelope.from.clone(),
                        to: std::mem::take(&mut envelope.to),
                        text,
                        tls,
                        user: envelope.user.clone(),
                    };
                    self.delivered.send(delivered).ok();
                    say(&mut stream, "250 2.0.0 taken").await?;
                }
                "QUIT" => return say(&mut stream, "221 2.0.0 bye").await,
                "NOOP" | "RSET" => say(&mut stream, "250 2.0.0 ok").await?,
                _ => say(&mut stream, "502 5.5.1 what?").await?,
            }
        }
    }

    async fn greet(
        &self,
        stream: &mut BufReader<Box<dyn Stream>>,
        tls: bool,
    ) -> std::io::Result<()> {
        if self.manners.tls == Tls::StartTls && !tls {
            say(stream, "250-STARTTLS").await?;
        }
        if self.manners.login.is_some() {
            say(stream, "250-AUTH PLAIN").await?;
        }
        say(stream, "250-8BITMIME").await?;
        say(stream, "250 mail.example").await
    }

    /// `AUTH PLAIN` with what RFC 4616 wants behind it.
    fn is_right(&self, line: &str) -> bool {
        let Some((user, password)) = self.manners.login else {
            return false;
        };
        let given = line.split_whitespace().nth(2).and_then(from_base64);
        given.as_deref() == Some(format!("\0{user}\0{password}").as_bytes())
    }
}

async fn say(stream: &mut BufReader<Box<dyn Stream>>, line: &str) -> std::io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    stream.flush().await
}

/// Up to the line that is a dot alone (RFC 5321, 4.5.2).
async fn read_text(stream: &mut BufReader<Box<dyn Stream>>) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || text.len() > MAIL_MAX {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if line == "." {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(line));
        text.push('\n');
    }
}

fn address_in(line: &str) -> String {
    let after = line.split_once('<').map_or("", |(_, after)| after);
    after
        .rsplit_once('>')
        .map_or("", |(address, _)| address)
        .to_owned()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|&one| one == byte)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).ok()?);
        }
    }
    Some(bytes)
}
