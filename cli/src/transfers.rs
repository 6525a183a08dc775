//! `rdv transfers`: what became of the last ones, and why the bytes went the way they did.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use indicatif::HumanBytes;
use rdv::show;
use serde_json::{Value, json};

use crate::args::{Transfers, TransfersVerb};
use crate::exit::{Exit, Failure};
use crate::record::{Record, Tried, Way, seconds, unquoted};
use crate::records;
use crate::ui::Ui;

/// Longest foreign text on one line.
const SHOWN_MAX: usize = 200;

pub(crate) fn run(args: &Transfers, ui: &Ui) -> Result<Exit, Failure> {
    match &args.verb {
        Some(TransfersVerb::Show { id }) => {
            let record = records::one(id)?;
            match ui.json {
                true => ui.event(&event(&record)),
                false => print(&story(&record), ui)?,
            }
        }
        None => {
            let all = records::all()?;
            match ui.json {
                true => all.iter().for_each(|record| ui.event(&event(record))),
                false => print(&all.iter().map(line).collect::<Vec<_>>(), ui)?,
            }
            if all.is_empty() {
                ui.say("There are none yet.");
            }
        }
    }
    ui.succeeded();
    Ok(Exit::DONE)
}

/// The whole record, and what is made of it.
fn event(record: &Record) -> Value {
    let mut event = json!(record);
    event["event"] = json!("transfer");
    for (key, value) in record.fields() {
        event[key] = value;
    }
    event["why"] = json!(why(record));
    event
}

