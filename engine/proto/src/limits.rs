//! Every bound on what a stranger may send, in one place.
//!
//! A value over its limit is an error with its own name ([`crate::wire::error::DecodeError`]), never a silent cut-off.

/// FLAP payload that the host accepts before sign-on, in bytes.
pub const FLAP_PAYLOAD_BEFORE_SIGN_ON: usize = 4 * 1024;
/// FLAP payload accepted after sign-on and from a host, in bytes: all that the length field can say.
pub const FLAP_PAYLOAD: usize = 65_535;
/// FLAP payload that we send at most, in bytes.
pub const FLAP_PAYLOAD_SENT: usize = 8_192;
/// TLVs in one block.
pub const TLVS_PER_BLOCK: usize = 128;
/// TLVs among the parameters of one rendezvous message.
pub const RENDEZVOUS_PARAMS: usize = 64;
/// TLVs in one SNAC of account administration: there are fewer fields.
pub const ADMIN_TLVS: usize = 16;
/// Relays that a client may name as failed in one request for another.
pub const RELAYS_AVOIDED: usize = 4;
/// Address of a relay in such a request, `host:port`, in bytes.
pub const RELAY_ADDRESS: usize = 255;
/// Screen name, in bytes. The wire's length byte would allow 255.
pub const SCREEN_NAME: usize = 64;
/// INVITATION (tag 0x000C): bytes kept.
pub const INVITATION: usize = 2_048;
/// DOWNLOAD_URL and its two variants (tags 0x0006 to 0x0008), in bytes.
pub const DOWNLOAD_URL: usize = 1_024;
/// SESSION_ID and ROLLOVER_ID (tags 0x0019, 0x001A), in bytes each.
pub const SESSION_ID: usize = 64;
/// ADDR_LIST (tag 0x0018): entries parsed, good or malformed.
pub const ADDR_LIST_ENTRIES: usize = 16;
/// ADDR_LIST: bytes of one entry.
pub const ADDR_LIST_ENTRY: usize = 64;
/// SERVICE_DATA (tag 0x2711), in bytes.
pub const SERVICE_DATA: usize = 4 * 1024;
/// Security block (tag 0x5244), in bytes.
pub const SECURITY_BLOCK: usize = 1_024;
/// Name of an application protocol in the security block, in bytes.
pub const ALPN_NAME: usize = 32;
/// ARS frame: smallest value of the length field.
pub const ARS_LENGTH_MIN: usize = 10;
/// ARS frame: largest value of the length field.
pub const ARS_LENGTH_MAX: usize = 1_024;
/// Relay ticket (ARS tag 0x0002), in bytes.
pub const RELAY_TICKET: usize = 512;
/// STUN message, in bytes: as much as every road carries in one piece.
pub const STUN_MESSAGE: usize = 1_024;
/// Attributes of one STUN message.
pub const STUN_ATTRIBUTES: usize = 16;
/// Frame of a link: largest value of the length field (type and payload), in bytes.
pub const LINK_FRAME: usize = 1 << 20;
/// STREAM on a link: payload, in bytes.
pub const LINK_STREAM: usize = 256 * 1024;
/// Control frame of a link: payload, in bytes. Known ones have at most 202; a later version may say more.
pub const LINK_CONTROL: usize = 1_024;
/// Bytes of one direction of a link that the sender keeps until they are acknowledged. No number on a lane may be further than this
/// from where the receiver is.
pub const LINK_KEPT: u64 = 16 << 20;
/// Text of an ABORT on a link, in bytes.
pub const ABORT_TEXT: usize = 200;
/// Rate classes in one 0x0001/0x0007.
pub const RATE_CLASSES: usize = 32;
/// Header of a direct-IM frame, in bytes: all that its length field can say.
pub const ODC_HEADER: usize = 65_535;
/// Payload of a direct-IM frame, in bytes, text and images together; libpurple refuses more as well.
pub const ODC_PAYLOAD: usize = 50 << 20;
/// Images in one direct-IM message.
pub const ODC_IMAGES: usize = 64;
/// A markup tag of a direct-IM message that is looked into, in bytes.
pub const ODC_TAG: usize = 1_024;
/// Memory that may be taken before the bytes for it have arrived.
pub const AHEAD_OF_ARRIVAL: usize = 64 * 1024;
/// OFT header: smallest length.
pub const OFT_HEADER_MIN: usize = 193;
/// OFT header: largest length.
pub const OFT_HEADER_MAX: usize = 4_096;
/// Name in an OFT header, in bytes after decoding.
pub const OFT_NAME: usize = 1_024;
/// Bytes of one file and of one transfer for a peer who is not known to read tag 0x2713.
pub const OFT_BYTES: u64 = u32::MAX as u64;
/// Listing of shared files (get-file), in bytes.
pub const OFT_LISTING: usize = 4 << 20;
/// Entries of a listing: all that its header can say.
pub const OFT_LIST_ENTRIES: usize = 65_535;
