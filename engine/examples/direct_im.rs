//! A direct IM between two clients: text, typing and an image over a connection of their own.
//!
//! `cargo run -p rdv --example direct_im`

use std::error::Error;

use bytes::Bytes;
use rdv::direct_im::{DirectIm, Event, Image, Message, Typing};
use rdv::signaling::memory::MemoryHub;
use rdv::{Engine, ProposalKind, ScreenName, Services, show};

type Failure = Box<dyn Error + Send + Sync>;

/// The smallest GIF: one pixel.
const PIXEL: &[u8] = b"GIF89a\x01\0\x01\0\0\xFF\0,\0\0\0\0\x01\0\x01\0\0\x02\0;";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // A chat client brings its own channel here: see the example `embed_in_client`.
    let (alice, bob) = MemoryHub::pair(ScreenName::new("alice")?, ScreenName::new("bob")?);
    let welcome = Services {
        direct_im: true,
        ..Services::NONE
    };
    // Both sides run in one process here, so loopback addresses are meant.
    let alice = Engine::builder(alice).host_on_this_machine(true).build();
    let bob = Engine::builder(bob)
        .host_on_this_machine(true)
        .services(welcome)
        .build();
    tokio::try_join!(propose(&alice), answer(&bob))?;
    alice.close().await;
    bob.close().await;
    Ok(())
}

/// Alice's user has agreed to show bob her addresses.
async fn propose(engine: &Engine) -> Result<(), Failure> {
    let mut im = engine.direct_im(ScreenName::new("bob")?).await?;
    println!("alice: connected, {}, {}", im.path(), im.security().word());
    im.typing(Typing::Typing).await?;
    let image = Image {
        name: "pixel.gif".into(),
        width: 1,
        height: 1,
        data: Bytes::from_static(PIXEL),
    };
    im.send(Message::new().text("1 < 2, and this: ").image(image))
        .await?;
    listen("alice", &mut im).await;
    Ok(())
}

async fn answer(engine: &Engine) -> Result<(), Failure> {
    let proposal = engine.next_proposal().await.ok_or("the engine has ended")?;
    let ProposalKind::DirectIm { secure } = *proposal.kind() else {
        return Err("no direct IM".into());
    };
    let who = show(proposal.peer().as_str(), 40);
    println!("bob: {who} wants to talk (asks for encryption: {secure}). Bob agrees.");
    let mut im = proposal.accept_direct_im().await?;
    while let Some(event) = im.next_event().await {
        told("bob", &event);
        if let Event::Message(_) = event {
            im.send(Message::new().html("<B>nice</B>")).await?;
            im.close().await;
            return Ok(());
        }
    }
    Ok(())
}

async fn listen(who: &str, im: &mut DirectIm) {
    while let Some(event) = im.next_event().await {
        told(who, &event);
    }
}

/// What comes from the other side is foreign text: it goes to the screen through `show`.
fn told(who: &str, event: &Event) {
    match event {
        Event::Message(message) => {
            println!("{who}: message {}", show(&message.text(), 200));
            for (_, image) in &message.images {
                let name = show(&image.name, 60);
                println!("{who}: image {name}, {} bytes", image.data.len());
            }
        }
        Event::Typing(typing) => println!("{who}: the other side: {typing:?}"),
        Event::Closed(how) => println!("{who}: closed: {how:?}"),
    }
}
