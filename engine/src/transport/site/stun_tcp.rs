//! Asking host and relay over TCP how the world sees the listener's port, from that very port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rdv_proto::limits;
use rdv_proto::wire::stun::{Class, HEAD, Stun};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::sockets;
use super::stun::Answer;

/// To connect and get the answer.
const LIMIT: Duration = Duration::from_secs(3);
/// The server closes first: our port would rest for a minute if we did.
const GOODBYE: Duration = Duration::from_secs(1);

/// How `server` sees the port of the listener at `own`.
///
/// # Errors
/// What the system says, [`io::ErrorKind::TimedOut`] after 3 s, [`io::ErrorKind::InvalidData`] for an answer that is none.
pub(super) async fn ask(own: SocketAddr, server: SocketAddr) -> io::Result<Answer> {
    let (mut stream, mapped) = timeout(LIMIT, asked(own, server))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    tokio::spawn(async move {
        let _ = timeout(GOODBYE, stream.read(&mut [0])).await;
    });
    Ok(Answer { server, mapped })
}

async fn asked(own: SocketAddr, server: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let socket = sockets::bind_beside_listener(own)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut stream = socket.connect(server).await?;
    let request = Stun::request(crate::random::bytes());
    stream.write_all(&request.encode()).await?;
    let mut message = vec![0; HEAD];
    stream.read_exact(&mut message).await?;
    let [_, _, high, low, ..] = message[..] else {
        return Err(invalid());
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if HEAD + length > limits::STUN_MESSAGE {
        return Err(invalid());
    }
    message.resize(HEAD + length, 0);
    stream.read_exact(&mut message[HEAD..]).await?;
    let answer = Stun::decode(&message).map_err(|_| invalid())?;
    let mapped = answer
        .xor_mapped()
        .filter(|mapped| {
            answer.class == Class::Success
                && answer.transaction == request.transaction
                && mapped.is_ipv4() == server.is_ipv4()
        })
        .ok_or_else(invalid)?;
    Ok((stream, mapped))
}
