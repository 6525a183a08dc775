//! Turns by which the list of an account is changed, and read for a sign-on: one after the other, or a sign-on would go by what was
//! read before a change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::accounts::AccountId;

/// A turn of every account whose list is looked at now.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    turns: Mutex<HashMap<AccountId, Weak<tokio::sync::Mutex<()>>>>,
}

impl Edits {
    /// Waits for the turn; it is over when the guard is dropped.
    pub(crate) async fn turn(&self, account: AccountId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let known = turns.get(&account).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                turns.retain(|_, turn| turn.strong_count() > 0);
                let turn = Arc::default();
                turns.insert(account, Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_account_is_changed_by_one_at_a_time_and_nothing_is_kept_of_it() {
        let edits = Edits::default();
        let (one, other) = (AccountId::numbered(1), AccountId::numbered(2));
        let turn = edits.turn(one).await;
        let mut second = std::pin::pin!(edits.turn(one));
        assert!(futures_poll(second.as_mut()).is_none());
        drop(edits.turn(other).await);
        drop(turn);
        drop(second.await);
        drop(edits.turn(other).await);
        assert_eq!(edits.turns.lock().unwrap().len(), 1);
    }

    fn futures_poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
