//! Sign-on and SNAC traffic between a client and a host, without I/O.

pub mod rate;
