//! A TOML document, read key by key: every mistake in it is told at once, with its line and what is allowed there.

use std::cell::RefCell;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong at one place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// From 1; none if it is about no line.
    pub(crate) line: Option<usize>,
    /// What, and what to do.
    pub(crate) what: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What a value may be, and how it is read.
pub(crate) struct Kind<T> {
    /// In words, for those who wrote something else.
    pub(crate) allowed: &'static str,
    /// None: it is something else.
    pub(crate) read: fn(&DeValue<'_>) -> Option<T>,
}

/// A table of the document, and which of its keys are known.
pub(crate) struct Table<'d> {
    text: &'d str,
    /// With its own name, and a dot.
    prefix: String,
    table: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
    troubles: &'d RefCell<Vec<Trouble>>,
}

/// Reads a document; `fill` asks for everything that may be in it.
pub(crate) fn read(text: &str, fill: impl FnOnce(&mut Table<'_>)) -> Vec<Trouble> {
    let troubles = RefCell::new(Vec::new());
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map(|span| line_of(text, span.start));
        let what = error.message().to_owned();
        troubles.borrow_mut().push(Trouble { line, what });
    }
    let mut root = Table {
        text,
        prefix: String::new(),
        table: Some(document.get_ref()),
        known: Vec::new(),
        troubles: &troubles,
    };
    fill(&mut root);
    root.finish();
    let mut troubles = troubles.into_inner();
    troubles.sort_by_key(|trouble| trouble.line);
    troubles
}

impl<'d> Table<'d> {
    /// The value of a key; none if it is not there, or is something else.
    pub(crate) fn get<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<T> {
        let (line, value) = self.find(key)?;
        let read = (kind.read)(value);
        if read.is_none() {
            let what = format!("{}{key} must be {}", self.prefix, kind.allowed);
            self.trouble(Some(line), what);
        }
        read
    }

    /// Puts the value of a key where it belongs, if it is there.
    pub(crate) fn set<T>(&mut self, key: &'static str, kind: &Kind<T>, place: &mut T) {
        if let Some(value) = self.get(key, kind) {
            *place = value;
        }
    }

    /// The same where there may be none.
    pub(crate) fn set_some<T>(&mut self, key: &'static str, kind: &Kind<T>, place: &mut Option<T>) {
        if let Some(value) = self.get(key, kind) {
            *place = Some(value);
        }
    }

    /// Goes into a table below this one, whether it is there or not; says whether it is.
    pub(crate) fn within(&mut self, key: &'static str, fill: impl FnOnce(&mut Table<'d>)) -> bool {
        let table = self.find(key).and_then(|(line, value)| {
            let table = value.as_table();
            if table.is_none() {
                let what = format!("{}{key} must be a table: [{0}{key}]", self.prefix);
                self.trouble(Some(line), what);
            }
            table
        });
        let mut below = Table {
            text: self.text,
            prefix: format!("{}{key}.", self.prefix),
            table,
            known: Vec::new(),
            troubles: self.troubles,
        };
        fill(&mut below);
        below.finish();
        table.is_some()
    }

    /// Notes what is wrong with the value of a key for another reason than its form.
    pub(crate) fn complain(&self, key: &str, what: impl fmt::Display) {
        let line = self.entry(key).map(|(line, _)| line);
        self.trouble(line, format!("{}{key}: {what}", self.prefix));
    }

    fn find(&mut self, key: &'static str) -> Option<(usize, &'d DeValue<'d>)> {
        self.known.push(key);
        self.entry(key)
    }

    fn entry(&self, key: &str) -> Option<(usize, &'d DeValue<'d>)> {
        let (name, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((line_of(self.text, name.span().start), value.get_ref()))
    }

    fn finish(self) {
        for (name, _) in self.table.into_iter().flat_map(DeTable::iter) {
            let key: &Spanned<_> = name;
            if self.known.iter().any(|known| key.get_ref() == known) {
                continue;
            }
            let line = line_of(self.text, key.span().start);
            let here = match self.prefix.strip_suffix('.') {
                Some(section) => format!("in [{section}]"),
                None => "at the top".to_owned(),
            };
            let what = format!(
                "{}{} is unknown; known {here}: {}",
                self.prefix,
                rdv::show(key.get_ref(), 64),
                self.known.join(", ")
            );
            self.trouble(Some(line), what);
        }
    }

    fn trouble(&self, line: Option<usize>, what: String) {
        self.troubles.borrow_mut().push(Trouble { line, what });
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::{COUNT, FLAG, TIME};

    fn troubles(text: &str) -> Vec<String> {
        let troubles = read(text, |root| {
            root.within("one", |one| {
                one.get("flag", &FLAG);
                one.get("count", &COUNT);
                one.within("deep", |deep| {
                    deep.get("time", &TIME);
                });
            });
        });
        troubles.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_right_is_no_trouble() {
        let text = "[one]\nflag = true\ncount = 7\ndeep.time = \"30s\"\n";
        assert_eq!(troubles(text), [""; 0]);
        assert_eq!(troubles(""), [""; 0]);
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_line_and_what_is_allowed() {
        let text = "[one]\nflag = 1\nfleg = true\n\n[one.deep]\ntime = 30\n[two]\n";
        assert_eq!(
            troubles(text),
            [
                "line 2: one.flag must be true or false",
                "line 3: one.\"fleg\" is unknown; known in [one]: flag, count, deep",
                "line 6: one.deep.time must be a time such as \"30s\", \"5min\" or \"24h\"",
                "line 7: \"two\" is unknown; known at the top: one",
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let told = troubles("[one]\nflag = \n");
        assert!(
            told.iter().any(|line| line.starts_with("line 2: ")),
            "{told:?}"
        );
        assert!(troubles("one = 1")[0].contains("[one]"));
    }
}
