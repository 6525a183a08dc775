//! Whom an address translator or firewall lets in: after we spoke to a server, the server answers from elsewhere (RFC 5780).

use std::net::{IpAddr, SocketAddr};

use rdv_proto::wire::stun::{CHANGE_ADDRESS, CHANGE_PORT, CHANGE_REQUEST, Class, Stun};
use tokio::net::UdpSocket;

use super::ask::{exchange, socket_for};
use crate::random;

/// Who may send to a UDP port of ours from which we spoke to somebody else (RFC 4787 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filtering {
    /// Anybody.
    EndpointIndependent,
    /// The same address from any port.
    AddressDependent,
    /// The same address from any port at least; perhaps anybody, which takes a server with two addresses to tell.
    AddressDependentOrLess,
    /// The very address and port that we spoke to, alone.
    AddressAndPortDependent,
    /// The server has one port only, or is not one of ours.
    NotTested,
    /// The server does not answer over UDP.
    NoUdp,
}

impl Filtering {
    /// A short name, the same in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint_independent",
            Self::AddressDependent => "address_dependent",
            Self::AddressDependentOrLess => "address_dependent_or_less",
            Self::AddressAndPortDependent => "address_and_port_dependent",
            Self::NotTested => "not_tested",
            Self::NoUdp => "no_udp",
        }
    }
}

/// What came of the wish for an answer from elsewhere.
enum Heard {
    Answer,
    Nothing,
    /// The server cannot do that.
    Refused,
}

/// Finds out who is let in, with the help of `server`. Takes 5 s at the most.
pub async fn filtering(server: SocketAddr, bind: Option<IpAddr>) -> Filtering {
    let Ok(socket) = socket_for(server, bind).await else {
        return Filtering::NoUdp;
    };
    let request = Stun::request(random::bytes());
    match exchange(&socket, server, &request).await {
        Ok((answer, ..)) if answer.other_address(server).is_none() => return Filtering::NotTested,
        Ok(_) => {}
        Err(_) => return Filtering::NoUdp,
    }
    let from_elsewhere = ask(&socket, server, CHANGE_ADDRESS | CHANGE_PORT).await;
    if let Heard::Answer = from_elsewhere {
        return Filtering::EndpointIndependent;
    }
    match (from_elsewhere, ask(&socket, server, CHANGE_PORT).await) {
        (Heard::Nothing, Heard::Answer) => Filtering::AddressDependent,
        (_, Heard::Answer) => Filtering::AddressDependentOrLess,
        (_, Heard::Nothing) => Filtering::AddressAndPortDependent,
        (_, Heard::Refused) => Filtering::NotTested,
    }
}

async fn ask(socket: &UdpSocket, server: SocketAddr, flags: u32) -> Heard {
    let request = Stun::request(random::bytes()).with(CHANGE_REQUEST, flags.to_be_bytes().to_vec());
    match exchange(socket, server, &request).await {
        Ok((answer, from, _)) if answer.class == Class::Success && from != server => Heard::Answer,
        Ok(_) => Heard::Refused,
        Err(_) => Heard::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use rdv_proto::limits;

    use super::*;

    /// A server that has another port, and answers as the translator in front of us would let it.
    async fn server(lets: fn(u32) -> Heard) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut received = [0; limits::STUN_MESSAGE];
            loop {
                let (length, from) = socket.recv_from(&mut received).await.unwrap();
                let request = Stun::decode(&received[..length]).unwrap();
                let flags = request.attribute(CHANGE_REQUEST);
                let flags = flags.map(|flags| u32::from_be_bytes(flags[..].try_into().unwrap()));
                let answer = |class| {
                    Stun::new(class, request.transaction)
                        .with_xor_mapped(from)
                        .with_other_address(other.local_addr().unwrap())
                        .encode()
                };
                match flags.map(lets) {
                    None => socket.send_to(&answer(Class::Success), from).await.unwrap(),
                    Some(Heard::Answer) => {
                        other.send_to(&answer(Class::Success), from).await.unwrap()
                    }
                    Some(Heard::Refused) => {
                        socket.send_to(&answer(Class::Error), from).await.unwrap()
                    }
                    Some(Heard::Nothing) => 0,
                };
            }
        });
        address
    }

    #[tokio::test]
    async fn who_is_let_in_is_told_by_what_arrives() {
        type Manner = fn(u32) -> Heard;
        let cases: [(Manner, Filtering); 5] = [
            (|_| Heard::Answer, Filtering::EndpointIndependent),
            (
                |flags| match flags {
                    CHANGE_PORT => Heard::Answer,
                    _ => Heard::Nothing,
                },
                Filtering::AddressDependent,
            ),
            (
                |flags| match flags {
                    CHANGE_PORT => Heard::Answer,
                    _ => Heard::Refused,
                },
                Filtering::AddressDependentOrLess,
            ),
            (|_| Heard::Nothing, Filtering::AddressAndPortDependent),
            (|_| Heard::Refused, Filtering::NotTested),
        ];
        for (lets, expected) in cases {
            let server = server(lets).await;
            assert_eq!(filtering(server, None).await, expected);
        }
    }

    #[tokio::test]
    async fn without_a_server_nothing_is_told() {
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr();
        assert_eq!(filtering(closed.unwrap(), None).await, Filtering::NoUdp);
    }
}
