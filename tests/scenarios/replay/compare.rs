//! What our side did against what the recording has, as a list of differences.

use std::collections::BTreeSet;

use rdv_proto::wire::ars;
use rdv_proto::wire::oft::Header;
use rdv_proto::wire::rendezvous::{Message, MessageKind, tag};
use rdv_proto::wire::signal::Signal;

use super::player::Played;
use super::script::{Item, Said, Script};

/// Everything in which we differ. `+x`: ours alone, `-x`: the recording's alone, `x: …`: another content.
pub(super) fn differences(script: &Script, played: &Played) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (recorded, ours) in aligned(&script.said, &played.said, name_of_said) {
        match (recorded, ours) {
            (Some(recorded), Some(ours)) => same_message(recorded, ours, &mut found),
            (recorded, ours) => alone(recorded, ours, name_of_said, &mut found),
        }
    }
    for (recorded, ours) in aligned(&script.wrote, &played.wrote, name_of_item) {
        match (recorded, ours) {
            (Some(Item::Header(recorded)), Some(Item::Header(ours))) => {
                same_header(recorded, ours, &mut found)
            }
            (Some(Item::Body(recorded, _)), Some(Item::Body(ours, _))) => {
                if recorded != ours {
                    found.insert("BODY: length".to_owned());
                }
            }
            (recorded, ours) => alone(recorded, ours, name_of_item, &mut found),
        }
    }
    for (recorded, ours) in aligned(&script.relay_frames, &played.relay_frames, name_of_frame) {
        match (recorded, ours) {
            (Some(recorded), Some(ours)) => {
                if recorded.encode() != ours.encode() {
                    found.insert(format!("{}: bytes", name_of_frame(ours)));
                }
            }
            (recorded, ours) => alone(recorded, ours, name_of_frame, &mut found),
        }
    }
    found
}

fn alone<T>(
    recorded: Option<&T>,
    ours: Option<&T>,
    name: impl Fn(&T) -> String,
    found: &mut BTreeSet<String>,
) {
    found.extend(recorded.map(|recorded| format!("-{}", name(recorded))));
    found.extend(ours.map(|ours| format!("+{}", name(ours))));
}

/// `P2`, `ACCEPT`, `CANCEL 1`, `NAK 0x0a`: type, sequence number or code.
pub(super) fn name_of(signal: &Signal) -> String {
    match signal {
        Signal::ClientError { .. } => format!("NAK {:#04x}", signal.nak().expect("a code").0),
        Signal::Rendezvous(message) => match message.kind {
            MessageKind::PROPOSE => format!("P{}", message.sequence().expect("R-04").get()),
            MessageKind::CANCEL => format!("CANCEL {}", message.cancel_reason().0),
            MessageKind::ACCEPT => "ACCEPT".to_owned(),
            other => panic!("nobody says {other:?}"),
        },
    }
}

fn name_of_said(said: &Said) -> String {
    name_of(&said.signal)
}

fn name_of_item(item: &Item) -> String {
    match item {
        Item::Header(header) => header.kind.name().expect("a known kind").to_owned(),
        Item::Body(..) => "BODY".to_owned(),
    }
}

fn name_of_frame(frame: &ars::Frame) -> String {
    match frame.command {
        ars::Command::Create { .. } => "CREATE".to_owned(),
        ars::Command::Join { .. } => "JOIN".to_owned(),
        ref other => panic!("no client says {other:?}"),
    }
}

/// What the recording has, and what we have in its place.
type Both<'a, T> = (Option<&'a T>, Option<&'a T>);