fn print(lines: &[String], ui: &Ui) -> Result<(), Failure> {
    for line in lines {
        match ui.payload(line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                return Err(Failure::new(
                    Exit::FILES,
                    format!("cannot write the list: {error}"),
                ));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// One transfer in the list.
fn line(record: &Record) -> String {
    let how = match (record.ok, record.way()) {
        (true, Some(_)) => record.path_words(),
        (true, None) => "done".to_owned(),
        (false, _) => format!("failed ({})", record.exit),
    };
    format!(
        "{}  {}  {:<7}  {:>10}  {how}",
        record.id,
        time(record.started_ms),
        record.verb,
        HumanBytes(record.bytes).to_string(),
    )
}

/// All that is known of one transfer.
fn story(record: &Record) -> Vec<String> {
    let mut lines = vec![format!("Transfer {} ({})", record.id, record.verb)];
    let peer = record.peer.as_ref().map(|peer| show(peer, SHOWN_MAX));
    lines.push(format!(
        "  with      {}",
        peer.as_deref().unwrap_or("nobody yet")
    ));
    lines.push(format!("  begun     {}", time(record.started_ms)));
    lines.push(format!("  took      {}", seconds(record.took_ms)));
    lines.push(match &record.reason {
        None => format!(
            "  ended     well: {} in files: {}",
            HumanBytes(record.bytes),
            record.files
        ),
        Some(reason) => format!(
            "  ended     exit {}: {}",
            record.exit,
            show_sentence(reason)
        ),
    });
    if let Some(security) = &record.security {
        lines.push(format!("  security  {security}"));
    }
    if let Some(network) = &record.network {
        lines.push(format!(
            "  network   UDP mapping {}, TCP mapping {}",
            network.udp, network.tcp
        ));
    }
    lines.push(String::new());
    lines.push("Ways of the bytes, from and to in time since the beginning:".to_owned());
    lines.extend(record.paths.iter().map(|used| {
        format!(
            "  {:>8} {:>8}  {}, {}",
            seconds(used.from_ms),
            seconds(used.to_ms),
            used.way,
            HumanBytes(used.bytes)
        )
    }));
    if record.paths.is_empty() {
        lines.push("  none".to_owned());
    }
    if let Some(ms) = record.lane_ms {
        lines.push(format!(
            "  The first was proven {} after the first message with addresses.",
            seconds(ms)
        ));
    }
    lines.push(String::new());
    lines.push("What was tried, with its begin and how long it took:".to_owned());
    lines.extend(record.tried.iter().map(attempt));
    if record.tried.is_empty() {
        lines.push("  nothing".to_owned());
    }
    if record.tried_more > 0 {
        lines.push(format!("  and {} more", record.tried_more));
    }
    lines.push(String::new());
    lines.push("Own addresses that were found:".to_owned());
    lines.extend(
        record
            .own
            .iter()
            .map(|own| format!("  {:<4} {} ({})", own.protocol, own.address, own.source)),
    );
    if record.own.is_empty() {
        lines.push("  none".to_owned());
    }
    lines.push(String::new());
    lines.extend(why(record));
    lines
}

fn attempt(tried: &Tried) -> String {
    let way = match tried.carrier.as_deref() {
        Some("quic") => "QUIC",
        Some("tcp_open") => "TCP (opened from both sides)",
        Some(_) => "TCP",
        None => "relay",
    };
    let address = place(tried);
    let why = tried.why.as_ref();
    let why = why.map(|why| format!(": {}", show_sentence(why)));
    format!(
        "  {:>8} {:>8}  {:<10} {way} {address} ({}){}",
        seconds(tried.at_ms),
        seconds(tried.took_ms),
        tried.result,
        tried.source,
        why.unwrap_or_default()
    )
}

/// Why the bytes went the way they did, a sentence each.
fn why(record: &Record) -> Vec<String> {
    let direct = || record.tried.iter().filter(|tried| tried.carrier.is_some());
    let proven = |tried: &&Tried| matches!(tried.result.as_str(), "won" | "lost");
    let Some(way) = record.way() else {
        return vec![match record.tried.len() {
            0 => "No way was looked for: it ended before that.".to_owned(),
            count => format!("None of the {count} attempts led to the other side."),
        }];
    };
    if way.is_relay() {
        return vec![match (direct().count(), direct().find(proven)) {
            (0, _) => "The relay carried it, for nothing direct could be tried.".to_owned(),
            (count, None) => format!(
                "The relay carried it, for none of the {count} direct attempts led to the other side."
            ),
            (_, Some(_)) if record.paths.iter().any(|used| !used.way.is_relay()) => {
                "The relay carried the end of it, for the direct path was lost.".to_owned()
            }
            (_, Some(_)) => {
                "The relay carried it, for it was over before a direct path was in use.".to_owned()
            }
        }];
    }
    let mut sentences = Vec::new();
    let winner = direct().rfind(|tried| tried.result == "won" && fits(tried, way));
    let mut others: Vec<&Tried> = direct().filter(proven).collect();
    others.retain(|tried| winner.is_none_or(|winner| *tried != winner));
    sentences.push(match winner {
        Some(winner) => {
            let at = seconds(winner.at_ms.saturating_add(winner.took_ms));
            let figure = winner
                .why
                .as_ref()
                .map(|why| format!(", {}", show_sentence(why)));
            let first = others
                .iter()
                .all(|tried| proven_ms(winner) <= proven_ms(tried));
            let rank = match (others.len(), first) {
                (0, _) => "the only direct path that was proven",
                (_, true) => "the first direct path that was proven",
                (_, false) => "a better direct path than the one that was proven before it",
            };
            format!(
                "{way} won: {rank}, after {at}{}.",
                figure.unwrap_or_default()
            )
        }
        None => format!("{way} was the direct path."),
    });
    for other in others {
        let address = place(other);
        let figure = other
            .why
            .as_ref()
            .map(|why| format!(" ({})", show_sentence(why)));
        sentences.push(format!(
            "{address} ({}) was proven, too, and not needed{}.",
            other.source,
            figure.unwrap_or_default()
        ));
    }
    if record.relay_ms() > 0 {
        sentences.push(format!(
            "The relay carried the bytes for {} until then, for it was up first.",
            seconds(record.relay_ms())
        ));
    }
    sentences
}

fn place(tried: &Tried) -> String {
    match (&tried.address, &tried.carrier) {
        (Some(address), _) => show_sentence(address),
        (None, Some(_)) => "an unknown address".to_owned(),
        (None, None) => "that the other side was told".to_owned(),
    }
}

/// Whether an attempt is the one that this way came of.
fn fits(tried: &Tried, way: &Way) -> bool {
    tried.carrier == way.carrier && (tried.address == way.remote || way.remote.is_none())
}

fn proven_ms(tried: &Tried) -> u64 {
    tried.at_ms.saturating_add(tried.took_ms)
}

/// Text of errors, which may hold foreign text: without its quotes.
fn show_sentence(text: &str) -> String {
    unquoted(&show(text, SHOWN_MAX)).replace("\\\"", "\"")
}

fn time(ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    time.map(|time| humantime::format_rfc3339_seconds(time).to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::moved;

    #[test]
    fn the_list_has_a_line_for_each() {
        assert_eq!(
            line(&moved()),
            "1a2b3c4d  2026-09-21T14:13:20Z  send         1000 B  direct QUIC 192.0.2.7:40112 (punched), relay was used for 0.8 s"
        );
        let failed = Record {
            ok: false,
            exit: 6,
            ..moved()
        };
        assert!(line(&failed).ends_with("failed (6)"), "{}", line(&failed));
    }

    #[test]
    fn the_story_tells_every_attempt_and_why_the_winner_won() {
        let story = story(&moved()).join("\n");
        for part in [
            "with      \"guest ab\"",
            "UDP mapping independent",
            "0.2 s    1.0 s  relay 192.0.2.1:5190, 400 B",
            "60 ms    30 ms  failed     TCP 10.0.0.2:5000 (host): refused",
            "70 ms    0.9 s  won        QUIC 192.0.2.7:40112 (reflexive): round trip 42 ms",
            "udp  198.51.100.3:50000 (reflexive)",
            "won: the only direct path that was proven, after 1.0 s, round trip 42 ms.",
            "The relay carried the bytes for 0.8 s until then",
        ] {
            assert!(story.contains(part), "{part:?} in\n{story}");
        }
    }

    #[test]
    fn it_is_told_whether_the_winner_was_the_first_or_the_better_one() {
        let mut record = moved();
        record.tried.push(Tried {
            carrier: Some("tcp".to_owned()),
            address: Some("192.0.2.7:5000".to_owned()),
            source: "mapped".to_owned(),
            at_ms: 60,
            took_ms: 100,
            result: "lost".to_owned(),
            why: Some("round trip 60 ms".to_owned()),
        });
        let told = why(&record);
        assert!(told[0].contains("a better direct path"), "{told:?}");
        assert_eq!(
            told[1],
            "192.0.2.7:5000 (mapped) was proven, too, and not needed (round trip 60 ms)."
        );
        record.tried[3].took_ms = 5_000;
        assert!(why(&record)[0].contains("the first direct path"));
    }

    #[test]
    fn a_relayed_and_a_failed_one_say_why_as_well() {
        let mut record = moved();
        record.paths.pop();
        record.tried.pop();
        assert_eq!(
            why(&record),
            ["The relay carried it, for none of the 1 direct attempts led to the other side."]
        );
        record.tried.remove(0);
        assert_eq!(
            why(&record),
            ["The relay carried it, for nothing direct could be tried."]
        );
        record.paths.clear();
        assert_eq!(
            why(&record),
            ["None of the 1 attempts led to the other side."]
        );
        record.tried.clear();
        assert!(why(&record)[0].starts_with("No way was looked for"));
    }

    #[test]
    fn s_24_what_an_error_says_is_harmless() {
        assert_eq!(show_sentence("a \u{1b}[31m \"b\""), "a \\u{1b}[31m \"b\"");
    }
}
