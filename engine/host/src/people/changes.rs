//! What happens to an account while it is signed on: another form of its name, its confirmation, its end.

use std::time::Instant;

use rdv_proto::session::Sessions;
use rdv_proto::wire::text::ScreenName;

use super::{People, State, User};
use crate::accounts::AccountId;
use crate::metrics::Limit;
use crate::routing::{Seen, Word};

impl People {
    /// Takes in what is new about an account, or says what is known.
    pub(crate) fn word_about(
        &self,
        now: Instant,
        account: AccountId,
        name: &ScreenName,
        word: Word,
    ) -> Seen {
        let mut state = self.lock();
        match word {
            Word::Room(sessions) => Seen::Room(self.has_room(&state, account, name, sessions)),
            Word::Renamed(form) => {
                state.change(now, account, name, |user| {
                    for instance in &mut user.instances {
                        instance.renamed = Some(form.clone());
                    }
                    user.name = form;
                });
                Seen::Nothing
            }
            Word::Confirmed(confirmed) => {
                state.change(now, account, name, |user| {
                    for instance in &mut user.instances {
                        instance.shown.unconfirmed = !confirmed;
                    }
                });
                Seen::Nothing
            }
            Word::Expelled { reason, at } => {
                if state.user(account, name).is_some() {
                    state.displace(now, name, reason, at);
                }
                Seen::Nothing
            }
            // These are about one sign-on.
            _ => Seen::Nothing,
        }
    }

    fn has_room(
        &self,
        state: &State,
        account: AccountId,
        name: &ScreenName,
        sessions: Sessions,
    ) -> bool {
        let user = state.user(account, name);
        let has_room = sessions.displaces()
            || user.is_none_or(|user| user.instances.len() < self.limits.sign_ons_per_account);
        if !has_room {
            self.metrics.refused(Limit::SignOnsPerAccount);
        }
        has_room
    }
}

impl State {
    /// The user of that name, if it is that account.
    fn user(&self, account: AccountId, name: &ScreenName) -> Option<&User> {
        let user = self.users.get(name);
        user.filter(|user| user.account == account)
    }

