//! Rate classes: how fast a client may send.

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits;
use crate::wire::codec::Reader;
use crate::wire::error::DecodeError;
use crate::wire::snac::Foodgroup;

/// What a host adds for clients that declared version 3 or later of foodgroup 0x0001.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Milliseconds since the last SNAC of the class.
    pub since_last_ms: u32,
    /// Whether SNACs of the class are being dropped, 0 or 1.
    pub dropping: u8,
}

/// One class: `[id: u16][window, clear, alert, limit, disconnect, current, max: u32 each]`, then maybe an [`Arrival`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateClass {
    /// Number by which members and subscriptions name it.
    pub id: u16,
    /// Over how many SNACs the level is averaged.
    pub window: u32,
    /// Level above which a limited client is free again.
    pub clear: u32,
    /// Level below which the client should slow down.
    pub alert: u32,
    /// Level below which SNACs are dropped.
    pub limit: u32,
    /// Level below which the host hangs up.
    pub disconnect: u32,
    /// Level now.
    pub current: u32,
    /// Highest level.
    pub max: u32,
    /// Missing for old clients.
    pub arrival: Option<Arrival>,
}

impl RateClass {
    fn decode(reader: &mut Reader<'_>, with_arrival: bool) -> Result<Self, DecodeError> {
        Ok(Self {
            id: reader.u16()?,
            window: reader.u32()?,
            clear: reader.u32()?,
            alert: reader.u32()?,
            limit: reader.u32()?,
            disconnect: reader.u32()?,
            current: reader.u32()?,
            max: reader.u32()?,
            arrival: match with_arrival {
                true => Some(Arrival {
                    since_last_ms: reader.u32()?,
                    dropping: reader.u8()?,
                }),
                false => None,
            },
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_u16(self.id);
        let levels = [
            self.window,
            self.clear,
            self.alert,
            self.limit,
            self.disconnect,
            self.current,
            self.max,
        ];
        for level in levels {
            out.put_u32(level);
        }
        if let Some(arrival) = &self.arrival {
            out.put_u32(arrival.since_last_ms);
            out.put_u8(arrival.dropping);
        }
    }
}

/// Which SNACs count for a class: `[id: u16][count: u16]`, then `[foodgroup: u16, subgroup: u16]*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateMembers {
    /// The class.
    pub id: u16,
    /// Its SNACs.
    pub members: Vec<(Foodgroup, u16)>,
}

impl RateMembers {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = reader.u16()?;
        let count = reader.u16()?;
        let pairs = (0..count).map(|_| Ok((Foodgroup(reader.u16()?), reader.u16()?)));
        Ok(Self {
            id,
            members: pairs.collect::<Result<_, _>>()?,
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_u16(self.id);
        out.put_u16(
            u16::try_from(self.members.len()).expect("there are fewer kinds of SNACs than 65,536"),
        );
        for (foodgroup, subgroup) in &self.members {
            out.put_u16(foodgroup.0);
            out.put_u16(*subgroup);
        }
    }
}

/// 0x0001/0x0007: `[class count: u16]`, the classes, then the members of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateReply {
    /// All with an [`Arrival`] or all without.
    pub classes: Vec<RateClass>,
    /// In the order of the classes.
    pub members: Vec<RateMembers>,
}

impl RateReply {
    /// Reads a body. Nothing in it says whether classes have an [`Arrival`]: that form counts in which all bytes are used.
    ///
    /// # Errors
    /// [`DecodeError::TooMany`] above 32 classes, else what does not fit in the longer form.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_form(body, true)
            .or_else(|error| Self::decode_form(body, false).map_err(|_| error))
    }

    /// The body's bytes.
    ///
    /// # Panics
    /// Above 65,535 classes or members of a class: hosts have a fixed table of them.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(u16::try_from(self.classes.len()).expect("a host has a few rate classes"));
        for class in &self.classes {
            class.encode(&mut out);
        }
        for members in &self.members {
            members.encode(&mut out);
        }
        out.freeze()
    }

    fn decode_form(body: &Bytes, with_arrival: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "rate reply");
        let count = usize::from(reader.u16()?);
        if count > limits::RATE_CLASSES {
            return Err(DecodeError::TooMany {
                what: "rate classes",
                max: limits::RATE_CLASSES,
            });
        }
        let classes: Vec<_> = (0..count)
            .map(|_| RateClass::decode(&mut reader, with_arrival))
            .collect::<Result<_, _>>()?;
        // Some hosts list members for fewer classes than they have.
        let mut members = Vec::new();
        while members.len() < count && !reader.is_empty() {
            members.push(RateMembers::decode(&mut reader)?);
        }
        match reader.remaining() {
            0 => Ok(Self { classes, members }),
            left => Err(DecodeError::BadLength {
                what: "rate reply",
                length: left,
                min: 0,
                max: 0,
            }),
        }
    }
}

/// 0x0001/0x0008, the classes whose changes a client wants to hear of: `[id: u16]*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateSubscription {
    /// Unknown ones are ignored.
    pub ids: Vec<u16>,
}

impl RateSubscription {
    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if a byte is left over.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "rate subscription");
        let mut ids = Vec::new();
        while !reader.is_empty() {
            ids.push(reader.u16()?);
        }
        Ok(Self { ids })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        self.ids.iter().flat_map(|id| id.to_be_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    const CLASS_3: &str = "0003 00000014 000013ec 00001388 00000fa0 00000bb8 00001770 00001770";

    #[test]
    fn classes_are_read_with_and_without_their_arrival() {
        for (arrival, expected) in [
            ("", None),
            (
                "00000005 01",
                Some(Arrival {
                    since_last_ms: 5,
                    dropping: 1,
                }),
            ),
        ] {
            let body = hex(&format!(
                "0001 {CLASS_3} {arrival} 0003 0002 00040006 00020005"
            ));
            let reply = RateReply::decode(&body).expect("a good reply");
            assert_eq!(
                (reply.classes[0].limit, reply.classes[0].arrival),
                (4_000, expected)
            );
            assert_eq!(
                reply.members[0].members,
                [(Foodgroup::ICBM, 6), (Foodgroup::LOCATE, 5)]
            );
            assert_eq!(reply.encode(), body);
        }
    }

    #[test]
    fn t_18_counts_that_promise_too_much_are_errors() {
        assert_eq!(
            RateReply::decode(&hex("0021")),
            Err(DecodeError::TooMany {
                what: "rate classes",
                max: 32
            })
        );
        assert!(RateReply::decode(&hex(&format!("0001 {CLASS_3} 0003 ffff 00040006"))).is_err());
        assert!(RateReply::decode(&hex(&format!("0002 {CLASS_3}"))).is_err());
    }

    #[test]
    fn a_subscription_is_a_list_of_classes() {
        let body = hex("00010003");
        let subscription = RateSubscription::decode(&body).expect("a good list");
        assert_eq!(
            (&subscription.ids[..], subscription.encode()),
            (&[1, 3][..], body)
        );
        assert!(RateSubscription::decode(&hex("000100")).is_err());
    }
}
