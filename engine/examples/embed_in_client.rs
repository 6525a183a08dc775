//! How a chat client takes rdv in: two clients that can do nothing but send each other lines of text, and a folder that gets
//! from one to the other over a connection of its own.
//!
//! `cargo run -p rdv --example embed_in_client`

use std::error::Error;
use std::path::Path;

use bytes::Bytes;
use rdv::signaling::{BoxFuture, Incoming, Signaling, SignalingError};
use rdv::{
    Engine, OfferOptions, ScreenName, Sink, SinkOptions, Source, SourceOptions, TransferEvent, show,
};
use tokio::sync::{Mutex, mpsc};

type Failure = Box<dyn Error + Send + Sync>;

/// What this client has: a line of text goes to the other user, lines come from them.
struct Chat {
    me: ScreenName,
    other: ScreenName,
    out: mpsc::Sender<String>,
    incoming: Mutex<mpsc::Receiver<String>>,
}

/// What rdv needs: bytes go to a name, bytes come from one. Here they travel as hexadecimal digits behind a word.
impl Signaling for Chat {
    fn local_name(&self) -> ScreenName {
        self.me.clone()
    }

    fn send(
        &self,
        _to: ScreenName,
        body: Bytes,
        _host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(async move {
            let digits: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
            self.out
                .send(format!("rdv {digits}"))
                .await
                .map_err(|_| SignalingError::Closed)
        })
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async move {
            loop {
                let line = self
                    .incoming
                    .lock()
                    .await
                    .recv()
                    .await
                    .ok_or(SignalingError::Closed)?;
                // Any other line is for people.
                if let Some(body) = line.strip_prefix("rdv ").and_then(bytes_of) {
                    return Ok(Incoming::Message {
                        from: self.other.clone(),
                        body,
                    });
                }
            }
        })
    }
}

fn bytes_of(digits: &str) -> Option<Bytes> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits
        .chunks_exact(2)
        .map(byte)
        .collect::<Option<Vec<_>>>()
        .map(Bytes::from)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let place = tempfile::tempdir()?;
    let (holiday, inbox) = (place.path().join("holiday"), place.path().join("inbox"));
    std::fs::create_dir(&holiday)?;
    std::fs::write(holiday.join("notes.txt"), "It rained.")?;

    let (alice, bob) = chat()?;
    // Both sides run in one process here, so loopback addresses are meant.
    let alice = Engine::builder(alice).host_on_this_machine(true).build();
    let bob = Engine::builder(bob).host_on_this_machine(true).build();
    tokio::try_join!(send(&alice, "bob", &holiday), receive(&bob, &inbox))?;
    println!(
        "arrived: {:?}",
        std::fs::read_to_string(inbox.join("holiday/notes.txt"))?
    );
    alice.close().await;
    bob.close().await;
    Ok(())
}

async fn send(engine: &Engine, to: &str, what: &Path) -> Result<(), Failure> {
    let source = Source::paths(vec![what.to_path_buf()], SourceOptions::default())?;
    let mut transfer = engine
        .offer(ScreenName::new(to)?, source, OfferOptions::default())
        .await?;
    while let Some(event) = transfer.next_event().await {
        match event {
            TransferEvent::Connected { path, .. } => println!("connected: {path}"),
            TransferEvent::Ended(outcome) => println!("sent {} bytes", outcome?.bytes),
            _ => {}
        }
    }
    Ok(())
}

async fn receive(engine: &Engine, into: &Path) -> Result<(), Failure> {
    let proposal = engine.next_proposal().await.ok_or("the engine has ended")?;
    let who = show(proposal.peer().as_str(), 40);
    println!("{who} wants to send something");
    let transfer = proposal
        .accept(Sink::folder(into, SinkOptions::default())?)
        .await?;
    // Asked with the whole list of names and sizes; a client would show it to its user.
    let summary = transfer.finish(|offer| offer.files < 100).await?;
    println!("received {} files", summary.files);
    Ok(())
}

/// A chat between two people.
fn chat() -> Result<(Chat, Chat), Failure> {
    let (alice, bob) = (ScreenName::new("alice")?, ScreenName::new("bob")?);
    let (to_bob, for_bob) = mpsc::channel(64);
    let (to_alice, for_alice) = mpsc::channel(64);
    let one = Chat {
        me: alice.clone(),
        other: bob.clone(),
        out: to_bob,
        incoming: Mutex::new(for_alice),
    };
    let other = Chat {
        me: bob,
        other: alice,
        out: to_alice,
        incoming: Mutex::new(for_bob),
    };
    Ok((one, other))
}
