//! What people and programs get to see. Words go to standard error, payload and machine output to standard output.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rdv::transfer::{Mark, OfferedName};
use rdv::{Offer, Path, Progress, Security, Summary, show};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::record::{Record, Way};

/// How many names the question lists before it counts the rest (S-25).
pub(crate) const NAMES_SHOWN: usize = 20;
/// What is said of every plain connection, also where little is said.
pub(crate) const PLAIN: &str =
    "NOT ENCRYPTED, NOT VERIFIED: anyone between you can read and change this file";
/// Characters of one name in it.
const NAME_SHOWN_MAX: usize = 400;

/// Longest path on one line.
const PATH_SHOWN_MAX: usize = 400;

/// How often the bar and the JSON progress move.
pub(crate) const TICK: Duration = Duration::from_millis(200);

pub(crate) struct Ui {
    pub(crate) json: bool,
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl Ui {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let ui = Self {
            json,
            quiet,
            bar: None,
        };
        ui.event(
            &json!({ "event": "hello", "program": "rdv", "version": env!("CARGO_PKG_VERSION") }),
        );
        ui
    }

    /// A line for people.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            self.must_say(line);
        }
    }

    /// A line that even `--quiet` does not hold back.
    pub(crate) fn must_say(&self, line: impl AsRef<str>) {
        let line = line.as_ref();
        match &self.bar {
            Some(bar) => bar.suspend(|| to_stderr(line)),
            None => to_stderr(line),
        }
    }

    /// One line of JSON, if asked for.
    pub(crate) fn event(&self, event: &Value) {
        if self.json {
            // That nobody reads it is no reason to stop a transfer.
            let _ = self.payload(&harmless(&event.to_string()));
        }
    }

    /// One line on standard output.
    pub(crate) fn payload(&self, line: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush())
    }

    /// `at_ms`: when, counted from the beginning of the transfer.
    pub(crate) fn connected(&mut self, path: &Path, security: Security, at_ms: Option<u64>) {
        let way = Way::from(path);
        let mut event = way_event("connected", &way, at_ms);
        event["security"] = json!(security.word());
        self.event(&event);
        match security {
            Security::Verified { .. } => {
                self.say(format!("Connected ({way}, encrypted, verified)."));
            }
            Security::Unverified { .. } | Security::Encrypted { .. } => {
                self.say(format!("Connected ({way}, encrypted, NOT VERIFIED)."));
            }
            Security::Plain => {
                self.must_say(PLAIN);
                self.say(format!("Connected ({way})."));
            }
        }
    }

    /// The bytes go another way from now on.
    pub(crate) fn moved(&mut self, path: &Path, at_ms: Option<u64>) {
        let way = Way::from(path);
        self.event(&way_event("path", &way, at_ms));
        if let Some(bar) = &self.bar {
            bar.set_prefix(way.path.clone());
        }
        self.say(format!("Now {way}."));
    }

    /// Shows how far it is; the bar appears when the total is known.
    pub(crate) fn progress(&mut self, progress: &Progress, path: &str) {
        self.event(&json!({
            "event": "progress", "bytes": progress.bytes, "total": progress.total_bytes,
            "files": progress.files, "total_files": progress.total_files,
        }));
        if self.quiet || self.json || !std::io::stderr().is_terminal() || progress.total_bytes == 0
        {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(
                Some(progress.total_bytes),
                ProgressDrawTarget::stderr_with_hz(10),
            );
            if let Ok(style) = ProgressStyle::with_template(
                "{prefix} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}",
            ) {
                bar.set_style(style);
            }
            bar.set_prefix(path.to_owned());
            bar
        });
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.bytes);
        if let Some(name) = &progress.current {
            bar.set_message(show(name, 40));
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The last word of a transfer that worked.
    pub(crate) fn done(&mut self, verb: &str, text: bool, summary: &Summary, record: &Record) {
        self.clear();
        let mut result = self.summary(verb, text, summary, &record.path_words());
        let first = [
            ("event", json!("result")),
            ("ok", json!(true)),
            ("exit", json!(0)),
            ("reason", Value::Null),
            ("security", json!(record.security)),
        ];
        for (key, value) in first.into_iter().chain(record.fields()) {
            result[key] = value;
        }
        self.event(&result);
        self.hint(record);
    }

    /// Where to see why, for a transfer that did not go as it should.
    pub(crate) fn hint(&self, record: &Record) {
        if record.asks_why() {
            self.say(format!("See why: rdv transfers show {}", record.id));
        }
    }

    /// Tells people what was transferred, and gives it for programs.
    pub(crate) fn summary(&self, verb: &str, text: bool, summary: &Summary, path: &str) -> Value {
        let seconds = summary.elapsed.as_secs_f64().max(0.000_001);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "a rate for people"
        )]
        let rate = (summary.bytes as f64 / seconds) as u64;
        let hash = summary.hash.map(|hash| hash.to_string());
        let what = if text {
            "a text".to_owned()
        } else {
            files(summary.files)
        };
        let shown = hash
            .as_deref()
            .map(|hash| format!(", BLAKE3 {}", &hash[..16]))
            .unwrap_or_default();
        self.say(format!(
            "{verb} {what}, {} in {seconds:.1} s ({}/s, {path}{shown}).",
            HumanBytes(summary.bytes),
            HumanBytes(rate),
        ));
        if summary.left_out > 0 {
            self.must_say(format!(
                "Left out: {} (links inside folders, devices, pipes and sockets are not sent).",
                summary.left_out
            ));
        }
        for saved in summary.saved.iter().take(NAMES_SHOWN) {
            self.say(format!(
                "Saved {}",
                show(&saved.to_string_lossy(), PATH_SHOWN_MAX)
            ));
        }
        json!({
            "files": summary.files, "left_out": summary.left_out, "bytes": summary.bytes, "seconds": seconds, "blake3": hash,
            "saved": summary.saved.iter().map(|saved| saved.to_string_lossy()).collect::<Vec<_>>(),
        })
    }

    /// The last word of anything that did not; of a transfer with its record.
    pub(crate) fn failed(&mut self, failure: &Failure, record: Option<&Record>) -> Exit {
        self.clear();
        self.must_say(format!("rdv: {}", failure.sentence));
        self.result(failure, record);
        if let Some(record) = record {
            self.hint(record);
        }
        failure.exit
    }

    /// What programs are told of a failure.
    pub(crate) fn result(&self, failure: &Failure, record: Option<&Record>) {
        let mut event = json!({
            "event": "result", "ok": false, "exit": failure.exit.0, "reason": failure.sentence,
            "path": null, "security": null,
        });
        if let Some(name) = failure.name {
            event["error"] = json!(name);
        }
        for (key, value) in record.map(Record::fields).unwrap_or_default() {
            event[key] = value;
        }
        self.event(&event);
    }

    /// Tells what is offered, all that is to be decided (S-25).
    pub(crate) fn offered(&self, offer: &Offer, security: Option<Security>) {
        let names: Vec<_> = offer.names.iter().take(NAMES_SHOWN).collect();
        self.event(&json!({
            "event": "offer", "files": offer.files, "folders": offer.folders, "bytes": offer.total_bytes,
            "text": offer.text, "names": names.iter().map(|name| &name.name).collect::<Vec<_>>(),
        }));
        let known = match security {
            Some(Security::Verified { .. }) => "verified by the code",
            Some(Security::Unverified { .. } | Security::Encrypted { .. }) | None => "NOT VERIFIED",
            Some(Security::Plain) => "NOT ENCRYPTED, NOT VERIFIED",
        };
        for line in offer_lines(&format!("Offered ({known})"), offer) {
            self.say(line);
        }
    }

    /// The last word of a run that had nothing to transfer.
    pub(crate) fn succeeded(&self) {
        self.event(&json!({
            "event": "result", "ok": true, "exit": 0, "reason": null, "path": null, "security": null,
        }));
    }

    /// The text that was received: payload, which must not get lost unnoticed.
    pub(crate) fn text(&self, text: &str) -> std::io::Result<()> {
        if self.json {
            let event = json!({ "event": "text", "text": text });
            self.payload(&harmless(&event.to_string()))
        } else if std::io::stdout().is_terminal() {
            // A terminal gets nothing raw from outside; line by line, so that it stays readable.
            text.lines()
                .try_for_each(|line| self.payload(&escaped(line)))
        } else {
            self.payload(text)
        }
    }
}

