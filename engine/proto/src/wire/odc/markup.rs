//! As much of HTML as a direct IM needs: finding tags, reading their attributes, and the text without them.
//!
//! Each pass is linear in the length of the text, whatever it holds.

use crate::limits;

/// A tag: `IMG` and what stands behind it, without the brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag<'a> {
    inside: &'a str,
}

impl<'a> Tag<'a> {
    /// A tag by what stands between its brackets.
    #[must_use]
    pub fn new(inside: &'a str) -> Self {
        Self { inside }
    }

    /// The name, in whatever case it was written; `/` is part of a closing tag's name.
    #[must_use]
    pub fn name(self) -> &'a str {
        let end = self.inside.find(|c: char| c.is_ascii_whitespace());
        &self.inside[..end.unwrap_or(self.inside.len())]
    }

    /// Whether it is that tag; case does not matter.
    #[must_use]
    pub fn is(self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// The value of an attribute as it is written, without its quotes; case of the name does not matter, the first counts.
    #[must_use]
    pub fn attribute(self, name: &str) -> Option<&'a str> {
        let mut rest = &self.inside[self.name().len()..];
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                return None;
            }
            let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace());
            let (found, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let Some(behind) = behind.trim_ascii_start().strip_prefix('=') else {
                // An attribute without a value, or a lone character.
                rest = behind;
                continue;
            };
            let (value, behind) = value(behind.trim_ascii_start());
            if found.eq_ignore_ascii_case(name) {
                return Some(value);
            }
            rest = behind;
        }
    }

    /// An attribute that is a number.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        let digits = self.attribute(name)?;
        // No sign: `parse` would take a plus.
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    }
}

/// The value at the front, and what stands behind it.
fn value(text: &str) -> (&str, &str) {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    match quote {
        Some(quote) => {
            let inside = &text[1..];
            inside.split_once(quote).unwrap_or((inside, ""))
        }
        None => {
            let end = text.find(|c: char| c.is_ascii_whitespace());
            text.split_at(end.unwrap_or(text.len()))
        }
    }
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What is shown, entities not yet replaced.
    Text(&'a str),
    /// A tag.
    Tag(Tag<'a>),
}

/// Takes a text apart. A bracket that opens no tag (none closes it, or not within a kilobyte) is text.
#[must_use]
pub fn pieces(html: &str) -> Pieces<'_> {
    Pieces { rest: html }
}

/// What [`pieces`] yields.
#[derive(Debug, Clone)]
pub struct Pieces<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some(behind) = self.rest.strip_prefix('<') {
            return Some(match tag_end(behind) {
                Ok(end) => {
                    self.rest = &behind[end + 1..];
                    Piece::Tag(Tag::new(&behind[..end]))
                }
                // Looked at once, it is not looked at again.
                Err(looked_at) => {
                    let (text, rest) = self.rest.split_at(1 + looked_at);
                    self.rest = rest;
                    Piece::Text(text)
                }
            });
        }
        let end = self.rest.find('<').unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Piece::Text(text))
    }
}

/// Where the tag ends whose bracket was just read; else how far was looked.
fn tag_end(text: &str) -> Result<usize, usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Ok(at),
            (None, b'<') => return Err(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
        if at >= limits::ODC_TAG {
            return Err(text.floor_char_boundary(at));
        }
    }
    Err(text.len())
}

/// What a text says without its markup: tags left out, line breaks kept, entities replaced. Foreign where the text is.
#[must_use]
pub fn plain_text(html: &str) -> String {
    let mut plain = String::new();
    for piece in pieces(html) {
        match piece {
            Piece::Text(text) => unescape(text, &mut plain),
            Piece::Tag(tag) if tag.is("br") || tag.is("br/") || tag.is("p") => plain.push('\n'),
            Piece::Tag(_) => {}
        }
    }
    plain
}

const ENTITIES: [(&str, char); 6] = [
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&quot;", '"'),
    ("&#39;", '\''),
    ("&nbsp;", ' '),
    ("&amp;", '&'),
];

/// Appends `text` with its entities replaced; unknown ones stay as they are.
fn unescape(mut text: &str, out: &mut String) {
    while let Some(at) = text.find('&') {
        out.push_str(&text[..at]);
        text = &text[at..];
        let known = ENTITIES.iter().find(|(name, _)| text.starts_with(name));
        let known = known.map(|&(name, c)| (name.len(), c));
        let (taken, replacement) = known.or_else(|| numbered(text)).unwrap_or((1, '&'));
        out.push(replacement);
        text = &text[taken..];
    }
    out.push_str(text);
}

/// Digits that a numbered entity has at most; more are no character.
const DIGITS_MAX: usize = 7;

