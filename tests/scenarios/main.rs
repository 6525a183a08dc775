//! Scenarios, a module per subject.
