//! TLVs: `[tag: u16][len: u16][value]`, and the three containers of them.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::Reader;
use super::error::DecodeError;
use crate::limits;

/// One tagged value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlv {
    /// What the value means; depends on the block.
    pub tag: u16,
    /// At most 65,535 bytes.
    pub value: Bytes,
}

impl Tlv {
    /// A TLV of these parts.
    pub fn new(tag: u16, value: impl Into<Bytes>) -> Self {
        Self {
            tag,
            value: value.into(),
        }
    }

    /// The value as an array, if it has exactly that length.
    pub fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.value[..].try_into().ok()
    }

    /// Length of the whole TLV on the wire, in bytes.
    pub fn encoded_len(&self) -> usize {
        4 + self.value.len()
    }
}

/// TLVs in the order of the wire. Repeated and unknown tags are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlvList(pub Vec<Tlv>);

impl TlvList {
    /// No TLVs.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A TLVRestBlock: TLVs to the end of `data`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if a length runs past the end or a fragment is left over, [`DecodeError::TooMany`]
    /// above 128 of them.
    pub fn decode_rest(data: Bytes) -> Result<Self, DecodeError> {
        Self::decode_rest_limited(data, limits::TLVS_PER_BLOCK)
    }

    /// As [`TlvList::decode_rest`] with another limit on the number of TLVs.
    ///
    /// # Errors
    /// As [`TlvList::decode_rest`].
    pub fn decode_rest_limited(data: Bytes, max: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&data, "TLV block");
        let mut list = Vec::new();
        while !reader.is_empty() {
            if list.len() == max {
                return Err(DecodeError::TooMany { what: "TLVs", max });
            }
            list.push(decode_tlv(&mut reader, &data)?);
        }
        Ok(Self(list))
    }

    /// A TLVBlock: `[count: u16]` TLVs. `reader` must read from `data`; it is left behind the block.
    ///
    /// # Errors
    /// As [`TlvList::decode_rest`].
    pub fn decode_block(reader: &mut Reader<'_>, data: &Bytes) -> Result<Self, DecodeError> {
        let count = usize::from(reader.u16()?);
        if count > limits::TLVS_PER_BLOCK {
            return Err(DecodeError::TooMany {
                what: "TLVs",
                max: limits::TLVS_PER_BLOCK,
            });
        }
        (0..count)
            .map(|_| decode_tlv(reader, data))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// A TLVLBlock: `[length in bytes: u16]` TLVs. `reader` must read from `data`; it is left behind the block.
    ///
    /// # Errors
    /// As [`TlvList::decode_rest`].
    pub fn decode_lblock(reader: &mut Reader<'_>, data: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_rest(data.slice_ref(reader.string16()?))
    }

    /// Appends the TLVs alone.
    ///
    /// # Panics
    /// If a value has more than 65,535 bytes: values from the wire cannot, and ours have limits of their own.
    pub fn encode_rest(&self, out: &mut BytesMut) {
        for tlv in &self.0 {
            out.put_u16(tlv.tag);
            out.put_u16(
                u16::try_from(tlv.value.len()).expect("a TLV value is limited by its maker"),
            );
            out.put_slice(&tlv.value);
        }
    }

    /// Appends the number of TLVs (u16), then the TLVs.
    ///
    /// # Panics
    /// As [`TlvList::encode_rest`], or above 65,535 TLVs.
    pub fn encode_block(&self, out: &mut BytesMut) {
        out.put_u16(u16::try_from(self.0.len()).expect("a TLV block is limited by its maker"));
        self.encode_rest(out);
    }

    /// Appends the length of the TLVs in bytes (u16), then the TLVs.
    ///
    /// # Panics
    /// As [`TlvList::encode_rest`], or above 65,535 bytes in all.
    pub fn encode_lblock(&self, out: &mut BytesMut) {
        out.put_u16(
            u16::try_from(self.encoded_len()).expect("a TLV block is limited by its maker"),
        );
        self.encode_rest(out);
    }

    /// Length of the TLVs on the wire, in bytes, without a prefix.
    pub fn encoded_len(&self) -> usize {
        self.0.iter().map(Tlv::encoded_len).sum()
    }

    /// The value of the first TLV with that tag. This one counts, except among rendezvous parameters.
    pub fn first(&self, tag: u16) -> Option<&Bytes> {
        self.all(tag).next()
    }

    /// The value of the last TLV with that tag. This one counts among rendezvous parameters.
    pub fn last(&self, tag: u16) -> Option<&Bytes> {
        self.0
            .iter()
            .rev()
            .find(|tlv| tlv.tag == tag)
            .map(|tlv| &tlv.value)
    }

    /// The values of all TLVs with that tag, in order.
    pub fn all(&self, tag: u16) -> impl DoubleEndedIterator<Item = &Bytes> {
        self.0
            .iter()
            .filter(move |tlv| tlv.tag == tag)
            .map(|tlv| &tlv.value)
    }

    /// Whether a TLV with that tag is there, of any length.
    pub fn contains(&self, tag: u16) -> bool {
        self.first(tag).is_some()
    }

    /// The first TLV with that tag as a u16; none if it is absent or of another length.
    pub fn u16(&self, tag: u16) -> Option<u16> {
        self.first(tag)
            .and_then(|value| value[..].try_into().ok())
            .map(u16::from_be_bytes)
    }

    /// The first TLV with that tag as a u32; none if it is absent or of another length.
    pub fn u32(&self, tag: u16) -> Option<u32> {
        self.first(tag)
            .and_then(|value| value[..].try_into().ok())
            .map(u32::from_be_bytes)
    }

    /// The first TLV with that tag as text; none if it is absent or not UTF-8.
    pub fn text(&self, tag: u16) -> Option<&str> {
        self.first(tag)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Appends a TLV.
    pub fn push(&mut self, tag: u16, value: impl Into<Bytes>) {
        self.0.push(Tlv::new(tag, value));
    }

    /// Appends a TLV and hands the list on, for literals.
    #[must_use]
    pub fn with(mut self, tag: u16, value: impl Into<Bytes>) -> Self {
        self.push(tag, value);
        self
    }

    /// Appends a TLV that holds a u16.
    #[must_use]
    pub fn with_u16(self, tag: u16, value: u16) -> Self {
        self.with(tag, value.to_be_bytes().to_vec())
    }

    /// Appends a TLV that holds a u32.
    #[must_use]
    pub fn with_u32(self, tag: u16, value: u32) -> Self {
        self.with(tag, value.to_be_bytes().to_vec())
    }

    /// Removes every TLV with that tag; says how many there were.
    pub fn remove_all(&mut self, tag: u16) -> usize {
        let before = self.0.len();
        self.0.retain(|tlv| tlv.tag != tag);
        before - self.0.len()
    }
}

impl FromIterator<Tlv> for TlvList {
    fn from_iter<I: IntoIterator<Item = Tlv>>(tlvs: I) -> Self {
        Self(tlvs.into_iter().collect())
    }
}

fn decode_tlv(reader: &mut Reader<'_>, data: &Bytes) -> Result<Tlv, DecodeError> {
    let tag = reader.u16()?;
    Ok(Tlv {
        tag,
        value: data.slice_ref(reader.string16()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    fn sample() -> TlvList {
        TlvList::new().with_u16(1, 0x10).with(0x0F, vec![0; 4])
    }

    #[test]
    fn containers_are_told_apart_by_their_prefix() {
        let mut block = BytesMut::new();
        sample().encode_block(&mut block);
        assert_eq!(block, hex("0002000100020010000f000400000000"));
        let mut lblock = BytesMut::new();
        sample().encode_lblock(&mut lblock);
        assert_eq!(lblock, hex("000e000100020010000f000400000000"));
        let mut rest = BytesMut::new();
        TlvList::new()
            .with(0x0F, Bytes::new())
            .with_u16(0x0A, 1)
            .encode_rest(&mut rest);
        assert_eq!(rest, hex("000f0000000a00020001"));
    }

    #[test]
    fn a_count_or_length_that_promises_too_much_is_an_error() {
        for (data, what) in [
            ("0002000100020010", "count"),
            ("0003000100020010", "fragment"),
        ] {
            let data = hex(data);
            assert!(
                TlvList::decode_block(&mut Reader::new(&data, "test"), &data).is_err(),
                "{what}"
            );
        }
        for data in ["0007000100020010", "0003000100", "00"] {
            let data = hex(data);
            assert!(
                TlvList::decode_lblock(&mut Reader::new(&data, "test"), &data).is_err(),
                "{data:?}"
            );
        }
    }

    #[test]
    fn t_18_no_count_from_the_wire_reserves_memory() {
        let data = hex("ffff");
        let refused = TlvList::decode_block(&mut Reader::new(&data, "test"), &data);
        assert_eq!(
            refused,
            Err(DecodeError::TooMany {
                what: "TLVs",
                max: 128
            })
        );
        let many = |count: usize| Bytes::from([0, 1, 0, 0].repeat(count));
        assert!(TlvList::decode_rest(many(128)).is_ok());
        assert_eq!(TlvList::decode_rest(many(129)), refused);
    }

    #[test]
    fn l_04_outside_of_rendezvous_parameters_the_first_of_a_tag_counts() {
        let list = TlvList::new().with_u16(1, 7).with_u16(1, 8);
        assert_eq!((list.u16(1), list.all(1).count()), (Some(7), 2));
        assert_eq!((list.last(1), list.first(2)), (Some(&hex("0008")), None));
    }

    #[test]
    fn a_value_of_another_length_counts_as_absent() {
        let list = TlvList::new().with(1, vec![0; 3]).with(2, &[0xFF][..]);
        assert_eq!((list.u16(1), list.u32(1), list.text(2)), (None, None, None));
        assert!(list.contains(1));
    }

    #[test]
    fn removing_takes_all_of_a_tag_and_keeps_the_order() {
        let mut list = TlvList::new()
            .with_u16(1, 1)
            .with_u16(2, 2)
            .with_u16(1, 3)
            .with_u16(3, 4);
        assert_eq!(list.remove_all(1), 2);
        assert_eq!(list.0.iter().map(|tlv| tlv.tag).collect::<Vec<_>>(), [2, 3]);
    }
}
