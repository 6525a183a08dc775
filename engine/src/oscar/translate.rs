//! Between rendezvous signals and ICBM SNACs.

use bytes::{BufMut, Bytes, BytesMut};
use rdv_proto::limits;
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::icbm::{
    Channel, ClientError, ClientErrorCode, MessageToClient, MessageToHost, UserInfo, subgroup, tlv,
};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;

use crate::signaling::{Incoming, SignalingError};

/// First byte of a signal that is a rendezvous block.
const BLOCK: u8 = 0x06;

/// A message of ours, ready but for its request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) to: ScreenName,
    pub(super) cookie: Cookie,
    /// [`subgroup::MESSAGE_TO_HOST`] or [`subgroup::CLIENT_ERROR`].
    pub(super) subgroup: u16,
    body: Bytes,
}

impl Outgoing {
    /// # Errors
    /// [`SignalingError::NotASignal`], or [`SignalingError::TooLong`] above what we send in one frame.
    pub(super) fn new(
        to: ScreenName,
        signal: &Bytes,
        host_ack: bool,
    ) -> Result<Self, SignalingError> {
        let decoded = Signal::decode(signal.clone())?;
        let cookie = decoded.cookie();
        let channel = Channel::RENDEZVOUS;
        let (subgroup, body) = match decoded {
            Signal::Rendezvous(_) => {
                // The block as it came, not as we would have written it.
                let mut tlvs = TlvList::new().with(tlv::RENDEZVOUS, signal.slice(1..));
                if host_ack {
                    tlvs.push(tlv::REQUEST_HOST_ACK, Bytes::new());
                }
                let message = MessageToHost {
                    cookie,
                    channel,
                    recipient: to.clone(),
                    tlvs,
                };
                check_length(signal.len())?;
                (subgroup::MESSAGE_TO_HOST, message.encode())
            }
            Signal::ClientError { code, info, .. } => {
                let code = ClientErrorCode(code);
                let error = ClientError {
                    cookie,
                    channel,
                    name: to.clone(),
                    code,
                    info,
                };
                (subgroup::CLIENT_ERROR, error.encode())
            }
        };
        let outgoing = Self {
            to,
            cookie,
            subgroup,
            body,
        };
        check_length(outgoing.snac(0).encode().len())?;
        Ok(outgoing)
    }

    pub(super) fn snac(&self, request_id: u32) -> Snac {
        Snac::new(
            Foodgroup::ICBM,
            self.subgroup,
            request_id,
            self.body.clone(),
        )
    }
}

fn check_length(length: usize) -> Result<(), SignalingError> {
    let limit = limits::FLAP_PAYLOAD_SENT;
    if length > limit {
        Err(SignalingError::TooLong { length, limit })
    } else {
        Ok(())
    }
}

/// What an ICBM from the host says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) incoming: Incoming,
    /// What the host says about the sender.
    pub(super) sender: Option<UserInfo>,
}

