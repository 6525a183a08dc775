use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const COOKIE: Cookie = Cookie(*b"TRYST001");
const SERVICE: Uuid = rdv_proto::wire::service::NATIVE;

fn name() -> ScreenName {
    ScreenName::new("alice").unwrap()
}

/// A relay that takes one connection, reads one frame, and then writes what it is told.
async fn relay(answers: Vec<Vec<u8>>) -> (String, JoinHandle<(Frame, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let running = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = read_frame(&mut stream).await.unwrap();
        for answer in answers {
            stream.write_all(&answer).await.unwrap();
        }
        (asked, stream)
    });
    (address, running)
}

fn frame(command: Command) -> Vec<u8> {
    Frame::new(command).encode().to_vec()
}

fn created() -> Vec<u8> {
    frame(Command::Created {
        token: 0x2337,
        ip: Ipv4Addr::new(198, 51, 100, 80),
    })
}

#[tokio::test]
async fn what_follows_ready_in_the_same_segment_stays_in_the_stream() {
    let together = [
        created(),
        frame(Command::Ready),
        b"hello from the peer".to_vec(),
    ]
    .concat();
    let (address, running) = relay(vec![together]).await;
    let ticket = Bytes::from_static(b"ticket");
    let (waiting, created) = create(
        &Route::default(),
        &address,
        &name(),
        COOKIE,
        SERVICE,
        Some(ticket.clone()),
    )
    .await
    .unwrap();
    assert_eq!(
        created,
        Created {
            token: 0x2337,
            ip: Ipv4Addr::new(198, 51, 100, 80)
        }
    );
    let mut stream = wait_ready(waiting).await.unwrap();
    let mut peer = [0; 19];
    stream.read_exact(&mut peer).await.unwrap();
    assert_eq!(&peer, b"hello from the peer");

    let (asked, _) = running.await.unwrap();
    let tlvs = TlvList::new()
        .with(TLV_SERVICE, SERVICE.as_bytes().to_vec())
        .with(TLV_TICKET, ticket);
    assert_eq!(
        asked,
        Frame::new(Command::Create {
            name: name(),
            cookie: COOKIE,
            tlvs
        })
    );
}

#[tokio::test]
async fn joining_names_the_token_and_skips_what_is_unknown() {
    let unknown = frame(Command::Unknown {
        command: 7,
        data: Bytes::new(),
    });
    let (address, running) = relay(vec![unknown, frame(Command::Ready), b"!".to_vec()]).await;
    let mut stream = join(
        &Route::default(),
        &address,
        &name(),
        0x2337,
        COOKIE,
        SERVICE,
        None,
    )
    .await
    .unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'!');
    let (asked, _) = running.await.unwrap();
    assert!(matches!(asked.command, Command::Join { token: 0x2337, .. }));
}

#[tokio::test]
async fn the_relays_reasons_are_kept() {
    for code in [
        ErrorCode::BAD_REQUEST,
        ErrorCode::NO_FIRST_COMMAND,
        ErrorCode::PEER_DID_NOT_JOIN,
    ] {
        let (address, _running) = relay(vec![frame(Command::Error(code))]).await;
        let refused = create(&Route::default(), &address, &name(), COOKIE, SERVICE, None).await;
        assert!(
            matches!(refused, Err(ArsError::Refused(said)) if said == code),
            "{refused:?}"
        );
    }
    let (address, _running) = relay(vec![
        created(),
        frame(Command::Error(ErrorCode::PEER_DID_NOT_JOIN)),
    ])
    .await;
    let (waiting, _) = create(&Route::default(), &address, &name(), COOKIE, SERVICE, None)
        .await
        .unwrap();
    assert!(matches!(
        wait_ready(waiting).await,
        Err(ArsError::Refused(ErrorCode::PEER_DID_NOT_JOIN))
    ));
}

#[tokio::test]
async fn foreign_bytes_end_it_and_allocate_nothing() {
    for (bytes, expected) in [
        (b"HTTP/1.1 400 Bad".to_vec(), "BadLength"),
        (vec![0, 9, 4, 0x4A], "BadLength"),
        (
            vec![0, 10, 4, 0x4B, 0, 5, 0, 0, 0, 0, 2, 0x20],
            "UnsupportedVersion",
        ),
        (frame(Command::Ready), "OutOfTurn"),
        (vec![0, 10, 4], "Lost"),
    ] {
        let (address, running) = relay(vec![bytes]).await;
        let hung_up = tokio::spawn(async { drop(running.await) });
        let refused = create(&Route::default(), &address, &name(), COOKIE, SERVICE, None).await;
        hung_up.await.unwrap();
        assert!(
            format!("{refused:?}").contains(expected),
            "{expected}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_ticket_too_long_never_leaves() {
    let ticket = Bytes::from(vec![0; limits::RELAY_TICKET + 1]);
    let refused = create(
        &Route::default(),
        "127.0.0.1:1",
        &name(),
        COOKIE,
        SERVICE,
        Some(ticket),
    )
    .await;
    assert!(
        matches!(refused, Err(ArsError::TicketTooLong(513))),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_wait_ends() {
    let (silent, _running) = relay(vec![]).await;
    let refused = create(&Route::default(), &silent, &name(), COOKIE, SERVICE, None).await;
    assert!(
        matches!(refused, Err(ArsError::Timeout(FIRST_ANSWER))),
        "{refused:?}"
    );

    let (silent, _running) = relay(vec![created()]).await;
    let (waiting, _) = create(&Route::default(), &silent, &name(), COOKIE, SERVICE, None)
        .await
        .unwrap();
    let refused = wait_ready(waiting).await;
    assert!(
        matches!(refused, Err(ArsError::Timeout(PEER_TO_JOIN))),
        "{refused:?}"
    );

    let (silent, _running) = relay(vec![]).await;
    let refused = join(
        &Route::default(),
        &silent,
        &name(),
        1,
        COOKIE,
        SERVICE,
        None,
    )
    .await;
    assert!(
        matches!(refused, Err(ArsError::Timeout(JOINED))),
        "{refused:?}"
    );
}
