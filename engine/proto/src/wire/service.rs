//! Services: their UUIDs, and what a send-file proposal says about its files (SERVICE_DATA).
//!
//! UUIDs stand on the wire as 16 raw bytes in the order of their text.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::codec::{Reader, wire_enum};
use super::error::DecodeError;
use super::rendezvous::tag;
use super::text::Charset;
use super::tlv::{Tlv, TlvList};
use crate::limits;

/// The UUID of a short capability XXYY: `0946XXYY-4C7F-11D1-8222-444553540000`.
pub const fn short_capability(short: u16) -> Uuid {
    Uuid::from_u128(0x0946_0000_4C7F_11D1_8222_4445_5354_0000 | (short as u128) << 96)
}

/// Sending files to old clients (OFT2).
pub const SEND_FILE: Uuid = short_capability(0x1343);
/// Fetching shared files from old clients (OFT2 with list headers).
pub const GET_FILE: Uuid = short_capability(0x1348);
/// Direct IM (ODC2).
pub const DIRECT_IM: Uuid = short_capability(0x1345);
/// Buddy icon, inside of the proposal.
pub const BUDDY_ICON: Uuid = short_capability(0x1346);
/// Chat-room invitation, inside of the proposal.
pub const CHAT: Uuid = Uuid::from_u128(0x748F_2420_6287_11D1_8222_4445_5354_0000);
/// Games.
pub const GAMES: Uuid = short_capability(0x134A);
/// Our own transfers. Fixed for ever.
pub const NATIVE: Uuid = Uuid::from_u128(0x7D6B_8A52_3C1E_4F0A_9B47_D2E5_610C_98AF);
/// The only version of [`NATIVE`] so far, lowest and highest.
pub const NATIVE_VERSION: u16 = 1;

/// How AIM ends the name of a folder.
const FOLDER_MARK: &str = "\\*";

const GAMES_SWAPPED: Uuid = Uuid::from_u128(0x0946_134A_4C7F_11D1_2282_4445_5354_0000);
const AV_MISTYPED: Uuid = Uuid::from_u128(0x0946_0105_4C7F_11D1_8222_4445_4553_5400);
const AV_AVAILABLE: Uuid = short_capability(0x0105);

/// The usual spelling of a UUID that some old clients misspell.
pub fn usual_spelling(uuid: Uuid) -> Uuid {
    match uuid {
        GAMES_SWAPPED => GAMES,
        AV_MISTYPED => AV_AVAILABLE,
        other => other,
    }
}

wire_enum! {
    /// What a send-file proposal offers.
    pub struct FileSetKind(u16) {
        /// One file.
        ONE_FILE = 1,
        /// Several files, or a folder; the name is that of the folder.
        SEVERAL = 2,
    }
}

/// SERVICE_DATA of a send-file proposal.
///
/// `[kind: u16][file count: u16][total bytes modulo 2^32: u32][name, NUL-terminated; more may follow]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFileData {
    /// One file or several.
    pub kind: FileSetKind,
    /// How many files; never 0.
    pub count: u16,
    /// Bytes of all files, modulo 2^32.
    pub total: u32,
    /// All behind the numbers. Old clients: the name, one NUL or many. Ours: the name twice, each with its NUL, because
    /// libpurple 2.10.11 to 2.14.2 cannot read a name that stands there once (capture `stock-drops-offer`).
    pub name_field: Bytes,
}

