//! What host and relay write down: that something happened, never whose.

use std::io::Write;
use std::sync::{Arc, Mutex};

use rdv_proto::wire::rendezvous::{Cookie, Message, SequenceNumber};
use rdv_proto::wire::tlv::TlvList;
use tracing_subscriber::filter::LevelFilter;

use super::client::{Client, SERVICE};
use super::{host, port};

#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<u8>>>);

impl Write for Book {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One thread: the subscriber is that of this test alone.
#[tokio::test]
async fn s_26_logs_hold_no_address_no_name_and_no_whole_cookie() {
    let book = Book::default();
    let writer = book.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let host = host().await;
    let owner = Client::owner(port(&host)).await;
    let mut joiner = Client::joiner(port(&host)).await;
    let cookie = Cookie([0xAB; 8]);
    let proposal = Message::propose(cookie, SERVICE, SequenceNumber::FIRST);
    joiner.rendezvous("nobody", &proposal, TlvList::new()).await;
    joiner
        .rendezvous(owner.name(), &proposal, TlvList::new())
        .await;
    super::relay::two_meet_on_the_relay_of(&host).await;
    joiner
        .expect_any(rdv_proto::wire::snac::Foodgroup::ICBM)
        .await;
    host.shutdown().await;
    drop(guard);
    let log = String::from_utf8(book.0.lock().unwrap().clone()).unwrap();
    let ours: Vec<&str> = log.lines().filter(|line| line.contains("rdv")).collect();
    assert!(
        ours.iter()
            .any(|line| line.contains("abab") && line.contains("not delivered")),
        "{log}"
    );
    assert!(ours.iter().any(|line| line.contains("joined")), "{log}");
    for line in ours {
        for secret in ["127.0.0.1", "guest7", joiner.name(), "nobody", "ababab"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
