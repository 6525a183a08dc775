//! What is written beside an unfinished file, so that a later transfer can go on with it (F-9): `.NAME.rdv-resume`.
//!
//! One protobuf message of at most 4 KiB. It is trusted only together with the bytes that it speaks of: they are read again before the file gets its
//! name.

use prost::Message;
use rdv_proto::wire::oft::Checksum;

/// The only layout so far.
const VERSION: u32 = 1;
/// No record is longer.
pub(super) const MAX_RECORD: u64 = 4096;

/// Which file of whom it is, in a transfer without encryption: all that such a transfer tells (security rules, section 5.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The sender's screen name in normal form.
    pub(super) peer: String,
    /// The name that the file is to get.
    pub(super) name: String,
    pub(super) size: u64,
    /// As the sender says, 0 included.
    pub(super) mtime: u32,
    /// Of the whole file, as the sender says.
    pub(super) checksum: Checksum,
}

/// The record.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    peer: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint64, tag = "4")]
    size: u64,
    #[prost(uint32, tag = "5")]
    mtime: u32,
    #[prost(uint32, tag = "6")]
    checksum: u32,
    /// Bytes that were on disk for sure.
    #[prost(uint64, tag = "7")]
    held: u64,
    /// OFT checksum of those.
    #[prost(uint32, tag = "8")]
    held_checksum: u32,
}

impl Identity {
    /// The record of its first `held` bytes.
    pub(super) fn record(&self, held: u64, checksum: Checksum) -> Record {
        Record {
            version: VERSION,
            peer: self.peer.clone(),
            name: self.name.clone(),
            size: self.size,
            mtime: self.mtime,
            checksum: self.checksum.0,
            held,
            held_checksum: checksum.0,
        }
    }
}

impl Record {
    /// What `bytes` say is held of this very file, of which `on_disk` bytes are there; none if it is another file, or they say nothing usable.
    pub(super) fn held(bytes: &[u8], identity: &Identity, on_disk: u64) -> Option<(u64, Checksum)> {
        let record = Self::decode(bytes).ok()?;
        let (held, checksum) = (record.held, Checksum(record.held_checksum));
        let fits = record == identity.record(held, checksum)
            && (1..=identity.size.min(on_disk)).contains(&held);
        fits.then_some((held, checksum))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity() -> Identity {
        Identity {
            peer: "alice".into(),
            name: "fox.txt".into(),
            size: 43,
            mtime: 0x6600_0000,
            checksum: Checksum(0x72A4_0000),
        }
    }

    #[test]
    fn f_9_a_record_is_of_one_file_of_one_peer() {
        let written = identity().record(16, Checksum(0xC073_0000)).encode_to_vec();
        assert!(written.len() as u64 <= MAX_RECORD);
        assert_eq!(
            Record::held(&written, &identity(), 16),
            Some((16, Checksum(0xC073_0000)))
        );
        let others = [
            Identity {
                peer: "mallory".into(),
                ..identity()
            },
            Identity {
                name: "box.txt".into(),
                ..identity()
            },
            Identity {
                size: 44,
                ..identity()
            },
            Identity {
                mtime: 0,
                ..identity()
            },
            Identity {
                checksum: Checksum(0x72A5_0000),
                ..identity()
            },
        ];
        for other in others {
            assert_eq!(Record::held(&written, &other, 16), None, "{other:?}");
        }
    }

    #[test]
    fn f_9_a_record_of_more_than_there_is_counts_for_nothing() {
        let held = |held, on_disk| {
            let written = identity().record(held, Checksum::EMPTY).encode_to_vec();
            Record::held(&written, &identity(), on_disk).map(|(held, _)| held)
        };
        assert_eq!(held(43, 43), Some(43));
        assert_eq!(held(16, 99), Some(16));
        assert_eq!(held(16, 15), None);
        assert_eq!(held(44, 99), None);
        assert_eq!(held(0, 43), None);
        assert_eq!(held(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn f_9_the_record_has_these_bytes() {
        let written = identity().record(16, Checksum(0xC073_0000)).encode_to_vec();
        let expected = b"\x08\x01\x12\x05alice\x1a\x07fox.txt\x20\x2b\x28\x80\x80\x80\xb0\x06\x30\x80\x80\x90\x95\x07\x38\x10\x40\x80\x80\xcc\x83\x0c";
        assert_eq!(written, expected);
    }

    proptest! {
        #[test]
        fn s_27_any_bytes_are_a_record_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::held(&bytes, &identity(), 43);
        }
    }
}
