//! The code that two people share: `NUMBER-word-word-word[@HOST:PORT,…]` (rulings G-03).
//!
//! The number only finds the other side at a host and is public. The words are the secret; they
//! leave the machine in no form but the message of the key exchange. The addresses of the long form
//! say where an embedded host listens.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use subtle::ConstantTimeEq as _;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::words;

/// Words in a code.
pub const WORDS_PER_CODE: usize = 3;
/// Highest number that a host gives out (rulings G-04).
pub const NUMBER_MAX: u32 = 9_999;
/// Bytes of randomness that [`CodeWords::generate`] should be handed: 16 draws of two bytes for
/// three words. A draw is thrown away with probability 1.2 %, so that all are used up less than
/// once in 2^80 calls.
pub const CODE_RANDOMNESS_LEN: usize = 32;
/// Addresses in the long form; more are an error.
pub const ADDRESSES_MAX: usize = 16;
/// Bytes of a whole code; longer input is an error.
pub const CODE_LEN_MAX: usize = 2_048;
/// Bytes of a host name in an address (RFC 1035 §2.3.4).
const HOST_LEN_MAX: usize = 253;

/// What is wrong with a code. Never holds any part of the code itself (S-26).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The text does not begin with digits.
    #[error("a code begins with a number, as in 7-otter-lamp-verse")]
    NoNumber,
    /// The number is not in 1..=9999.
    #[error("the number of a code lies between 1 and {NUMBER_MAX}")]
    NumberOutOfRange,
    /// There are more or fewer than three words.
    #[error("a code has {WORDS_PER_CODE} words after the number, this one has {found}")]
    WordCount {
        /// Words found.
        found: usize,
    },
    /// An address of the long form is not `HOST:PORT`.
    #[error("address {position} after the @ is not HOST:PORT")]
    BadAddress {
        /// Which one, counted from 1.
        position: usize,
    },
    /// More than [`ADDRESSES_MAX`] addresses.
    #[error("a code holds at most {ADDRESSES_MAX} addresses")]
    TooManyAddresses,
    /// Longer than [`CODE_LEN_MAX`] bytes.
    #[error("longer than any code")]
    TooLong,
    /// The bytes handed to [`CodeWords::generate`] did not suffice.
    #[error("not enough randomness to choose the words")]
    NotEnoughRandomness,
}

/// The three secret words, lower case and NFKC. Wiped on drop, compared in constant time, and
/// `Debug` does not show them.
#[derive(Clone)]
pub struct CodeWords([Zeroizing<String>; WORDS_PER_CODE]);

impl CodeWords {
    /// Takes three words as a person typed them. They need not be on the list.
    ///
    /// # Errors
    /// [`CodeError::WordCount`] if one is empty or falls apart into several.
    pub fn new(words: [&str; WORDS_PER_CODE]) -> Result<Self, CodeError> {
        let joined = Zeroizing::new(words.join("-"));
        Self::from_folded(&fold(&joined))
    }

    /// Chooses words evenly from the list with the randomness handed in.
    ///
    /// Two bytes make one draw; draws above the largest multiple of the list's length are thrown
    /// away, so that no word is likelier than another. Hand in [`CODE_RANDOMNESS_LEN`] fresh bytes.
    ///
    /// # Errors
    /// [`CodeError::NotEnoughRandomness`] if the bytes are used up first.
    pub fn generate(randomness: &[u8]) -> Result<Self, CodeError> {
        let count = words::WORD_COUNT as u32;
        let fair_below = 65_536 / count * count;
        let mut draws = randomness
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u32::from(u16::from_be_bytes(*pair)))
            .filter(|draw| *draw < fair_below)
            .map(|draw| (draw % count) as usize);
        let mut draw = || {
            let word = draws.next().and_then(words::nth);
            word.map(|word| Zeroizing::new(word.to_owned()))
                .ok_or(CodeError::NotEnoughRandomness)
        };
        Ok(Self([draw()?, draw()?, draw()?]))
    }

    /// Whether every word is on the list that codes are made from.
    pub fn is_known(&self) -> bool {
        self.unknown_words().is_empty()
    }

    /// Which words are not on the list, counted from 1: most likely mistyped.
    pub fn unknown_words(&self) -> Vec<usize> {
        (1..)
            .zip(&self.0)
            .filter(|(_, word)| !words::is_on_list(word))
            .map(|(position, _)| position)
            .collect()
    }

    /// The words out of text that went through [`fold`].
    fn from_folded(text: &str) -> Result<Self, CodeError> {
        let found: Vec<_> = text
            .split(is_separator)
            .filter(|word| !word.is_empty())
            .collect();
        let words: [&str; WORDS_PER_CODE] = found
            .try_into()
            .map_err(|found: Vec<_>| CodeError::WordCount { found: found.len() })?;
        Ok(Self(words.map(|word| Zeroizing::new(word.to_owned()))))
    }

    fn joined(&self) -> Zeroizing<String> {
        let [first, second, third] = &self.0;
        Zeroizing::new([first.as_str(), second.as_str(), third.as_str()].join("-"))
    }
}

