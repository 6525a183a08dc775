//! What quinn is told: limits, windows, timers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::BbrConfig;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, NoneTokenStore, ServerConfig,
    TransportConfig, ValidationTokenConfig, VarInt,
};

/// Connections that knocked and were not answered yet (`security.md` 6.2, S-41). Further ones are refused.
pub(super) const UNACCEPTED: usize = 1024;
/// Bytes held for each of them.
pub(super) const UNACCEPTED_BYTES: u64 = 64 * 1024;
/// Bytes held for all of them.
pub(super) const UNACCEPTED_BYTES_ALL: u64 = 8 * 1024 * 1024;
/// Handshakes with addresses that have not shown that they are where they say; above, a Retry is demanded.
pub(super) const UNVALIDATED: usize = 128;
/// Streams that a peer may open, each both ways. One is used: the lane.
pub(super) const STREAMS: u32 = 64;

/// Nothing heard for so long: the connection is dead.
const IDLE: Duration = Duration::from_secs(15);
/// Nothing sent for so long: a word to keep NATs open and to find dead paths early.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Until measured. The default of 333 ms makes the second Initial wait for a whole second.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Bytes in flight or not yet read, per stream and connection, each way. As much as the line holds at 1 Gbit/s and 130 ms.
const WINDOW: u32 = 16 * 1024 * 1024;
/// Buffers asked of the kernel for the socket, each way. It grants what its administrator allows.
pub(super) const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Largest UDP payload that is sent over a real network: Ethernet less IPv6 and UDP headers.
const PAYLOAD: u16 = 1_452;
/// Largest UDP payload that is sent within the machine, and that is accepted from anybody. A batch of quinn is ten of them and must
/// stay below 64 KiB: a larger one is lost without an error.
pub(super) const PAYLOAD_LOOPBACK: u16 = 6_500;

/// Of the endpoint, whoever connects.
pub(super) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // STUN is told from QUIC by the bit that this would let peers clear (RFC 9443).
    config.grease_quic_bit(false);
    // Never fails: the value is within 1,200 to 65,527.
    let _ = config.max_udp_payload_size(PAYLOAD_LOOPBACK);
    config
}

/// Of a connection with `remote`.
fn transport(remote: SocketAddr) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(match remote.ip().to_canonical().is_loopback() {
        true => PAYLOAD_LOOPBACK,
        false => PAYLOAD,
    });
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW))
        .mtu_discovery_config(Some(mtu))
        .congestion_controller_factory(Arc::new(BbrConfig::default()));
    config
}

/// Of the side that dials.
pub(super) fn client(
    tls: rustls::ClientConfig,
    remote: SocketAddr,
) -> Result<ClientConfig, NoInitialCipherSuite> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config
        .transport_config(Arc::new(transport(remote)))
        .token_store(Arc::new(NoneTokenStore));
    Ok(config)
}

/// Of the side that is dialled by `remote`; without one, of the open socket.
pub(super) fn server(
    tls: rustls::ServerConfig,
    remote: Option<SocketAddr>,
) -> Result<ServerConfig, NoInitialCipherSuite> {
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut tokens = ValidationTokenConfig::default();
    // Nothing outlives the connection, and nobody is to be recognised by a token (S-08).
    tokens.sent(0);
    config
        .validation_token_config(tokens)
        .max_incoming(UNACCEPTED)
        .incoming_buffer_size(UNACCEPTED_BYTES)
        .incoming_buffer_size_total(UNACCEPTED_BYTES_ALL);
    if let Some(remote) = remote {
        config.transport_config(Arc::new(transport(remote)));
    }
    Ok(config)
}
