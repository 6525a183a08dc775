//! Exit codes: the one table that turns an outcome into a number (`--help` lists them).

use rdv::signaling::SignalingError;
use rdv::transfer::{AbortReason, Fault};
use rdv::{By, Error, ScreenName, TransferError, show};

/// Longest name in a sentence.
const PEER_SHOWN_MAX: usize = 64;

/// What a host answers when its policy is against a message: in practice, too many offers (SNAC errors).
const REQUEST_DENIED: u16 = 0x0D;

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) i32);

impl Exit {
    pub(crate) const DONE: Self = Self(0);
    pub(crate) const OTHER: Self = Self(1);
    pub(crate) const USAGE: Self = Self(2);
    pub(crate) const NOBODY: Self = Self(3);
    pub(crate) const DECLINED: Self = Self(4);
    pub(crate) const SECURITY: Self = Self(5);
    pub(crate) const NO_PATH: Self = Self(6);
    pub(crate) const FILES: Self = Self(8);
    pub(crate) const CONTENT: Self = Self(9);
    pub(crate) const INCOMPATIBLE: Self = Self(10);
    pub(crate) const LIMIT: Self = Self(11);
    pub(crate) const HOST: Self = Self(12);
    pub(crate) const ELSEWHERE: Self = Self(13);
    pub(crate) const TIMEOUT: Self = Self(124);
    pub(crate) const INTERRUPTED: Self = Self(130);
    pub(crate) const TERMINATED: Self = Self(143);
}

/// An end that is not success: the number, and one clear sentence.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) sentence: String,
    /// What the protocol calls it, for programs.
    pub(crate) name: Option<&'static str>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self {
            exit,
            sentence: sentence.into(),
            name: None,
        }
    }

    /// The same with the name that the protocol has for it.
    pub(crate) fn named(mut self, name: Option<&'static str>) -> Self {
        self.name = name;
        self
    }
}

/// The number and the sentence for a transfer that did not work out.
pub(crate) fn of(error: &Error) -> Failure {
    let (exit, advice) = match error {
        Error::PeerUnknown => (
            Exit::NOBODY,
            "no one waits under that code: it is mistyped, was used already, or has expired; ask for a new one",
        ),
        Error::CodeExpired => (
            Exit::NOBODY,
            "the code expired before anybody used it; send again for a new one",
        ),
        Error::PeerSilent => (
            Exit::NOBODY,
            "the other side fell silent before the two had met; the code is used up, start again with a new one (if nobody you know was using it, someone was guessing)",
        ),
        Error::Declined { by: By::Us } => (Exit::DECLINED, "declined; the other side was told"),
        Error::Declined { by: By::Peer } => (Exit::DECLINED, "the other side declined"),
        Error::Cancelled { by: By::Us } => (Exit::DECLINED, "cancelled; the other side was told"),
        Error::Cancelled { by: By::Peer } => (Exit::DECLINED, "the other side cancelled"),
        Error::WrongCode { by: By::Us } => (
            Exit::SECURITY,
            "the code is wrong, or the host changed the messages; the code is used up, ask for a new one",
        ),
        Error::WrongCode { by: By::Peer } => (
            Exit::SECURITY,
            "someone tried a wrong code, or the host changed the messages; nothing was sent and the code is used up, send again for a new one",
        ),
        Error::NoPath => (
            Exit::NO_PATH,
            "no connection between the two sides worked; try --relay auto, or meet at a host with a relay (--host)",
        ),
        Error::RateLimited => (
            Exit::LIMIT,
            "the other side takes no more for now; try again later",
        ),
        Error::Signaling(SignalingError::Closed) => (
            Exit::HOST,
            "the connection to the host is lost, and with it the code; try again",
        ),
        Error::AcceptedElsewhere => (Exit::ELSEWHERE, "accepted on another device"),
        Error::Transfer(TransferError::LinkLost(_) | TransferError::Stalled) => {
            return Failure::new(
                class_of(error),
                format!(
                    "{error}; files that were not complete are removed, send again with a new code"
                ),
            );
        }
        Error::Signaling(_) => (
            Exit::HOST,
            "the connection to the host was lost before the two sides had met; start again with a new code",
        ),
        Error::Security { .. } => {
            return Failure::new(
                Exit::SECURITY,
                format!(
                    "{error}; nothing was sent and the code is used up, start again with a new one"
                ),
            );
        }
        other => return Failure::new(class_of(other), other.to_string()),
    };
    Failure::new(exit, advice)
}