impl PartialEq for CodeWords {
    fn eq(&self, other: &Self) -> bool {
        self.joined()
            .as_bytes()
            .ct_eq(other.joined().as_bytes())
            .into()
    }
}

impl Eq for CodeWords {}

impl fmt::Debug for CodeWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What the key exchange is keyed with: the words in lower case, NFKC, joined by one `-`
/// (`security.md` 5.3).
pub fn code_words_password(words: &CodeWords) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(words.joined().as_bytes().to_vec())
}

/// A whole code. `Display` gives the text to read out (it *is* the secret: show it to the user and
/// nowhere else); `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    number: u32,
    words: CodeWords,
    addresses: Vec<String>,
}

impl Code {
    /// Puts a code together. Addresses are brought into one form: lower case, IPv6 in brackets.
    ///
    /// # Errors
    /// [`CodeError`] for a number, an address or a count of addresses out of range.
    pub fn new(number: u32, words: CodeWords, addresses: Vec<String>) -> Result<Self, CodeError> {
        if !(1..=NUMBER_MAX).contains(&number) {
            return Err(CodeError::NumberOutOfRange);
        }
        if addresses.len() > ADDRESSES_MAX {
            return Err(CodeError::TooManyAddresses);
        }
        let addresses = (1..)
            .zip(&addresses)
            .map(|(position, text)| {
                canonical_address(text).ok_or(CodeError::BadAddress { position })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            number,
            words,
            addresses,
        })
    }

    /// Reads a code as people type it: upper or lower case, any kind of space or dash between the
    /// parts, several of them, full-width characters. The number is read first, the last `@`
    /// begins the addresses.
    ///
    /// # Errors
    /// [`CodeError`]. Words that are not on the list are no error: see
    /// [`CodeWords::unknown_words`].
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.len() > CODE_LEN_MAX {
            return Err(CodeError::TooLong);
        }
        let folded = fold(text);
        let text = folded.trim_start_matches(is_separator);
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, rest) = text.split_at(digits);
        if number.is_empty() {
            return Err(CodeError::NoNumber);
        }
        let number = number.parse().map_err(|_| CodeError::NumberOutOfRange)?;
        let (words, addresses) = match rest.rsplit_once('@') {
            Some((words, list)) => (words, list.split(',').map(str::to_owned).collect()),
            None => (rest, Vec::new()),
        };
        Self::new(number, CodeWords::from_folded(words)?, addresses)
    }

    /// The public part: which number to ask the host for, 1..=9999.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The secret part.
    pub fn words(&self) -> &CodeWords {
        &self.words
    }

    /// Where an embedded host listens, each `HOST:PORT` with IPv6 in brackets; empty in the short
    /// form.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The same code without addresses, for a host that both sides know.
    pub fn short(&self) -> Self {
        Self {
            addresses: Vec::new(),
            ..self.clone()
        }
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        Self::parse(text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.words.joined().as_str())?;
        for (index, address) in self.addresses.iter().enumerate() {
            let before = if index == 0 { '@' } else { ',' };
            write!(f, "{before}{address}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("number", &self.number)
            .field("words", &self.words)
            .field("addresses", &self.addresses)
            .finish()
    }
}

/// Lower case and NFKC, without characters that cannot be seen (soft hyphen, zero width, byte order
/// mark), which come along when a code is copied out of a chat or a web page.
fn fold(text: &str) -> Zeroizing<String> {
    Zeroizing::new(
        text.chars()
            .filter(|c| {
                !matches!(
                    c,
                    '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
                )
            })
            .nfkc()
            .flat_map(char::to_lowercase)
            .nfkc()
            .collect(),
    )
}

/// Spaces and dashes of all kinds; those with a compatibility form became `-` in [`fold`].
fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '-' | '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{fe58}'
        )
}

