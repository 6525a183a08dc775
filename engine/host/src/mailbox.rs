//! How one sign-on is reached: its queue, and what its client said that it takes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdv_proto::session::DEFAULT_PARAMETERS;
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::icbm::{
    MessageToClient, MessageToHost, MissedCall, MissedReason, subgroup, tlv,
};
use rdv_proto::wire::signon::{IcbmParameters, tlv as signon_tlv};
use rdv_proto::wire::snac::{Foodgroup, HOST_REQUEST, Snac};
use rdv_proto::wire::tlv::TlvList;
use tokio::sync::Notify;

use crate::queue::Queue;

/// Sign-off reason: the account came in elsewhere.
pub(crate) const SIGNED_ON_ELSEWHERE: u16 = 1;
/// Flag of the ICBM parameters: tell me of messages that I missed.
const MISSED_CALLS: u32 = 0x002;
/// Flag of the ICBM parameters: tell me when the other one types.
const TYPING_EVENTS: u32 = 0x008;

/// What a connection gives away so that others reach it. Clones are the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    /// What is to be written to the client.
    pub(crate) queue: Queue,
    /// Wakes the connection up: its account has changed, which the client is to be told.
    pub(crate) news: Arc<Notify>,
    /// The client hangs at the length field of a sign-off.
    pub(crate) bare_sign_off: bool,
}

/// The same, with what the client wants to get.
#[derive(Debug)]
pub(crate) struct Recipient {
    mailbox: Mailbox,
    parameters: IcbmParameters,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is in the queue.
    Yes,
    /// It is longer than what the client takes, which it was told if it wants to know.
    TooLarge,
    /// The client is gone, or does not keep up.
    Lost,
}

impl Recipient {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self {
            mailbox,
            parameters: DEFAULT_PARAMETERS,
        }
    }

    pub(crate) fn set_parameters(&mut self, parameters: IcbmParameters) {
        self.parameters = parameters;
    }

    pub(crate) fn wants_typing_events(&self) -> bool {
        self.parameters.flags & TYPING_EVENTS != 0
    }

    /// Puts a SNAC in; false if the client is gone, or does not keep up.
    pub(crate) fn push(&self, foodgroup: Foodgroup, subgroup: u16, body: Bytes) -> bool {
        let snac = Snac::new(foodgroup, subgroup, HOST_REQUEST, body);
        self.mailbox.queue.push(Channel::DATA, snac.encode())
    }

    /// Puts a message in whose payload has `size` bytes, `body` being the whole of it.
    pub(crate) fn deliver(&self, message: &MessageToClient, size: usize, body: &Bytes) -> Taken {
        if size > usize::from(self.parameters.incoming_max) {
            if self.parameters.flags & MISSED_CALLS != 0 {
                let missed = MissedCall {
                    channel: message.channel,
                    sender: message.sender.clone(),
                    count: 1,
                    reason: MissedReason::TOO_LARGE,
                };
                self.push(Foodgroup::ICBM, subgroup::MISSED_CALLS, missed.encode());
            }
            return Taken::TooLarge;
        }
        match self.push(Foodgroup::ICBM, subgroup::MESSAGE_TO_CLIENT, body.clone()) {
            true => Taken::Yes,
            false => Taken::Lost,
        }
    }

    /// The connection is to tell the client about its own account.
    pub(crate) fn notify(&self) {
        self.mailbox.news.notify_one();
    }

    /// Ends the sign-on, TLV 0x0009 saying why if there is a word for it.
    pub(crate) fn dismiss(&self, reason: Option<u16>) {
        let queue = &self.mailbox.queue;
        if self.mailbox.bare_sign_off {
            queue.push_bare_sign_off();
        } else {
            let (mut tlvs, mut data) = (TlvList::new(), BytesMut::new());
            if let Some(reason) = reason {
                tlvs = tlvs.with_u16(signon_tlv::SIGN_OFF_REASON, reason);
            }
            tlvs.encode_rest(&mut data);
            queue.push(Channel::SIGN_OFF, data.freeze());
        }
        queue.close();
    }
}

/// Bytes of a message that its recipient's limit is about.
pub(crate) fn payload_size(message: &MessageToHost) -> usize {
    let payload = [tlv::MESSAGE, tlv::RENDEZVOUS]
        .into_iter()
        .flat_map(|tag| message.tlvs.all(tag));
    payload.map(Bytes::len).sum()
}
