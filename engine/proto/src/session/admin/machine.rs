//! The steps of an ADMIN connection.

use bytes::Bytes;

use super::rules::{
    PasswordForm, check_email, check_format, check_old_password, check_password, check_registration,
};
use super::{AdminAnswer, AdminRequest, Change, FieldAnswer, Secret};
use crate::limits;
use crate::session::output::Output;
use crate::session::server::Session;
use crate::wire::admin::{
    AdminErrorCode, ConfirmReply, ConfirmStatus, DeleteReply, InfoReply, Permissions, ReplyBlock,
    overrun, subgroup, tag,
};
use crate::wire::error::DecodeError;
use crate::wire::signon::tlv;
use crate::wire::snac::{Foodgroup, Snac};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// What is asked for, until it is answered: each field, and why not, if that is known by looking at it.
#[derive(Debug, Default)]
pub(in crate::session) struct Asked(Vec<(u16, Option<AdminErrorCode>)>);

/// What cannot be done with a body as a whole.
enum Unreadable {
    /// Said in a reply, about that field.
    Bad(u16),
    /// Not even the tags can be read.
    Busted,
}

impl Session {
    /// Answer to [`Output::Admin`].
    pub fn admin(&mut self, request_id: u32, answer: AdminAnswer) {
        match answer {
            AdminAnswer::Info(answers) => self.tell_info(request_id, answers),
            AdminAnswer::Changed(answer) => {
                self.send_info(subgroup::INFO_CHANGE_REPLY, request_id, vec![answer]);
            }
            AdminAnswer::Confirm { status, code } => self.confirm(request_id, status, code),
            AdminAnswer::Deleted(deleted) => self.deleted(request_id, deleted),
        }
    }

    pub(in crate::session) fn admin_snac(&mut self, snac: &Snac) {
        let tlvs = match snac.subgroup {
            subgroup::INFO_QUERY
            | subgroup::INFO_CHANGE_REQUEST
            | subgroup::ACCT_CONFIRM_REQUEST
            | subgroup::ACCT_DELETE_REQUEST => read(&snac.body),
            _ => return self.send_invalid(snac),
        };
        match (snac.subgroup, tlvs) {
            (_, Err(Unreadable::Busted)) => self.send_busted(snac),
            (_, Err(Unreadable::Bad(tag))) => self.send_bad(snac, tag),
            (subgroup::INFO_QUERY, Ok(tlvs)) => self.query(snac, &tlvs),
            (subgroup::INFO_CHANGE_REQUEST, Ok(tlvs)) => self.change(snac, &tlvs),
            (subgroup::ACCT_CONFIRM_REQUEST, Ok(tlvs)) => {
                let code = tlvs.first(tlv::CONFIRM_CODE);
                let code = code.map(|code| Secret::new(code));
                self.request(snac, AdminRequest::Confirm { code });
            }
            (_, Ok(tlvs)) => {
                let Some((_, form)) = self.account() else {
                    return;
                };
                let password = tlvs.first(tag::OLD_PASSWORD).map(|value| &value[..]);
                let password = check_old_password(form, password);
                self.request(snac, AdminRequest::Delete { password });
            }
        }
    }

    fn query(&mut self, snac: &Snac, tlvs: &TlvList) {
        if tlvs.0.is_empty() {
            return self.send_busted(snac);
        }
        let mut asked: Vec<(u16, Option<AdminErrorCode>)> = Vec::new();
        for tlv in &tlvs.0 {
            if asked.iter().all(|&(tag, _)| tag != tlv.tag) {
                asked.push((tlv.tag, why_not_asked(tlv.tag)));
            }
        }
        let good = asked.iter().filter(|(_, refusal)| refusal.is_none());
        let good: Vec<u16> = good.map(|&(tag, _)| tag).collect();
        if let Some(member) = self.member_mut() {
            member.asked = Asked(asked);
        }
        match good.is_empty() {
            true => self.tell_info(snac.request_id, Vec::new()),
            false => self.request(snac, AdminRequest::Query(good)),
        }
    }

    /// Sends the answers, and the refusals that were known before, in the order of the question.
    fn tell_info(&mut self, request_id: u32, answers: Vec<FieldAnswer>) {
        let Some(member) = self.member_mut() else {
            return;
        };
        let asked = std::mem::take(&mut member.asked);
        let told = asked.0.into_iter().map(|(tag, refusal)| {
            let answer = answers.iter().find(|answer| answer.tag == tag);
            match (refusal, answer) {
                (Some(code), _) => FieldAnswer::refused(tag, usual(tag), code),
                (None, Some(answer)) => answer.clone(),
                (None, None) => {
                    FieldAnswer::refused(tag, usual(tag), AdminErrorCode::INTERNAL_ERROR)
                }
            }
        });
        let told = told.collect();
        self.send_info(subgroup::INFO_REPLY, request_id, told);
    }

