//! The one way by which foreign text reaches a screen or a log (security rules, section 8).

/// Characters that draw, reorder or hide: never shown, and refused in names.
pub(super) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn is_printable(c: char) -> bool {
    // The standard library knows which characters are unassigned, private or invisible, but tells it only by escaping them. Behind
    // another character it leaves combining marks alone.
    let mut after = ['a', c]
        .iter()
        .collect::<String>()
        .escape_debug()
        .skip(1)
        .take(3)
        .collect::<String>();
    after.make_ascii_lowercase();
    !after.starts_with("\\u{")
}

/// `text` as it may be shown: in quotes so that spaces are seen, controls, bidi controls, zero-width, tag, private and unassigned characters as `\u{..}`, a quote or
/// backslash escaped, at most `max` characters of the original and then `…`.
#[must_use]
pub fn show(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max) + 2);
    out.push('"');
    let mut characters = text.chars();
    for c in characters.by_ref().take(max) {
        if is_deceptive(c) || !(c == ' ' || is_printable(c)) {
            out.extend(c.escape_unicode());
        } else if matches!(c, '"' | '\\') {
            out.extend(['\\', c]);
        } else {
            out.push(c);
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn s_24_names_are_shown_harmless() {
        assert_eq!(show("a b.txt", 99), "\"a b.txt\"");
        assert_eq!(show("naïve 文件 e\u{301}", 99), "\"naïve 文件 e\u{301}\"");
        assert_eq!(show("\u{1b}[31mred", 99), "\"\\u{1b}[31mred\"");
        assert_eq!(
            show("a\r\nb\u{85}\u{7f}", 99),
            "\"a\\u{d}\\u{a}b\\u{85}\\u{7f}\""
        );
        assert_eq!(show("exe.\u{202E}txt", 99), "\"exe.\\u{202e}txt\"");
        assert_eq!(
            show("\u{200B}\u{E0041}\u{E000}\u{378}\u{FEFF}", 99),
            "\"\\u{200b}\\u{e0041}\\u{e000}\\u{378}\\u{feff}\""
        );
        assert_eq!(show("say \"hi\"\\", 99), "\"say \\\"hi\\\"\\\\\"");
        assert_eq!(show("abcdef", 3), "\"abc…\"");
        assert_eq!(show("", 3), "\"\"");
    }

    proptest! {
        #[test]
        fn s_24_nothing_that_draws_survives(text in "\\PC*|.*", max in 0usize..300) {
            let shown = show(&text, max);
            prop_assert!(!shown.chars().any(is_deceptive));
            prop_assert!(shown.chars().all(|c| c == ' ' || is_printable(c)), "{shown:?}");
        }

        #[test]
        fn s_24_any_character_is_shown_harmless(c in any::<char>()) {
            let shown = show(&c.to_string(), 9);
            prop_assert!(!shown.chars().any(is_deceptive));
        }

        #[test]
        fn s_24_harmless_text_stays_as_it_is(text in "[a-zA-Z0-9 äöüß文件.,;()-]*") {
            prop_assert_eq!(show(&text, usize::MAX), format!("\"{text}\""));
        }
    }
}
