//! What is written down about owners: nothing that is theirs.

use std::io::Write;
use std::sync::{Arc, Mutex};

use rdv_proto::wire::admin::{ConfirmStatus, DeleteRequest, tag};
use tracing_subscriber::filter::LevelFilter;

use super::faults::Fault;
use super::{Hall, code};

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
async fn a_25_passwords_codes_addresses_and_names_reach_no_log() {
    // Two: where there is but one, threads without it turn off for all what they are the first to come by.
    let beside = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::sink);
    let _beside = tracing::Dispatch::new(beside.finish());
    let book = Book::default();
    let writer = book.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let hall = Hall::with(|config| config.admin.delete = true).await;
    let mut owner = hall.owner("hedgehog").await;
    let old = owner.password.clone();
    owner.change_password(b"kingfisher", b"woodpecker").await;
    assert_eq!(code(&owner.passwd("kingfisher").await), None);
    owner.set(tag::EMAIL, b"oystercatcher@example.org").await;
    let mail = hall.mailer.next().await.code.expose();
    owner.confirm_with("WRONG-CODES-ARENOT-WRITT-ENDWN").await;
    assert_eq!(owner.confirm_with(&mail).await.status, ConfirmStatus::DONE);
    hall.store.fails(Fault::Panic);
    owner.change_password(b"kingfisher2", b"kingfisher").await;
    hall.store.fails(None);
    owner.delete(DeleteRequest::of(b"kingfisher")).await;
    owner.client.expect_sign_off().await;
    hall.town.host.shutdown().await;
    drop(guard);
    let log = String::from_utf8(book.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("change_password") && log.contains("by a bug"),
        "{log}"
    );
    for secret in [
        "kingfisher",
        "woodpecker",
        &old,
        "oystercatcher",
        "example.org",
        &mail,
        "WRONG-CODES",
        "hedgehog",
        "127.0.0.1",
    ] {
        let ours = log.lines().filter(|line| line.contains("rdv"));
        for line in ours {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
        assert!(
            !log.contains("kingfisher") && !log.contains(&mail),
            "{secret}"
        );
    }
}
