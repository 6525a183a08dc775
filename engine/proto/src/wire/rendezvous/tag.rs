//! Tags of rendezvous parameters. 0x0000 to 0x001F are reserved by the protocol; the others belong to the services.

/// Last tag of the reserved range.
pub const RESERVED_LAST: u16 = 0x001F;

/// ICBM channel of the rendezvous, u16. Not sent by anyone; ignored.
pub const RENDEZVOUS_CHANNEL: u16 = 0x0001;
/// Proposed address or, with [`USE_ARS`], the relay's; IPv4.
pub const RENDEZVOUS_IP: u16 = 0x0002;
/// The proposer's own idea of its address; IPv4.
pub const REQUESTER_IP: u16 = 0x0003;
/// The proposer's address as the host saw it; IPv4. Only a host may send it.
pub const VERIFIED_IP: u16 = 0x0004;
/// TCP port of the addresses or, with [`USE_ARS`], the relay's token; u16.
pub const PORT: u16 = 0x0005;
/// Text; never opened.
pub const DOWNLOAD_URL: u16 = 0x0006;
/// Text; never opened.
pub const DOWNLOAD_URL_2: u16 = 0x0007;
/// Text; never opened. Only a host may send it.
pub const VERIFIED_DOWNLOAD_URL: u16 = 0x0008;
/// Number of the proposal within its conversation; u16, at least 1. In every proposal and nowhere else.
pub const SEQUENCE: u16 = 0x000A;
/// Why; u16. In every cancel and nowhere else.
pub const CANCEL_REASON: u16 = 0x000B;
/// Words to the user, in the charset of [`INVITATION_CHARSET`].
pub const INVITATION: u16 = 0x000C;
/// Name of a character set.
pub const INVITATION_CHARSET: u16 = 0x000D;
/// Name of a language; ignored.
pub const INVITATION_LANGUAGE: u16 = 0x000E;
/// Empty: the host shall check that the recipient has the service.
pub const REQUEST_HOST_CHECK: u16 = 0x000F;
/// Empty: the connection goes through the relay at [`RENDEZVOUS_IP`].
pub const USE_ARS: u16 = 0x0010;
/// Empty: TLS on the connection.
pub const REQUEST_SECURE: u16 = 0x0011;
/// Highest version of the service's protocol; u16.
pub const MAX_VERSION: u16 = 0x0012;
/// Lowest version of the service's protocol; u16.
pub const MIN_VERSION: u16 = 0x0013;
/// Why a counter-proposal was made; u16 of unknown meaning. Ignored.
pub const COUNTER_REASON: u16 = 0x0014;
/// Type of the invitation; ignored. Old Miranda versions send the port check here by mistake (2 bytes).
pub const INVITATION_TYPE: u16 = 0x0015;
/// Complement of [`RENDEZVOUS_IP`].
pub const IP_XOR: u16 = 0x0016;
/// Complement of [`PORT`].
pub const PORT_XOR: u16 = 0x0017;
/// Addresses as text; see [`super::super::address::decode_addr_list`].
pub const ADDR_LIST: u16 = 0x0018;
/// Opaque, at most 64 bytes.
pub const SESSION_ID: u16 = 0x0019;
/// Opaque, at most 64 bytes.
pub const ROLLOVER_ID: u16 = 0x001A;
/// What is offered; layout by service.
pub const SERVICE_DATA: u16 = 0x2711;
/// Send file: name of the character set of the file name.
pub const FILE_NAME_CHARSET: u16 = 0x2712;
/// Send file: total bytes, u64. Chat: something else.
pub const TOTAL_SIZE: u16 = 0x2713;
/// Our security block.
pub const SECURITY: u16 = 0x5244;

/// Whether the protocol itself gives the tag its meaning.
pub const fn is_reserved(tag: u16) -> bool {
    tag <= RESERVED_LAST
}

/// Whether a client may not send the tag.
pub const fn is_host_only(tag: u16) -> bool {
    matches!(tag, VERIFIED_IP | VERIFIED_DOWNLOAD_URL)
}
