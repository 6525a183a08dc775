//! Questions about other users, and what the host tells of them by itself.

use rdv_proto::wire::signon::{InfoQuery, InfoReply, LocateInfo, NameList, UserList};
use rdv_proto::wire::snac::{self, ErrorCode, Foodgroup, Snac, SnacError};
use rdv_proto::wire::text::ScreenName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Found, QUESTIONS, Session};

/// Names in one request to watch them, at most 65 bytes each.
const WATCHED_AT_ONCE: usize = 64;

/// Subgroups of foodgroup 0x0002.
mod locate {
    pub(super) const INFO_QUERY: u16 = 0x05;
    pub(super) const INFO_REPLY: u16 = 0x06;
}
/// Subgroups of foodgroup 0x0003.
mod buddy {
    pub(super) const ADD: u16 = 0x04;
    pub(super) const ARRIVED: u16 = 0x0B;
    pub(super) const DEPARTED: u16 = 0x0C;
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    /// 02/05.
    pub(super) fn ask_about(&mut self, id: u32, name: ScreenName, answer: oneshot::Sender<Found>) {
        let body = InfoQuery::encode_capabilities(&name);
        let query = Snac::new(Foodgroup::LOCATE, locate::INFO_QUERY, id, body);
        self.writer.queue_snac(&query);
        self.questions.retain(|(.., waiting)| !waiting.is_closed());
        if self.questions.len() == QUESTIONS {
            // Dropped: the oldest is told that there is no answer.
            self.questions.pop_front();
        }
        self.questions.push_back((id, name, answer));
    }

    /// 03/04.
    pub(super) fn watch(&mut self, names: &[ScreenName]) {
        self.begin_write();
        for names in names.chunks(WATCHED_AT_ONCE) {
            let names = names.to_vec();
            let id = self.new_id();
            let request = Snac::new(
                Foodgroup::BUDDY,
                buddy::ADD,
                id,
                NameList { names }.encode(),
            );
            self.writer.queue_snac(&request);
        }
    }

    /// 02/06 or 02/01: the answer to a question about somebody.
    pub(super) fn found(&mut self, snac: &Snac) {
        let found = match snac.subgroup {
            locate::INFO_REPLY => match InfoReply::decode(&snac.body) {
                Ok(reply) => Found::Online(capabilities_in(reply)),
                Err(error) => {
                    tracing::debug!(%error, "malformed answer about a user");
                    Found::Untold
                }
            },
            snac::ERROR => match SnacError::decode(&snac.body) {
                Ok(error) if error.code == ErrorCode::NOT_LOGGED_ON.0 => Found::Offline,
                _ => Found::Untold,
            },
            _ => return,
        };
        let question = self
            .questions
            .iter()
            .position(|(id, ..)| *id == snac.request_id);
        if let Some((_, name, answer)) = question.and_then(|at| self.questions.remove(at)) {
            if let Found::Online(capabilities) = &found {
                self.queues.presence.learn(&name, capabilities.clone());
            }
            // Whoever asked may have given up.
            let _ = answer.send(found);
        }
    }

    pub(super) fn take_presence(&self, snac: &Snac) {
        let Ok(UserList { users }) = UserList::decode(&snac.body) else {
            return;
        };
        let presence = &self.queues.presence;
        for user in &users {
            match snac.subgroup {
                buddy::ARRIVED => presence.arrived(user),
                buddy::DEPARTED => presence.departed(&user.name),
                _ => {}
            }
        }
    }
}

/// From wherever they stand: most hosts put them into the user info, some behind it.
fn capabilities_in(reply: InfoReply) -> Vec<Uuid> {
    let mut all = reply.user.capabilities();
    let behind = LocateInfo { tlvs: reply.tlvs }.capabilities();
    for uuid in behind.ok().flatten().unwrap_or_default() {
        if !all.contains(&uuid) {
            all.push(uuid);
        }
    }
    all
}
