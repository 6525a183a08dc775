//! Direct IMs with libpurple: whoever proposes, typing, text and pictures go both ways. Ours is the library, on our host.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv::direct_im::{DirectIm, Event, Image, Message, Typing};
use rdv::oscar::{Account, AccountSettings, Password};
use rdv::trust::HostTrust;
use rdv::{Engine, Error, ProposalKind, ScreenName, Security, Services};
use rdv_tests::process::Run;
use tokio::time::timeout;

use crate::lab::{Lab, Road, Side, address, purple_receiver};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// The smallest GIF: one pixel.
const PIXEL: &[u8] = b"GIF89a\x01\0\x01\0\0\xFF\0,\0\0\0\0\x01\0\x01\0\0\x02\0;";
const REPLY: [&str; 2] = ["--reply", "<b>reply</b> ü 日本"];

fn name(side: Side) -> ScreenName {
    ScreenName::new(side.account()).expect("a name")
}

/// Signed on; plain is allowed or not: libpurple knows nothing else.
async fn signed_on(side: Side, password: &str, plain: bool) -> (Arc<Account>, Engine) {
    let services = Services {
        direct_im: true,
        ..Services::NONE
    };
    let password = Password::new(password.to_owned());
    let host = address().to_string();
    let settings = AccountSettings::new(host, HostTrust::AcceptAny, name(side), password)
        .capabilities(services.capabilities());
    let account = Account::connect(settings).await.expect("signed on");
    let account = Arc::new(account);
    let engine = Engine::builder(Arc::clone(&account))
        .services(services)
        .plain(move |_: &ScreenName| plain)
        .build();
    (account, engine)
}

/// Types, and says something with a picture in it and without; hears the same.
async fn talk(im: &mut DirectIm) {
    assert_eq!(im.security(), Security::Plain);
    im.typing(Typing::Typing).await.expect("open");
    let image = Image {
        name: "pixel.gif".into(),
        width: 1,
        height: 1,
        data: Bytes::from_static(PIXEL),
    };
    let picture = Message::new().text("grüße, 日本: ").image(image);
    im.send(picture).await.expect("open");
    let words = Message::new().text("just words 😀 <&>");
    im.send(words).await.expect("open");
    let mut typed = false;
    loop {
        let event = timeout(PATIENCE, im.next_event()).await;
        match event.expect("in time").expect("open") {
            Event::Typing(Typing::Typing) => typed = true,
            Event::Typing(_) => {}
            Event::Message(message) => {
                assert_eq!(message.text().trim(), "reply ü 日本");
                let (_, image) = message.images.first().expect("a picture");
                assert_eq!((image.name.as_str(), &image.data[..]), ("reply.gif", PIXEL));
                break;
            }
            Event::Closed(how) => panic!("{how:?}"),
        }
    }
    assert!(typed, "libpurple typed first");
}

/// What libpurple's user has seen of [`talk`].
fn seen(purple: &mut Run, by: Side) {
    purple.event("typing");
    purple.event_with("message", |event| {
        event["text"].as_str().map(str::trim) == Some("grüße, 日本:")
    });
    let image = purple.event("image");
    assert_eq!(
        (&image["with"], &image["size"]),
        (&by.account().into(), &PIXEL.len().into())
    );
    purple.event_with("message", |event| event["text"] == "just words 😀 <&>");
}

#[test]
fn we_propose_a_direct_im_to_libpurple() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let bob = lab.purple(Side::Bob);
    let args = ["--stay", REPLY[0], REPLY[1]];
    let mut purple = purple_receiver(&bob, &args);
    lab.inside(Side::Alice, async |password| {
        let (account, engine) = signed_on(Side::Alice, password, true).await;
        let im = timeout(PATIENCE, engine.direct_im(name(Side::Bob))).await;
        let mut im = im.expect("in time").expect("a direct IM");
        talk(&mut im).await;
        im.close().await;
        engine.close().await;
        account.close().await;
    });
    seen(&mut purple, Side::Alice);
    purple.event_with("system-message", |event| {
        let text = event["text"].as_str();
        text.is_some_and(|text| text.contains("closed the connection"))
    });
}

#[test]
fn libpurple_proposes_a_direct_im_to_us() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let bob = lab.purple(Side::Bob);
    let mut purple = lab.inside(Side::Alice, async |password| {
        let (account, engine) = signed_on(Side::Alice, password, true).await;
        let opens = ["--direct-im", Side::Alice.account(), "--stay"];
        let args: Vec<&str> = opens.into_iter().chain(REPLY).collect();
        let purple = purple_receiver(&bob, &args);
        let proposal = timeout(PATIENCE, engine.next_proposal()).await;
        let proposal = proposal.expect("in time").expect("a proposal");
        assert_eq!(proposal.peer(), &name(Side::Bob));
        assert_eq!(proposal.kind(), &ProposalKind::DirectIm { secure: false });
        let im = timeout(PATIENCE, proposal.accept_direct_im()).await;
        let mut im = im.expect("in time").expect("a direct IM");
        talk(&mut im).await;
        im.close().await;
        engine.close().await;
        account.close().await;
        purple
    });
    seen(&mut purple, Side::Alice);
}

#[test]
fn s_01_without_leave_there_is_no_direct_im_with_libpurple() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let bob = lab.purple(Side::Bob);
    let _purple = purple_receiver(&bob, &["--stay"]);
    lab.inside(Side::Alice, async |password| {
        let (account, engine) = signed_on(Side::Alice, password, false).await;
        let refused = timeout(PATIENCE, engine.direct_im(name(Side::Bob))).await;
        let refused = refused.expect("in time").map(|_| ());
        assert!(
            matches!(refused, Err(Error::Security { .. })),
            "{refused:?}"
        );
        engine.close().await;
        account.close().await;
    });
}
