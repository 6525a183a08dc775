//! `rdv contact`.

use rdv::trust::{KnownPeers, KnownPeersError};
use rdv::{Fingerprint, ScreenName, show};
use serde_json::json;

use crate::args::{Contact, ContactVerb};
use crate::exit::{Exit, Failure};
use crate::kept::{self, KeptAccount};
use crate::login::print;
use crate::signed_on;
use crate::ui::Ui;

/// Longest name on a line.
const NAME_SHOWN_MAX: usize = 64;

pub(crate) fn run(verb: ContactVerb, ui: &Ui) -> Result<Exit, Failure> {
    match verb {
        ContactVerb::List { of, .. } => {
            let account = kept::account(of.account.as_deref(), None)?;
            list(&account, ui)?;
        }
        ContactVerb::Add { who, allow_plain } => {
            let (account, name) = meant(who)?;
            let shown = show(name.as_str(), NAME_SHOWN_MAX);
            kept::add_contact(&account, name, allow_plain)?;
            ui.say(format!("{shown} is a contact of {}.", account.label()));
            if allow_plain {
                ui.must_say(format!("With {shown} files may go {PLAIN_MEANS}.",));
            }
        }
        ContactVerb::Remove(who) => {
            let (account, name) = meant(who)?;
            if !kept::remove_contact(&account, &name)? {
                return Err(not_there(&name, "is no contact"));
            }
            let shown = show(name.as_str(), NAME_SHOWN_MAX);
            ui.say(format!("{shown} is no contact any more."));
        }
        ContactVerb::Verify { who, fingerprint } => {
            let (account, name) = meant(who)?;
            let fingerprint: Fingerprint = fingerprint.parse().map_err(|error| {
                Failure::new(Exit::USAGE, format!("that is not a fingerprint: {error}"))
            })?;
            let peers = signed_on::known_peers(&account)?;
            verify(&peers, &name, fingerprint)?;
            let shown = show(name.as_str(), NAME_SHOWN_MAX);
            ui.say(format!("The key of {shown} is verified: {fingerprint}"));
        }
        ContactVerb::Forget(who) => {
            let (account, name) = meant(who)?;
            let peers = signed_on::known_peers(&account)?;
            if !peers.forget(&name).map_err(unusable)? {
                return Err(not_there(&name, "has no key on file"));
            }
            let shown = show(name.as_str(), NAME_SHOWN_MAX);
            ui.say(format!(
                "The key of {shown} is forgotten; the next transfer is a first contact."
            ));
        }
    }
    Ok(Exit::DONE)
}

/// What it means to allow it.
const PLAIN_MEANS: &str =
    "NOT ENCRYPTED, NOT VERIFIED: anyone between you can read and change them";

/// A key that is on file and differs is not put right by the way (S-07).
fn verify(peers: &KnownPeers, name: &ScreenName, key: Fingerprint) -> Result<(), Failure> {
    let known = peers.lookup(name).map_err(unusable)?;
    if let Some(known) = known
        && known.fingerprint != key
    {
        let name = show(name.as_str(), NAME_SHOWN_MAX);
        return Err(Failure::new(
            Exit::SECURITY,
            format!(
                "{name} has the key {} on file, not {key}; if that is right, forget the old one first: rdv contact forget {name}",
                known.fingerprint
            ),
        ));
    }
    peers.verify(name, key).map_err(unusable)
}

fn list(account: &KeptAccount, ui: &Ui) -> Result<(), Failure> {
    let peers = signed_on::known_peers(account)?;
    for contact in kept::contacts(account)? {
        let known = peers.lookup(&contact.name).map_err(unusable)?;
        let (key, how) = match known {
            Some(known) if known.verified => (Some(known.fingerprint), "verified"),
            Some(known) => (Some(known.fingerprint), "NOT VERIFIED"),
            None => (None, "no key yet"),
        };
        ui.event(&json!({
            "event": "contact", "name": contact.name.as_str(), "allow_plain": contact.allow_plain,
            "fingerprint": key.map(|key| key.to_string()), "verified": known.is_some_and(|known| known.verified),
        }));
        if !ui.json {
            let name = show(contact.name.as_str(), NAME_SHOWN_MAX);
            let key = key.map(|key| format!("  {key}")).unwrap_or_default();
            let plain = if contact.allow_plain {
                "  PLAIN allowed"
            } else {
                ""
            };
            print(ui, &format!("{name}  {how}{key}{plain}"))?;
        }
    }
    ui.succeeded();
    Ok(())
}

fn meant(who: Contact) -> Result<(KeptAccount, ScreenName), Failure> {
    let account = kept::account(who.of.account.as_deref(), None)?;
    Ok((account, who.name))
}

fn not_there(name: &ScreenName, what: &str) -> Failure {
    let name = show(name.as_str(), NAME_SHOWN_MAX);
    Failure::new(Exit::OTHER, format!("{name} {what}"))
}

fn unusable(error: KnownPeersError) -> Failure {
    Failure::new(Exit::FILES, error.to_string())
}