    fn change(&mut self, snac: &Snac, tlvs: &TlvList) {
        let tags = || tlvs.0.iter().map(|tlv| tlv.tag);
        let refuse = |session: &mut Self, tag, code| {
            let answer = FieldAnswer::refused(tag, usual(tag), code);
            session.send_info(subgroup::INFO_CHANGE_REPLY, snac.request_id, vec![answer]);
        };
        let Some(first) = tags().next() else {
            return self.send_bad(snac, 0);
        };
        if let Some(unknown) = tags().find(|&tag| !is_field(tag)) {
            return refuse(self, unknown, AdminErrorCode::UNSUPPORTED_TYPE);
        }
        let Some((name, form)) = self.account() else {
            return;
        };
        let value = |tag| tlvs.first(tag).map(|value| &value[..]);
        let change = match (
            value(tag::FORMAT),
            value(tag::EMAIL),
            value(tag::REGISTRATION),
            value(tag::PASSWORD),
            value(tag::OLD_PASSWORD),
        ) {
            (Some(format), None, None, None, None) => Change::Format(check_format(&name, format)),
            (None, Some(email), None, None, None) => Change::Email(check_email(email)),
            (None, None, Some(status), None, None) => {
                Change::Registration(check_registration(status))
            }
            (None, None, None, Some(new), old) => Change::Password {
                old: check_old_password(form, old),
                new: check_password(form, &name, new),
            },
            // Two at once, or an old password for nothing.
            _ => return refuse(self, first, AdminErrorCode::BAD_SNAC),
        };
        self.request(snac, AdminRequest::Change(change));
    }

    fn confirm(&mut self, request_id: u32, status: ConfirmStatus, code: Option<AdminErrorCode>) {
        let mut tlvs = TlvList::new();
        if let Some(code) = code {
            tlvs = tlvs.with_u16(tag::ERROR_CODE, code.0);
        }
        tlvs.push(tag::ERROR_URL, self.config.error_url.clone());
        let reply = ConfirmReply { status, tlvs };
        let subgroup = subgroup::ACCT_CONFIRM_REPLY;
        self.send_snac(Foodgroup::ADMIN, subgroup, request_id, reply.encode());
    }

    fn deleted(&mut self, request_id: u32, deleted: Result<(), AdminErrorCode>) {
        let tlvs = match deleted {
            Ok(()) => TlvList::new(),
            Err(code) => TlvList::new()
                .with_u16(tag::ERROR_CODE, code.0)
                .with(tag::ERROR_URL, self.config.error_url.clone()),
        };
        let reply = DeleteReply { tlvs };
        let subgroup = subgroup::ACCT_DELETE_REPLY;
        self.send_snac(Foodgroup::ADMIN, subgroup, request_id, reply.encode());
    }

    /// The TLVs of a request do not hold together.
    fn send_bad(&mut self, snac: &Snac, tag: u16) {
        let (id, code) = (snac.request_id, AdminErrorCode::BAD_SNAC);
        let answer = FieldAnswer::refused(tag, usual(tag), code);
        match snac.subgroup {
            subgroup::ACCT_CONFIRM_REQUEST => self.confirm(id, ConfirmStatus::CANNOT, Some(code)),
            subgroup::ACCT_DELETE_REQUEST => self.deleted(id, Err(code)),
            subgroup::INFO_QUERY => self.send_info(subgroup::INFO_REPLY, id, vec![answer]),
            _ => self.send_info(subgroup::INFO_CHANGE_REPLY, id, vec![answer]),
        }
    }

    fn send_info(&mut self, subgroup: u16, request_id: u32, answers: Vec<FieldAnswer>) {
        let url = &self.config.error_url;
        let blocks = answers.into_iter().map(|answer| match answer.value {
            Ok(_) if answer.tag == tag::PASSWORD => {
                ReplyBlock::value(answer.permissions, answer.tag, Bytes::new())
            }
            Ok(value) => ReplyBlock::value(answer.permissions, answer.tag, value),
            Err(code) => ReplyBlock::error(answer.permissions, answer.tag, code, url.clone()),
        });
        let reply = InfoReply {
            blocks: blocks.collect(),
        };
        self.send_snac(Foodgroup::ADMIN, subgroup, request_id, reply.encode());
    }

    fn request(&mut self, snac: &Snac, request: AdminRequest) {
        self.push(Output::Admin {
            request_id: snac.request_id,
            request,
        });
    }

    /// Whose connection it is, and which password such a client has.
    fn account(&self) -> Option<(ScreenName, PasswordForm)> {
        let member = self.member()?;
        let form = PasswordForm::of(member.party, &member.name);
        Some((member.name.clone(), form))
    }
}

fn read(body: &Bytes) -> Result<TlvList, Unreadable> {
    match TlvList::decode_rest_limited(body.clone(), limits::ADMIN_TLVS) {
        Ok(tlvs) => Ok(tlvs),
        Err(DecodeError::TooMany { .. }) => match body[..] {
            [high, low, ..] => Err(Unreadable::Bad(u16::from_be_bytes([high, low]))),
            _ => Err(Unreadable::Busted),
        },
        Err(_) => Err(overrun(body).map_or(Unreadable::Busted, Unreadable::Bad)),
    }
}

fn is_field(tag: u16) -> bool {
    matches!(
        tag,
        tag::FORMAT | tag::PASSWORD | tag::EMAIL | tag::OLD_PASSWORD | tag::REGISTRATION
    )
}

/// Why a field cannot be asked for; none if it can.
fn why_not_asked(tag: u16) -> Option<AdminErrorCode> {
    match tag {
        tag::FORMAT | tag::EMAIL | tag::REGISTRATION => None,
        tag::PASSWORD | tag::OLD_PASSWORD => Some(AdminErrorCode::WRITE_ONLY_FIELD),
        _ => Some(AdminErrorCode::UNSUPPORTED_TYPE),
    }
}

/// Permissions of a field as such, where nobody asked those of the account.
fn usual(tag: u16) -> Permissions {
    match is_field(tag) {
        true => Permissions::CHANGEABLE,
        false => Permissions::NEVER,
    }
}
