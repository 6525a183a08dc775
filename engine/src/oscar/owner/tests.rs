//! The keeper over channels of a memory hub, in virtual time.

use std::sync::Mutex;

use rdv_proto::wire::rendezvous::{Cookie, NakCode};
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::signon::LoginErrorCode;
use tokio::time::{Instant, sleep};

use super::*;
use crate::signaling::memory::{MemoryChannel, MemoryHub};

impl Connection for MemoryChannel {
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn dismissed(&self) -> Option<OscarError> {
        None
    }

    fn make_sure(&self) {}
}

impl GuestConnection for MemoryChannel {
    fn token(&self) -> Option<Token> {
        Some(Token([1; 16]))
    }
}

fn name(text: &str) -> ScreenName {
    ScreenName::new(text).unwrap()
}

fn signal() -> Bytes {
    Signal::client_error(Cookie(*b"TRYST001"), NakCode::DENIED).encode()
}

fn timed_out() -> OscarError {
    OscarError::Timeout
}

/// A keeper of number 7, whose tries to come back end as scripted and then succeed, and the times of the tries.
fn keeper(
    hub: &MemoryHub,
    script: Vec<fn() -> OscarError>,
) -> (Keeper<MemoryChannel>, Arc<Mutex<Vec<Instant>>>) {
    let tries = Arc::new(Mutex::new(Vec::new()));
    let (seen, again) = (tries.clone(), hub.clone());
    let dial = move |sign_on| -> BoxFuture<'static, _> {
        assert!(
            matches!(&sign_on, SignOn::Reclaim { number, token } if *number == name("7") && token.0 == [1; 16])
        );
        let mut seen = seen.lock().unwrap();
        let answer = match script.get(seen.len()) {
            Some(error) => Err(error()),
            None => Ok(again.join(name("7"))),
        };
        seen.push(Instant::now());
        Box::pin(std::future::ready(answer))
    };
    let reclaim = Reclaim {
        number: name("7"),
        token: Some(Token([1; 16])),
        dial: Box::new(dial),
    };
    (Keeper::new(hub.join(name("7")), reclaim), tries)
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_comes_back_and_messages_wait_for_it() {
    let hub = MemoryHub::new();
    let (keeper, tries) = keeper(&hub, vec![timed_out, timed_out]);
    let bob = hub.join(name("bob"));
    let lost = Instant::now();
    hub.drop_member(&name("7"));
    keeper.send(name("bob"), signal(), false).await.unwrap();
    assert_eq!(
        bob.recv().await.unwrap(),
        Incoming::Message {
            from: name("7"),
            body: signal()
        }
    );
    let tries: Vec<u64> = tries
        .lock()
        .unwrap()
        .iter()
        .map(|at| (*at - lost).as_millis() as u64)
        .collect();
    // Each after between half of the pause and all of it, which doubles.
    assert_eq!(tries.len(), 3);
    for (at, latest) in tries.into_iter().zip([200, 600, 1400]) {
        assert!((latest / 2..=latest).contains(&at), "{at} of {latest} ms");
    }

    bob.send(name("7"), signal(), false).await.unwrap();
    assert_eq!(keeper.recv().await.unwrap(), Incoming::Restored);
    assert_eq!(
        keeper.recv().await.unwrap(),
        Incoming::Message {
            from: name("bob"),
            body: signal()
        }
    );
    assert_eq!(*keeper.standing().borrow(), Standing::SignedOn);
}

#[tokio::test(start_paused = true)]
async fn a_number_that_the_host_does_not_give_back_is_lost() {
    let hub = MemoryHub::new();
    let refused = || OscarError::Refused {
        code: LoginErrorCode::WRONG_PASSWORD,
    };
    let (keeper, tries) = keeper(&hub, vec![timed_out, refused]);
    hub.drop_member(&name("7"));
    assert!(matches!(keeper.recv().await, Err(SignalingError::Closed)));
    let sent = keeper.send(name("bob"), signal(), false).await;
    assert!(matches!(sent, Err(SignalingError::Closed)), "{sent:?}");
    assert_eq!(tries.lock().unwrap().len(), 2);
    assert_eq!(*keeper.standing().borrow(), Standing::Gone);
}

#[tokio::test(start_paused = true)]
async fn after_ten_minutes_the_number_is_somebody_elses() {
    let hub = MemoryHub::new();
    let (keeper, tries) = keeper(&hub, vec![timed_out; 1000]);
    let lost = Instant::now();
    hub.drop_member(&name("7"));
    assert!(matches!(keeper.recv().await, Err(SignalingError::Closed)));
    let waited = lost.elapsed();
    assert!(
        waited >= KEPT_BY_HOST && waited <= KEPT_BY_HOST + PAUSE_MAX,
        "{waited:?}"
    );
    assert!(tries.lock().unwrap().len() < 75);
}

#[tokio::test(start_paused = true)]
async fn whoever_closes_does_not_come_back() {
    let hub = MemoryHub::new();
    let (keeper, tries) = keeper(&hub, vec![]);
    keeper.close().await;
    assert!(matches!(keeper.recv().await, Err(SignalingError::Closed)));
    hub.drop_member(&name("7"));
    let sent = keeper.send(name("bob"), signal(), false).await;
    assert!(matches!(sent, Err(SignalingError::Closed)), "{sent:?}");
    sleep(Duration::from_secs(60)).await;
    assert!(tries.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_token_nobody_comes_back() {
    let hub = MemoryHub::new();
    let reclaim = Reclaim {
        number: name("guesta"),
        token: None,
        dial: Box::new(
            |_| -> BoxFuture<'static, Result<MemoryChannel, OscarError>> {
                panic!("an old host knows no way back")
            },
        ),
    };
    let keeper = Keeper::new(hub.join(name("guesta")), reclaim);
    let lost = Instant::now();
    hub.drop_member(&name("guesta"));
    assert!(matches!(keeper.recv().await, Err(SignalingError::Closed)));
    assert!(lost.elapsed() < Duration::from_secs(1));
}
