//! Files to send, and whether what arrived is the same.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// Bytes that no compressor and no accident makes, the same for the same `seed`.
pub fn random_bytes(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random(seed).fill(&mut bytes);
    bytes
}

fn random(seed: &str) -> blake3::OutputReader {
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof()
}

/// Writes a file of random bytes, without holes.
pub fn write_random(path: &Path, seed: &str, length: u64) {
    let mut random = random(seed);
    let mut file = File::create(path).expect("a new file");
    let mut block = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        random.fill(&mut block[..now]);
        file.write_all(&block[..now]).expect("room on the disk");
        left -= now as u64;
    }
}

/// SHA-256 of a file's content: not the hash that the transfer itself uses.
pub fn sha256(path: &Path) -> [u8; 32] {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).expect("a readable file") {
            0 => return hasher.finalize().into(),
            read => hasher.update(&block[..read]),
        }
    }
}

/// What stands in a folder, by the path within it. Links are seen, not followed.
pub type Tree = BTreeMap<PathBuf, Entry>;

/// One thing in a [`Tree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Bytes.
        length: u64,
        /// Of the content.
        sha256: [u8; 32],
        /// Nanoseconds since 1970.
        modified: u128,
        /// The user's own bits of the mode.
        user_bits: u32,
    },
    /// A link or anything else that should not be there.
    Other,
}

/// Everything in `folder`, the folder itself left out. Where there is no folder there is nothing.
pub fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder.join(&inner)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.expect("a readable folder");
            let path = inner.join(entry.file_name());
            let kind = entry.file_type().expect("a kind");
            let value = if kind.is_dir() {
                folders.push(path.clone());
                Entry::Folder
            } else if kind.is_file() {
                let meta = entry.metadata().expect("metadata");
                Entry::File {
                    length: meta.len(),
                    sha256: sha256(&entry.path()),
                    modified: nanoseconds(meta.modified().expect("a time")),
                    user_bits: meta.permissions().mode() & 0o700,
                }
            } else {
                Entry::Other
            };
            tree.insert(path, value);
        }
    }
    tree
}

fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}

/// The same tree as it should arrive where execute bits are not kept.
#[must_use]
pub fn without_execute_bits(mut tree: Tree) -> Tree {
    for entry in tree.values_mut() {
        if let Entry::File { user_bits, .. } = entry {
            *user_bits &= 0o600;
        }
    }
    tree
}

/// Fails if the two differ, and names the first differences instead of printing both.
#[track_caller]
pub fn assert_same_tree(sent: &Tree, arrived: &Tree) {
    let missing: Vec<_> = sent
        .keys()
        .filter(|path| !arrived.contains_key(*path))
        .take(5)
        .collect();
    let extra: Vec<_> = arrived
        .keys()
        .filter(|path| !sent.contains_key(*path))
        .take(5)
        .collect();
    let other: Vec<_> = sent
        .iter()
        .filter_map(|(path, entry)| {
            arrived
                .get(path)
                .filter(|there| *there != entry)
                .map(|there| (path, entry, there))
        })
        .take(5)
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty() && other.is_empty(),
        "{} sent, {} arrived\nmissing: {missing:?}\nextra: {extra:?}\ndifferent (path, sent, arrived): {other:#?}",
        sent.len(),
        arrived.len(),
    );
}

/// Makes `count` files of 1 to 8 KiB in nested folders: names in several scripts, one of 255 bytes, one empty folder, one
/// empty file, different times, read-only and executable ones.
pub fn write_many(folder: &Path, count: usize) {
    const SCRIPTS: [&str; 8] = [
        "plain",
        "Grüße",
        "Привет",
        "日本語",
        "한국어",
        "العربية",
        "שלום",
        "ไทย 🦦",
    ];
    let mut random = random("many files");
    fs::create_dir_all(folder.join("empty/inside")).expect("a folder");
    for index in 0..count {
        let script = SCRIPTS[index % SCRIPTS.len()];
        let inner = folder.join(format!(
            "{script} {}/{}/{}",
            index % 7,
            index % 13,
            index % 3
        ));
        if index < 7 * 13 * 3 * SCRIPTS.len() {
            fs::create_dir_all(&inner).expect("a folder");
        }
        let name = match index {
            0 => long_name(),
            _ => format!("{index:05} {script}.bin"),
        };
        let path = inner.join(name);
        let mut content = [0; 8 * 1024];
        random.fill(&mut content);
        let length = match index {
            1 => 0,
            _ => 1024 + usize::from(u16::from_be_bytes([content[0], content[1]])) % (7 * 1024 + 1),
        };
        let mut file = File::create(&path).expect("a new file");
        file.write_all(&content[..length])
            .expect("room on the disk");
        let modified = UNIX_EPOCH + Duration::new(1_000_000_000 + 37 * index as u64, 123_456_789);
        file.set_modified(modified).expect("a time");
        let mode = match index % 10 {
            3 => 0o444,
            5 => 0o755,
            _ => 0o644,
        };
        file.set_permissions(Permissions::from_mode(mode))
            .expect("a mode");
    }
}

/// 255 bytes, most of them in letters of two bytes.
fn long_name() -> String {
    let name = format!("{}x.bin", "ж".repeat(125));
    assert_eq!(name.len(), 255);
    name
}
