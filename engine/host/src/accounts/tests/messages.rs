//! Messages for those who are away.

use super::*;

async fn alice(desk: &Desk) -> AccountId {
    desk.create("alice", None, false).await.unwrap().account.id
}

fn message(from: &str, content: impl Into<Bytes>) -> StoredMessage {
    StoredMessage {
        from: name(from),
        at_unix_s: u64::try_from(unix_s()).unwrap(),
        channel: 1,
        content: content.into(),
    }
}

fn store(desk: &Desk) -> &dyn MessageStore {
    &desk.accounts
}

async fn messages_come_back_as_they_were_and_in_their_order(desk: Desk) {
    let id = alice(&desk).await;
    let sent = [
        message("Bob B", "first"),
        message("carol", vec![0, 0xFF, 7]),
        message("bobb", ""),
    ];
    for message in &sent {
        assert_eq!(store(&desk).keep(id, message.clone()).await, Ok(Kept::Yes));
    }
    let stored = store(&desk).take(id).await.unwrap();
    let messages: Vec<_> = stored.iter().map(|(_, message)| message.clone()).collect();
    assert_eq!(messages, sent);
    assert_eq!(store(&desk).take(id).await.unwrap(), stored, "they stay");
    store(&desk)
        .done(id, vec![stored[0].0, stored[1].0])
        .await
        .unwrap();
    let rest = store(&desk).take(id).await.unwrap();
    assert_eq!(rest, stored[2..]);
    let bob = desk.create("bob", None, false).await.unwrap().account.id;
    assert_eq!(store(&desk).take(bob).await.unwrap(), vec![]);
}

async fn a_number_is_never_given_to_another_message(desk: Desk) {
    let id = alice(&desk).await;
    store(&desk)
        .keep(id, message("bob", "first"))
        .await
        .unwrap();
    let stored = store(&desk).take(id).await.unwrap();
    let numbers = vec![stored[0].0];
    store(&desk).done(id, numbers.clone()).await.unwrap();
    store(&desk)
        .keep(id, message("bob", "second"))
        .await
        .unwrap();
    // Another sign-on took the same ones and is as far only now.
    store(&desk).done(id, numbers).await.unwrap();
    let stored = store(&desk).take(id).await.unwrap();
    assert_eq!(&stored[0].1.content[..], b"second");
}

async fn s_35_what_one_sender_leaves_is_bounded(desk: Desk) {
    let id = alice(&desk).await;
    for n in 0..MESSAGES_PER_SENDER_MAX {
        let kept = store(&desk).keep(id, message("bob", n.to_string())).await;
        assert_eq!(kept, Ok(Kept::Yes));
    }
    let kept = store(&desk).keep(id, message("B ob", "one more")).await;
    assert_eq!(kept, Ok(Kept::Full));
    let kept = store(&desk).keep(id, message("carol", "hers")).await;
    assert_eq!(kept, Ok(Kept::Yes));
}

async fn s_35_what_is_stored_for_somebody_is_bounded(desk: Desk) {
    let id = alice(&desk).await;
    for n in 0..MESSAGES_MAX {
        let sender = format!("sender{}", n / MESSAGES_PER_SENDER_MAX);
        let kept = store(&desk).keep(id, message(&sender, "x")).await;
        assert_eq!(kept, Ok(Kept::Yes), "{n}");
    }
    let more = || store(&desk).keep(id, message("carol", "x"));
    assert_eq!(more().await, Ok(Kept::Full));
    let stored = store(&desk).take(id).await.unwrap();
    assert_eq!(stored.len(), 100);
    store(&desk).done(id, vec![stored[50].0]).await.unwrap();
    assert_eq!(more().await, Ok(Kept::Yes));
}

async fn s_35_the_bytes_that_are_stored_for_somebody_are_bounded(desk: Desk) {
    let id = alice(&desk).await;
    let keep = |bytes| store(&desk).keep(id, message("bob", vec![7; bytes]));
    assert_eq!(keep(MESSAGES_BYTES_MAX + 1).await, Ok(Kept::Full));
    assert_eq!(keep(MESSAGES_BYTES_MAX - 10).await, Ok(Kept::Yes));
    assert_eq!(keep(11).await, Ok(Kept::Full));
    assert_eq!(keep(10).await, Ok(Kept::Yes));
}

async fn messages_that_nobody_came_for_are_thrown_away(desk: Desk) {
    let id = alice(&desk).await;
    let bob = desk.create("bob", None, false).await.unwrap().account.id;
    for to in [id, bob] {
        store(&desk)
            .keep(to, message("carol", "old"))
            .await
            .unwrap();
    }
    desk.tamper("UPDATE messages SET at_unix_s = at_unix_s - 2592001")
        .await;
    assert_eq!(store(&desk).take(id).await.unwrap(), vec![]);
    store(&desk)
        .keep(id, message("carol", "new"))
        .await
        .unwrap();
    assert_eq!(store(&desk).take(id).await.unwrap().len(), 1);
    let left = async |statement| desk.inner.pool.row(statement).await.unwrap().unwrap();
    let count = sql("SELECT COUNT(*) AS n FROM messages");
    assert_eq!(
        left(count).await.get::<i64>("n").unwrap(),
        2,
        "hers, and bob's old one"
    );
    // Whoever opens the database sweeps it with the first message.
    let again = desk.again().await.unwrap();
    let again: &dyn MessageStore = &again;
    again.keep(id, message("carol", "newer")).await.unwrap();
    let count = sql("SELECT COUNT(*) AS n FROM messages");
    assert_eq!(left(count).await.get::<i64>("n").unwrap(), 2, "both hers");
}

async fn messages_for_nobody_are_refused_and_go_with_their_account(desk: Desk) {
    let refused = store(&desk).keep(AccountId(7), message("bob", "x")).await;
    assert_eq!(refused, Err(StoreError::Unknown));
    let id = alice(&desk).await;
    store(&desk).keep(id, message("bob", "x")).await.unwrap();
    let admin: &dyn AdminStore = &desk.accounts;
    admin.mark_deleted(id).await.unwrap();
    assert_eq!(store(&desk).take(id).await.unwrap(), vec![]);
    store(&desk).keep(id, message("bob", "x")).await.unwrap();
    desk.remove(&name("alice")).await.unwrap();
    assert_eq!(store(&desk).take(id).await.unwrap(), vec![]);
}

async fn messages_that_come_at_once_are_all_kept(desk: Desk) {
    let id = alice(&desk).await;
    let mut sending = tokio::task::JoinSet::new();
    for n in 0..16 {
        let accounts = desk.accounts.clone();
        sending.spawn(async move {
            let store: &dyn MessageStore = &accounts;
            loop {
                match store.keep(id, message(&format!("sender{n}"), "x")).await {
                    // So many at a time may have to wait longer than these tests let them.
                    Err(StoreError::Busy) => {}
                    kept => return kept.unwrap(),
                }
            }
        });
    }
    assert_eq!(sending.join_all().await, [Kept::Yes; 16]);
    assert_eq!(store(&desk).take(id).await.unwrap().len(), 16);
}

on_both![
    messages_come_back_as_they_were_and_in_their_order,
    a_number_is_never_given_to_another_message,
    s_35_what_one_sender_leaves_is_bounded,
    s_35_what_is_stored_for_somebody_is_bounded,
    s_35_the_bytes_that_are_stored_for_somebody_are_bounded,
    messages_that_nobody_came_for_are_thrown_away,
    messages_for_nobody_are_refused_and_go_with_their_account,
    messages_that_come_at_once_are_all_kept,
];
