//! From the first frame to a name: guests, accounts with a password, and the ways of old clients.

use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::account::{AccountSignOn, Admission, NewAccount, Party, Proof, Sessions};
use super::admin::rules::{PasswordForm, check_email, check_new_name, check_password};
use super::numbers::Token;
use super::output::{Output, Wish};
use super::server::{Service, Session, Stage};
use crate::wire::admin::AdminErrorCode;
use crate::wire::flap::Channel;
use crate::wire::signon::{
    Challenge, DigestKind, GuestWish, Hello, Login, LoginErrorCode, LoginReply, Roast, tlv,
};
use crate::wire::snac::{Foodgroup, Snac};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// Life of a number whose owner did not say.
const NUMBER_LIFE: Duration = Duration::from_secs(3600);
/// Bytes of the cookie that opens the next connection: old clients know no other length.
const COOKIE: usize = 256;

/// How the client asked, and so how it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    way: Way,
    /// The name as it was written.
    typed: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// 0x0017/0x0002 with this request id, of a guest.
    Guest(u32),
    /// 0x0017/0x0002 with the password itself.
    Normal(u32),
    /// 0x0017/0x0002 of an old client.
    Bucp(u32, Sessions),
    /// In the first frame, as clients of the first years did.
    Roasted,
    /// With a cookie of an earlier sign-on.
    Cookie,
}

impl Session {
    /// Answer to [`Output::SignOn`]: the guest is in, under this name, which it takes back with the token if it gets one.
    pub fn signed_on(&mut self, name: ScreenName, token: Option<&Token>, since_unix_s: u32) {
        let Stage::Asking(asked) = &self.stage else {
            return;
        };
        let id = asked.request_id();
        let mut tlvs = TlvList::new().with(tlv::SCREEN_NAME, name.as_str().as_bytes().to_vec());
        if let Some(token) = token {
            tlvs.push(tlv::TOKEN, token.0.to_vec());
        }
        self.send_snac(Foodgroup::BUCP, 0x03, id, LoginReply { tlvs }.encode());
        let admission = Admission {
            name,
            sessions: Sessions::Alone,
            since_unix_s,
        };
        self.enter(Service::Bos, Party::Guest, admission);
    }

    /// Answer to [`Output::Redeem`]: the account is in, on a connection for its administration. `party` is that of the session
    /// that asked for it.
    pub fn admitted_to_admin(&mut self, admission: Admission, party: Party) {
        if let Stage::Asking(asked) = &self.stage
            && asked.way == Way::Cookie
        {
            self.enter(Service::Admin, party, admission);
        }
    }

    /// Answer to [`Output::CreateAccount`]: it breaks that rule, or the name is taken
    /// ([`AdminErrorCode::VALIDATE_NICKNAME`]).
    pub fn not_created(&mut self, code: AdminErrorCode) {
        let Stage::Asking(asked) = &self.stage else {
            return;
        };
        let tlvs = TlvList::new()
            .with(tlv::SCREEN_NAME, asked.typed.clone())
            .with_u16(tlv::ERROR_CODE, LoginErrorCode::BAD_INPUT.0)
            .with_u16(tlv::CREATE_ACCOUNT, code.0);
        self.finish_login(tlvs);
    }

    /// Answer to [`Output::Authenticate`], [`Output::CreateAccount`] and [`Output::Redeem`]: the account is in, on this
    /// connection.
    pub fn admitted(&mut self, admission: Admission) {
        let Stage::Asking(asked) = &self.stage else {
            return;
        };
        let party = match asked.way {
            Way::Normal(id) => {
                let name = admission.name.as_str().as_bytes().to_vec();
                let tlvs = TlvList::new().with(tlv::SCREEN_NAME, name);
                self.send_snac(Foodgroup::BUCP, 0x03, id, LoginReply { tlvs }.encode());
                Party::Ours
            }
            _ => Party::Old,
        };
        self.enter(Service::Bos, party, admission);
    }

    /// Answer to [`Output::Authenticate`]: the account of that name, as its owner spells it, goes on at `address`
    /// (`host:port`), where `cookie` lets it in.
    pub fn sent_on(&mut self, name: &ScreenName, address: String, cookie: Bytes) {
        if !matches!(self.stage, Stage::Asking(_)) {
            return;
        }
        let tlvs = TlvList::new()
            .with(tlv::SCREEN_NAME, name.as_str().as_bytes().to_vec())
            .with(tlv::ADDRESS, address)
            .with(tlv::COOKIE, cookie)
            .with(tlv::TLS_STATE, vec![0]);
        self.finish_login(tlvs);
    }

