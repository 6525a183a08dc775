//! What a listener shares: said at the start, and told each time that somebody looks or fetches.

use rdv::{Security, Served, Share, show};
use serde_json::json;

use crate::args::Sharing;
use crate::exit::{self, Exit, Failure};
use crate::ui::{PLAIN, Ui};

/// Longest name in a sentence.
const NAME_SHOWN_MAX: usize = 64;
/// Longest path in a sentence.
const PATH_SHOWN_MAX: usize = 400;

/// The folder that the user wants to share, if any.
pub(crate) fn open(sharing: &Sharing) -> Result<Option<Share>, Failure> {
    let Some(folder) = &sharing.share else {
        return Ok(None);
    };
    match Share::folder(folder, sharing.share_with.iter().cloned()) {
        Ok(share) => Ok(Some(share)),
        Err(error) => Err(Failure::new(
            Exit::FILES,
            format!("cannot share \"{}\": {error}", folder.display()),
        )),
    }
}

/// Says what is shared, and with whom.
pub(crate) fn announce(sharing: &Sharing, ui: &Ui) {
    let Some(folder) = &sharing.share else {
        return;
    };
    let names = sharing.share_with.iter();
    ui.event(&json!({
        "event": "sharing", "folder": folder.to_string_lossy(),
        "with": names.clone().map(|name| name.as_str()).collect::<Vec<_>>(),
    }));
    let names: Vec<String> = names
        .map(|name| show(name.as_str(), NAME_SHOWN_MAX))
        .collect();
    ui.say(format!(
        "Sharing {} with {} and nobody else; they may read, not write.",
        show(&folder.to_string_lossy(), PATH_SHOWN_MAX),
        names.join(", ")
    ));
}

/// Somebody has looked, or fetched, or tried to.
pub(crate) fn served(served: &Served, ui: &Ui) {
    let who = show(served.peer.as_str(), NAME_SHOWN_MAX);
    let file = served
        .file
        .as_deref()
        .map(|file| show(file, PATH_SHOWN_MAX));
    let path = served.connected.as_ref().map(|(path, _)| path.to_string());
    let security = served.connected.as_ref().map(|(_, security)| *security);
    if security == Some(Security::Plain) {
        ui.must_say(format!("{who} is connected: {PLAIN}"));
    }
    let (bytes, failure) = match (&served.outcome, &file) {
        (Ok(_), None) => {
            ui.say(format!("{who} looked at what you share."));
            (0, None)
        }
        (Ok(summary), Some(file)) => {
            ui.say(format!(
                "{who} fetched {file} ({} bytes, {}).",
                summary.bytes,
                path.as_deref().unwrap_or_default()
            ));
            (summary.bytes, None)
        }
        (Err(error), file) => {
            let failure = exit::with_peer(error, &served.peer);
            let what = file.as_deref().unwrap_or("what you share");
            ui.must_say(format!("{who} did not get {what}: {}.", failure.sentence));
            (0, Some(failure))
        }
    };
    ui.event(&json!({
        "event": "fetched", "peer": served.peer.as_str(), "name": served.file, "bytes": bytes,
        "ok": failure.is_none(), "exit": failure.as_ref().map_or(0, |failure| failure.exit.0),
        "reason": failure.map(|failure| failure.sentence),
        "path": path, "security": security.map(Security::word),
    }));
}
