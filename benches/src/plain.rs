//! The plain copies that rdv is measured against: one file over one connection between two processes, nothing checked.
//!
//! The sender listens and prints its port, the receiver dials; both are this program again, with a role.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::{Failure, scratch};

/// The word by which this program knows that it is to play a role.
pub const ROLE: &str = "--role";
/// The name in the certificate.
const SERVER: &str = "localhost";

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Nothing but TCP.
    Tcp,
    /// TLS 1.3 by rustls, ring's AES-128-GCM, the server's certificate checked.
    Tls,
}

impl Carrier {
    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// The words behind the program's name that make it send `file`. Certificate and key are `keys.crt` and `keys.key` in `place`.
#[must_use]
pub fn sender_words(
    carrier: Carrier,
    chunk_bytes: usize,
    place: &Path,
    file: &Path,
) -> Vec<String> {
    words("send", carrier, chunk_bytes, place, file)
}

/// The words that make it receive into `file`; the sender's port follows as one more.
#[must_use]
pub fn receiver_words(
    carrier: Carrier,
    chunk_bytes: usize,
    place: &Path,
    file: &Path,
    port: u16,
) -> Vec<String> {
    let mut words = words("receive", carrier, chunk_bytes, place, file);
    words.push(port.to_string());
    words
}

fn words(
    side: &str,
    carrier: Carrier,
    chunk_bytes: usize,
    place: &Path,
    file: &Path,
) -> Vec<String> {
    let [place, file] = [place, file].map(|path| path.display().to_string());
    [
        ROLE,
        side,
        carrier.word(),
        &chunk_bytes.to_string(),
        &place,
        &file,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Plays the role that the command line asks for; `false` if it asks for none.
///
/// # Errors
/// Whatever goes wrong in the copy.
pub fn play_role() -> Result<bool, Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(at) = words.iter().position(|word| word == ROLE) else {
        return Ok(false);
    };
    match words[at + 1..]
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()[..]
    {
        ["send", carrier, chunk, place, file] => {
            send(
                carrier == "tls",
                chunk.parse()?,
                Path::new(place),
                Path::new(file),
            )?;
        }
        ["receive", carrier, chunk, place, file, port] => {
            receive(
                carrier == "tls",
                chunk.parse()?,
                Path::new(place),
                Path::new(file),
                port.parse()?,
            )?;
        }
        _ => return Err("unknown role".into()),
    }
    Ok(true)
}

/// Makes the key and the certificate of the TLS sender in `place`.
///
/// # Errors
/// If they cannot be made or written.
pub fn make_keys(place: &Path) -> Result<(), Failure> {
    let made = rcgen::generate_simple_self_signed([SERVER.to_owned()])?;
    scratch::write(&place.join("keys.crt"), made.cert.der())?;
    scratch::write(
        &place.join("keys.key"),
        made.signing_key.serialize_pem().as_bytes(),
    )?;
    Ok(())
}

fn send(tls: bool, chunk_bytes: usize, place: &Path, file: &Path) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut file = File::open(file)?;
    if !tls {
        let mut stream = stream;
        copy(&mut file, &mut stream, chunk_bytes)?;
        stream.shutdown(Shutdown::Write)?;
        return Ok(());
    }
    let certificate = CertificateDer::from(std::fs::read(place.join("keys.crt"))?);
    let key = PrivateKeyDer::from_pem_file(place.join("keys.key"))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config))?, stream);
    copy(&mut file, &mut stream, chunk_bytes)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    stream.sock.shutdown(Shutdown::Write)?;
    Ok(())
}

fn receive(
    tls: bool,
    chunk_bytes: usize,
    place: &Path,
    file: &Path,
    port: u16,
) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_nodelay(true)?;
    let mut file = File::create(file)?;
    if !tls {
        copy(&mut stream, &mut file, chunk_bytes)?;
        return Ok(());
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(place.join("keys.crt"))?))?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(SERVER)?;
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, stream);
    copy(&mut stream, &mut file, chunk_bytes)?;
    Ok(())
}

fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider {
        cipher_suites,
        ..default_provider()
    })
}

fn copy(from: &mut impl Read, to: &mut impl Write, chunk_bytes: usize) -> io::Result<()> {
    let mut chunk = vec![0; chunk_bytes];
    loop {
        match from.read(&mut chunk)? {
            0 => return to.flush(),
            length => to.write_all(&chunk[..length])?,
        }
    }
}
