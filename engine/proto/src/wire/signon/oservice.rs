//! Foodgroup 0x0001: what both sides speak, and where other services are.

use bytes::{BufMut, Bytes, BytesMut};

use super::bucp::tlv_body;
use super::tlv;
use crate::limits;
use crate::wire::codec::Reader;
use crate::wire::error::DecodeError;
use crate::wire::rendezvous::Cookie;
use crate::wire::snac::Foodgroup;
use crate::wire::tlv::TlvList;

/// 0x0001/0x0003, the foodgroups that a host offers: `[foodgroup: u16]*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostOnline {
    /// Order has no meaning.
    pub foodgroups: Vec<Foodgroup>,
}

impl HostOnline {
    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if a byte is left over.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "host online");
        let mut foodgroups = Vec::new();
        while !reader.is_empty() {
            foodgroups.push(Foodgroup(reader.u16()?));
        }
        Ok(Self { foodgroups })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for foodgroup in &self.foodgroups {
            out.put_u16(foodgroup.0);
        }
        out.freeze()
    }
}

/// 0x0001/0x0017 from a client and 0x0001/0x0018 from a host: `[foodgroup: u16, version: u16]*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// Order has no meaning.
    pub pairs: Vec<(Foodgroup, u16)>,
}

impl Versions {
    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if less than a pair is left over.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "versions");
        let mut pairs = Vec::new();
        while !reader.is_empty() {
            pairs.push((Foodgroup(reader.u16()?), reader.u16()?));
        }
        Ok(Self { pairs })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for (foodgroup, version) in &self.pairs {
            out.put_u16(foodgroup.0);
            out.put_u16(*version);
        }
        out.freeze()
    }

    /// The version of a foodgroup.
    pub fn of(&self, foodgroup: Foodgroup) -> Option<u16> {
        self.pairs
            .iter()
            .find(|(other, _)| *other == foodgroup)
            .map(|&(_, version)| version)
    }
}

/// What a client program says about its part for one foodgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Which.
    pub foodgroup: Foodgroup,
    /// Version of the foodgroup.
    pub version: u16,
    /// Number of the program part.
    pub tool: u16,
    /// Its version.
    pub tool_version: u16,
}

/// 0x0001/0x0002, a client is ready: `[foodgroup, version, tool, tool version: u16 each]*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientOnline {
    /// Order has no meaning.
    pub tools: Vec<Tool>,
}

impl ClientOnline {
    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if less than an entry is left over.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "client online");
        let mut tools = Vec::new();
        while !reader.is_empty() {
            tools.push(Tool {
                foodgroup: Foodgroup(reader.u16()?),
                version: reader.u16()?,
                tool: reader.u16()?,
                tool_version: reader.u16()?,
            });
        }
        Ok(Self { tools })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for tool in &self.tools {
            out.put_u16(tool.foodgroup.0);
            out.put_u16(tool.version);
            out.put_u16(tool.tool);
            out.put_u16(tool.tool_version);
        }
        out.freeze()
    }
}

/// 0x0001/0x0004, a client asks where a service is: `[foodgroup: u16][TLVs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Which service.
    pub foodgroup: Foodgroup,
    /// [`tlv::WANTS_TLS`]; for a relay [`tlv::RENDEZVOUS_COOKIE`] and [`tlv::AVOID_RELAY`].
    pub tlvs: TlvList,
}

impl ServiceRequest {
    /// Asks for a service.
    pub fn of(foodgroup: Foodgroup) -> Self {
        let tlvs = TlvList::new();
        Self { foodgroup, tlvs }
    }

    /// Asks for a relay for this rendezvous, if possible none of these.
    pub fn for_relay<'a>(cookie: Cookie, avoid: impl IntoIterator<Item = &'a str>) -> Self {
        let avoid = avoid.into_iter().take(limits::RELAYS_AVOIDED);
        let tlvs = TlvList::new().with(tlv::RENDEZVOUS_COOKIE, cookie.0.to_vec());
        let foodgroup = Foodgroup::ARS;
        let tlvs = avoid.fold(tlvs, |tlvs, relay| {
            tlvs.with(tlv::AVOID_RELAY, relay.as_bytes().to_vec())
        });
        Self { foodgroup, tlvs }
    }

    /// The rendezvous that a relay is for.
    pub fn cookie(&self) -> Option<Cookie> {
        let cookie = self.tlvs.first(tlv::RENDEZVOUS_COOKIE)?;
        cookie[..].try_into().ok().map(Cookie)
    }

    /// Relays that failed the client, at most [`limits::RELAYS_AVOIDED`]. Foreign text.
    pub fn avoid(&self) -> Vec<String> {
        let avoid = self.tlvs.all(tlv::AVOID_RELAY);
        let avoid = avoid.filter(|relay| relay.len() <= limits::RELAY_ADDRESS);
        let avoid = avoid.filter_map(|relay| std::str::from_utf8(relay).ok());
        avoid
            .take(limits::RELAYS_AVOIDED)
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "service request");
        let foodgroup = Foodgroup(reader.u16()?);
        Ok(Self {
            foodgroup,
            tlvs: TlvList::decode_rest(body.slice_ref(reader.rest()))?,
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(self.foodgroup.0);
        self.tlvs.encode_rest(&mut out);
        out.freeze()
    }
}