impl SendFileData {
    /// What we say of files to an old client. `total` is the true number of bytes; send it as tag 0x2713, too.
    ///
    /// # Errors
    /// [`DecodeError::Missing`] if `count` is 0 or `name` is empty or holds a NUL, [`DecodeError::BadLength`] if the
    /// data would pass 4 KiB.
    pub fn new(kind: FileSetKind, count: u16, total: u64, name: &str) -> Result<Self, DecodeError> {
        if name.contains('\0') {
            return Err(DecodeError::Missing { what: "file name" });
        }
        let mut field = BytesMut::with_capacity(2 * (name.len() + 1));
        for _ in 0..2 {
            field.put_slice(name.as_bytes());
            field.put_u8(0);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the field is defined modulo 2^32"
        )]
        let data = Self {
            kind,
            count,
            total: total as u32,
            name_field: field.freeze(),
        };
        data.check()?;
        Ok(data)
    }

    /// Reads tag 0x2711 of a send-file proposal.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] below eight bytes, [`DecodeError::BadLength`] above 4 KiB, [`DecodeError::Missing`]
    /// if the count is 0 or there is no name.
    pub fn decode(value: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value, "send-file data");
        let kind = FileSetKind(reader.u16()?);
        let count = reader.u16()?;
        let total = reader.u32()?;
        let data = Self {
            kind,
            count,
            total,
            name_field: value.slice_ref(reader.rest()),
        };
        data.check()?;
        Ok(data)
    }

    /// The bytes of tag 0x2711.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(8 + self.name_field.len());
        out.put_u16(self.kind.0);
        out.put_u16(self.count);
        out.put_u32(self.total);
        out.put_slice(&self.name_field);
        out.freeze()
    }

    /// The name up to its first NUL, decoded. Foreign text: clean it before it meets a file system or a screen.
    pub fn name(&self, charset: Charset) -> String {
        charset.decode(charset.until_nul(&self.name_field))
    }

    /// Bytes of all files: `size64` (tag 0x2713) counts only for one file and if its low half equals [`SendFileData::total`].
    pub fn total_bytes(&self, size64: Option<u64>) -> u64 {
        let short = u64::from(self.total);
        let fits = |size: &u64| self.count == 1 && size & u64::from(u32::MAX) == short;
        size64.filter(fits).unwrap_or(short)
    }

    fn check(&self) -> Result<(), DecodeError> {
        let length = 8 + self.name_field.len();
        if length > limits::SERVICE_DATA {
            return Err(DecodeError::BadLength {
                what: "service data",
                length,
                min: 8,
                max: limits::SERVICE_DATA,
            });
        }
        if self.count == 0 {
            return Err(DecodeError::Missing { what: "file count" });
        }
        // An empty UTF-16 name begins with a NUL as well; one in UTF-16 may begin with a zero byte.
        if self.name_field.iter().all(|&byte| byte == 0) {
            return Err(DecodeError::Missing { what: "file name" });
        }
        Ok(())
    }
}

/// All that a send-file proposal says of its files, over its three tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFileOffer {
    /// A folder or several files, not one file.
    pub folder: bool,
    /// How many files.
    pub files: u16,
    /// Bytes of all files.
    pub bytes: u64,
    /// Of the file, or of the folder. Foreign text if it was read.
    pub name: String,
}

impl SendFileOffer {
    /// SERVICE_DATA with the name twice (L-31; of a folder as `name\*`), the name's character set, and the 64-bit total.
    ///
    /// # Errors
    /// As [`SendFileData::new`].
    pub fn to_tags(&self) -> Result<TlvList, DecodeError> {
        let (kind, name) = match self.folder {
            true => (FileSetKind::SEVERAL, format!("{}{FOLDER_MARK}", self.name)),
            false => (FileSetKind::ONE_FILE, self.name.clone()),
        };
        let data = SendFileData::new(kind, self.files, self.bytes, &name)?;
        let total = Bytes::copy_from_slice(&self.bytes.to_be_bytes());
        let tags = [
            (tag::SERVICE_DATA, data.encode()),
            (tag::FILE_NAME_CHARSET, Bytes::from_static(b"utf-8")),
            (tag::TOTAL_SIZE, total),
        ];
        Ok(tags
            .map(|(tag, value)| Tlv { tag, value })
            .into_iter()
            .collect())
    }

    /// Reads the tags of a proposal; others among them are skipped. None without SERVICE_DATA.
    ///
    /// # Errors
    /// As [`SendFileData::decode`].
    pub fn from_tags(tags: &TlvList) -> Option<Result<Self, DecodeError>> {
        let data = SendFileData::decode(tags.last(tag::SERVICE_DATA)?);
        let charset = tags.last(tag::FILE_NAME_CHARSET);
        let charset = charset.map_or(Charset::Unknown, |name| Charset::named(name));
        let total = tags
            .last(tag::TOTAL_SIZE)
            .and_then(|value| value.first_chunk());
        let total = total.map(|&value| u64::from_be_bytes(value));
        Some(data.map(|data| {
            let name = data.name(charset);
            let folder = data.kind == FileSetKind::SEVERAL;
            let marked = name.strip_suffix(FOLDER_MARK).filter(|_| folder);
            Self {
                folder,
                files: data.count,
                bytes: data.total_bytes(total),
                name: marked.map_or_else(|| name.clone(), str::to_owned),
            }
        }))
    }
}

