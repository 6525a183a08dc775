//! The ADMIN connections that are open: few per account, and all of them end when the account does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::tlv;
use rdv_proto::wire::tlv::TlvList;

use crate::accounts::AccountId;
use crate::queue::Queue;

/// Connections of one account at a time.
const PER_ACCOUNT: usize = 5;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<AccountId, Vec<Open>>,
    next_id: u64,
}

#[derive(Debug)]
struct Open {
    id: u64,
    queue: Queue,
    /// The client hangs at a length field of a sign-off.
    bare_sign_off: bool,
}

/// An open connection; forgotten when dropped.
#[derive(Debug)]
pub(crate) struct AdminSeat {
    connections: Arc<Connections>,
    pub(crate) account: AccountId,
    id: u64,
}

impl Connections {
    /// Lets one more in; none if the account has as many as it may have.
    pub(crate) fn enter(
        self: &Arc<Self>,
        account: AccountId,
        queue: Queue,
        bare_sign_off: bool,
    ) -> Option<AdminSeat> {
        let mut state = self.lock();
        let id = state.next_id;
        let open = state.open.entry(account).or_default();
        if open.len() >= PER_ACCOUNT {
            return None;
        }
        open.push(Open {
            id,
            queue,
            bare_sign_off,
        });
        state.next_id += 1;
        Some(AdminSeat {
            connections: Arc::clone(self),
            account,
            id,
        })
    }

    /// Ends all of an account but the one of that number, which ends by itself.
    pub(crate) fn expel_others(&self, account: AccountId, id: u64, reason: u16) {
        let mut state = self.lock();
        let Some(open) = state.open.get_mut(&account) else {
            return;
        };
        for other in open.extract_if(.., |one| one.id != id) {
            match other.bare_sign_off {
                true => other.queue.push_bare_sign_off(),
                false => other.queue.push(Channel::SIGN_OFF, because(reason)),
            };
            other.queue.close();
        }
    }

    /// Ends all of an account.
    pub(crate) fn expel(&self, account: AccountId, reason: Option<u16>) {
        for one in self.lock().open.remove(&account).unwrap_or_default() {
            match (one.bare_sign_off, reason) {
                (true, _) => one.queue.push_bare_sign_off(),
                (false, Some(reason)) => one.queue.push(Channel::SIGN_OFF, because(reason)),
                (false, None) => one.queue.push(Channel::SIGN_OFF, Bytes::new()),
            };
            one.queue.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdminSeat {
    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for AdminSeat {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        if let Some(open) = state.open.get_mut(&self.account) {
            open.retain(|one| one.id != self.id);
            if open.is_empty() {
                state.open.remove(&self.account);
            }
        }
    }
}

fn because(reason: u16) -> Bytes {
    let mut data = BytesMut::new();
    TlvList::new()
        .with_u16(tlv::SIGN_OFF_REASON, reason)
        .encode_rest(&mut data);
    data.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::queue;

    #[test]
    fn an_account_has_five_connections_and_a_place_comes_back() {
        let connections = Arc::new(Connections::default());
        let enter = |number| {
            let (queue, _) = queue(8, 1024, 0);
            connections.enter(AccountId::numbered(number), queue, false)
        };
        let mut seats: Vec<_> = (0..6).filter_map(|_| enter(1)).collect();
        assert_eq!(seats.len(), PER_ACCOUNT);
        assert!(enter(2).is_some(), "another account has its own");
        seats.pop();
        seats.extend(enter(1));
        assert_eq!(seats.len(), PER_ACCOUNT);
        seats.clear();
        assert!(connections.lock().open.is_empty());
    }
}