    /// Changes what is shown of an account: its own sign-ons learn of it, and those who watch it.
    fn change(
        &mut self,
        now: Instant,
        account: AccountId,
        name: &ScreenName,
        change: impl FnOnce(&mut User),
    ) {
        let user = self.users.get_mut(name);
        let Some(user) = user.filter(|user| user.account == account) else {
            return;
        };
        change(user);
        for instance in user.online() {
            instance.recipient.notify();
        }
        self.announce(now, name);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::BytesMut;
    use rdv_proto::pace::Origin;
    use rdv_proto::session::{Lists, NamesChange};
    use rdv_proto::wire::flap::{Channel, Frame};
    use rdv_proto::wire::icbm::user_tlv;
    use rdv_proto::wire::signon::UserList;
    use rdv_proto::wire::snac::{Foodgroup, Snac};
    use tokio::sync::Notify;

    use super::*;
    use crate::limits::Limits;
    use crate::mailbox::Mailbox;
    use crate::metrics::Metrics;
    use crate::queue::{Outgoing, queue};
    use crate::routing::{Address, Resident};

    fn name(name: &str) -> ScreenName {
        ScreenName::new(name).unwrap()
    }

    struct Client {
        address: Address,
        news: Arc<Notify>,
        outgoing: Outgoing,
        queue: crate::queue::Queue,
    }

    fn sign_on(people: &People, account: i64, who: &str, confirmed: bool) -> Client {
        let (queue, outgoing) = queue(256, 1 << 20, 0);
        let mailbox = Mailbox {
            queue: queue.clone(),
            news: Arc::default(),
            bare_sign_off: false,
        };
        let news = Arc::clone(&mailbox.news);
        let resident = Resident {
            account: AccountId::numbered(account),
            name: name(who),
            lists: Lists::default(),
            sessions: Sessions::Several,
            from: Origin::of(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            confirmed,
            proven: crate::time::since_1970(),
        };
        let now = Instant::now();
        let address = people.sign_on(now, resident, mailbox).unwrap().address;
        people.word(now, &address, Word::Online);
        Client {
            address,
            news,
            outgoing,
            queue,
        }
    }

    /// All frames that were sent to the client.
    async fn frames(client: Client) -> Vec<Frame> {
        client.queue.close();
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let life = Duration::from_secs(60);
        client.outgoing.write_to(ours, life).await.unwrap();
        let mut all = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut all)
            .await
            .unwrap();
        let mut all = BytesMut::from(&all[..]);
        std::iter::from_fn(|| Frame::decode(&mut all, 0xFFFF).unwrap()).collect()
    }

    /// The forms of a name, and the user classes, that a watcher was told of.
    async fn arrivals(watcher: Client) -> Vec<(String, u16)> {
        let frames = frames(watcher).await.into_iter();
        let snacs = frames.filter_map(|frame| Snac::decode(frame.data).ok());
        let told = snacs.filter(|snac| snac.is(Foodgroup::BUDDY, 0x0B));
        let users = told.flat_map(|snac| UserList::decode(&snac.body).unwrap().users);
        let users = users.map(|user| {
            let class = user.tlvs.u16(user_tlv::CLASS).unwrap();
            (user.name.as_str().to_owned(), class)
        });
        users.collect()
    }

    async fn has_news(client: &Client) -> bool {
        let news = tokio::time::timeout(Duration::ZERO, client.news.notified());
        news.await.is_ok()
    }

    #[tokio::test]
    async fn a_10_a_24_a_new_form_of_a_name_reaches_all_sign_ons_and_who_watches_it() {
        let people = People::new(Limits::default(), Metrics::new());
        let watcher = sign_on(&people, 1, "bob", true);
        let all = [1, 2, 3].map(|_| sign_on(&people, 2, "alice", true));
        let now = Instant::now();
        let watch = NamesChange::Watch(vec![name("alice")]);
        people.word(now, &watcher.address, Word::Names(watch));
        let (account, form) = (AccountId::numbered(2), name("a LI ce"));
        people.word_about(now, account, &form, Word::Renamed(form.clone()));
        for client in &all {
            assert!(has_news(client).await);
            let own = people.word(now, &client.address, Word::Own);
            let Seen::Own { renamed, .. } = own else {
                panic!("{own:?}")
            };
            assert_eq!(renamed.unwrap().as_str(), "a LI ce");
        }
        assert!(!has_news(&watcher).await);
        let told = arrivals(watcher).await;
        assert_eq!(told, [("a LI ce".to_owned(), 0x10)]);
    }

    #[tokio::test]
    async fn a_17_flag_0x0001_leaves_the_user_block_after_confirmation() {
        let people = People::new(Limits::default(), Metrics::new());
        let watcher = sign_on(&people, 1, "bob", true);
        let now = Instant::now();
        let watch = NamesChange::Watch(vec![name("alice")]);
        people.word(now, &watcher.address, Word::Names(watch));
        let alice = sign_on(&people, 2, "alice", false);
        let account = AccountId::numbered(2);
        people.word_about(now, account, &name("alice"), Word::Confirmed(true));
        assert!(has_news(&alice).await);
        // Another account that has the name by now is not meant.
        let another = AccountId::numbered(3);
        people.word_about(now, another, &name("alice"), Word::Confirmed(false));
        let told = arrivals(watcher).await;
        let expected = [0x11, 0x10].map(|class| ("alice".to_owned(), class));
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn a_18_a_deleted_account_is_signed_off_everywhere_with_reason_2() {
        let people = People::new(Limits::default(), Metrics::new());
        let all = [1, 2].map(|_| sign_on(&people, 2, "alice", true));
        let account = AccountId::numbered(2);
        let (reason, at) = (Some(2), None);
        let word = Word::Expelled { reason, at };
        people.word_about(Instant::now(), account, &name("alice"), word);
        for client in all {
            let last = frames(client).await.pop().unwrap();
            assert_eq!(last.channel, Channel::SIGN_OFF);
            assert_eq!(last.data[..], [0, 9, 0, 2, 0, 2]);
        }
    }
}