/// What a first get-file proposal says: AIM's request for the shared files, protocol version 2, one folder at a time.
///
/// `[code: u16 = 0x12][version: u16 = 2][flags: u32 = 1][0]`, in US-ASCII.
pub fn get_file_tags() -> TlvList {
    let data: &[u8] = &[0, 0x12, 0, 2, 0, 0, 0, 1, 0];
    [
        (tag::SERVICE_DATA, data),
        (tag::FILE_NAME_CHARSET, b"us-ascii"),
    ]
    .map(|(tag, value)| Tlv {
        tag,
        value: Bytes::from_static(value),
    })
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn services_have_their_bytes_in_the_order_of_their_text() {
        assert_eq!(
            SEND_FILE.as_bytes()[..],
            hex("094613434c7f11d18222444553540000")
        );
        assert_eq!(
            GET_FILE.as_bytes()[..],
            hex("094613484c7f11d18222444553540000")
        );
        assert_eq!(
            DIRECT_IM.as_bytes()[..],
            hex("094613454c7f11d18222444553540000")
        );
        assert_eq!(CHAT.as_bytes()[..], hex("748f2420628711d18222444553540000"));
        assert_eq!(NATIVE.to_string(), "7d6b8a52-3c1e-4f0a-9b47-d2e5610c98af");
    }

    #[test]
    fn misspelt_services_are_known() {
        assert_eq!(usual_spelling(GAMES_SWAPPED), short_capability(0x134A));
        assert_eq!(usual_spelling(SEND_FILE), SEND_FILE);
    }

    #[test]
    fn l_31_the_name_of_a_file_goes_out_twice() {
        let data = SendFileData::new(FileSetKind::ONE_FILE, 1, 43, "fox.txt").expect("good data");
        assert_eq!(
            data.encode(),
            hex("00010001 0000002b 666f782e74787400 666f782e74787400")
        );
        assert_eq!(data.name(Charset::Utf8), "fox.txt");
    }

    #[test]
    fn a_name_ends_at_its_first_nul_and_all_bytes_survive() {
        for padding in ["", "00", "0000000000", "007878"] {
            let bytes = hex(&format!("00010001 0000002b 666f782e747874{padding}"));
            let data = SendFileData::decode(&bytes).expect("good data");
            assert_eq!(
                (data.name(Charset::Unknown).as_str(), data.encode()),
                ("fox.txt", bytes)
            );
        }
    }

    #[test]
    fn a_wide_name_ends_at_a_wide_nul() {
        let data = SendFileData::decode(&hex("0001000100000001 65e5672c0061 0000 0062"))
            .expect("good data");
        assert_eq!(data.name(Charset::Utf16), "日本a");
    }

    #[test]
    fn an_offer_of_no_file_or_no_name_is_malformed() {
        let missing = |what| Err(DecodeError::Missing { what });
        assert_eq!(
            SendFileData::decode(&hex("0001000000000001 6100")),
            missing("file count")
        );
        for name in ["", "00", "0000"] {
            assert_eq!(
                SendFileData::decode(&hex(&format!("0001000100000001 {name}"))),
                missing("file name")
            );
        }
        assert_eq!(
            SendFileData::new(FileSetKind::ONE_FILE, 1, 1, ""),
            missing("file name")
        );
        assert_eq!(
            SendFileData::new(FileSetKind::ONE_FILE, 1, 1, "a\0b"),
            missing("file name")
        );
        assert!(SendFileData::decode(&hex("00010001000000")).is_err());
    }

    #[test]
    fn t_18_service_data_over_4_kib_is_refused() {
        let name = "n".repeat(2_043);
        assert!(SendFileData::new(FileSetKind::ONE_FILE, 1, 1, &name).is_ok());
        let refused = SendFileData::new(FileSetKind::ONE_FILE, 1, 1, &(name + "n"));
        assert!(matches!(
            refused,
            Err(DecodeError::BadLength {
                length: 4_098,
                max: 4_096,
                ..
            })
        ));
    }

    #[test]
    fn l_26_a_64_bit_size_counts_only_for_one_file_with_equal_low_half() {
        let five_gib = 5 << 30;
        let one = SendFileData::new(FileSetKind::ONE_FILE, 1, five_gib, "a").expect("good data");
        assert_eq!(one.total, 1 << 30, "modulo 2^32");
        assert_eq!(one.total_bytes(Some(five_gib)), five_gib);
        assert_eq!(one.total_bytes(Some(five_gib + 1)), 1 << 30);
        assert_eq!(one.total_bytes(None), 1 << 30);
        let two = SendFileData { count: 2, ..one };
        assert_eq!(two.total_bytes(Some(five_gib)), 1 << 30);
    }

    fn offer(folder: bool, files: u16, bytes: u64, name: &str) -> SendFileOffer {
        let name = name.to_owned();
        SendFileOffer {
            folder,
            files,
            bytes,
            name,
        }
    }

    #[test]
    fn an_offer_goes_out_in_three_tags_and_comes_back() {
        let one = offer(false, 1, 43, "naïve.txt");
        let tags = one.to_tags().expect("good data");
        let numbers: Vec<_> = tags.0.iter().map(|tlv| tlv.tag).collect();
        assert_eq!(numbers, [0x2711, 0x2712, 0x2713], "R-14, R-16");
        assert_eq!(tags.0[1].value, b"utf-8"[..]);
        assert_eq!(tags.0[2].value, 43_u64.to_be_bytes()[..]);
        assert_eq!(SendFileOffer::from_tags(&tags), Some(Ok(one)));
        assert_eq!(SendFileOffer::from_tags(&TlvList::new()), None);
    }

    #[test]
    fn a_folder_is_marked_on_the_way() {
        let folder = offer(true, 2, 7_000, "stuff");
        let tags = folder.to_tags().expect("good data");
        assert_eq!(
            tags.0[0].value,
            hex("00020002 00001b58 73747566665c2a00 73747566665c2a00")
        );
        assert_eq!(SendFileOffer::from_tags(&tags), Some(Ok(folder)));
        let file = offer(false, 1, 1, "odd\\*");
        let tags = file.to_tags().expect("good data");
        assert_eq!(
            SendFileOffer::from_tags(&tags),
            Some(Ok(file)),
            "a file may end so"
        );
    }

    #[test]
    fn l_26_an_offer_above_4_gib_is_one_of_a_single_file() {
        let large = offer(false, 1, 5 << 30, "a");
        let tags = large.to_tags().expect("good data");
        assert_eq!(SendFileOffer::from_tags(&tags), Some(Ok(large)));
        let two = offer(true, 2, 5 << 30, "a").to_tags().expect("good data");
        let read = SendFileOffer::from_tags(&two).expect("data");
        assert_eq!(read.expect("good data").bytes, 1 << 30);
    }

    #[test]
    fn l_03_the_name_of_an_offer_is_read_in_its_character_set_wherever_its_tag_stands() {
        let data = |name: &str| hex(&format!("0001000100000001 {name}"));
        let read = |name: &str, charset: Option<&'static [u8]>| {
            let mut tags = TlvList::new();
            let charset = charset.map(|name| Tlv {
                tag: 0x2712,
                value: Bytes::from_static(name),
            });
            tags.0.extend(charset);
            tags.0.push(Tlv {
                tag: 0x2711,
                value: data(name),
            });
            SendFileOffer::from_tags(&tags)
                .expect("data")
                .expect("good data")
                .name
        };
        assert_eq!(read("6e61c3af766500", None), "naïve");
        assert_eq!(read("6e61ef766500", None), "naïve");
        assert_eq!(read("6e61ef766500", Some(b"iso-8859-1")), "naïve");
        assert_eq!(read("8000", Some(b"ISO-8859-1")), "€");
        assert_eq!(
            read("006e006100ef007600650000", Some(b"unicode-2-0")),
            "naïve"
        );
        assert_eq!(read("666f7800", Some(b"us-ascii")), "fox");
        assert_eq!(read("666f7800", Some(b"no such set")), "fox");
    }
}
