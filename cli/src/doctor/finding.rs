//! One thing that the doctor found, and what it means for transfers.

use serde_json::{Value, json};

use crate::ui::Ui;

/// Width of the column of names.
const NAMES: usize = 22;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Names it in JSON; the same in every version.
    pub(crate) name: &'static str,
    /// How people call it.
    pub(crate) title: &'static str,
    /// What was found, for programs.
    pub(crate) value: Value,
    /// What was found, for people.
    pub(crate) text: String,
    /// What it means for transfers: one sentence.
    pub(crate) means: String,
}

impl Finding {
    pub(crate) fn new(
        (name, title): (&'static str, &'static str),
        value: impl Into<Value>,
        text: impl Into<String>,
        means: impl Into<String>,
    ) -> Self {
        Self {
            name,
            title,
            value: value.into(),
            text: text.into(),
            means: means.into(),
        }
    }

    /// As an object, or as two lines.
    pub(crate) fn tell(&self, ui: &Ui) {
        if ui.json {
            ui.event(&json!({
                "event": "finding", "name": self.name, "value": self.value, "text": self.text, "means": self.means,
            }));
            return;
        }
        // Nobody reads it: then nobody misses it.
        let _ = ui.payload(&format!("{:NAMES$}{}", self.title, self.text));
        let _ = ui.payload(&format!("{:NAMES$}{}", "", self.means));
    }
}