/// The same for a transfer with a peer that has a name, where no code is used up.
pub(crate) fn with_peer(error: &Error, peer: &ScreenName) -> Failure {
    let who = show(peer.as_str(), PEER_SHOWN_MAX);
    let (exit, sentence) = match error {
        Error::PeerUnknown => (
            Exit::NOBODY,
            format!("{who} is not signed on, or does not want to hear from you"),
        ),
        Error::PeerSilent => (Exit::NOBODY, format!("{who} does not answer")),
        Error::Declined { by: By::Us } => (Exit::DECLINED, format!("declined; {who} was told")),
        Error::Declined { by: By::Peer } => (Exit::DECLINED, format!("{who} declined")),
        Error::Cancelled { by: By::Us } => (Exit::DECLINED, format!("cancelled; {who} was told")),
        Error::Cancelled { by: By::Peer } => (Exit::DECLINED, format!("{who} cancelled")),
        Error::Security { by, what } => {
            let found = match by {
                By::Us => format!("not safe enough with {who}: {what}"),
                By::Peer => format!("{who} refused, because it is not safe enough: {what}"),
            };
            (Exit::SECURITY, found)
        }
        Error::WrongCode { .. } => (
            Exit::SECURITY,
            format!("the other end is not {who}, or the host changed the messages"),
        ),
        Error::PeerKeyChanged {
            known,
            presented,
            file,
            line,
            ..
        } => (
            Exit::SECURITY,
            format!(
                "{who} has another key than before: it was {known} and now is {presented} (line {line} of {}). Ask {who} in another way; if that is right, forget the old one: rdv contact forget {who}",
                file.display()
            ),
        ),
        Error::NoPath => (
            Exit::NO_PATH,
            format!(
                "no connection to {who} worked; a relay helps (--relay auto, --relay-server ADDR:PORT)"
            ),
        ),
        Error::RateLimited => (
            Exit::LIMIT,
            format!("{who} takes no more for now; try again later"),
        ),
        Error::HostRefused {
            code: REQUEST_DENIED,
        } => (
            Exit::LIMIT,
            format!(
                "the host carries no more offers to {who} for now, as there were many; wait ten minutes (who has you as a contact can be offered more), or put the files into one folder or archive"
            ),
        ),
        Error::Incompatible { what } => (
            Exit::INCOMPATIBLE,
            format!("nothing that {who} and you both can do: {what}"),
        ),
        Error::Signaling(_) => (Exit::HOST, "the connection to the host is lost".to_owned()),
        Error::AcceptedElsewhere => (Exit::ELSEWHERE, "accepted on another device".to_owned()),
        other => (class_of(other), other.to_string()),
    };
    Failure::new(exit, sentence)
}

fn class_of(error: &Error) -> Exit {
    match error {
        Error::Incompatible { .. } => Exit::INCOMPATIBLE,
        Error::HostRefused { .. } => Exit::HOST,
        Error::PeerKeyChanged { .. } => Exit::SECURITY,
        Error::KnownPeers(_) | Error::Identity(_) => Exit::FILES,
        Error::Transfer(error) => class_of_transfer(error),
        _ => Exit::OTHER,
    }
}

fn class_of_transfer(error: &TransferError) -> Exit {
    match error {
        TransferError::Verification { .. } => Exit::CONTENT,
        TransferError::PeerFailed { reason, .. } if *reason == AbortReason::VERIFICATION => {
            Exit::CONTENT
        }
        TransferError::PeerFailed { reason, .. } if *reason == AbortReason::INCOMPATIBLE => {
            Exit::INCOMPATIBLE
        }
        TransferError::CancelledByPeer { .. } | TransferError::PeerFailed { .. } => Exit::DECLINED,
        TransferError::Incompatible(_) => Exit::INCOMPATIBLE,
        TransferError::Protocol(_) | TransferError::OldProtocol(_) => Exit::INCOMPATIBLE,
        error if error.fault() == Fault::Disk => Exit::FILES,
        _ => Exit::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_offers_are_a_limit_and_the_sentence_says_what_to_do() {
        let bob = ScreenName::new("bob").unwrap();
        let failure = with_peer(&Error::HostRefused { code: 0x0D }, &bob);
        assert_eq!(failure.exit, Exit::LIMIT);
        assert!(failure.sentence.contains("wait"), "{}", failure.sentence);
        let other = with_peer(&Error::HostRefused { code: 0x05 }, &bob);
        assert_eq!(other.exit, Exit::HOST);
    }

    #[test]
    fn a_changed_key_is_told_in_sentences_without_gaps() {
        let bob = ScreenName::new("bob").unwrap();
        let key = |n| rdv::Fingerprint::of(&[n; 32]);
        let changed = Error::PeerKeyChanged {
            peer: bob.clone(),
            known: key(1),
            presented: key(2),
            file: "known_peers".into(),
            line: 3,
        };
        let failure = with_peer(&changed, &bob);
        assert_eq!(failure.exit, Exit::SECURITY);
        assert!(failure.sentence.ends_with("rdv contact forget \"bob\""));
        assert!(!failure.sentence.contains("  "), "{}", failure.sentence);
    }
}