/// An event that tells of a way.
pub(crate) fn way_event(event: &str, way: &Way, at_ms: Option<u64>) -> Value {
    let mut told = json!({ "event": event, "at_ms": at_ms });
    for (key, value) in Way::fields(Some(way)) {
        told[key] = value;
    }
    told
}

/// All that is to be decided about an offer, a line each (S-25).
pub(crate) fn offer_lines(head: &str, offer: &Offer) -> Vec<String> {
    if offer.text {
        return vec![format!("{head}: a text of {} bytes.", offer.total_bytes)];
    }
    let size = HumanBytes(offer.total_bytes);
    let mut lines = vec![format!("{head}: {}, {size}:", files(offer.files))];
    lines.extend(offer.names.iter().take(NAMES_SHOWN).map(name_line));
    let entries = offer.files + offer.folders;
    let more = entries.saturating_sub(NAMES_SHOWN as u64);
    if more > 0 {
        lines.push(format!("  and {more} more"));
        // What deserves a look must not hide behind the count.
        let hidden = offer.names.iter().skip(NAMES_SHOWN);
        let marked = hidden.filter(|name| name.mark.is_some());
        lines.extend(marked.take(NAMES_SHOWN).map(name_line));
    }
    if offer.skipped > 0 {
        let skipped = offer.skipped;
        lines.push(format!(
            "  {skipped} of them are here already and stay as they are"
        ));
    }
    if offer.is_tight() {
        lines.push("  Note: that fills the disk almost completely.".to_owned());
    }
    lines
}

