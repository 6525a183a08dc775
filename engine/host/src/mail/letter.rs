//! The words of a confirmation mail.

use std::time::Duration;

use lettre::Message;
use lettre::message::header::{
    ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0,
};
use lettre::message::{Body, Mailbox};

use super::config::page_for;
use super::{Confirmation, MailError};
use crate::random::random;

/// Bytes of a name that go into a mail.
const NAME_MAX: usize = 64;

/// The mail, ready to be sent.
pub(super) fn write(
    confirmation: &Confirmation,
    from: &Mailbox,
    page: Option<&str>,
) -> Result<Message, MailError> {
    let to = confirmation.to.parse().map_err(|_| MailError::Address)?;
    let id: [u8; 16] = random().map_err(|_| MailError::Internal)?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = shown(confirmation.name.as_str());
    let auto = HeaderName::new_from_ascii_str("Auto-Submitted");
    let text = Body::new_with_encoding(
        text(confirmation, &name, page).replace('\n', "\r\n"),
        ContentTransferEncoding::SevenBit,
    );
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(format!("Confirm this address for {name}"))
        .date_now()
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        // Programs do not answer it (RFC 3834).
        .raw_header(HeaderValue::new(auto, "auto-generated".to_owned()))
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN)
        .body(text.map_err(|_| MailError::Internal)?)
        .map_err(|_| MailError::Internal)
}

fn text(confirmation: &Confirmation, name: &str, page: Option<&str>) -> String {
    let code = confirmation.code.expose();
    let life = hours(confirmation.life);
    let what_to_do = match page {
        Some(page) => format!(
            "open this page within {life}:\n\n    {}\n",
            page_for(page, &code)
        ),
        None => format!("type this within {life}:\n\n    rdv account confirm {code}\n"),
    };
    format!(
        "Somebody wants to use this address for the account \"{name}\".\n\n\
         If that was you, {what_to_do}\n\
         If it was not, do nothing: without the code nothing happens.\n"
    )
}

/// A name as far as it is plain text of one line.
fn shown(name: &str) -> String {
    let plain = name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    plain.take(NAME_MAX).collect()
}

fn hours(life: Duration) -> String {
    match life.as_secs() {
        3600 => "an hour".to_owned(),
        seconds @ 3600.. => format!("{} hours", seconds / 3600),
        60 => "a minute".to_owned(),
        seconds @ 60.. => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use rdv_proto::wire::text::ScreenName;

    use super::*;
    use crate::mail::ConfirmCode;

    fn confirmation(to: &str, name: &str) -> Confirmation {
        Confirmation {
            to: to.to_owned(),
            name: ScreenName::new(name).unwrap(),
            code: "008J4-CT4AN-K7F24S-NAXWS-QFEZW"
                .parse::<ConfirmCode>()
                .unwrap(),
            life: Duration::from_secs(7200),
        }
    }

    fn written(confirmation: &Confirmation, page: Option<&str>) -> String {
        let from = "rdv host <host@chat.example>".parse().unwrap();
        let message = write(confirmation, &from, page).unwrap();
        String::from_utf8(message.formatted()).unwrap()
    }

    #[test]
    fn a_mail_says_whose_account_what_to_type_and_for_how_long() {
        let mail = written(&confirmation("alice@example.org", "Alice Lab"), None);
        for line in [
            "From: \"rdv host\" <host@chat.example>\r\n",
            "To: alice@example.org\r\n",
            "Subject: Confirm this address for Alice Lab\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "MIME-Version: 1.0\r\n",
            "within 2 hours:\r\n\r\n    rdv account confirm 008J4-CT4AN-K7F24S-NAXWS-QFEZW\r\n",
            "the account \"Alice Lab\"",
        ] {
            assert!(mail.contains(line), "{line:?} in {mail}");
        }
        let headers = mail.split_once("\r\n\r\n").unwrap().0;
        assert!(headers.contains("\r\nDate: ") && headers.contains("@chat.example>\r\n"));
        assert!(mail.lines().all(|line| line.len() <= 78), "RFC 5322, 2.1.1");
    }

    #[test]
    fn two_mails_have_two_ids() {
        let id = || {
            let mail = written(&confirmation("alice@example.org", "alice"), None);
            let lines: Vec<&str> = mail.lines().collect();
            let id = lines.iter().find(|line| line.starts_with("Message-ID: <"));
            (*id.unwrap()).to_owned()
        };
        assert_ne!(id(), id());
    }

    #[test]
    fn the_operators_page_is_named_if_there_is_one() {
        let page = Some("https://chat.example/confirm?code={code}");
        let mail = written(&confirmation("alice@example.org", "alice"), page);
        assert!(
            mail.contains("https://chat.example/confirm?code=008J4-CT4AN-K7F24S-NAXWS-QFEZW\r\n")
        );
        assert!(!mail.contains("rdv account"));
    }

    #[test]
    fn nobody_writes_headers_through_a_name_or_an_address() {
        for to in [
            "alice@example.org\r\nBcc: eve@example.org",
            "alice@example.org\nX: y",
            "alice@example.org, eve@example.org",
            "alice",
            "",
        ] {
            let from = "host@chat.example".parse().unwrap();
            let refused = write(&confirmation(to, "alice"), &from, None);
            assert_eq!(refused.unwrap_err(), MailError::Address, "{to:?}");
        }
        // What is no plain text is left away.
        let mail = written(&confirmation("a@example.org", "Jürgen \u{2028}Lab"), None);
        assert!(mail.contains("Subject: Confirm this address for Jrgen Lab\r\n"));
        assert!(mail.is_ascii());
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        let told = |seconds| hours(Duration::from_secs(seconds));
        assert_eq!(
            [30, 60, 600, 3600, 7200, 90_000].map(told),
            [
                "30 seconds",
                "a minute",
                "10 minutes",
                "an hour",
                "2 hours",
                "25 hours"
            ]
        );
    }
}
