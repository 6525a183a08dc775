//! The steps of an ADMIN connection, seen from the wire.