/// `HOST:PORT` in its one form, `None` if it is not one.
fn canonical_address(text: &str) -> Option<String> {
    let text = text.trim();
    let (host, port) = text.rsplit_once(':')?;
    if port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    if let Some(inner) = host.strip_prefix('[') {
        let ip: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{ip}]:{port}"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let valid = (1..=HOST_LEN_MAX).contains(&host.len())
        && host.bytes().all(allowed)
        && !host.starts_with(['-', '.']);
    valid.then(|| format!("{}:{port}", host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> CodeWords {
        CodeWords::from_folded(&fold(text)).unwrap()
    }

    #[test]
    fn a_code_reads_as_it_prints() {
        for text in [
            "7-otter-lamp-verse",
            "9999-acid-acid-zoom",
            "7-otter-lamp-verse@192.168.1.4:40313",
            "1001-acid-lamp-zoom@192.168.1.4:1,[2001:db8::1]:65535,my-box.local:40313",
        ] {
            assert_eq!(Code::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn case_spaces_and_dashes_are_forgiven() {
        let wanted = Code::parse("7-otter-lamp-verse").unwrap();
        for text in [
            "7 otter lamp verse",
            "  7--Otter - LAMP\t verse \n",
            "7\u{2013}otter\u{2014}lamp\u{2011}verse",
            "\u{feff}7\u{a0}otter\u{2212}lamp\u{3000}verse\u{200b}",
            "\u{ff17}\u{ff0d}\u{ff4f}tter lamp verse",
            "007-otter-lamp-verse",
            "7otter-lamp-verse-",
        ] {
            assert_eq!(Code::parse(text).unwrap(), wanted, "{text:?}");
        }
        let long = Code::parse("7 OTTER lamp verse @ Box:1 , [2001:DB8:0::1]:2").unwrap();
        assert_eq!(long.to_string(), "7-otter-lamp-verse@box:1,[2001:db8::1]:2");
        assert_eq!(long.short(), wanted);
    }

    #[test]
    fn what_is_not_a_code_is_refused_with_the_reason() {
        let error = |text: &str| Code::parse(text).unwrap_err();
        assert_eq!(error(""), CodeError::NoNumber);
        assert_eq!(error("otter-lamp-verse"), CodeError::NoNumber);
        assert_eq!(error("0-otter-lamp-verse"), CodeError::NumberOutOfRange);
        assert_eq!(error("10000-otter-lamp-verse"), CodeError::NumberOutOfRange);
        assert_eq!(
            error("99999999999999999999-a-b-c"),
            CodeError::NumberOutOfRange
        );
        assert_eq!(error("7"), CodeError::WordCount { found: 0 });
        assert_eq!(error("7-otter-lamp"), CodeError::WordCount { found: 2 });
        assert_eq!(error("7-a-b-c-d"), CodeError::WordCount { found: 4 });
        assert_eq!(error(&"7-".repeat(2_000)), CodeError::TooLong);
        let many = format!("7-a-b-c@{}", vec!["h:1"; 17].join(","));
        assert_eq!(error(&many), CodeError::TooManyAddresses);
    }

    #[test]
    fn addresses_are_host_and_port_only() {
        for bad in [
            "",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            ":1",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[host]:1",
            "ho st:1",
            "h\u{f6}st:1",
            "-x:1",
            "http://x:1",
            "x:1@y:2/",
        ] {
            let text = format!("7-a-b-c@ok:1,{bad}");
            let refused = Code::parse(&text).unwrap_err();
            if bad.contains('@') {
                continue; // the last @ counts: the rest becomes words
            }
            assert_eq!(refused, CodeError::BadAddress { position: 2 }, "{bad:?}");
        }
    }

    #[test]
    fn unknown_words_are_named_by_position() {
        let code = Code::parse("7-oter-acid-yo").unwrap();
        assert_eq!(code.words().unknown_words(), [1, 3]);
        assert!(!code.words().is_known());
        assert!(words("Acid zoom acid").is_known());
    }

    #[test]
    fn the_password_is_lower_case_nfkc_joined_by_one_dash() {
        let typed = CodeWords::new(["OTTER", "\u{fb01}sh", " lamp"]).unwrap();
        assert_eq!(*code_words_password(&typed), b"otter-fish-lamp");
    }

    #[test]
    fn words_are_drawn_evenly() {
        // 64,749 is the last fair draw, 64,750 and 65,535 are thrown away.
        let bytes = [0xfc, 0xee, 0xff, 0xff, 0xfc, 0xed, 0x00, 0x00, 0x05, 0x0f];
        let drawn = CodeWords::generate(&bytes).unwrap();
        assert_eq!(*code_words_password(&drawn), b"zoom-acid-acid");
        assert_eq!(
            CodeWords::generate(&bytes[..9]).unwrap_err(),
            CodeError::NotEnoughRandomness
        );

        let mut counts = BTreeMap::new();
        for draw in 0..=u16::MAX {
            let [high, low] = draw.to_be_bytes();
            if let Ok(drawn) = CodeWords::generate(&[high, low, 0, 0, 0, 0]) {
                *counts.entry(drawn.0[0].to_string()).or_insert(0) += 1;
            }
        }
        assert_eq!(counts.len(), words::WORD_COUNT);
        assert!(counts.values().all(|count| *count == 50));
    }

    #[test]
    fn s_26_debug_and_errors_do_not_show_the_words() {
        let code = Code::parse("7-otter-lamp-verse@box:1").unwrap();
        let shown = format!("{code:?} {:?}", code.words());
        assert!(!shown.contains("otter") && !shown.contains("lamp") && shown.contains("***"));
        let error = Code::parse("7-otter-lamp-verse-extra").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("lamp"));
    }

    prop_compose! {
        fn any_address()(
            kind in 0..3, host in "[a-z0-9][a-z0-9.-]{0,20}", v4: u32, v6: u128, port in 1_u16..
        ) -> String {
            match kind {
                0 => format!("{host}:{port}"),
                1 => format!("{}:{port}", std::net::Ipv4Addr::from(v4)),
                _ => format!("[{}]:{port}", Ipv6Addr::from(v6)),
            }
        }
    }

    proptest! {
        #[test]
        fn any_code_survives_printing_and_parsing(
            number in 1..=NUMBER_MAX,
            randomness: [u8; CODE_RANDOMNESS_LEN],
            addresses in proptest::collection::vec(any_address(), 0..ADDRESSES_MAX),
        ) {
            let words = CodeWords::generate(&randomness).unwrap();
            prop_assert!(words.is_known());
            let code = Code::new(number, words, addresses.clone()).unwrap();
            prop_assert_eq!(code.addresses(), &addresses[..]);
            let typed = code.to_string();
            prop_assert_eq!(&Code::parse(&typed).unwrap(), &code);
            let (head, tail) = typed.split_once('@').unwrap_or((&typed, ""));
            let shouted = head.to_uppercase().replace('-', " \u{2014}");
            let shouted = if tail.is_empty() { shouted } else { format!("{shouted} @{tail}") };
            prop_assert_eq!(&Code::parse(&shouted).unwrap(), &code);
        }

        #[test]
        fn any_text_gives_a_code_or_an_error(text in ".{0,80}", tail in "[0-9]{1,3} a b c@.{0,20}") {
            let _ = Code::parse(&text);
            let _ = Code::parse(&tail);
        }
    }
}