/// The signal in an ICBM from the host; none if it is about something else or contradicts itself.
///
/// # Errors
/// What is malformed in the envelope.
pub(super) fn incoming(snac: &Snac) -> Result<Option<Heard>, DecodeError> {
    match snac.subgroup {
        subgroup::MESSAGE_TO_CLIENT => {
            let message = MessageToClient::decode(&snac.body)?;
            let block = message.tlvs.first(tlv::RENDEZVOUS);
            // The cookie stands in the envelope and in the block: `[kind: u16][cookie]...`
            let block = block.filter(|block| block.get(2..10) == Some(&message.cookie.0));
            let is_rendezvous = message.channel == Channel::RENDEZVOUS;
            Ok(block.filter(|_| is_rendezvous).map(|block| {
                let mut body = BytesMut::with_capacity(1 + block.len());
                body.put_u8(BLOCK);
                body.put_slice(block);
                Heard {
                    incoming: Incoming::Message {
                        from: message.sender.name.clone(),
                        body: body.freeze(),
                    },
                    sender: Some(message.sender),
                }
            }))
        }
        subgroup::CLIENT_ERROR => {
            let ClientError {
                cookie,
                channel,
                name,
                code,
                info,
            } = ClientError::decode(&snac.body)?;
            let body = Signal::ClientError {
                cookie,
                code: code.0,
                info,
            }
            .encode();
            let incoming = Incoming::Message { from: name, body };
            Ok((channel == Channel::RENDEZVOUS).then_some(Heard {
                incoming,
                sender: None,
            }))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use rdv_proto::wire::icbm::UserInfo;
    use rdv_proto::wire::rendezvous::{Message, NakCode, SequenceNumber};
    use rdv_proto::wire::service::NATIVE;

    use super::*;

    const COOKIE: Cookie = Cookie(*b"TRYST001");

    fn name(text: &str) -> ScreenName {
        ScreenName::new(text).unwrap()
    }

    fn proposal() -> Message {
        Message::propose(COOKIE, NATIVE, SequenceNumber::new(1).unwrap())
    }

    fn to_client(cookie: Cookie, channel: Channel, block: Bytes) -> Snac {
        let sender = UserInfo {
            name: name("Bob"),
            warning: 0,
            tlvs: TlvList::new(),
        };
        let tlvs = TlvList::new().with(tlv::RENDEZVOUS, block);
        let message = MessageToClient {
            cookie,
            channel,
            sender,
            tlvs,
        };
        Snac::new(
            Foodgroup::ICBM,
            subgroup::MESSAGE_TO_CLIENT,
            1,
            message.encode(),
        )
    }

    #[test]
    fn a_rendezvous_travels_in_tlv_5_of_channel_2() {
        let signal = Signal::Rendezvous(proposal()).encode();
        let sent = Outgoing::new(name("7"), &signal, true).unwrap();
        assert_eq!((sent.cookie, sent.subgroup), (COOKIE, 0x06));
        let message = MessageToHost::decode(&sent.snac(9).body).unwrap();
        assert_eq!(
            (message.channel, message.recipient),
            (Channel::RENDEZVOUS, name("7"))
        );
        assert_eq!(
            message.tlvs.first(tlv::RENDEZVOUS),
            Some(&proposal().encode())
        );
        assert!(message.tlvs.contains(tlv::REQUEST_HOST_ACK));
        let quiet = Outgoing::new(name("7"), &signal, false).unwrap();
        let message = MessageToHost::decode(&quiet.snac(9).body).unwrap();
        assert!(!message.tlvs.contains(tlv::REQUEST_HOST_ACK));

        let arrived = incoming(&to_client(COOKIE, Channel::RENDEZVOUS, proposal().encode()));
        assert_eq!(
            arrived.map(|heard| heard.map(|heard| heard.incoming)),
            Ok(Some(Incoming::Message {
                from: name("bob"),
                body: signal
            }))
        );
    }

    #[test]
    fn a_refusal_travels_as_a_client_error() {
        let signal = Signal::client_error(COOKIE, NakCode::SECURITY_MISMATCH).encode();
        let sent = Outgoing::new(name("bob"), &signal, false).unwrap();
        assert_eq!(sent.subgroup, 0x0B);
        let error = ClientError::decode(&sent.snac(1).body).unwrap();
        assert_eq!(
            error,
            ClientError::rendezvous(COOKIE, name("bob"), NakCode::SECURITY_MISMATCH)
        );
        let arrived = incoming(&sent.snac(1));
        assert_eq!(
            arrived.map(|heard| heard.map(|heard| heard.incoming)),
            Ok(Some(Incoming::Message {
                from: name("bob"),
                body: signal
            }))
        );
    }

    #[test]
    fn what_is_no_rendezvous_or_contradicts_itself_is_dropped() {
        let block = proposal().encode();
        let text = to_client(COOKIE, Channel::TEXT, block.clone());
        assert_eq!(incoming(&text), Ok(None));
        let other_cookie = to_client(Cookie(*b"TRYST002"), Channel::RENDEZVOUS, block);
        assert_eq!(incoming(&other_cookie), Ok(None));
        let short = to_client(
            COOKIE,
            Channel::RENDEZVOUS,
            Bytes::from_static(b"\0\0TRYST"),
        );
        assert_eq!(incoming(&short), Ok(None));
        let typing = Snac::new(Foodgroup::ICBM, 0x14, 1, Bytes::new());
        assert_eq!(incoming(&typing), Ok(None));
        let cut = Snac::new(
            Foodgroup::ICBM,
            subgroup::MESSAGE_TO_CLIENT,
            1,
            &b"TRYST001"[..],
        );
        assert!(incoming(&cut).is_err());
    }

    #[test]
    fn only_signals_that_fit_a_frame_are_taken() {
        let garbage = Outgoing::new(name("bob"), &Bytes::from_static(b"\x09"), false);
        assert!(matches!(garbage, Err(SignalingError::NotASignal(_))));
        let info = Bytes::from(vec![0; limits::FLAP_PAYLOAD_SENT]);
        let long = Signal::ClientError {
            cookie: COOKIE,
            code: 3,
            info,
        }
        .encode();
        let refused = Outgoing::new(name("bob"), &long, false);
        assert!(
            matches!(refused, Err(SignalingError::TooLong { limit: 8192, .. })),
            "{refused:?}"
        );
    }
}