/// Pairs by name in their order: as many of the same name as there can be, the others alone.
fn aligned<'a, T>(recorded: &'a [T], ours: &'a [T], name: fn(&T) -> String) -> Vec<Both<'a, T>> {
    let (Some((first, recorded_rest)), Some((own, ours_rest))) =
        (recorded.split_first(), ours.split_first())
    else {
        let recorded = recorded.iter().map(|item| (Some(item), None));
        return recorded
            .chain(ours.iter().map(|item| (None, Some(item))))
            .collect();
    };
    if name(first) == name(own) {
        let mut pairs = vec![(Some(first), Some(own))];
        pairs.extend(aligned(recorded_rest, ours_rest, name));
        return pairs;
    }
    let together = |pairs: &[Both<'_, T>]| {
        let both = |pair: &&Both<'_, T>| pair.0.is_some() && pair.1.is_some();
        pairs.iter().filter(both).count()
    };
    let mut without_recorded = aligned(recorded_rest, ours, name);
    let mut without_ours = aligned(recorded, ours_rest, name);
    if together(&without_recorded) >= together(&without_ours) {
        without_recorded.insert(0, (Some(first), None));
        without_recorded
    } else {
        without_ours.insert(0, (None, Some(own)));
        without_ours
    }
}

fn same_message(recorded: &Said, ours: &Said, found: &mut BTreeSet<String>) {
    let name = name_of(&ours.signal);
    let (Signal::Rendezvous(theirs), Signal::Rendezvous(own)) = (&recorded.signal, &ours.signal)
    else {
        return;
    };
    assert_eq!(
        (theirs.kind, theirs.cookie, theirs.service),
        (own.kind, own.cookie, own.service),
        "{name}"
    );
    if recorded
        .host_ack
        .is_some_and(|asked| Some(asked) != ours.host_ack)
    {
        found.insert(format!("{name}: host ack"));
    }
    let (theirs_tags, own_tags) = (tags(theirs), tags(own));
    for tag in theirs_tags.iter().filter(|tag| !own_tags.contains(tag)) {
        found.insert(format!("{name}: -{tag:04x}"));
    }
    for tag in own_tags.iter().filter(|tag| !theirs_tags.contains(tag)) {
        found.insert(format!("{name}: +{tag:04x}"));
    }
    let common = |one: &[u16], other: &[u16]| {
        one.iter()
            .copied()
            .filter(|tag| other.contains(tag))
            .collect::<Vec<_>>()
    };
    if common(&theirs_tags, &own_tags) != common(&own_tags, &theirs_tags) {
        found.insert(format!("{name}: tag order"));
    }
    for tag in common(&theirs_tags, &own_tags) {
        let (theirs, own) = (theirs.params().last(tag), own.params().last(tag));
        if theirs == own {
            continue;
        }
        let twice = tag == tag::SERVICE_DATA
            && theirs
                .zip(own)
                .is_some_and(|(theirs, own)| own[..] == [theirs, &theirs[8..]].concat());
        found.insert(match twice {
            true => format!("{name}: name twice"),
            false => format!("{name}: {tag:04x}"),
        });
    }
}

fn tags(message: &Message) -> Vec<u16> {
    message.params().0.iter().map(|tlv| tlv.tag).collect()
}

fn same_header(recorded: &Header, ours: &Header, found: &mut BTreeSet<String>) {
    let kind = ours.kind.name().expect("a known kind");
    let mut differs = |field: &str, differs: bool| {
        if differs {
            found.insert(format!("{kind}: {field}"));
        }
    };
    differs("cookie", recorded.cookie != ours.cookie);
    differs("flags", recorded.flags != ours.flags);
    differs("mtime", recorded.mtime != ours.mtime);
    differs(
        "offsets",
        (recorded.list_name_offset, recorded.list_size_offset)
            != (ours.list_name_offset, ours.list_size_offset),
    );
    differs("received", recorded.received != ours.received);
    differs(
        "received checksum",
        recorded.received_checksum != ours.received_checksum,
    );
    differs(
        "name",
        (recorded.charset, &recorded.name) != (ours.charset, &ours.name),
    );
    let rest = Header {
        cookie: recorded.cookie,
        flags: recorded.flags,
        mtime: recorded.mtime,
        list_name_offset: recorded.list_name_offset,
        list_size_offset: recorded.list_size_offset,
        received: recorded.received,
        received_checksum: recorded.received_checksum,
        charset: recorded.charset,
        name: recorded.name.clone(),
        ..ours.clone()
    };
    differs("other fields", rest != *recorded);
}
