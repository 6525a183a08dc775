//! What may be, as arithmetic: nothing here asks anybody.

use rdv_proto::session::admin::rules::is_formattable;
use rdv_proto::wire::admin::{AdminErrorCode, Permissions, tag};

use super::AdminConfig;
use crate::accounts::{Fields, Record, State, StoreError};
use crate::mail::MailError;

/// Why nothing is answered about an account that is not what it was when its owner signed on.
pub(super) fn state_error(state: State) -> Option<AdminErrorCode> {
    match state {
        State::Active => None,
        State::Deleted => Some(AdminErrorCode::DELETED_ACCOUNT),
        State::Expired => Some(AdminErrorCode::EXPIRED_ACCOUNT),
        State::Disabled => Some(AdminErrorCode::INVALID_ACCOUNT),
    }
}

/// Whether the owner of this account may change a field.
pub(super) fn permissions(config: &AdminConfig, record: &Record, tag: u16) -> Permissions {
    let field = match tag {
        tag::FORMAT if !is_formattable(&record.name) => return Permissions::NEVER,
        tag::FORMAT => Fields::FORMAT,
        tag::EMAIL => Fields::EMAIL,
        tag::REGISTRATION => Fields::REGISTRATION,
        tag::PASSWORD => Fields::PASSWORD,
        _ => return Permissions::NEVER,
    };
    match (record.frozen | config.frozen).contains(field) {
        true => Permissions::LOCKED,
        false => Permissions::CHANGEABLE,
    }
}

/// Why a field is not changed that has these permissions.
pub(super) fn permission_error(permissions: Permissions) -> Option<AdminErrorCode> {
    match permissions {
        Permissions::CHANGEABLE => None,
        Permissions::LOCKED => Some(AdminErrorCode::FIELD_CHANGE_TEMP_UNAVAILABLE),
        _ => Some(AdminErrorCode::READ_ONLY_FIELD),
    }
}

/// What the client is told of a failure of the store.
pub(super) fn store_error(error: StoreError) -> AdminErrorCode {
    match error {
        StoreError::Unknown => AdminErrorCode::INVALID_ACCOUNT,
        // It is there, but nothing can be changed in it now.
        StoreError::ReadOnly | StoreError::Busy | StoreError::Full => {
            AdminErrorCode::SERVICE_TEMP_UNAVAILABLE
        }
        StoreError::Unreachable => AdminErrorCode::NO_DATABASE_ACCESS,
        StoreError::Damaged => AdminErrorCode::INVALID_DATABASE_FIELDS,
        StoreError::Unexpected => AdminErrorCode::BAD_DATABASE_STATUS,
        StoreError::Internal => AdminErrorCode::INTERNAL_ERROR,
    }
}

/// What the client is told of a mail that did not leave.
pub(super) fn mail_error(error: MailError) -> AdminErrorCode {
    match error {
        MailError::Refused { .. } | MailError::Unreachable => AdminErrorCode::EMAIL_HOST_FAIL,
        MailError::Unresolved => AdminErrorCode::DNS_FAIL,
        MailError::Busy => AdminErrorCode::ALL_OTHER_ERRORS,
        MailError::Address => AdminErrorCode::INVALID_EMAIL,
        MailError::Internal => AdminErrorCode::INTERNAL_ERROR,
    }
}

/// Whether the operator takes no addresses of this domain, or of one that it lies in.
pub(super) fn is_blocked(blocked: &[String], email: &str) -> bool {
    let domain = email.rsplit_once('@').map_or(email, |(_, domain)| domain);
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    blocked.iter().any(|blocked| {
        let blocked = blocked.trim_matches('.').to_ascii_lowercase();
        let rest = domain.strip_suffix(&blocked);
        !blocked.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// Whether a new password is none: the old one again, or one character over and over.
pub(super) fn is_worthless(new: &[u8], old: &[u8]) -> bool {
    new == old || new.iter().all(|byte| Some(byte) == new.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_domain_stands_for_those_below_it() {
        let blocked = [
            "Example.org".to_owned(),
            ".trash.example".to_owned(),
            String::new(),
        ];
        for (email, expected) in [
            ("alice@example.org", true),
            ("alice@EXAMPLE.ORG", true),
            ("alice@example.org.", true),
            ("alice@mail.example.org", true),
            ("alice@trash.example", true),
            ("alice@badexample.org", false),
            ("alice@example.com", false),
            ("\"@example.org\"@example.com", false),
        ] {
            assert_eq!(is_blocked(&blocked, email), expected, "{email}");
        }
    }

    #[test]
    fn a_new_password_is_another_one_and_more_than_one_character() {
        assert!(is_worthless(b"secret", b"secret"));
        assert!(is_worthless(b"aaaaaaaa", b"secret"));
        assert!(!is_worthless(b"secret1", b"secret"));
    }
}
