//! The sender as an enemy (A2): it passed BIND, so it may talk, and every frame is made by hand.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdv::transfer::{Control, IfExists, Offer, Sink, SinkOptions, TransferError, receive};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const HELLO: u8 = 0x20;
const MANIFEST: u8 = 0x21;
const MANIFEST_END: u8 = 0x22;
const ACCEPT: u8 = 0x23;
const DATA: u8 = 0x25;
const END: u8 = 0x26;

/// Whatever is sent, the receiver is done with it within this time.
const PATIENCE: Duration = Duration::from_secs(30);

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + payload.len()).unwrap();
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

/// "I speak version 1 and have the files."
fn hello() -> Vec<u8> {
    frame(HELLO, &[0x08, 1, 0x10, 1])
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A file (kind 0), folder (1) or text (2) of a list.
fn entry(kind: u8, path: &[u8], size: u64) -> Vec<u8> {
    let path = [&[0x12][..], &varint(path.len() as u64), path].concat();
    let entry = [&[0x08, kind][..], &path, &[0x18], &varint(size), &[0x30, 7]].concat();
    [&[0x0A][..], &varint(entry.len() as u64), &entry].concat()
}

fn totals(files: u64, folders: u64, bytes: u64) -> Vec<u8> {
    [
        &[0x08][..],
        &varint(files),
        &[0x10],
        &varint(folders),
        &[0x18],
        &varint(bytes),
    ]
    .concat()
}

/// One block with all of a file and its hash.
fn block(number: u64, file: u32, offset: u64, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    let hash = blake3::hash(content);
    [
        &number.to_be_bytes()[..],
        &[1],
        &file.to_be_bytes(),
        &offset.to_be_bytes(),
        &length.to_be_bytes(),
        content,
        &[2],
        &file.to_be_bytes(),
        hash.as_bytes(),
    ]
    .concat()
}

/// What is said before the receiver's yes, and after it.
#[derive(Clone, Default)]
struct Speech {
    list: Vec<u8>,
    data: Vec<u8>,
}

impl Speech {
    fn list(list: Vec<u8>) -> Self {
        Self {
            list,
            data: Vec::new(),
        }
    }

    fn whole(&self) -> Vec<u8> {
        [&self.list[..], &self.data].concat()
    }
}

/// A list of files with the same content, all of the content, and the end.
fn files(paths: &[&[u8]], content: &[u8]) -> Speech {
    let mut speech = Speech::default();
    for path in paths {
        speech
            .list
            .extend(frame(MANIFEST, &entry(0, path, content.len() as u64)));
    }
    let count = paths.len() as u64;
    speech.list.extend(frame(
        MANIFEST_END,
        &totals(count, 0, count * content.len() as u64),
    ));
    for index in 0..paths.len() {
        speech
            .data
            .extend(frame(DATA, &block(index as u64, index as u32, 0, content)));
    }
    speech
        .data
        .extend(frame(END, &[&[0x08][..], &varint(count)].concat()));
    speech
}

/// One file of four bytes, and then this.
fn four_bytes_then(data: Vec<u8>) -> Speech {
    let list = [
        frame(MANIFEST, &entry(0, b"a", 4)),
        frame(MANIFEST_END, &totals(1, 0, 4)),
    ]
    .concat();
    Speech { list, data }
}

struct Received {
    outcome: Result<rdv::Summary, TransferError>,
    asked: bool,
    place: TempDir,
}

impl Received {
    /// Everything below the folder around the output folder: `out/…`, and what is outside.
    fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.place.path(), self.place.path(), &mut found);
        found.sort();
        found
    }

    #[track_caller]
    fn assert_refused(&self, what: &str) -> String {
        let error = self.outcome.as_ref().expect_err(what).to_string();
        rdv_tests::process::assert_nothing_raw(&error);
        assert_eq!(self.tree(), ["victim"], "{what}");
        assert_eq!(
            fs::read_to_string(self.place.path().join("victim")).unwrap(),
            "precious",
            "{what}"
        );
        error
    }
}

