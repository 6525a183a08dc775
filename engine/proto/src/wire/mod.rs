//! What bytes mean; stateless.

pub mod bulk;