tlv_body! {
    /// 0x0001/0x0005, where a service is: [`tlv::SERVICE`], [`tlv::ADDRESS`], [`tlv::COOKIE`].
    pub struct ServiceReply;
}

impl ServiceReply {
    /// Which service.
    pub fn foodgroup(&self) -> Option<Foodgroup> {
        self.tlvs.u16(tlv::SERVICE).map(Foodgroup)
    }

    /// `host:port`, as the host wrote it. Foreign text.
    pub fn address(&self) -> Option<&str> {
        self.tlvs.text(tlv::ADDRESS)
    }

    /// The cookie or, for a relay, the ticket.
    pub fn cookie(&self) -> Option<&Bytes> {
        self.tlvs.first(tlv::COOKIE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn lists_are_read_to_the_end_and_keep_unknown_foodgroups() {
        let body = hex("0001 0002 7fff");
        let online = HostOnline::decode(&body).expect("a good list");
        assert_eq!(
            online.foodgroups,
            [Foodgroup::OSERVICE, Foodgroup::LOCATE, Foodgroup(0x7FFF)]
        );
        assert_eq!(online.encode(), body);
        let body = hex("0013 0004 0001 0003");
        let versions = Versions::decode(&body).expect("a good list");
        assert_eq!(
            (
                versions.of(Foodgroup::OSERVICE),
                versions.of(Foodgroup::ICBM)
            ),
            (Some(3), None)
        );
        assert_eq!(versions.encode(), body);
        let body = hex("0004 0001 0110 0629");
        let ready = ClientOnline::decode(&body).expect("a good list");
        assert_eq!(
            (ready.tools[0].foodgroup, ready.encode()),
            (Foodgroup::ICBM, body)
        );
    }

    #[test]
    fn a_fragment_at_the_end_is_malformed() {
        assert!(HostOnline::decode(&hex("000100")).is_err());
        assert!(Versions::decode(&hex("00010003 0002")).is_err());
        assert!(ClientOnline::decode(&hex("0004 0001 0110")).is_err());
    }

    #[test]
    fn a_relay_is_asked_for_with_its_rendezvous_and_those_that_failed() {
        let cookie = Cookie(*b"01234567");
        let request = ServiceRequest::for_relay(cookie, ["a:1", "b:2"]);
        let expected = hex("044a 524e 0008 3031323334353637 524f 0003 613a31 524f 0003 623a32");
        assert_eq!(request.encode(), expected);
        let request = ServiceRequest::decode(&expected).expect("a good request");
        assert_eq!(request.cookie(), Some(cookie));
        assert_eq!(request.avoid(), ["a:1", "b:2"]);
        let six = ServiceRequest::for_relay(cookie, ["r:1"; 6]);
        assert_eq!(
            six.tlvs.all(tlv::AVOID_RELAY).count(),
            limits::RELAYS_AVOIDED
        );
        // What strangers may say instead.
        let mut odd = ServiceRequest::of(Foodgroup::ARS);
        odd.tlvs.push(tlv::RENDEZVOUS_COOKIE, vec![7; 7]);
        odd.tlvs.push(tlv::AVOID_RELAY, vec![0xFF]);
        odd.tlvs
            .push(tlv::AVOID_RELAY, vec![b'a'; limits::RELAY_ADDRESS + 1]);
        (0..6).for_each(|_| odd.tlvs.push(tlv::AVOID_RELAY, &b"r:1"[..]));
        assert_eq!(
            (odd.cookie(), odd.avoid()),
            (None, vec!["r:1".to_owned(); 4])
        );
    }

    #[test]
    fn a_relay_is_asked_for_and_named() {
        let request = ServiceRequest {
            foodgroup: Foodgroup::ARS,
            tlvs: TlvList::new(),
        };
        assert_eq!(request.encode(), hex("044a"));
        let reply = ServiceReply::decode(&hex(
            "000d0002044a 0005000a5b3a3a315d3a35313930 00060002cafe",
        ))
        .expect("good");
        assert_eq!(
            (reply.foodgroup(), reply.address()),
            (Some(Foodgroup::ARS), Some("[::1]:5190"))
        );
        assert_eq!(reply.cookie(), Some(&hex("cafe")));
    }
}