fn walk(top: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(top, &entry.path(), found);
        } else {
            found.push(
                entry
                    .path()
                    .strip_prefix(top)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
}

/// Receives what the enemy sends, and says yes to everything.
async fn receive_from(enemy: Speech) -> Received {
    receive_by(async move |mut stream: DuplexStream| {
        let _ = stream.write_all(&[hello(), enemy.list].concat()).await;
        if said_yes(&mut stream).await {
            let _ = stream.write_all(&enemy.data).await;
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

/// Reads frames up to the receiver's yes.
async fn said_yes(stream: &mut DuplexStream) -> bool {
    let mut head = [0; 5];
    while stream.read_exact(&mut head).await.is_ok() {
        let [a, b, c, d, kind] = head;
        let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize - 1];
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        if kind == ACCEPT {
            return true;
        }
    }
    false
}

fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("victim"), "precious").unwrap();
    place
}

fn sink(place: &TempDir) -> Sink {
    let options = SinkOptions {
        if_exists: IfExists::Overwrite,
        keep_exec: false,
    };
    Sink::folder(place.path().join("out"), options).unwrap()
}

async fn receive_by(enemy: impl AsyncFnOnce(DuplexStream)) -> Received {
    let place = place();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let asked = AtomicBool::new(false);
    let consent = async |_: Offer| {
        asked.store(true, Ordering::Relaxed);
        true
    };
    let receiving = receive(ours, sink(&place), consent, Control::new());
    let both = async { tokio::join!(receiving, enemy(theirs)).0 };
    let outcome = tokio::time::timeout(PATIENCE, both).await.expect("an end");
    Received {
        outcome,
        asked: asked.load(Ordering::Relaxed),
        place,
    }
}

#[tokio::test]
async fn an_honest_list_is_taken() {
    // Else the others would prove nothing.
    let received = receive_from(files(&[b"a", b"folder/b"], b"content")).await;
    assert!(received.outcome.is_ok(), "{:?}", received.outcome);
    assert_eq!(received.tree(), ["out/a", "out/folder/b", "victim"]);
}

#[tokio::test]
async fn names_that_lead_out_or_draw_are_refused_before_the_question() {
    let names: [&[u8]; 36] = [
        b"../x",
        b"../../x",
        b"../victim",
        b"folder/../../victim",
        b"/etc/x",
        b"//server/share",
        b"C:\\x",
        b"C:x",
        b"\\\\server\\share\\x",
        b"..\\..\\x",
        b".",
        b"..",
        b"",
        b"a//b",
        b"a/",
        b"a/./b",
        b"nul\0byte",
        b"esc\x1b[31m",
        b"bell\x07",
        b"line\nbreak",
        b"del\x7f",
        "c1\u{9b}2J".as_bytes(),
        "bidi\u{202e}fdp.exe".as_bytes(),
        "isolate\u{2066}x".as_bytes(),
        "mark\u{200f}x".as_bytes(),
        "zero\u{200b}width".as_bytes(),
        "tag\u{e0041}".as_bytes(),
        "line\u{2028}separator".as_bytes(),
        b"latin-\xe9-1",
        b"overlong\xc0\xafslash",
        "Zoe\u{308}".as_bytes(),
        b"NUL",
        b"com1.txt",
        b"dot.",
        b"space ",
        b"stream:x",
    ];
    for name in names {
        let what = String::from_utf8_lossy(name).escape_debug().to_string();
        let received = receive_from(files(&[name], b"evil")).await;
        received.assert_refused(&what);
        assert!(!received.asked, "{what}: nobody is asked about such a list");
        // One bad apple in a list that is fine.
        let received = receive_from(files(&[b"fine", name, b"fine too"], b"evil")).await;
        received.assert_refused(&what);
    }
}

#[tokio::test]
async fn names_that_are_too_long_or_too_deep_are_refused() {
    let long = "x".repeat(256);
    let deep = "d/".repeat(33) + "x";
    let both = format!("{}x", "0123456789abcdef/".repeat(300));
    for name in [long, deep, both] {
        receive_from(files(&[name.as_bytes()], b"evil"))
            .await
            .assert_refused(&name);
    }
}

#[tokio::test]
async fn names_that_collide_are_refused() {
    for pair in [
        ["a", "a"],
        ["a", "A"],
        ["straße", "STRASSE"],
        ["a", "a/b"],
        ["d/x", "D/y"],
    ] {
        let list = files(&pair.map(str::as_bytes), b"evil");
        receive_from(list)
            .await
            .assert_refused(&format!("{pair:?}"));
    }
}

#[tokio::test]
async fn more_than_was_announced_is_not_written() {
    let lies: [(&str, Vec<u8>); 6] = [
        ("longer", frame(DATA, &block(0, 0, 0, b"longer than four"))),
        (
            "an offset behind the end",
            frame(DATA, &block(0, 0, 1 << 40, b"four")),
        ),
        (
            "an offset that overflows",
            frame(DATA, &block(0, 0, u64::MAX, b"four")),
        ),
        (
            "a file that was not announced",
            frame(DATA, &block(0, 7, 0, b"four")),
        ),
        ("a block out of turn", frame(DATA, &block(9, 0, 0, b"four"))),
        (
            "twice",
            [
                frame(DATA, &block(0, 0, 0, b"four")),
                frame(DATA, &block(1, 0, 0, b"more")),
            ]
            .concat(),
        ),
    ];
    for (what, lie) in lies {
        let received = receive_from(four_bytes_then(lie)).await;
        assert!(received.outcome.is_err(), "{what}");
        for name in received.tree() {
            if name == "out/a" {
                assert_eq!(
                    fs::read(received.place.path().join(name)).unwrap(),
                    b"four",
                    "{what}"
                );
            } else {
                assert_eq!(name, "victim", "{what}");
            }
        }
    }
}

#[tokio::test]
async fn less_than_was_announced_is_no_file() {
    let end = |blocks| frame(END, &[0x08, blocks]);
    let short = [frame(DATA, &block(0, 0, 0, b"4")), end(1)].concat();
    receive_from(four_bytes_then(short))
        .await
        .assert_refused("a file that is short but hashed");
    receive_from(four_bytes_then(end(0)))
        .await
        .assert_refused("an end without the bytes");
}

#[tokio::test]
async fn bytes_before_the_yes_are_refused() {
    let place = place();
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let early = [hello(), files(&[b"a"], b"content").whole()].concat();
    theirs.write_all(&early).await.unwrap();
    // The user is still thinking when the bytes come.
    let thinking = async |_: Offer| std::future::pending::<bool>().await;
    let receiving = receive(ours, sink(&place), thinking, Control::new());
    let outcome = tokio::time::timeout(PATIENCE, receiving)
        .await
        .expect("an end");
    Received {
        outcome,
        asked: true,
        place,
    }
    .assert_refused("bytes before the yes");
}

#[tokio::test]
async fn a_wrong_hash_is_no_file() {
    let mut speech = files(&[b"a"], b"content");
    let end = speech.data.len() - frame(END, &[0x08, 1]).len();
    speech.data[end - 1] ^= 1;
    let received = receive_from(speech).await;
    received.assert_refused("a wrong hash");
    assert!(
        matches!(received.outcome, Err(TransferError::Verification { .. })),
        "{:?}",
        received.outcome
    );
}

#[tokio::test]
async fn lengths_and_sums_that_lie_are_refused() {
    let lies: [(&str, Vec<u8>); 9] = [
        ("a frame of 4 GiB", vec![0xFF; 16]),
        ("a frame of nothing", vec![0; 16]),
        (
            "totals that do not add up",
            [
                frame(MANIFEST, &entry(0, b"a", 4)),
                frame(MANIFEST_END, &totals(1, 0, 5)),
            ]
            .concat(),
        ),
        (
            "a size above all sizes",
            frame(MANIFEST, &entry(0, b"a", u64::MAX)),
        ),
        ("an unknown kind", frame(MANIFEST, &entry(9, b"a", 4))),
        ("a list of nothing", frame(MANIFEST_END, &totals(0, 0, 0))),
        (
            "bytes before the list",
            frame(DATA, &block(0, 0, 0, b"four")),
        ),
        (
            "an entry longer than its frame",
            frame(MANIFEST, &[0x0A, 0xFF, 0xFF, 0x7F, 0x08]),
        ),
        ("noise", rdv_tests::files::random_bytes("noise", 4096)),
    ];
    for (what, lie) in lies {
        receive_from(Speech::list(lie)).await.assert_refused(what);
    }
}

#[tokio::test]
async fn a_list_without_end_is_cut_off() {
    let received = receive_by(async |mut stream: DuplexStream| {
        let mut index = 0u64;
        stream.write_all(&hello()).await.unwrap();
        // A name each, until the receiver has had enough.
        loop {
            let mut chunk = Vec::new();
            while chunk.len() < 60 * 1024 {
                chunk.extend(entry(0, format!("{index:0200}").as_bytes(), 1));
                index += 1;
            }
            if stream.write_all(&frame(MANIFEST, &chunk)).await.is_err() {
                break;
            }
        }
    })
    .await;
    received.assert_refused("a list without end");
}

#[tokio::test]
async fn an_enemy_that_goes_away_leaves_nothing_behind() {
    let speech = files(&[b"a", b"folder/b"], &vec![7; 100_000]);
    let all = speech.data.len();
    for cut in [0, 1, 10, 60, 1000, 60_000, 100_100, 150_000, all - 20] {
        let received = receive_by(async |mut stream: DuplexStream| {
            stream
                .write_all(&[&hello()[..], &speech.list].concat())
                .await
                .unwrap();
            assert!(said_yes(&mut stream).await);
            let _ = stream.write_all(&speech.data[..cut]).await;
        })
        .await;
        assert!(received.outcome.is_err(), "cut at {cut}");
        for name in received
            .tree()
            .iter()
            .filter(|name| *name != "victim" && !name.contains(".rdv-part"))
        {
            let content = fs::read(received.place.path().join(name)).unwrap();
            assert_eq!(
                content,
                vec![7; 100_000],
                "{name} stands there unfinished, cut at {cut}"
            );
        }
    }
}
