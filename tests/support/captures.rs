//! The golden bytes of `tests/captures`: recordings of a real client, and frames built by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// One FLAP frame with its header.
    Flap,
    /// One frame to or from the relay.
    Ars,
    /// One OFT frame or a file body.
    Oft,
}

/// Bytes that one side sent.
#[derive(Debug, Clone)]
pub struct Record {
    /// Name of the recording, and line in its file; for messages of failed tests.
    pub place: String,
    /// Milliseconds since the first packet.
    pub at_ms: u64,
    /// Connections in the order in which they were opened.
    pub connection: u64,
    /// `host`, `ars`, `alice` or `bob`.
    pub from: String,
    /// As `from`.
    pub to: String,
    /// How to read the bytes.
    pub layer: Layer,
    /// The bytes; none for file bodies over 256 bytes.
    pub bytes: Option<Bytes>,
    /// How the recorder read them.
    pub note: String,
}

/// Names of the recordings, in alphabetical order.
///
/// # Panics
/// If the folder cannot be read.
pub fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("the folder of the captures");
    let names = entries.map(|entry| {
        entry
            .expect("an entry of the folder")
            .file_name()
            .into_string()
    });
    let names = names.map(|name| name.expect("names of captures are ASCII"));
    let mut names: Vec<_> = names
        .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// What was sent in one recording, in time order, without the events of TCP.
///
/// # Panics
/// If there is no such recording, or it is damaged.
pub fn load(name: &str) -> Vec<Record> {
    let text =
        fs::read_to_string(folder().join(format!("{name}.jsonl"))).expect("a capture of that name");
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(index, line)| record(&format!("{name}:{}", index + 1), line))
        .collect()
}

/// All lines of one recording as they stand there, events of TCP and the first line (who, which files) included.
///
/// # Panics
/// As [`load`].
pub fn lines(name: &str) -> Vec<Value> {
    let text =
        fs::read_to_string(folder().join(format!("{name}.jsonl"))).expect("a capture of that name");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("one JSON object per line"))
        .collect()
}

/// What was sent in all recordings.
///
/// # Panics
/// As [`load`].
pub fn all() -> Vec<Record> {
    names().iter().flat_map(|name| load(name)).collect()
}

/// The frames built by hand, by name.
///
/// # Panics
/// If the file cannot be read.
pub fn vectors() -> BTreeMap<String, Bytes> {
    let file = vector_file();
    let frames = file["frames"].as_object().expect("an object of frames");
    frames
        .iter()
        .map(|(name, hex)| {
            (
                name.clone(),
                from_hex(hex.as_str().expect("a string of hex")),
            )
        })
        .collect()
}

/// All of the file that holds [`vectors`].
///
/// # Panics
/// As [`vectors`].
pub fn vector_file() -> Value {
    let text = fs::read_to_string(folder().join("vectors.json")).expect("the file of the vectors");
    serde_json::from_str(&text).expect("JSON")
}

/// One of [`vectors`].
///
/// # Panics
/// If there is none of that name.
pub fn vector(name: &str) -> Bytes {
    vectors().remove(name).expect("a vector of that name")
}

/// Bytes of a string of hex digits.
///
/// # Panics
/// If it is something else.
pub fn from_hex(digits: &str) -> Bytes {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("two hex digits")
    };
    pairs.map(byte).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("captures")
}

fn record(place: &str, line: &str) -> Option<Record> {
    let line: Value = serde_json::from_str(line).expect("one JSON object per line");
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| line[key].as_u64().unwrap_or_default();
    let layer = match text("layer").as_str() {
        "flap" => Layer::Flap,
        "ars" => Layer::Ars,
        "oft" => Layer::Oft,
        "tcp" | "meta" => return None,
        other => panic!("{place}: unknown layer {other}"),
    };
    Some(Record {
        place: place.to_owned(),
        at_ms: number("t_ms"),
        connection: number("conn"),
        from: text("from"),
        to: text("to"),
        layer,
        bytes: line["hex"].as_str().map(from_hex),
        note: text("note"),
    })
}