/// The entity at the front if it names a character by its number (`&#26085;`, `&#x65e5;`): its length and the character.
fn numbered(text: &str) -> Option<(usize, char)> {
    let number = text.strip_prefix("&#")?;
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let end = digits
        .bytes()
        .take(DIGITS_MAX + 1)
        .position(|byte| byte == b';')?;
    let digits = &digits[..end];
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let value = u32::from_str_radix(digits, radix).ok()?;
    let prefix = text.len() - number.len() + usize::from(radix == 16);
    Some((prefix + end + 1, char::from_u32(value)?))
}

/// HTML that says the same in ASCII: every other character by its number.
#[must_use]
pub fn in_ascii(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for c in html.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out
}

/// The value of an attribute with its entities replaced.
#[must_use]
pub fn unescaped(value: &str) -> String {
    let mut out = String::new();
    unescape(value, &mut out);
    out
}

/// Appends text so that it is read as such: no tag and no entity in it counts. Line ends become `<BR>`.
pub fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("<BR>"),
            '\r' => {}
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_in_any_case_and_with_any_quotes() {
        let tag = Tag::new(r#"img SRC="a b.png" id='7' DataSize=12 alone WIDTH = "3""#);
        assert!(tag.is("IMG"));
        assert_eq!(tag.attribute("src"), Some("a b.png"));
        assert_eq!(tag.number("ID"), Some(7));
        assert_eq!(tag.number("datasize"), Some(12));
        assert_eq!(tag.number("width"), Some(3));
        assert_eq!(tag.attribute("alone"), None);
        assert_eq!(tag.attribute("height"), None);
    }

    #[test]
    fn a_number_is_digits_and_fits() {
        for (value, number) in [
            ("0", Some(0)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("1x", None),
        ] {
            let inside = format!("DATA SIZE=\"{value}\"");
            assert_eq!(Tag::new(&inside).number("size"), number, "{value}");
        }
    }

    #[test]
    fn broken_tags_end_and_bring_nothing() {
        for inside in [
            "",
            " ",
            "=",
            "img =",
            "img ==",
            "img a",
            "img \"",
            "img a=\"x",
            "img é=\"ü\"",
        ] {
            assert_eq!(Tag::new(inside).attribute("src"), None, "{inside}");
        }
    }

    #[test]
    fn a_bracket_in_quotes_ends_no_tag_and_one_without_end_is_text() {
        let found: Vec<_> = pieces(r#"a<IMG SRC="x>y">b<c <B>d"#).collect();
        assert_eq!(
            found,
            [
                Piece::Text("a"),
                Piece::Tag(Tag::new(r#"IMG SRC="x>y""#)),
                Piece::Text("b"),
                Piece::Text("<c "),
                Piece::Tag(Tag::new("B")),
                Piece::Text("d"),
            ]
        );
    }

    #[test]
    fn a_tag_longer_than_a_kilobyte_is_text() {
        let long = format!("<{}>x<B>", "é".repeat(2_000));
        let tags = pieces(&long).filter(|piece| matches!(piece, Piece::Tag(_)));
        assert_eq!(tags.collect::<Vec<_>>(), [Piece::Tag(Tag::new("B"))]);
    }

    #[test]
    fn s_27_brackets_and_quotes_without_end_cost_linear_time() {
        for pattern in ["<", "<\"", "<a \"", "&", "<'é"] {
            let html = pattern.repeat(1 << 20);
            assert!(pieces(&html).count() <= html.len());
            assert!(plain_text(&html).len() <= html.len());
        }
    }

    #[test]
    fn text_survives_escaping() {
        let text = "1 < 2 && \"3\" > '2'\nnext &amp; line";
        let mut html = String::new();
        escape(text, &mut html);
        assert_eq!(
            html,
            "1 &lt; 2 &amp;&amp; &quot;3&quot; &gt; '2'<BR>next &amp;amp; line"
        );
        assert_eq!(plain_text(&html), text);
    }

    #[test]
    fn characters_may_be_named_by_their_numbers() {
        let html =
            "&#26085;&#x65E5;&#X65e5;&#0;|&#x;&#;&#-1;&#+1;&#1114112;&#xD800;&#12345678;&#12";
        let plain = "日日日\0|&#x;&#;&#-1;&#+1;&#1114112;&#xD800;&#12345678;&#12";
        assert_eq!(plain_text(html), plain);
        assert_eq!(in_ascii("<B>日 ü😀</B>"), "<B>&#26085; &#252;&#128512;</B>");
        assert_eq!(unescaped(&in_ascii("日 ü😀")), "日 ü😀");
    }

    #[test]
    fn plain_text_is_what_a_reader_sees() {
        let html = "<HTML><BODY BGCOLOR=\"#ffffff\"><FONT>hi&nbsp;<b>there</b></FONT><br>&eacute; & so</BODY></HTML>";
        assert_eq!(plain_text(html), "hi there\n&eacute; & so");
    }
}
