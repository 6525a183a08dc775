//! Why a host did not do what was asked of it for an account.

use crate::wire::codec::wire_enum;

wire_enum! {
    /// Why a question about an account was not answered, or a change not made; value of [`super::tag::ERROR_CODE`].
    ///
    /// Names are those of the NINA wiki, ADMIN errors; each comment says when a host of ours sends it.
    pub struct AdminErrorCode(u16) {
        /// The new format of the screen name is that of another name.
        VALIDATE_NICKNAME = 0x01,
        /// The new password did not pass a check; hosts that have no [`AdminErrorCode::INVALID_OLD_PASSWORD`] also mean that by it.
        VALIDATE_PASSWORD = 0x02,
        /// The mail address is well formed, but not one that the host takes.
        VALIDATE_EMAIL = 0x03,
        /// Accounts cannot be changed for now.
        SERVICE_TEMP_UNAVAILABLE = 0x04,
        /// This field cannot be changed for now.
        FIELD_CHANGE_TEMP_UNAVAILABLE = 0x05,
        /// The new format breaks a rule for screen names other than that for their length.
        INVALID_NICKNAME = 0x06,
        /// The new password holds what it may not hold, or is the name.
        INVALID_PASSWORD = 0x07,
        /// That is no mail address.
        INVALID_EMAIL = 0x08,
        /// That is no registration status.
        INVALID_REGISTRATION_PREFERENCE = 0x09,
        /// The old password is wrong.
        INVALID_OLD_PASSWORD = 0x0A,
        /// The new format is too short or too long.
        INVALID_NICKNAME_LENGTH = 0x0B,
        /// The new password is too short or too long.
        INVALID_PASSWORD_LENGTH = 0x0C,
        /// The mail address is too long.
        INVALID_EMAIL_LENGTH = 0x0D,
        /// The old password is empty or longer than any can be.
        INVALID_OLD_PASSWORD_LENGTH = 0x0E,
        /// The old password is missing.
        NEED_OLD_PASSWORD = 0x0F,
        /// This field can never be changed.
        READ_ONLY_FIELD = 0x10,
        /// This field can be changed, but not asked for.
        WRITE_ONLY_FIELD = 0x11,
        /// There is no such field.
        UNSUPPORTED_TYPE = 0x12,
        /// Anything that no other code says.
        ALL_OTHER_ERRORS = 0x13,
        /// The TLVs cannot be read, or do not go together.
        BAD_SNAC = 0x14,
        /// There is no such account.
        INVALID_ACCOUNT = 0x15,
        /// The account was deleted.
        DELETED_ACCOUNT = 0x16,
        /// The account expired.
        EXPIRED_ACCOUNT = 0x17,
        /// The database cannot be reached.
        NO_DATABASE_ACCESS = 0x18,
        /// The database holds something that cannot be.
        INVALID_DATABASE_FIELDS = 0x19,
        /// The database answered something else.
        BAD_DATABASE_STATUS = 0x1A,
        /// The session is about to move; ask again.
        MIGRATION_CANCEL = 0x1B,
        /// A fault of the host.
        INTERNAL_ERROR = 0x1C,
        /// Another change of the mail address waits for its confirmation.
        PENDING_REQUEST = 0x1D,
        /// The account is confirmed already ("DT": "damned transient", the flag of unconfirmed users).
        NOT_DT_STATUS = 0x1E,
        /// A mail with a code is on its way already.
        OUTSTANDING_CONFIRM = 0x1F,
        /// The account has no mail address.
        NO_EMAIL_ADDRESS = 0x20,
        /// Too many names on one mail address, too many changes, or too many wrong passwords.
        OVER_LIMIT = 0x21,
        /// The mail server refused.
        EMAIL_HOST_FAIL = 0x22,
        /// The domain of the mail address is not known.
        DNS_FAIL = 0x23,
    }
}

impl AdminErrorCode {
    /// All that have a name, in the order of their numbers.
    pub const ALL: [Self; 35] = {
        let mut all = [Self(0); 35];
        let mut place = 0;
        let mut code = 1;
        while place < all.len() {
            all[place] = Self(code);
            place += 1;
            code += 1;
        }
        all
    };

    /// The code of that name, as [`AdminErrorCode::name`] writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_23_each_of_the_35_codes_has_a_name_of_its_own_and_is_found_by_it() {
        let named = (0..=u16::MAX).filter(|&code| AdminErrorCode(code).name().is_some());
        assert_eq!(named.collect::<Vec<_>>(), (1..=0x23).collect::<Vec<_>>());
        for code in AdminErrorCode::ALL {
            let name = code.name().expect("a name");
            assert_eq!(AdminErrorCode::from_name(name), Some(code), "{name}");
        }
        assert_eq!(AdminErrorCode::ALL[0], AdminErrorCode::VALIDATE_NICKNAME);
        assert_eq!(AdminErrorCode::ALL[34], AdminErrorCode::DNS_FAIL);
        assert_eq!(AdminErrorCode::from_name("dns_fail"), None);
    }
}
