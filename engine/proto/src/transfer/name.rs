//! Names from a peer are parsed once into a [`SafeRelPath`]; nothing else reaches the file layer (F-1).

use core::fmt;

use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::show::{is_deceptive, show};

/// Most parts of a path.
pub const MAX_DEPTH: usize = 32;
/// Longest part, in bytes.
pub const MAX_PART: usize = 255;
/// Longest path, in bytes.
pub const MAX_PATH: usize = 4096;

const PART_SUFFIX: &str = ".rdv-part";
const RECORD_SUFFIX: &str = ".rdv-resume";

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// No name, or an empty part (`a//b`, an absolute path, a slash at the end).
    #[error("it is empty, absolute or has an empty part")]
    Empty,
    /// A part `.` or `..`.
    #[error("it leads out of the folder")]
    Dots,
    /// A character that some system reads as a separator or a drive.
    #[error("it holds {0:?}, a separator on some systems")]
    Separator(char),
    /// A control, bidi, zero-width or tag character.
    #[error("it holds the control character U+{:04X}", u32::from(*.0))]
    Control(char),
    /// The bytes are no UTF-8.
    #[error("it is not valid UTF-8")]
    NotUtf8,
    /// The name is not in Unicode normal form C.
    #[error("it is not in Unicode normal form C")]
    NotNormal,
    /// A device on Windows.
    #[error("it is the name of a device on some systems")]
    Device,
    /// A dot or a space at the end of a part, which some systems drop.
    #[error("a part of it ends with a dot or a space")]
    TrailingDotOrSpace,
    /// More than 255 bytes in one part or 4,096 in all.
    #[error("it is too long")]
    TooLong,
    /// More than 32 parts.
    #[error("it is nested too deep")]
    TooDeep,
    /// An ending of our own unfinished files or of their records.
    #[error("its ending is reserved for unfinished files")]
    Reserved,
}

/// A relative path that means the same, and nothing dangerous, on every system: NFC, `/` between its parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafeRelPath(Box<str>);

impl SafeRelPath {
    /// Takes a path as it came; refuses, never repairs.
    ///
    /// # Errors
    /// The first [`NameError`] that applies.
    pub fn parse(path: &str) -> Result<Self, NameError> {
        if path.len() > MAX_PATH {
            return Err(NameError::TooLong);
        }
        if path.split('/').count() > MAX_DEPTH {
            return Err(NameError::TooDeep);
        }
        path.split('/').try_for_each(check_part)?;
        if !is_nfc(path) {
            return Err(NameError::NotNormal);
        }
        Ok(Self(path.into()))
    }

    /// [`Self::parse`] of bytes from the wire.
    ///
    /// # Errors
    /// Also [`NameError::NotUtf8`].
    pub fn from_bytes(path: &[u8]) -> Result<Self, NameError> {
        Self::parse(core::str::from_utf8(path).map_err(|_| NameError::NotUtf8)?)
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, from the top.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The first part.
    pub fn top(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(top, _)| top)
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Everything before the last part.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// What file systems without case take for the same name.
    pub fn folded(path: &str) -> String {
        if path.is_ascii() {
            return path.to_ascii_lowercase();
        }
        // Through upper case, so that ß and ss, final and other sigma meet.
        path.to_uppercase().to_lowercase().nfc().collect()
    }
}

impl fmt::Debug for SafeRelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(&self.0, 200))
    }
}

fn check_part(part: &str) -> Result<(), NameError> {
    match part {
        "" => return Err(NameError::Empty),
        "." | ".." => return Err(NameError::Dots),
        _ if part.len() > MAX_PART => return Err(NameError::TooLong),
        _ => {}
    }
    if let Some(c) = part.chars().find(|&c| is_deceptive(c)) {
        return Err(NameError::Control(c));
    }
    if let Some(c) = part.chars().find(|&c| matches!(c, '\\' | ':')) {
        return Err(NameError::Separator(c));
    }
    if part.ends_with(['.', ' ']) {
        return Err(NameError::TrailingDotOrSpace);
    }
    if is_device(part) {
        return Err(NameError::Device);
    }
    if is_reserved(part) {
        return Err(NameError::Reserved);
    }
    Ok(())
}

/// A name that our own unfinished files or their records could have.
pub(super) fn is_reserved(part: &str) -> bool {
    let folded = SafeRelPath::folded(part);
    folded.ends_with(PART_SUFFIX) || folded.ends_with(RECORD_SUFFIX)
}

pub(super) fn is_device(part: &str) -> bool {
    let stem = part
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end_matches(' ')
        .to_uppercase();
    if matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$"
    ) {
        return true;
    }
    let number = stem
        .strip_prefix("COM")
        .or_else(|| stem.strip_prefix("LPT"));
    number.is_some_and(|n| {
        matches!(
            n,
            "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
        )
    })
}

