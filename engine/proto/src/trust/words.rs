//! The words that codes are made of.
//!
//! EFF Short Wordlist 1 (Electronic Frontier Foundation, CC-BY 3.0 US; attribution at the head of
//! `words.txt`). Words that hold a `-` are left out (ruling G-03), because `-` separates the words
//! of a code: 1,295 of 1,296 stay, which is 10.3 bits each.

use std::sync::LazyLock;

const LIST: &str = include_str!("words.txt");

/// How many words a code can choose from.
pub(crate) const WORD_COUNT: usize = 1_295;

/// All usable words, sorted, lower-case ASCII.
static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    LIST.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains('-'))
        .collect()
});

/// The word at `index`, `None` from [`WORD_COUNT`] on.
pub(crate) fn nth(index: usize) -> Option<&'static str> {
    WORDS.get(index).copied()
}

/// Whether `word` (in the form that codes hold: lower case, NFKC) is on the list.
pub(crate) fn is_on_list(word: &str) -> bool {
    WORDS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_effs_short_list_1_without_hyphens() {
        let raw: Vec<_> = LIST.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(raw.len(), 1_296);
        assert_eq!(raw.iter().filter(|word| word.contains('-')).count(), 1);

        let words = &*WORDS;
        assert_eq!(words.len(), WORD_COUNT);
        assert_eq!(
            (words.first(), words.last()),
            (Some(&"acid"), Some(&"zoom"))
        );
        assert!(words.iter().all(|word| (3..=5).contains(&word.len())));
        assert!(
            words
                .iter()
                .all(|word| word.bytes().all(|b| b.is_ascii_lowercase()))
        );
        assert!(
            words.is_sorted_by(|a, b| a < b),
            "sorted and without repeats"
        );
    }

    #[test]
    fn words_are_found_by_position_and_by_spelling() {
        assert_eq!(nth(0), Some("acid"));
        assert_eq!(nth(WORD_COUNT - 1), Some("zoom"));
        assert_eq!(nth(WORD_COUNT), None);
        assert!(is_on_list("zoom"));
        assert!(!is_on_list("yo-yo"));
        assert!(!is_on_list("Zoom"));
        assert!(!is_on_list("# "));
    }
}