    /// Answer to every question of a sign-on: no.
    pub fn refused(&mut self, code: LoginErrorCode) {
        let Stage::Asking(asked) = &self.stage else {
            return;
        };
        let tlvs = match asked.way {
            Way::Cookie => TlvList::new(),
            _ => TlvList::new().with(tlv::SCREEN_NAME, asked.typed.clone()),
        };
        self.finish_login(tlvs.with_u16(tlv::ERROR_CODE, code.0));
    }

    /// The first frame says by which way the client comes.
    pub(super) fn hello(&mut self, data: &Bytes) {
        let Ok(hello) = Hello::decode(data) else {
            return self.close();
        };
        if let Some(cookie) = hello.tlvs.first(tlv::COOKIE) {
            self.ask(Way::Cookie, Bytes::new());
            match cookie.len() == COOKIE && self.config.accounts {
                true => self.push(Output::Redeem {
                    cookie: cookie.clone(),
                    sessions: Sessions::of(&hello.tlvs),
                }),
                false => self.refused(LoginErrorCode::BAD_COOKIE),
            }
        } else if let Some(name) = hello.tlvs.first(tlv::SCREEN_NAME) {
            self.ask(Way::Roasted, name.clone());
            let roasted = hello.tlvs.first(tlv::ROASTED_PASSWORD);
            match roasted.filter(|_| self.config.museum && self.config.accounts) {
                Some(roasted) => {
                    let client = hello.tlvs.first(tlv::CLIENT_NAME).cloned();
                    let roast = Roast::of(&client.unwrap_or_default());
                    let password = Zeroizing::new(roast.apply(roasted));
                    self.authenticate(
                        name,
                        Proof::Plain(vec![password]),
                        Sessions::of(&hello.tlvs).unwrap_or(Sessions::Unaware),
                    );
                }
                // Roasted passwords are plain text; they are refused whatever the name.
                None => self.refused(LoginErrorCode::WRONG_PASSWORD),
            }
        } else {
            self.stage = Stage::SigningOn(0);
        }
    }

    pub(super) fn bucp(&mut self, snac: &Snac) {
        match (snac.foodgroup, snac.subgroup) {
            (Foodgroup::BUCP, 0x06) => self.send_challenge(snac),
            (Foodgroup::BUCP, 0x02) => self.login(snac),
            _ => self.close(),
        }
    }

    /// A fresh key whatever the name, and no second one on this connection.
    fn send_challenge(&mut self, snac: &Snac) {
        let Some(random) = self.challenge.take() else {
            return self.close();
        };
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = Bytes::from(hex);
        self.asked = Some(key.clone());
        let mut tlvs = TlvList::new();
        if self.config.tls && self.config.accounts {
            tlvs.push(tlv::NORMAL_SIGN_ON, vec![1]);
        }
        let challenge = Challenge { key, tlvs };
        self.send_snac(Foodgroup::BUCP, 0x07, snac.request_id, challenge.encode());
    }

