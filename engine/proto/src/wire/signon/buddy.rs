//! Lists of names, as foodgroups 0x0003 and 0x0009 have them.

use bytes::{Bytes, BytesMut};

use crate::wire::codec::Reader;
use crate::wire::error::DecodeError;
use crate::wire::text::ScreenName;

/// Whom to watch, permit or deny, or no longer: `[name: string08]*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameList {
    /// In the order of the wire.
    pub names: Vec<ScreenName>,
}

impl NameList {
    /// Reads a body. Names that nobody can have are skipped.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if a length runs past the end.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "list of names");
        let mut names = Vec::new();
        while !reader.is_empty() {
            names.extend(ScreenName::from_bytes(reader.string08()?));
        }
        Ok(Self { names })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for name in &self.names {
            name.encode(&mut out);
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn names_are_read_to_the_end_and_impossible_ones_are_skipped() {
        let list = NameList::decode(&hex("05616c696365 00 01ff 03626f62")).expect("a good list");
        let names: Vec<_> = list.names.iter().map(ScreenName::as_str).collect();
        assert_eq!(names, ["alice", "bob"]);
        assert_eq!(list.encode(), hex("05616c69636503626f62"));
        assert!(NameList::decode(&hex("05616c6963")).is_err());
    }
}
