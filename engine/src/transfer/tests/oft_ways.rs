//! OFT2 transfers that end well, between two of ours and with old clients.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rdv_proto::transfer::oft::OfferError;
use rdv_proto::wire::oft::{Checksum, FLAG_DONE, Header, Kind, NameCharset, NameField};
use rdv_proto::wire::rendezvous::Cookie;
use tokio::io::ReadBuf;

use super::super::oft::Outgoing;
use super::old::*;
use super::*;

fn arrived_whole(desk: &Desk, names: &[&str]) {
    for name in names {
        let file = Path::new(name).file_name().unwrap();
        assert_eq!(
            fs::read(desk.out().join(file)).unwrap(),
            fs::read(desk.input(name)).unwrap(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_file_of_any_size_arrives() {
    for len in [1, 2, 3, 255, 65_537, 1 << 20, (1 << 20) + 1, 3_000_001] {
        let desk = Desk::new();
        desk.write("a.bin", noise(len, 1));
        let ended = exchange(desk.source(&["a.bin"]), false, desk.sink()).await;
        let [(Ok(sent), Ok(received))] = &ended[..] else {
            panic!("{len}: {ended:?}")
        };
        assert_eq!((sent.files, sent.bytes), (1, len as u64));
        assert_eq!((received.files, received.bytes), (1, len as u64));
        assert_eq!(received.saved, [desk.out().join("a.bin")]);
        arrived_whole(&desk, &["a.bin"]);
        assert_eq!(desk.arrived(), ["a.bin"]);
    }
}

#[tokio::test]
async fn l_22_several_files_travel_in_one_rendezvous_each() {
    let desk = Desk::new();
    for (n, name) in ["d/x", "d/sub/y", "d/sub/naïve 文件.txt", "z"]
        .iter()
        .enumerate()
    {
        desk.write(name, noise(1000 + n, n as u64));
    }
    fs::create_dir(desk.input("d/nothing")).unwrap();
    let ended = exchange(desk.source(&["d", "z"]), false, desk.sink()).await;
    assert_eq!(ended.len(), 4);
    let left_out: u64 = ended
        .iter()
        .map(|(sent, _)| sent.as_ref().unwrap().left_out)
        .sum();
    assert_eq!(left_out, 1);
    assert!(
        ended.iter().all(|(_, received)| received.is_ok()),
        "{ended:?}"
    );
    arrived_whole(&desk, &["d/x", "d/sub/y", "d/sub/naïve 文件.txt", "z"]);
    assert_eq!(desk.arrived().len(), 4);
}

/// A stream that notes the first bytes of each write.
struct Noting<S> {
    stream: S,
    writes: std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Noting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.writes.lock().unwrap().push(bytes[..written].to_vec());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The one client that fails on a header in two segments is AIM 6.1 behind the relay.
#[tokio::test]
async fn l_18_each_header_goes_out_in_one_write() {
    let desk = Desk::new();
    desk.write("d/a", noise(70_001, 1));
    desk.write(&format!("d/{}.txt", "l".repeat(200)), noise(5, 2));
    let control = Control::new();
    let outgoing = only(&desk, &["d"], true).await;
    let terms = terms(outgoing.offer());
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let noting = |stream| {
        let writes = std::sync::Arc::default();
        let noted = std::sync::Arc::clone(&writes);
        (Noting { stream, writes }, noted)
    };
    let ((ours, sent), (theirs, answered)) = (noting(ours), noting(theirs));
    let (sender, receiver) = tokio::join!(
        send_over(ours, outgoing, &control),
        receive_over(theirs, desk.sink(), terms, &control)
    );
    assert!(
        sender.is_ok() && receiver.is_ok(),
        "{sender:?} {receiver:?}"
    );

    let kinds = |writes: &[Vec<u8>]| -> Vec<Kind> {
        let whole = |write: &Vec<u8>| {
            let mut buffer = bytes::BytesMut::from(&write[..]);
            let header = Header::decode(&mut buffer).ok().flatten()?;
            buffer.is_empty().then_some(header.kind)
        };
        writes.iter().filter_map(whole).collect()
    };
    assert_eq!(kinds(&sent.lock().unwrap()), [Kind::PROMPT; 2]);
    let answers = [Kind::ACK, Kind::DONE, Kind::ACK, Kind::DONE];
    assert_eq!(kinds(&answered.lock().unwrap()), answers);
    assert_eq!(answered.lock().unwrap().len(), answers.len());
}

#[tokio::test]
async fn a_batch_brings_its_folders_and_empty_files_along() {
    let desk = Desk::new();
    let long = format!("top/{}.txt", "l".repeat(200));
    let names = [
        "top/a",
        "top/empty",
        "top/sub/deep/文件.txt",
        "top/sub/ünïcödé",
        &long,
    ];
    for (n, name) in names.iter().enumerate() {
        let len = if *name == "top/empty" {
            0
        } else {
            70_001 * n + 1
        };
        desk.write(name, noise(len, n as u64));
    }
    let ended = exchange(desk.source(&["top"]), true, desk.sink()).await;
    let [(Ok(sent), Ok(received))] = &ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!((sent.files, received.files), (5, 5));
    assert_eq!(sent.bytes, received.bytes);
    assert_eq!(received.saved, [desk.out().join("top")]);
    assert_eq!(listing(&desk.out()), listing(&desk.root.path().join("in")));
    for name in names {
        assert_eq!(
            fs::read(desk.out().join(name)).unwrap(),
            fs::read(desk.input(name)).unwrap()
        );
    }
}

#[tokio::test]
async fn a_batch_of_several_tops_comes_in_a_folder_of_its_own() {
    let desk = Desk::new();
    desk.write("a", "1");
    desk.write("d/b", "22");
    let ended = exchange(desk.source(&["a", "d"]), true, desk.sink()).await;
    assert_eq!(
        ended[0].1.as_ref().unwrap().saved,
        [desk.out().join("files")]
    );
    assert_eq!(
        desk.arrived(),
        ["files/", "files/a", "files/d/", "files/d/b"]
    );

    // One file is one file.
    let alone = exchange(desk.source(&["a"]), true, desk.sink()).await;
    assert_eq!(alone[0].1.as_ref().unwrap().saved, [desk.out().join("a")]);
}

#[tokio::test]
async fn s_20_times_are_kept_and_clamped_and_nothing_can_be_run() {
    let desk = Desk::new();
    let day = Duration::from_secs(86_400);
    let times = [
        ("kept", SystemTime::UNIX_EPOCH + 20_000 * day),
        ("old", SystemTime::UNIX_EPOCH + 30 * day),
        ("future", SystemTime::now() + 30 * day),
    ];
    for (name, time) in times {
        let path = desk.write(name, "#!/bin/sh");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
    let options = SinkOptions {
        keep_exec: true,
        ..Default::default()
    };
    let ended = exchange(
        desk.source(&["kept", "old", "future"]),
        false,
        desk.sink_with(options),
    )
    .await;
    assert!(
        ended.iter().all(|(_, received)| received.is_ok()),
        "{ended:?}"
    );
    let time = |name: &str| {
        desk.out()
            .join(name)
            .metadata()
            .unwrap()
            .modified()
            .unwrap()
    };
    assert_eq!(time("kept"), times[0].1);
    assert_eq!(
        time("old"),
        SystemTime::UNIX_EPOCH + Duration::from_secs(315_532_800)
    );
    assert!(time("future") <= SystemTime::now() + day);
    assert_eq!(mode(&desk.out().join("kept")), 0o600);
}

async fn onto_old_files(if_exists: IfExists) -> (Desk, Vec<(Ended, Ended)>) {
    let desk = Desk::new();
    desk.write("d/x", "new");
    desk.write("d/y", "new");
    fs::create_dir_all(desk.out().join("d")).unwrap();
    fs::write(desk.out().join("d/x"), "old").unwrap();
    let sink = desk.sink_with(SinkOptions {
        if_exists,
        ..Default::default()
    });
    let ended = exchange(desk.source(&["d"]), true, sink).await;
    (desk, ended)
}

#[tokio::test]
async fn s_15_taken_names_are_treated_as_the_user_says() {
    let read = |desk: &Desk, name: &str| fs::read_to_string(desk.out().join(name)).unwrap();

    let (desk, ended) = onto_old_files(IfExists::Rename).await;
    assert_eq!(
        ended[0].1.as_ref().unwrap().saved,
        [desk.out().join("d (1)")]
    );
    assert_eq!(
        desk.arrived(),
        ["d (1)/", "d (1)/x", "d (1)/y", "d/", "d/x"]
    );
    assert_eq!(read(&desk, "d/x"), "old");

    let (desk, ended) = onto_old_files(IfExists::Overwrite).await;
    assert!(ended[0].0.is_ok() && ended[0].1.is_ok(), "{ended:?}");
    assert_eq!(
        (read(&desk, "d/x"), read(&desk, "d/y")),
        ("new".into(), "new".into())
    );

    let (desk, ended) = onto_old_files(IfExists::Skip).await;
    let (Ok(sent), Ok(received)) = &ended[0] else {
        panic!("{ended:?}")
    };
    assert_eq!(
        (sent.files, received.files, sent.bytes, received.bytes),
        (1, 1, 3, 3)
    );
    assert_eq!(
        (read(&desk, "d/x"), read(&desk, "d/y")),
        ("old".into(), "new".into())
    );

    let (desk, ended) = onto_old_files(IfExists::Fail).await;
    assert!(
        matches!(ended[0].1, Err(TransferError::Exists { .. })),
        "{ended:?}"
    );
    assert!(
        matches!(ended[0].0, Err(TransferError::LinkLost(_))),
        "{ended:?}"
    );
    assert_eq!(desk.arrived(), ["d/", "d/x"]);

    // Nothing in the way: a folder of the transfer's own is not one that was there before.
    let desk = Desk::new();
    desk.write("d/x", "new");
    desk.write("d/y", "new");
    let sink = desk.sink_with(SinkOptions {
        if_exists: IfExists::Fail,
        ..Default::default()
    });
    let ended = exchange(desk.source(&["d"]), true, sink).await;
    assert!(ended[0].1.is_ok(), "{ended:?}");
    assert_eq!(desk.arrived(), ["d/", "d/x", "d/y"]);
}

async fn refused(desk: &Desk, names: &[&str], batch: bool) -> SourceError {
    match Outgoing::prepare(desk.source(names), batch, &Control::new()).await {
        Err(TransferError::Source(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_oft_cannot_carry_is_refused_before_anything_starts() {
    let desk = Desk::new();
    desk.write("d/a", "x");
    desk.write("d/empty", "");
    desk.write("void/empty", "");
    fs::create_dir(desk.input("nothing")).unwrap();
    let big = |name: &str, len| {
        let path = desk.write(name, "");
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(len)
            .unwrap();
    };
    big("big/one", 1 << 32);
    big("most", (1 << 32) - 1);
    let deep = format!("{0}/{0}/{0}/{0}/{0}/f", "n".repeat(250));
    desk.write(&deep, "x");

    let empty = refused(&desk, &["d"], false).await;
    assert!(
        matches!(&empty, SourceError::OldClient { path: Some(path), why: OfferError::Empty } if path.ends_with("d/empty")),
        "{empty:?}"
    );
    assert!(empty.to_string().contains("empty file"), "{empty}");
    let why = async |names: &[&str], batch| match refused(&desk, names, batch).await {
        SourceError::OldClient { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(&["void"], true).await, OfferError::Empty);
    assert_eq!(why(&["nothing"], false).await, OfferError::Nothing);
    assert_eq!(why(&["nothing"], true).await, OfferError::Nothing);
    assert_eq!(
        why(&["big"], false).await,
        OfferError::TooLarge { bytes: 1 << 32 }
    );
    assert_eq!(
        why(&["most", "d"], true).await,
        OfferError::TooLarge { bytes: 1 << 32 }
    );
    assert!(matches!(
        why(&[&deep[..250]], true).await,
        OfferError::Name(_)
    ));

    let text = Outgoing::prepare(
        Source::text("hello".into()).unwrap(),
        false,
        &Control::new(),
    )
    .await;
    assert!(matches!(
        text,
        Err(TransferError::Source(SourceError::TextForOldClient))
    ));
    // The largest file that can be said, and a batch with an empty file among others.
    assert!(
        Outgoing::prepare(desk.source(&["most"]), false, &Control::new())
            .await
            .is_ok()
    );
    assert!(
        Outgoing::prepare(desk.source(&["d"]), true, &Control::new())
            .await
            .is_ok()
    );
}

/// A libpurple that receives: it takes the bytes in odd pieces and sums each of those up at the wrong parity, says so in its DONE, and leaves the
/// connection open.
async fn libpurple_receives(old: &mut Old, len: usize) -> Vec<u8> {
    let prompt = old.hear(Kind::PROMPT).await.unwrap();
    assert_eq!(prompt.cookie, COOKIE, "L-15");
    assert_eq!(prompt.resource_received_checksum, Checksum::EMPTY, "L-14");
    assert_eq!(prompt.resource_checksum, Checksum::EMPTY, "L-14");
    assert_eq!(prompt.received_checksum, Checksum::EMPTY, "L-14");
    old.say(&prompt.reply(Kind::ACK, COOKIE)).await;
    let bytes = old.body(len).await;
    let swapped = checksum(&[&[0], &bytes[..]].concat());
    old.say(&Header {
        received: u32::try_from(len).unwrap(),
        received_checksum: swapped,
        ..prompt.reply(Kind::DONE, COOKIE)
    })
    .await;
    bytes
}

async fn only(desk: &Desk, names: &[&str], batch: bool) -> Outgoing {
    let mut all = Outgoing::prepare(desk.source(names), batch, &Control::new())
        .await
        .unwrap();
    assert_eq!(all.len(), 1);
    all.pop_front().unwrap()
}

#[tokio::test]
async fn l_19_a_receiver_that_sums_up_wrongly_and_stays_connected_is_done() {
    let desk = Desk::new();
    let content = noise(100_001, 1);
    desk.write("a.bin", &content);
    let outgoing = only(&desk, &["a.bin"], false).await;
    let (a, b) = stream();
    let mut old = Old(b);
    let control = Control::new();
    let (sent, bytes) = tokio::join!(
        send_over(a, outgoing, &control),
        libpurple_receives(&mut old, 100_001)
    );
    assert_eq!(sent.unwrap().files, 1);
    assert_eq!(bytes, content);
    // We have closed, although it has not.
    old.closed().await;
}

#[tokio::test]
async fn a_receiver_like_joscar_that_clears_fields_is_done() {
    let desk = Desk::new();
    desk.write("d/a", "one");
    desk.write("d/b", "three");
    let outgoing = only(&desk, &["d"], true).await;
    assert_eq!(
        (
            outgoing.offer().folder,
            outgoing.offer().files,
            outgoing.offer().bytes,
            &*outgoing.offer().name
        ),
        (true, 2, 8, "d")
    );
    let (a, b) = stream();
    let mut old = Old(b);
    let joscar = async {
        for (left, content) in [(2, "one"), (1, "three")] {
            let prompt = old.hear(Kind::PROMPT).await.unwrap();
            assert_eq!((prompt.total_files, prompt.files_left), (2, left));
            assert_eq!(
                (prompt.total_size, prompt.size as usize),
                (8, content.len())
            );
            assert_eq!(prompt.checksum, checksum(content.as_bytes()));
            let ack = prompt.reply(Kind::ACK, COOKIE);
            old.say(&Header {
                received_checksum: Checksum(0),
                flags: 0,
                ..ack
            })
            .await;
            assert_eq!(old.body(content.len()).await, content.as_bytes());
            old.say(&Header {
                received: prompt.size,
                received_checksum: prompt.checksum,
                files_left: left - 1,
                parts_left: left - 1,
                flags: prompt.flags | FLAG_DONE,
                ..prompt.reply(Kind::DONE, COOKIE)
            })
            .await;
        }
        old.closed().await;
    };
    let control = Control::new();
    let (sent, ()) = tokio::join!(send_over(a, outgoing, &control), joscar);
    assert_eq!(sent.unwrap().files, 2);
}

#[tokio::test]
async fn l_20_a_receiver_that_has_it_is_sent_nothing() {
    let desk = Desk::new();
    desk.write("a", "content");
    let (a, b) = stream();
    let mut old = Old(b);
    let has_it = async {
        let prompt = old.hear(Kind::PROMPT).await.unwrap();
        old.say(&Header {
            received: prompt.size,
            ..prompt.reply(Kind::DONE, COOKIE)
        })
        .await;
        old.closed().await;
    };
    let control = Control::new();
    let mut outgoing = Outgoing::prepare(desk.source(&["a"]), false, &control)
        .await
        .unwrap();
    assert_eq!(control.progress().total_bytes, 7);
    let outgoing = outgoing.pop_front().unwrap();
    let (sent, ()) = tokio::join!(send_over(a, outgoing, &control), has_it);
    let sent = sent.unwrap();
    assert_eq!((sent.files, sent.bytes), (0, 0));
    let progress = control.progress();
    assert_eq!((progress.total_files, progress.total_bytes), (0, 0));
}

/// What libpurple sends: a cookie of zeros, no times, no flags, a name in UTF-8 that calls itself ASCII.
fn libpurple_prompt(name: &str, content: &[u8]) -> Header {
    Header {
        cookie: Cookie([0; 8]),
        mtime: 0,
        flags: 0,
        list_name_offset: 0,
        list_size_offset: 0,
        charset: NameCharset::ASCII,
        name: NameField::encode_as(NameCharset::ASCII, [name]).unwrap(),
        ..prompt(&["x"], content)
    }
}

#[tokio::test]
async fn l_16_a_sender_like_libpurple_is_received_from() {
    let desk = Desk::new();
    let name = format!("naïve {}.bin", "n".repeat(150));
    let content = noise(30_001, 1);
    let (a, b) = stream();
    let mut old = Old(a);
    let libpurple = async {
        let prompt = libpurple_prompt(&name, &content);
        old.say(&prompt).await;
        let ack = old.hear(Kind::ACK).await.unwrap();
        assert_eq!(ack, prompt.reply(Kind::ACK, COOKIE));
        for piece in content.chunks(4095) {
            old.bytes(piece).await;
        }
        let done = old.hear(Kind::DONE).await.unwrap();
        assert_eq!(
            (done.received, done.received_checksum),
            (30_001, checksum(&content))
        );
        assert_eq!(done.checksum, prompt.checksum, "L-21");
        assert_eq!(done.flags, FLAG_DONE);
        // It stays connected; we don't.
        old.closed().await;
    };
    let control = Control::new();
    let terms = rdv_proto::transfer::oft::ReceiveTerms {
        zero_cookie_counts: true,
        ..one(&name, 30_001)
    };
    let (received, ()) = tokio::join!(receive_over(b, desk.sink(), terms, &control), libpurple);
    assert_eq!(received.unwrap().saved, [desk.out().join(&name)]);
    assert_eq!(fs::read(desk.out().join(&name)).unwrap(), content);
    assert_eq!(control.progress().bytes, 30_001);
}

#[tokio::test]
async fn l_23_a_single_file_goes_by_the_last_part_of_its_name() {
    // A recorded AIM sends one file with its name as a folder in front, and closes right after DONE.
    let desk = Desk::new();
    let (a, b) = stream();
    let mut old = Old(a);
    let aim = async {
        let prompt = prompt(
            &["Donna Cover Again.psd", "Donna Cover Again.psd"],
            b"image",
        );
        old.say(&prompt).await;
        old.hear(Kind::ACK).await.unwrap();
        old.bytes(b"image").await;
        old.hear(Kind::DONE).await.unwrap();
        drop(old);
    };
    let control = Control::new();
    let terms = one("Donna Cover Again.psd", 5);
    let (received, ()) = tokio::join!(receive_over(b, desk.sink(), terms, &control), aim);
    received.unwrap();
    assert_eq!(desk.arrived(), ["Donna Cover Again.psd"]);
}

#[tokio::test]
async fn l_27_both_zeros_are_one_checksum() {
    for said in [Checksum(0), Checksum(0xFFFF_0000)] {
        let desk = Desk::new();
        let (a, b) = stream();
        let mut old = Old(a);
        let sender = async {
            old.say(&Header {
                checksum: said,
                ..prompt(&["f"], &[0xFF; 6])
            })
            .await;
            old.hear(Kind::ACK).await.unwrap();
            old.bytes(&[0xFF; 6]).await;
            old.hear(Kind::DONE).await
        };
        let control = Control::new();
        let (received, done) =
            tokio::join!(receive_over(b, desk.sink(), one("f", 6), &control), sender);
        received.unwrap();
        assert_eq!(done.unwrap().checksum, said);
    }
}

#[tokio::test]
async fn a_file_is_on_disk_under_its_name_before_its_done() {
    let desk = Desk::new();
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        for (n, left) in [(0, 2), (1, 1)] {
            let content = noise(1000, n);
            let name = format!("f{n}");
            old.say(&Header {
                total_files: 2,
                files_left: left,
                total_size: 2000,
                ..prompt(&["d", &name], &content)
            })
            .await;
            old.hear(Kind::ACK).await.unwrap();
            assert!(!desk.out().join("d").join(&name).exists());
            old.bytes(&content).await;
            old.hear(Kind::DONE).await.unwrap();
            assert_eq!(fs::read(desk.out().join("d").join(&name)).unwrap(), content);
        }
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(
        receive_over(b, desk.sink(), many("d", 2, 2000), &control),
        sender
    );
    assert_eq!(received.unwrap().files, 2);
}

#[tokio::test]
async fn a_sender_that_goes_after_its_last_byte_has_sent_it() {
    let desk = Desk::new();
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        old.say(&prompt(&["f"], b"whole")).await;
        old.hear(Kind::ACK).await.unwrap();
        old.bytes(b"whole").await;
        drop(old);
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(receive_over(b, desk.sink(), one("f", 5), &control), sender);
    received.unwrap();
    assert_eq!(desk.arrived(), ["f"]);
}
