//! Names of old clients. Their honest senders use odd characters, so that these are cleaned, not refused (F-1, T-12).

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use crate::transfer::name::{
    MAX_DEPTH, MAX_PART, MAX_PATH, SafeRelPath, fit, is_device, is_reserved, numbered,
};
use crate::transfer::show::is_deceptive;

const NAMELESS: &str = "unnamed";

/// The path that these parts, folders first, mean on every system. Always gives one, and the same for what it gave.
pub fn clean_path<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> SafeRelPath {
    let mut parts: Vec<String> = parts
        .into_iter()
        .filter_map(|part| clean(part.as_ref()))
        .collect();
    if parts.len() > MAX_DEPTH {
        parts.drain(MAX_DEPTH - 1..parts.len() - 1);
    }
    let mut length: usize = parts.iter().map(|part| part.len() + 1).sum();
    while length > MAX_PATH && parts.len() > 1 {
        length -= parts.remove(parts.len() - 2).len() + 1;
    }
    safe(&parts.join("/"))
}

/// The name of a proposal as the user is shown it and the file gets it: of a folder (`name\*`) or of a file.
pub fn proposed_name(name: &str, folder: bool) -> SafeRelPath {
    let name = if folder {
        name.strip_suffix("\\*").unwrap_or(name)
    } else {
        name
    };
    let path = clean_path(name.split('\u{1}'));
    safe(path.file_name())
}

fn safe(path: &str) -> SafeRelPath {
    let path = SafeRelPath::parse(path).or_else(|_| SafeRelPath::parse(NAMELESS));
    path.expect("invariant: a plain word is a safe name")
}

/// One part, if anything of it is left.
fn clean(part: &str) -> Option<String> {
    let replaced = part.chars().filter(|&c| !reorders(c)).map(|c| match c {
        '/' | '\\' | ':' | '<' | '>' | '"' | '|' | '?' | '*' => '_',
        c if is_deceptive(c) => '_',
        c => c,
    });
    let mut part: String = replaced.nfc().collect();
    trim(&mut part);
    if is_device(&part) {
        part.insert(0, '_');
    }
    if part.len() > MAX_PART {
        part = shortened(&part);
        trim(&mut part);
    }
    if is_reserved(&part)
        && let Some(dot) = part.rfind('.')
    {
        part.replace_range(dot..=dot, "_");
    }
    Some(part).filter(|part| !part.is_empty())
}

/// Characters that only turn the reading direction: a name without them reads as it is stored.
fn reorders(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Dots and spaces at the end, which some systems drop; of `.` and `..` nothing is left.
fn trim(part: &mut String) {
    part.truncate(part.trim_end_matches(['.', ' ']).len());
}

/// Cut to 255 bytes in front of the extension, if that is a short one.
fn shortened(part: &str) -> String {
    let dot = part
        .rfind('.')
        .filter(|&at| at > 0 && part.len() - at <= 16);
    let (stem, extension) = part.split_at(dot.unwrap_or(part.len()));
    format!("{}{extension}", fit(stem, MAX_PART - extension.len()))
}

/// The names of one transfer: the later of two that are one on systems without case, or of a file and a folder, gets a number (F-2).
///
/// Keeps eight bytes of a hash per name: two names with the same one cost a number, nothing else.
#[derive(Debug, Default)]
pub(super) struct Taken(HashMap<[u8; 8], Use>);

#[derive(Debug)]
struct Use {
    folder: bool,
    next_number: u32,
}

/// Numbers that are tried for one name.
const TRIES: u32 = 1_000;

impl Taken {
    /// The path that a file gets; none if no number is free, or the numbers make it too long.
    pub(super) fn place(&mut self, path: &SafeRelPath) -> Option<SafeRelPath> {
        let mut placed = String::with_capacity(path.as_str().len());
        let mut parts = path.parts().peekable();
        while let Some(part) = parts.next() {
            if !placed.is_empty() {
                placed.push('/');
            }
            let part = self.free(&placed, part, parts.peek().is_some())?;
            placed.push_str(&part);
        }
        SafeRelPath::parse(&placed).ok()
    }

    /// `part` below `parent` (which ends with a slash, or is empty), with a number if it needs one.
    fn free(&mut self, parent: &str, part: &str, folder: bool) -> Option<String> {
        let plain = key(parent, part);
        let first = match self.0.get(&plain) {
            None => {
                self.claim(plain, folder);
                return Some(part.to_owned());
            }
            Some(used) if folder && used.folder => return Some(part.to_owned()),
            Some(used) => used.next_number,
        };
        for number in first..first.saturating_add(TRIES) {
            let name = numbered(part, number);
            let key = key(parent, &name);
            let used = self.0.get(&key);
            // A folder that got this number before goes on under it.
            let same_folder = folder && used.is_some_and(|used| used.folder);
            if used.is_some() && !same_folder {
                continue;
            }
            if let Some(used) = self.0.get_mut(&plain) {
                used.next_number = if folder { number } else { number + 1 };
            }
            self.claim(key, folder);
            return Some(name);
        }
        None
    }

    fn claim(&mut self, key: [u8; 8], folder: bool) {
        let next_number = 1;
        self.0.entry(key).or_insert(Use {
            folder,
            next_number,
        });
    }
}

fn key(parent: &str, part: &str) -> [u8; 8] {
    let hash = blake3::hash(SafeRelPath::folded(&format!("{parent}{part}")).as_bytes());
    *hash.as_bytes().first_chunk().expect("invariant: 32 bytes")
}