    fn login(&mut self, snac: &Snac) {
        let id = snac.request_id;
        let Ok(login) = Login::decode(&snac.body) else {
            self.ask(Way::Bucp(id, Sessions::Several), Bytes::new());
            return self.refused(LoginErrorCode::BAD_INPUT);
        };
        let typed = login.tlvs.first(tlv::SCREEN_NAME);
        let typed = typed.cloned().unwrap_or_default();
        let is_guest = login
            .screen_name()
            .is_ok_and(|name| name.normalized() == "guest");
        if is_guest
            && self.config.tls
            && let Some(wish) = login.guest_wish()
        {
            self.ask(Way::Guest(id), typed);
            return match read_wish(wish, &login.tlvs) {
                None => self.refused(LoginErrorCode::BAD_INPUT),
                Some(wish) => self.push(Output::SignOn(wish)),
            };
        }
        let sessions = Sessions::of(&login.tlvs);
        let secret = |tag| {
            let value = login.tlvs.first(tag)?;
            Some(Zeroizing::new(value.to_vec()))
        };
        if let Some(password) = secret(tlv::PASSWORD).filter(|_| self.config.tls) {
            self.ask(Way::Normal(id), typed.clone());
            let sessions = sessions.unwrap_or(Sessions::Alone);
            if let Some(email) = login.tlvs.first(tlv::CREATE_ACCOUNT)
                && self.config.accounts
            {
                let account = read_account(&typed, &password, email);
                return self.push(Output::CreateAccount { sessions, account });
            }
            return self.authenticate(&typed, Proof::Password(password), sessions);
        }
        let sessions = sessions.unwrap_or(Sessions::Unaware);
        self.ask(Way::Bucp(id, sessions), typed.clone());
        let kind = match login.tlvs.contains(tlv::NEW_DIGEST) {
            true => DigestKind::New,
            false => DigestKind::Old,
        };
        let answer = login.tlvs.first(tlv::DIGEST);
        let answer = answer.and_then(|answer| <[u8; 16]>::try_from(&answer[..]).ok());
        // A challenge is good for one answer.
        let proof = match (self.asked.take(), answer) {
            (Some(key), Some(answer)) => Some(Proof::Digest { key, answer, kind }),
            _ => secret(tlv::ROASTED_PASSWORD)
                .filter(|_| self.config.museum)
                .map(|plain| {
                    let roasted = Zeroizing::new(Roast::Usual.apply(&plain));
                    Proof::Plain(vec![plain, roasted])
                }),
        };
        match proof {
            Some(proof) => self.authenticate(&typed, proof, sessions),
            // No proof, not over TLS, wrong password, unknown name: all the same.
            None => self.refused(LoginErrorCode::WRONG_PASSWORD),
        }
    }

    fn authenticate(&mut self, typed: &Bytes, proof: Proof, sessions: Sessions) {
        if !self.config.accounts {
            return self.refused(LoginErrorCode::WRONG_PASSWORD);
        }
        self.push(Output::Authenticate(AccountSignOn {
            name: ScreenName::from_bytes(typed).ok(),
            proof,
            sessions,
        }));
    }

    fn ask(&mut self, way: Way, typed: Bytes) {
        self.stage = Stage::Asking(Asked { way, typed });
    }

    /// The last word of a connection that was for signing on only.
    fn finish_login(&mut self, tlvs: TlvList) {
        let Stage::Asking(asked) = &self.stage else {
            return;
        };
        let (way, id) = (asked.way, asked.request_id());
        match way {
            Way::Roasted | Way::Cookie => self.send_tlvs(Channel::SIGN_OFF, &tlvs),
            Way::Guest(_) | Way::Normal(_) | Way::Bucp(..) => {
                let reply = LoginReply { tlvs }.encode();
                self.send_snac(Foodgroup::BUCP, 0x03, id, reply);
                match way {
                    Way::Bucp(_, Sessions::Unaware) => self.push(Output::BareSignOff),
                    _ => self.send_tlvs(Channel::SIGN_OFF, &TlvList::new()),
                }
            }
        }
        self.close();
    }
}

impl Asked {
    fn request_id(&self) -> u32 {
        match self.way {
            Way::Guest(id) | Way::Normal(id) | Way::Bucp(id, _) => id,
            Way::Roasted | Way::Cookie => 0,
        }
    }
}

/// Whether that is what guests without a number are called.
fn is_guest(name: &ScreenName) -> bool {
    name.normalized().starts_with("guest")
}

fn read_account(name: &[u8], password: &[u8], email: &[u8]) -> Result<NewAccount, AdminErrorCode> {
    let name = check_new_name(name)?;
    let password = check_password(PasswordForm::Normal, &name, password)?;
    let email = match email {
        [] => None,
        email => Some(check_email(email)?),
    };
    Ok(NewAccount {
        name,
        password,
        email,
    })
}

fn read_wish(wish: GuestWish, tlvs: &TlvList) -> Option<Wish> {
    match wish {
        GuestWish::NUMBER => {
            let life = tlvs
                .u32(tlv::EXPIRES)
                .map(u64::from)
                .map(Duration::from_secs);
            Some(Wish::Number {
                life: life.unwrap_or(NUMBER_LIFE),
            })
        }
        GuestWish::JOIN => Some(Wish::Join),
        GuestWish::RECLAIM => {
            let (had, token) = (tlvs.text(tlv::NUMBER)?, tlvs.first(tlv::TOKEN)?.clone());
            Some(match had.parse() {
                Ok(number) => Wish::Reclaim { number, token },
                Err(_) => Wish::Return {
                    name: ScreenName::new(had).ok().filter(is_guest)?,
                    token,
                },
            })
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "sign_on_tests.rs"]
mod tests;
