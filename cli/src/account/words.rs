//! What a host refuses about an account: its name, one sentence, what to do, and the exit code.

use rdv::oscar::{AdminError, AdminErrorCode, ErrorCode, LoginErrorCode, OscarError};
use rdv::show;

use crate::exit::{Exit, Failure};
use crate::road::refused;

/// Longest address of an explanation on a line.
const URL_SHOWN_MAX: usize = 400;

/// The number and the sentence.
pub(super) fn of(host: &str, error: &AdminError) -> Failure {
    let sentence = match error {
        AdminError::Host(error) => return refused(host, error),
        AdminError::Refused { code, url } => return by_code(host, *code, url.as_deref()),
        AdminError::NoService { code } => no_service(host, *code),
        AdminError::Nowhere => {
            format!("host {host} does not say where accounts are managed; ask whoever runs it")
        }
        AdminError::NotTaken { code } => match *code {
            ErrorCode::RATE_TO_HOST => {
                return Failure::new(
                    Exit::LIMIT,
                    format!("host {host} takes no more requests for now; wait a minute"),
                );
            }
            code => format!(
                "host {host} does not let accounts be changed in this way (code {:#06x}); ask whoever runs it",
                code.0
            ),
        },
        AdminError::Timeout | AdminError::Closed(_) => format!(
            "host {host}: {error}; whether anything was changed is not known: look with `rdv account info`"
        ),
        other => format!("host {host}: {other}"),
    };
    Failure::new(Exit::HOST, sentence)
}

/// The same for a new password, of which it may not be known whether it is in force.
pub(super) fn password_not_changed(host: &str, error: &AdminError) -> Failure {
    match error {
        AdminError::Timeout | AdminError::Closed(_) => Failure::new(
            Exit::HOST,
            format!(
                "host {host}: {error}; whether the password was changed is not known: try both with `rdv account login`"
            ),
        ),
        other => of(host, other),
    }
}

/// The same for a code out of a mail.
pub(super) fn code_not_taken(host: &str, error: &AdminError) -> Failure {
    match error {
        AdminError::Refused {
            code: code @ (AdminErrorCode::ALL_OTHER_ERRORS | AdminErrorCode::DNS_FAIL),
            ..
        } => Failure::new(
            Exit::HOST,
            format!(
                "host {host} does not take this code: it is mistyped, was used, or is too old; ask for another one: rdv account confirm"
            ),
        )
        .named(code.name()),
        other => of(host, other),
    }
}

/// The same for a deletion.
pub(super) fn not_deleted(host: &str, error: &AdminError) -> Failure {
    match error {
        AdminError::Refused {
            code: code @ AdminErrorCode::SERVICE_TEMP_UNAVAILABLE,
            ..
        } => Failure::new(
            Exit::HOST,
            format!(
                "SERVICE_TEMP_UNAVAILABLE: host {host} lets nobody delete accounts, or not now; ask whoever runs it"
            ),
        )
        .named(code.name()),
        AdminError::NotTaken { .. } => Failure::new(
            Exit::HOST,
            format!("host {host} knows no way to delete an account; ask whoever runs it"),
        ),
        other => of(host, other),
    }
}

/// The same for an account that was not made.
pub(super) fn not_made(host: &str, error: &OscarError) -> Failure {
    let sentence = match error {
        OscarError::NotCreated {
            code: code @ AdminErrorCode::VALIDATE_NICKNAME,
        } => {
            let sentence = format!(
                "VALIDATE_NICKNAME: the name is taken at host {host}, or nobody may have it; choose another one"
            );
            return Failure::new(Exit::HOST, sentence).named(code.name());
        }
        OscarError::NotCreated { code } => return by_code(host, *code, None),
        OscarError::Refused {
            code: LoginErrorCode::NO_REGISTRATION,
        } => {
            format!("host {host} makes no accounts for people who come to it; ask whoever runs it")
        }
        OscarError::Refused {
            code: LoginErrorCode::ADDRESS_RATE_LIMITED,
        } => {
            let sentence =
                format!("host {host} makes no more accounts for your address now; wait an hour");
            return Failure::new(Exit::LIMIT, sentence);
        }
        OscarError::Refused {
            code: LoginErrorCode::WRONG_PASSWORD,
        } => format!("host {host} knows no way to make an account; ask whoever runs it"),
        OscarError::NoAccountsMade => {
            format!("host {host} is not of our kind: its accounts are made by whoever runs it")
        }
        other => return refused(host, other),
    };
    Failure::new(Exit::HOST, sentence)
}

