//! The rendezvous protocol without I/O.
