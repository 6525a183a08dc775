//! Scenarios, a module per subject.

mod rendezvous;