fn no_service(host: &str, code: ErrorCode) -> String {
    match code {
        ErrorCode::SERVICE_UNAVAILABLE => {
            format!("host {host} lets nobody manage accounts now; try again later")
        }
        code => format!(
            "host {host} has no service to manage accounts (code {:#06x}); ask whoever runs it",
            code.0
        ),
    }
}

fn by_code(host: &str, code: AdminErrorCode, url: Option<&str>) -> Failure {
    let (exit, what, advice) = meaning(code);
    let name = code
        .name()
        .map_or_else(|| format!("code {:#04x}", code.0), str::to_owned);
    let url = url
        .map(|url| format!(" (the host explains it at {})", show(url, URL_SHOWN_MAX)))
        .unwrap_or_default();
    let sentence = format!("{name}: host {host} says that {what}; {advice}{url}");
    Failure::new(exit, sentence).named(code.name())
}

/// What a code says, and what to do.
fn meaning(code: AdminErrorCode) -> (Exit, &'static str, &'static str) {
    use AdminErrorCode as Code;
    const OPERATOR: &str = "tell whoever runs it";
    const LATER: &str = "try again later";
    const NAME: &str = "3 to 16 letters, digits and single spaces, a letter first";
    match code {
        Code::VALIDATE_NICKNAME => (
            Exit::USAGE,
            "this is another name, not another form of yours",
            "only capitals and spaces can be changed",
        ),
        Code::VALIDATE_PASSWORD => (
            Exit::HOST,
            "the password did not pass its check",
            "make sure that the old one is right (rdv account login), or take another new one",
        ),
        Code::VALIDATE_EMAIL => (
            Exit::HOST,
            "it takes no mail addresses of that kind",
            "use one of another provider",
        ),
        Code::SERVICE_TEMP_UNAVAILABLE => (Exit::HOST, "accounts cannot be changed for now", LATER),
        Code::FIELD_CHANGE_TEMP_UNAVAILABLE => (
            Exit::HOST,
            "this cannot be changed for now",
            "ask whoever runs it",
        ),
        Code::INVALID_NICKNAME => (Exit::USAGE, "the name breaks a rule", NAME),
        Code::INVALID_PASSWORD => (
            Exit::USAGE,
            "the new password is not allowed",
            "take one without control characters that is not the name",
        ),
        Code::INVALID_EMAIL => (
            Exit::USAGE,
            "this is no mail address",
            "write it as name@example.org",
        ),
        Code::INVALID_REGISTRATION_PREFERENCE => (
            Exit::USAGE,
            "there is no such choice of what may be found out",
            "take nothing, account or name",
        ),
        Code::INVALID_OLD_PASSWORD => (
            Exit::HOST,
            "the password is wrong",
            "if it was changed elsewhere, sign on with the new one: rdv account login",
        ),
        Code::INVALID_NICKNAME_LENGTH => (Exit::USAGE, "the name is too short or too long", NAME),
        Code::INVALID_PASSWORD_LENGTH => (
            Exit::USAGE,
            "the new password is too short or too long",
            "take 8 to 256 characters; old hosts take 4 to 16, for ICQ numbers 6 to 8",
        ),
        Code::INVALID_EMAIL_LENGTH => (
            Exit::USAGE,
            "the mail address is too long",
            "320 bytes are the most",
        ),
        Code::INVALID_OLD_PASSWORD_LENGTH => (
            Exit::HOST,
            "the old password cannot be right: it is empty or too long",
            "sign on with the right one: rdv account login",
        ),
        Code::NEED_OLD_PASSWORD => (
            Exit::HOST,
            "the old password is missing",
            "sign on with it first: rdv account login",
        ),
        Code::READ_ONLY_FIELD => (
            Exit::HOST,
            "this can never be changed",
            "ICQ numbers, for one, have no other form",
        ),
        Code::WRITE_ONLY_FIELD => (Exit::HOST, "this is told to nobody", OPERATOR),
        Code::UNSUPPORTED_TYPE => (Exit::HOST, "it does not know this field", OPERATOR),
        Code::ALL_OTHER_ERRORS => (Exit::HOST, "something is wrong that has no name", LATER),
        Code::BAD_SNAC => (Exit::HOST, "it could not read the request", OPERATOR),
        Code::INVALID_ACCOUNT => (
            Exit::HOST,
            "there is no such account",
            "see which ones are kept: rdv account list",
        ),
        Code::DELETED_ACCOUNT => (
            Exit::HOST,
            "the account was deleted",
            "forget it here, too: rdv account logout",
        ),
        Code::EXPIRED_ACCOUNT => (Exit::HOST, "the account has expired", "ask whoever runs it"),
        Code::NO_DATABASE_ACCESS => (Exit::HOST, "its database cannot be reached", LATER),
        Code::INVALID_DATABASE_FIELDS => (
            Exit::HOST,
            "what is stored of the account is damaged",
            OPERATOR,
        ),
        Code::BAD_DATABASE_STATUS => (
            Exit::HOST,
            "its database is in a state that should not be",
            OPERATOR,
        ),
        Code::MIGRATION_CANCEL => (
            Exit::HOST,
            "it is about to go down or to move",
            "try again in a minute",
        ),
        Code::INTERNAL_ERROR => (Exit::HOST, "it made a mistake of its own", OPERATOR),
        Code::PENDING_REQUEST => (
            Exit::HOST,
            "another mail address waits for its confirmation",
            "confirm that one (rdv account confirm CODE), or wait until it is over",
        ),
        Code::NOT_DT_STATUS => (
            Exit::HOST,
            "the account is confirmed already",
            "there is nothing to do",
        ),
        Code::OUTSTANDING_CONFIRM => (
            Exit::HOST,
            "a mail with a code is on its way already",
            "look for it, also among junk mail, or wait until it is over",
        ),
        Code::NO_EMAIL_ADDRESS => (
            Exit::HOST,
            "the account has no mail address",
            "give it one: rdv account email ADDRESS",
        ),
        Code::OVER_LIMIT => (
            Exit::LIMIT,
            "there were too many changes, wrong passwords, or names on one address",
            "wait: ten minutes after wrong passwords, a day after many changes",
        ),
        Code::EMAIL_HOST_FAIL => (
            Exit::HOST,
            "the mail could not be handed over",
            "check the mail address (rdv account info), and try again later",
        ),
        Code::DNS_FAIL => (
            Exit::HOST,
            "mail for that address has nowhere to go, or none can be sent now",
            "check what stands behind the @, and try again later",
        ),
        _ => (
            Exit::HOST,
            "it refuses, for a reason without a name",
            OPERATOR,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_of_the_35_codes_is_told_by_its_name_with_what_to_do() {
        let mut told = BTreeSet::new();
        for code in AdminErrorCode::ALL {
            let failure = of("h:1", &AdminError::Refused { code, url: None });
            let name = code.name().unwrap();
            assert_eq!(failure.name, Some(name));
            let rest = failure.sentence.strip_prefix(&format!("{name}: "));
            let rest = rest.unwrap_or_else(|| panic!("{}", failure.sentence));
            assert!(rest.contains("; "), "what to do: {rest}");
            assert!(!rest.contains("without a name"), "{name}");
            assert!(told.insert(rest.to_owned()), "told apart: {rest}");
            assert!([2, 11, 12].contains(&failure.exit.0), "{name}");
        }
        let wrong = |code| of("h:1", &AdminError::Refused { code, url: None }).exit;
        assert_eq!(wrong(AdminErrorCode::INVALID_EMAIL), Exit::USAGE);
        assert_eq!(wrong(AdminErrorCode::OVER_LIMIT), Exit::LIMIT);
        assert_eq!(wrong(AdminErrorCode::INVALID_OLD_PASSWORD), Exit::HOST);
    }

    #[test]
    fn s_24_where_a_host_explains_it_is_shown_and_cannot_draw() {
        let refused = AdminError::Refused {
            code: AdminErrorCode(0x77),
            url: Some("http://h/\u{1b}[2J".to_owned()),
        };
        let failure = of("h:1", &refused);
        assert!(failure.sentence.starts_with("code 0x77: "));
        assert!(failure.sentence.contains("http://h/"));
        assert!(!failure.sentence.contains('\u{1b}'));
        assert_eq!(failure.name, None);
    }

    #[test]
    fn a_host_that_makes_no_accounts_says_so() {
        let said = |code| not_made("h:1", &OscarError::Refused { code });
        let closed = said(LoginErrorCode::NO_REGISTRATION);
        assert!(closed.sentence.contains("makes no accounts"));
        assert_eq!(said(LoginErrorCode::ADDRESS_RATE_LIMITED).exit, Exit::LIMIT);
        let taken = not_made(
            "h:1",
            &OscarError::NotCreated {
                code: AdminErrorCode::VALIDATE_NICKNAME,
            },
        );
        assert!(taken.sentence.contains("taken"), "{}", taken.sentence);
    }
}
