//! An OSCAR host and ARS relay.