/// `name` cut at a character so that it has at most `max` bytes.
pub fn fit(name: &str, max: usize) -> &str {
    let mut end = name.len().min(max);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// `name (n).ext`: the name to try when `name.ext` is taken, at most 255 bytes.
pub fn numbered(name: &str, n: u32) -> String {
    let dot = name
        .rfind('.')
        .filter(|&at| at > 0 && name.len() - at <= 16)
        .unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let number = format!(" ({n})");
    let stem = fit(stem, MAX_PART - number.len() - extension.len());
    format!("{stem}{number}{extension}")
}

/// `.NAME.rdv-part`, the name of the unfinished file (F-4). A name that is too long for that is cut and told apart by a hash.
pub fn part_name(name: &str) -> String {
    beside(name, PART_SUFFIX)
}

/// `.NAME.rdv-resume`, the name of the record of what is in the unfinished file (F-9); cut like [`part_name`].
pub fn record_name(name: &str) -> String {
    beside(name, RECORD_SUFFIX)
}

fn beside(name: &str, suffix: &str) -> String {
    let room = MAX_PART - 1 - suffix.len();
    if name.len() <= room {
        return format!(".{name}{suffix}");
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    format!(".{}~{}{suffix}", fit(name, room - 17), &hash[..16])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn f_1_names_that_lie_are_refused() {
        let cases = [
            ("", NameError::Empty),
            ("/etc/x", NameError::Empty),
            ("a//b", NameError::Empty),
            ("a/", NameError::Empty),
            ("../../x", NameError::Dots),
            ("a/./b", NameError::Dots),
            ("a/..", NameError::Dots),
            ("C:\\x", NameError::Separator(':')),
            ("C:x", NameError::Separator(':')),
            ("\\\\server\\share", NameError::Separator('\\')),
            ("file:stream", NameError::Separator(':')),
            ("a\0b", NameError::Control('\0')),
            ("\u{1b}[2J", NameError::Control('\u{1b}')),
            ("a\u{85}", NameError::Control('\u{85}')),
            ("a\u{7f}", NameError::Control('\u{7f}')),
            ("a\u{2028}b", NameError::Control('\u{2028}')),
            ("exe.\u{202E}txt", NameError::Control('\u{202E}')),
            ("a\u{200B}b", NameError::Control('\u{200B}')),
            ("a\u{FEFF}b", NameError::Control('\u{FEFF}')),
            ("e\u{301}", NameError::NotNormal),
            ("con", NameError::Device),
            ("d/NUL.txt", NameError::Device),
            ("Com1.a.b", NameError::Device),
            ("com¹", NameError::Device),
            ("AUX .txt", NameError::Device),
            ("a.", NameError::TrailingDotOrSpace),
            ("a /b", NameError::TrailingDotOrSpace),
            (".x.rdv-part", NameError::Reserved),
            (".x.RDV-PART", NameError::Reserved),
            (".x.rdv-resume", NameError::Reserved),
        ];
        for (name, error) in cases {
            assert_eq!(SafeRelPath::parse(name), Err(error), "{name:?}");
        }
        assert_eq!(SafeRelPath::from_bytes(b"a\xFF"), Err(NameError::NotUtf8));
    }

    #[test]
    fn f_1_the_limits_are_limits() {
        assert!(SafeRelPath::parse(&"a".repeat(255)).is_ok());
        assert_eq!(
            SafeRelPath::parse(&"a".repeat(256)),
            Err(NameError::TooLong)
        );
        assert!(SafeRelPath::parse(&["a"; 32].join("/")).is_ok());
        assert_eq!(
            SafeRelPath::parse(&["a"; 33].join("/")),
            Err(NameError::TooDeep)
        );
        let long = [&*"b".repeat(250); 17].join("/");
        assert_eq!(SafeRelPath::parse(&long), Err(NameError::TooLong));
    }

    #[test]
    fn f_1_honest_names_pass() {
        for name in [
            "a",
            ".bashrc",
            "-rf",
            "Ünïcödé.txt",
            "文件/файл/ملف.txt",
            "con.d/x".replace("con.d", "cone.d").as_str(),
            "COM10",
            "a b (1).tar.gz",
            "What?.mp3",
            "👩.png",
            "…",
        ] {
            assert_eq!(SafeRelPath::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn s_15_a_new_name_keeps_the_extension_and_fits() {
        assert_eq!(numbered("a.txt", 1), "a (1).txt");
        assert_eq!(numbered("photos", 2), "photos (2)");
        assert_eq!(numbered(".bashrc", 1), ".bashrc (1)");
        let long = "é".repeat(125) + ".txt";
        assert!(numbered(&long, 12).len() <= 255);
        assert!(numbered(&long, 12).ends_with(" (12).txt"));
    }

    #[test]
    fn f_4_part_names_fit_and_differ() {
        assert_eq!(part_name("a.txt"), ".a.txt.rdv-part");
        let (a, b) = ("ю".repeat(127) + "a", "ю".repeat(127) + "b");
        assert!(part_name(&a).len() <= 255 && part_name(&b).len() <= 255);
        assert_ne!(part_name(&a), part_name(&b));
        assert_eq!(record_name("a.txt"), ".a.txt.rdv-resume");
        assert!(record_name(&a).len() <= 255);
        assert_ne!(record_name(&a), record_name(&b));
    }

    proptest! {
        #[test]
        fn f_1_a_safe_path_stays_inside(name in "\\PC{0,40}|[a./\\\\: ]{0,12}|.{0,30}") {
            if let Ok(path) = SafeRelPath::parse(&name) {
                prop_assert!(path.parts().all(|p| !p.is_empty() && p != "." && p != ".." && p.len() <= 255));
                prop_assert!(!name.starts_with('/') && !name.contains(['\\', ':', '\0']));
                prop_assert_eq!(SafeRelPath::parse(path.as_str()), Ok(path.clone()));
                prop_assert!(part_name(path.file_name()).len() <= 255);
                prop_assert!(numbered(path.file_name(), 9999).len() <= 255);
            }
        }
    }
}
