//! The ends of transfers that came in while listening.

use rdv::{Security, Summary, TransferReport, show};
use serde_json::{Value, json};

use super::{Active, Listener, NAME_SHOWN_MAX};
use crate::exit::{self, Exit, Failure};
use crate::record::{Record, Way};
use crate::records;

/// All transfers that worked, and how the last of them came.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) transfers: u64,
    files: u64,
    bytes: u64,
    way: Option<Way>,
    security: Option<Security>,
}

impl Taken {
    /// The last word of a listener that was not stopped.
    pub(super) fn result(&self) -> Value {
        let mut result = json!({
            "event": "result", "ok": true, "exit": 0, "reason": null,
            "security": self.security.map(Security::word), "transfers": self.transfers, "files": self.files,
            "bytes": self.bytes,
        });
        for (key, value) in Way::fields(self.way.as_ref()) {
            result[key] = value;
        }
        result
    }
}

impl Listener<'_> {
    pub(super) fn ended(
        &mut self,
        id: u64,
        active: &Active,
        outcome: Result<Summary, rdv::Error>,
        report: Option<&TransferReport>,
    ) {
        let who = show(active.peer.as_str(), NAME_SHOWN_MAX);
        let outcome = outcome
            .map_err(|error| exit::with_peer(&error, &active.peer))
            .and_then(|summary| self.handed_out(summary));
        let record = report.map(|report| {
            let mut record = Record::new("receive", report, outcome.as_ref(), active.security);
            if let Some(way) = &active.way {
                record.went(way);
            }
            records::keep(&record);
            record
        });
        let mut told = match &outcome {
            Ok(summary) => self.arrived(&who, summary, active, record.as_ref()),
            Err(failure) => {
                self.ui
                    .must_say(format!("Nothing from {who}: {}.", failure.sentence));
                json!({ "ok": false, "exit": failure.exit.0, "reason": failure.sentence })
            }
        };
        let more = [
            ("event", json!("transfer")),
            ("transfer", json!(id)),
            ("peer", json!(active.peer.as_str())),
            ("service", json!(active.kind)),
            ("security", json!(active.security.map(Security::word))),
        ];
        let way = Way::fields(active.way.as_ref()).to_vec();
        let way = record.as_ref().map_or(way, Record::fields);
        for (key, value) in more.into_iter().chain(way) {
            told[key] = value;
        }
        self.ui.event(&told);
        if let Some(record) = &record {
            self.ui.hint(record);
        }
    }

    /// A text that came is payload: it must not get lost unnoticed.
    fn handed_out(&self, summary: Summary) -> Result<Summary, Failure> {
        match summary.text.as_ref().map(|text| self.ui.text(text)) {
            Some(Err(error)) => Err(Failure::new(
                Exit::FILES,
                format!("the text arrived and cannot be written: {error}"),
            )),
            _ => Ok(summary),
        }
    }

    fn arrived(
        &mut self,
        who: &str,
        summary: &Summary,
        active: &Active,
        record: Option<&Record>,
    ) -> Value {
        let verb = format!("Received from {who}");
        let is_text = summary.text.is_some();
        let way = match record {
            Some(record) => record.path_words(),
            None => active.way.as_ref().map(Way::to_string).unwrap_or_default(),
        };
        let mut told = self.ui.summary(&verb, is_text, summary, &way);
        self.taken = Taken {
            transfers: self.taken.transfers + 1,
            files: self.taken.files.saturating_add(summary.files),
            bytes: self.taken.bytes.saturating_add(summary.bytes),
            way: active.way.clone(),
            security: active.security,
        };
        told["ok"] = json!(true);
        told["exit"] = json!(0);
        told["reason"] = Value::Null;
        told
    }
}
