//! Foodgroup 0x0004: what the sender alone can be told about a message. The rest is up to its recipient.

use bytes::Bytes;

use super::duties::{BustedBlock, carry};
use super::excess::Excess;
use super::output::{Outbound, Output, Refusal, Rendezvous};
use super::server::Session;
use crate::wire::icbm::{
    Channel, ClientError, ClientEvent, HostAck, MessageToClient, MessageToHost, subgroup,
    tlv as icbm_tlv,
};
use crate::wire::signon::IcbmParameters;
use crate::wire::snac::{ERROR, ErrorCode, Foodgroup, HOST_REQUEST, Snac, SnacError};

/// Bytes of a message besides its payload, and of what is said with a refusal: the recipient's own limit is not about them.
const BESIDES_MAX: usize = 2_048;

/// The parameters of a client that has not said otherwise: 8,000 bytes, so that a proposal with many addresses fits.
pub const DEFAULT_PARAMETERS: IcbmParameters = IcbmParameters {
    channel: 5,
    flags: 3,
    incoming_max: 8_000,
    source_warning_max: 999,
    destination_warning_max: 999,
    interval_min_ms: 0,
    trailing: Bytes::new(),
};

impl Session {
    /// Answer to [`Output::Deliver`]: the message is in the recipient's queue.
    pub fn delivered(&mut self, outbound: &Outbound) {
        if !outbound.ack {
            return;
        }
        let ack = HostAck {
            cookie: outbound.message.cookie,
            channel: outbound.message.channel,
            recipient: outbound.message.recipient.clone(),
            trailing: Bytes::new(),
        };
        let id = outbound.request_id;
        self.send_snac(Foodgroup::ICBM, subgroup::HOST_ACK, id, ack.encode());
    }

    /// Answer to [`Output::Deliver`]: it is not.
    pub fn undelivered(&mut self, outbound: &Outbound, refusal: Refusal) {
        let mut error = SnacError::new(refusal.code);
        if let Some(sub_code) = refusal.sub_code {
            error.tlvs = error.tlvs.with_u16(icbm_tlv::ERROR_SUB_CODE, sub_code);
        }
        let id = outbound.request_id;
        self.send_snac(Foodgroup::ICBM, ERROR, id, error.encode());
    }

    /// Answer to [`Output::Stored`]: one message that was stored.
    pub fn stored(&mut self, message: &MessageToClient) {
        let body = message.encode();
        let subgroup = subgroup::MESSAGE_TO_CLIENT;
        self.send_snac(Foodgroup::ICBM, subgroup, HOST_REQUEST, body);
    }

    /// Answer to [`Output::Stored`]: there are no more.
    pub fn stored_all(&mut self, request_id: u32) {
        let done = subgroup::OFFLINE_DONE;
        self.send_snac(Foodgroup::ICBM, done, request_id, Bytes::new());
    }

    pub(super) fn icbm(&mut self, snac: &Snac) {
        let id = snac.request_id;
        match snac.subgroup {
            subgroup::SET_PARAMETERS => match IcbmParameters::decode(&snac.body) {
                Ok(parameters) => self.push(Output::Parameters(parameters)),
                Err(error) => self.busted(snac, error),
            },
            subgroup::RESET_PARAMETERS => self.push(Output::Parameters(DEFAULT_PARAMETERS)),
            subgroup::PARAMETER_QUERY => {
                let body = DEFAULT_PARAMETERS.encode();
                self.send_snac(snac.foodgroup, subgroup::PARAMETER_REPLY, id, body);
            }
            subgroup::MESSAGE_TO_HOST => match MessageToHost::decode(&snac.body) {
                Ok(message) => {
                    if let Err(code) = self.message(id, message) {
                        self.send_error(snac.foodgroup, id, code);
                    }
                }
                Err(error) => self.busted(snac, error),
            },
            subgroup::CLIENT_ERROR => match ClientError::decode(&snac.body) {
                Ok(error) if error.info.len() > BESIDES_MAX => self.too_long(snac),
                // Guests have nothing but rendezvous.
                Ok(error) if self.is_guest() && error.channel != Channel::RENDEZVOUS => {}
                Ok(error) => self.push(Output::PassOn(error)),
                Err(error) => self.busted(snac, error),
            },
            // Guests do not write to each other.
            subgroup::CLIENT_EVENT if self.is_guest() => {}
            subgroup::CLIENT_EVENT => match ClientEvent::decode(&snac.body) {
                Ok(event) => self.push(Output::Event(event)),
                Err(error) => self.busted(snac, error),
            },
            subgroup::WARN if !self.is_guest() => {
                self.send_error(snac.foodgroup, id, ErrorCode::REQUEST_DENIED);
            }
            subgroup::OFFLINE_RETRIEVE if !self.is_guest() => {
                self.push(Output::Stored { request_id: id });
            }
            _ => self.send_invalid(snac),
        }
    }

    fn message(&mut self, request_id: u32, mut message: MessageToHost) -> Result<(), ErrorCode> {
        let rendezvous = match message.channel {
            Channel::RENDEZVOUS => Some(self.carry_block(&mut message)?),
            Channel(0) => return Err(ErrorCode::BUSTED_PAYLOAD),
            Channel::TEXT | Channel::ICQ if !self.is_guest() => None,
            _ => return Err(ErrorCode::NOT_SUPPORTED_BY_HOST),
        };
        let payload = [icbm_tlv::MESSAGE, icbm_tlv::RENDEZVOUS];
        let besides = message
            .tlvs
            .0
            .iter()
            .filter(|tlv| !payload.contains(&tlv.tag));
        if besides.map(|tlv| 4 + tlv.value.len()).sum::<usize>() > BESIDES_MAX {
            self.note(Excess::Field);
            return Err(ErrorCode::BUSTED_PAYLOAD);
        }
        let ack = message.tlvs.remove_all(icbm_tlv::REQUEST_HOST_ACK) > 0;
        let store = message.tlvs.remove_all(icbm_tlv::STORE) > 0;
        for host_only in [icbm_tlv::WANTS_EVENTS, icbm_tlv::SENT_TIME] {
            if !self.is_guest() {
                message.tlvs.remove_all(host_only);
            }
        }
        self.push(Output::Deliver(Outbound {
            request_id,
            ack,
            store,
            rendezvous,
            message,
        }));
        Ok(())
    }

    /// Puts the block in that goes on in place of the one that came.
    fn carry_block(&mut self, message: &mut MessageToHost) -> Result<Rendezvous, ErrorCode> {
        // A second block would go past the host's eyes.
        let blocks: Vec<Bytes> = message.tlvs.all(icbm_tlv::RENDEZVOUS).cloned().collect();
        let [block] = &blocks[..] else {
            return Err(ErrorCode::BUSTED_PAYLOAD);
        };
        let carried = carry(block, message.cookie, self.peer_v4()).map_err(|error| {
            if let BustedBlock::Malformed(error) = error {
                self.excess = Excess::of(error);
            }
            ErrorCode::BUSTED_PAYLOAD
        })?;
        for tlv in &mut message.tlvs.0 {
            if tlv.tag == icbm_tlv::RENDEZVOUS {
                tlv.value = carried.block.clone();
            }
        }
        Ok(Rendezvous {
            kind: carried.kind,
            sequence: carried.sequence,
            service: carried.service,
            required: carried.host_check,
        })
    }
}