fn name_line(name: &OfferedName) -> String {
    shown_name(&name.name, name.folder, name.bytes, name.mark)
}

/// One name of an offer.
pub(crate) fn shown_name(name: &str, folder: bool, bytes: u64, mark: Option<Mark>) -> String {
    let mark = mark.map(|mark| format!("  [{mark}]")).unwrap_or_default();
    let slash = if folder { "/" } else { "" };
    let shown = show(&format!("{name}{slash}"), NAME_SHOWN_MAX);
    format!("  {shown}  {}{mark}", HumanBytes(bytes))
}

pub(crate) fn files(count: u64) -> String {
    if count == 1 {
        "1 file".to_owned()
    } else {
        format!("{count} files")
    }
}

/// A line of foreign text as it may be shown. Unlike a name it stands in no quotes, so that its own need no backslash.
fn escaped(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            ' '..='~' => out.push(c),
            _ => out.push_str(show(&c.to_string(), 1).trim_matches('"')),
        }
    }
    out
}

/// The same JSON without a character that could act on a terminal: JSON has escapes of its own, so the value stays as it is.
/// What is not ASCII, and DEL, stands only within strings.
fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') || show(&c.to_string(), 1).trim_matches('"').starts_with(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn to_stderr(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Asks on the terminal; `None` if standard input ended.
pub(crate) async fn ask(question: &str) -> Option<String> {
    let question = question.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "{question} ").and_then(|()| err.flush());
        drop(err);
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(read) if read > 0 => Some(line.trim().to_owned()),
            _ => None,
        }
    })
    .await
    .ok()
    .flatten()
}

/// A line between two questions.
pub(crate) fn note(line: &str) {
    to_stderr(line);
}

/// Whether a person can be asked.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An 8-bit escape sequence, DEL, a bidi override, a tag outside the basic plane.
    const EVIL: &str = "a\u{9b}31m\u{7f}\u{202e}\u{e0041}\t \"naïve 文件\" \\";

    #[test]
    fn s_24_json_holds_nothing_raw_and_means_the_same() {
        let event = json!({ "text": EVIL });
        let line = harmless(&event.to_string());
        assert_eq!(
            line,
            r#"{"text":"a\u009b31m\u007f\u202e\udb40\udc41\t \"naïve 文件\" \\"}"#
        );
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), event);
    }

    #[test]
    fn s_24_a_text_on_a_terminal_is_harmless_and_keeps_its_quotes() {
        assert_eq!(
            escaped(EVIL),
            r#"a\u{9b}31m\u{7f}\u{202e}\u{e0041}\u{9} "naïve 文件" \"#
        );
    }
}
