//! Where the host's other services are: one question each, answered with an address and what opens it.

use std::collections::VecDeque;

use bytes::Bytes;
use rdv_proto::wire::signon::{ServiceReply, ServiceRequest, tlv};
use rdv_proto::wire::snac::{ErrorCode, Foodgroup, Snac, SnacError};
use rdv_proto::wire::tlv::TlvList;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::{QUESTIONS, Session};
use crate::oscar::login::with_port;
use crate::oscar::sign_on::{is_address, oservice, oservice_snac};

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::oscar) struct ServiceAt {
    /// `HOST:PORT`, well formed.
    pub(in crate::oscar) address: String,
    /// What opens it, once and soon.
    pub(in crate::oscar) cookie: Bytes,
}

/// The host's word: where it is, or why not. Dropped if what it says makes no sense.
pub(in crate::oscar) type Answer = oneshot::Sender<Result<ServiceAt, ErrorCode>>;
/// By request id, oldest first.
pub(super) type Questions = VecDeque<(u32, Foodgroup, Answer)>;

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    /// 01/04.
    pub(super) fn ask_for_service(&mut self, foodgroup: Foodgroup, answer: Answer) {
        self.service_questions
            .retain(|(.., waiting)| !waiting.is_closed());
        if self.service_questions.len() == QUESTIONS {
            // Dropped: who asked is told that there is no answer.
            return;
        }
        let id = self.new_id();
        self.begin_write();
        let tlvs = TlvList::new().with(tlv::WANTS_TLS, Bytes::new());
        let body = ServiceRequest { foodgroup, tlvs }.encode();
        self.writer
            .queue_snac(&oservice_snac(oservice::SERVICE_REQUEST, id, body));
        self.service_questions.push_back((id, foodgroup, answer));
    }

    /// 01/05 or 01/01.
    pub(super) fn take_service(&mut self, snac: &Snac) {
        let mut questions = self.service_questions.iter();
        let at = questions.position(|(id, ..)| *id == snac.request_id);
        let asked = at.and_then(|at| self.service_questions.remove(at));
        if let Some((_, foodgroup, answer)) = asked
            && let Some(said) = service_in(snac, foodgroup)
        {
            // Whoever asked may have given up.
            let _ = answer.send(said);
        }
    }
}

/// What an answer says of the service that was asked for; none if it makes no sense.
fn service_in(snac: &Snac, asked: Foodgroup) -> Option<Result<ServiceAt, ErrorCode>> {
    if snac.subgroup != oservice::SERVICE_REPLY {
        let error = SnacError::decode(&snac.body).ok()?;
        return Some(Err(ErrorCode(error.code)));
    }
    let reply = ServiceReply::decode(&snac.body).ok()?;
    if reply.foodgroup().is_some_and(|named| named != asked) {
        return None;
    }
    let address = reply.address().map(with_port);
    let address = address.filter(|address| is_address(address))?;
    let cookie = reply.cookie().filter(|cookie| !cookie.is_empty())?.clone();
    Some(Ok(ServiceAt { address, cookie }))
}

#[cfg(test)]
mod tests {
    use rdv_proto::wire::signon::tlv;

    use super::*;

    fn reply(tlvs: TlvList) -> Snac {
        oservice_snac(oservice::SERVICE_REPLY, 7, ServiceReply { tlvs }.encode())
    }

    fn said(snac: &Snac) -> Option<Result<ServiceAt, ErrorCode>> {
        service_in(snac, Foodgroup::ADMIN)
    }

    #[test]
    fn an_address_without_a_port_is_at_the_port_of_old_hosts() {
        for (named, meant) in [
            ("192.0.2.1", "192.0.2.1:5190"),
            ("host.example:443", "host.example:443"),
        ] {
            let at = reply(
                TlvList::new()
                    .with_u16(tlv::SERVICE, 7)
                    .with(tlv::ADDRESS, named)
                    .with(tlv::COOKIE, "cookie"),
            );
            let at = said(&at).unwrap().unwrap();
            assert_eq!(at.address, meant);
            assert_eq!(at.cookie, "cookie");
        }
    }

    #[test]
    fn another_service_no_cookie_and_no_address_are_no_answer() {
        let whole = || {
            TlvList::new()
                .with(tlv::ADDRESS, "192.0.2.1:5190")
                .with(tlv::COOKIE, "cookie")
        };
        assert!(said(&reply(whole())).is_some(), "the host may leave it out");
        assert_eq!(said(&reply(whole().with_u16(tlv::SERVICE, 0x10))), None);
        let mut none = whole();
        none.remove_all(tlv::COOKIE);
        assert_eq!(said(&reply(none.clone())), None);
        assert_eq!(said(&reply(none.with(tlv::COOKIE, Bytes::new()))), None);
        let odd = TlvList::new().with(tlv::COOKIE, "cookie");
        for address in ["", ":5190", "host.example:0", "a b:1", "host.example:99999"] {
            let odd = odd.clone().with(tlv::ADDRESS, address);
            assert_eq!(said(&reply(odd)), None, "{address}");
        }
    }

    #[test]
    fn a_host_without_the_service_says_so_with_a_code() {
        let body = SnacError::new(ErrorCode::SERVICE_NOT_DEFINED).encode();
        let no = oservice_snac(rdv_proto::wire::snac::ERROR, 7, body);
        assert_eq!(said(&no), Some(Err(ErrorCode::SERVICE_NOT_DEFINED)));
    }
}
