//! Scenarios, a module per subject.

mod host;
