//! Transfers that end well.

use std::time::{Duration, SystemTime};

use super::*;

fn set_mtime(path: &Path, time: SystemTime) {
    fs::File::options()
        .read(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[tokio::test]
async fn a_file_arrives_whole() {
    let desk = Desk::new();
    let content = noise(3_000_000, 1);
    let path = desk.write("big.bin", &content);
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    set_mtime(&path, time);
    let (sent, received) = transfer(desk.source(&["big.bin"]), desk.sink()).await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!(fs::read(desk.out().join("big.bin")).unwrap(), content);
    assert_eq!(desk.arrived(), ["big.bin"]);
    assert_eq!(received.saved, [desk.out().join("big.bin")]);
    assert_eq!(
        (sent.files, sent.bytes, received.files, received.bytes),
        (1, 3_000_000, 1, 3_000_000)
    );
    assert_eq!(sent.hash, Some(blake3::hash(&content)));
    assert_eq!(received.hash, sent.hash);
    assert_eq!(
        desk.out()
            .join("big.bin")
            .metadata()
            .unwrap()
            .modified()
            .unwrap(),
        time
    );
}

#[tokio::test]
async fn a_folder_arrives_with_its_empty_folders_and_names_in_many_scripts() {
    let desk = Desk::new();
    let long = "l".repeat(251) + ".txt";
    let wide = "ю".repeat(127);
    let mut expected = vec![];
    for (n, name) in [
        "a.txt",
        "empty",
        "sub/ünïcödé",
        "sub/deep/文件.txt",
        "файл",
        "ملف.txt",
        "日本語/テスト",
        "한국어",
        &long,
        &wide,
        "👩.png",
        ".hidden",
    ]
    .iter()
    .enumerate()
    {
        let content = if *name == "empty" {
            vec![]
        } else {
            noise(n * 1000, n as u64)
        };
        desk.write(&format!("top/{name}"), &content);
        expected.push((format!("top/{name}"), content));
    }
    fs::create_dir_all(desk.input("top/nothing/below")).unwrap();
    let (sent, received) = transfer(desk.source(&["top"]), desk.sink()).await;
    assert_eq!(sent.unwrap().hash, received.as_ref().unwrap().hash);
    assert_eq!(received.unwrap().saved, [desk.out().join("top")]);
    assert_eq!(listing(&desk.out()), listing(&desk.root.path().join("in")));
    for (name, content) in expected {
        assert_eq!(fs::read(desk.out().join(&name)).unwrap(), content, "{name}");
    }
}

#[tokio::test]
async fn two_thousand_small_files_arrive() {
    let desk = Desk::new();
    for n in 0..2000 {
        desk.write(&format!("many/{}/{n}", n % 50), noise(n % 700, n as u64));
    }
    let handle = Control::new();
    let (a, b) = stream();
    let (sent, received) = tokio::join!(
        send(a, desk.source(&["many"]), handle.clone()),
        receive(b, desk.sink(), yes, Control::new())
    );
    assert_eq!(sent.unwrap().files, 2000);
    received.unwrap();
    assert_eq!(handle.progress().files, 2000);
    assert_eq!(listing(&desk.out()), listing(&desk.root.path().join("in")));
    for n in (0..2000).step_by(37) {
        assert_eq!(
            fs::read(desk.out().join(format!("many/{}/{n}", n % 50))).unwrap(),
            noise(n % 700, n as u64)
        );
    }
}

#[tokio::test]
async fn an_empty_folder_and_an_empty_file_arrive() {
    let desk = Desk::new();
    fs::create_dir(desk.input("nothing")).unwrap();
    desk.write("zero", "");
    let (sent, received) = transfer(desk.source(&["nothing", "zero"]), desk.sink()).await;
    sent.unwrap();
    received.unwrap();
    assert_eq!(desk.arrived(), ["nothing/", "zero"]);

    let (sent, received) = transfer(desk.source(&["nothing"]), desk.sink()).await;
    assert_eq!(sent.unwrap().hash, None);
    assert_eq!(received.unwrap().saved, [desk.out().join("nothing (1)")]);
}

#[tokio::test]
async fn a_text_is_handed_over_and_not_written() {
    let desk = Desk::new();
    let (sent, received) = transfer(Source::text("Grüße\n".into()).unwrap(), desk.sink()).await;
    sent.unwrap();
    let received = received.unwrap();
    assert_eq!(received.text.as_deref(), Some("Grüße\n"));
    assert!(received.saved.is_empty());
    assert!(!desk.out().exists());
    assert!(matches!(
        Source::text("x".repeat((1 << 20) + 1)),
        Err(SourceError::TextTooLong)
    ));
}

#[tokio::test]
async fn the_question_shows_what_is_decided() {
    let desk = Desk::new();
    desk.write("top/a", "12345");
    desk.write("top/.bashrc", "x");
    desk.write("top/run.sh", "");
    let (a, b) = stream();
    let ask = async |offer: Offer| {
        assert_eq!(
            (offer.files, offer.folders, offer.total_bytes, offer.text),
            (3, 1, 6, false)
        );
        let names: Vec<_> = offer
            .names
            .iter()
            .map(|n| (n.name.as_str(), n.bytes, n.mark))
            .collect();
        let expected = [
            ("top", 0, None),
            ("top/.bashrc", 1, Some(Mark::Profile)),
            ("top/a", 5, None),
            ("top/run.sh", 0, Some(Mark::Executable)),
        ];
        assert_eq!(names, expected);
        assert!(offer.free_space.is_some() && !offer.is_tight());
        true
    };
    let (sent, received) = tokio::join!(
        send(a, desk.source(&["top"]), Control::new()),
        receive(b, desk.sink(), ask, Control::new())
    );
    sent.unwrap();
    received.unwrap();
}

#[tokio::test]
async fn s_20_modes_are_the_owners_and_times_are_clamped() {
    let desk = Desk::new();
    let modes = [
        ("read", 0o444),
        ("private", 0o600),
        ("open", 0o666),
        ("run", 0o4755),
    ];
    for (name, mode) in modes {
        let path = desk.write(name, "x");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let names: Vec<_> = modes.iter().map(|(name, _)| *name).collect();
    set_mtime(
        &desk.input("private"),
        SystemTime::UNIX_EPOCH - Duration::from_secs(5),
    );
    set_mtime(
        &desk.input("open"),
        SystemTime::now() + Duration::from_secs(30 * 86_400),
    );
    let (sent, received) = transfer(desk.source(&names), desk.sink()).await;
    sent.unwrap();
    received.unwrap();
    let arrived: Vec<_> = names
        .iter()
        .map(|name| mode(&desk.out().join(name)))
        .collect();
    assert_eq!(arrived, [0o400, 0o600, 0o600, 0o600]);
    let time = |name: &str| {
        desk.out()
            .join(name)
            .metadata()
            .unwrap()
            .modified()
            .unwrap()
    };
    assert_eq!(
        time("private"),
        SystemTime::UNIX_EPOCH + Duration::from_secs(315_532_800)
    );
    assert!(time("open") <= SystemTime::now() + Duration::from_secs(86_400));

    let keep = Sink::folder(
        desk.root.path().join("kept"),
        SinkOptions {
            keep_exec: true,
            ..Default::default()
        },
    )
    .unwrap();
    transfer(desk.source(&["run"]), keep).await.1.unwrap();
    assert_eq!(mode(&desk.root.path().join("kept/run")), 0o700);
}

#[tokio::test]
async fn s_15_a_taken_name_gives_a_new_one() {
    let desk = Desk::new();
    desk.write("a.txt", "new");
    desk.write("d/x", "new");
    fs::create_dir_all(desk.out().join("d")).unwrap();
    fs::write(desk.out().join("a.txt"), "old").unwrap();
    fs::write(desk.out().join("a (1).txt"), "older").unwrap();
    let (sent, received) = transfer(desk.source(&["a.txt", "d"]), desk.sink()).await;
    sent.unwrap();
    assert_eq!(
        received.unwrap().saved,
        [desk.out().join("d (1)"), desk.out().join("a (2).txt")]
    );
    assert_eq!(fs::read_to_string(desk.out().join("a.txt")).unwrap(), "old");
    assert_eq!(
        fs::read_to_string(desk.out().join("a (1).txt")).unwrap(),
        "older"
    );
    assert_eq!(
        desk.arrived(),
        ["a (1).txt", "a (2).txt", "a.txt", "d (1)/", "d (1)/x", "d/"]
    );
}

#[tokio::test]
async fn s_15_skip_takes_only_what_is_missing_and_overwrite_replaces() {
    let desk = Desk::new();
    for name in ["d/x", "d/y", "d/e/z"] {
        desk.write(name, "new");
    }
    fs::create_dir_all(desk.out().join("d/e")).unwrap();
    fs::write(desk.out().join("d/x"), "old").unwrap();
    fs::write(desk.out().join("d/e/z"), "old").unwrap();
    let read = |name: &str| fs::read_to_string(desk.out().join(name)).unwrap();

    let (sent, received) = transfer(
        desk.source(&["d"]),
        desk.sink_with(SinkOptions {
            if_exists: IfExists::Skip,
            ..Default::default()
        }),
    )
    .await;
    assert_eq!((sent.unwrap().files, received.unwrap().files), (1, 1));
    assert_eq!(
        (read("d/x"), read("d/y"), read("d/e/z")),
        ("old".into(), "new".into(), "old".into())
    );

    let (sent, received) = transfer(
        desk.source(&["d"]),
        desk.sink_with(SinkOptions {
            if_exists: IfExists::Fail,
            ..Default::default()
        }),
    )
    .await;
    assert!(matches!(received, Err(TransferError::Exists { .. })));
    assert!(matches!(
        sent,
        Err(TransferError::PeerFailed {
            reason: AbortReason::FILE,
            ..
        })
    ));

    let (sent, received) = transfer(
        desk.source(&["d"]),
        desk.sink_with(SinkOptions {
            if_exists: IfExists::Overwrite,
            ..Default::default()
        }),
    )
    .await;
    sent.unwrap();
    received.unwrap();
    assert_eq!(
        (read("d/x"), read("d/y"), read("d/e/z")),
        ("new".into(), "new".into(), "new".into())
    );
}

#[tokio::test]
async fn f_4_a_left_over_of_a_killed_receiver_is_replaced() {
    let desk = Desk::new();
    desk.write("a", "whole");
    fs::create_dir(desk.out()).unwrap();
    fs::write(
        desk.out().join(".a.rdv-part"),
        "half and much longer than the file",
    )
    .unwrap();
    let (_, received) = transfer(desk.source(&["a"]), desk.sink()).await;
    received.unwrap();
    assert_eq!(desk.arrived(), ["a"]);
    assert_eq!(fs::read_to_string(desk.out().join("a")).unwrap(), "whole");
}

#[tokio::test]
async fn f_8_links_are_followed_only_where_they_are_named() {
    let desk = Desk::new();
    desk.write("d/real", "x");
    desk.write("secret", "s");
    std::os::unix::fs::symlink(desk.input("secret"), desk.input("d/link")).unwrap();
    std::os::unix::fs::symlink(desk.input("d"), desk.input("named")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        desk.input("d/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let mut source = desk.source(&["named"]);
    source.ready().await.unwrap();
    assert_eq!(source.skipped().unwrap().count, 2);
    let (sent, received) = transfer(source, desk.sink()).await;
    assert_eq!(sent.unwrap().left_out, 2);
    received.unwrap();
    assert_eq!(desk.arrived(), ["named/", "named/real"]);
}
