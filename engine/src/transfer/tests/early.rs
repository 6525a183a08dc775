//! What is found before anybody is met, so that no code is used up for nothing.

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::*;
use crate::transfer::SourceError;

/// Runs it without the power of root to read and write everything.
fn as_anybody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            set_capabilities(None, none).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_found_by_the_walk() {
    let desk = Desk::new();
    desk.write("d/open", "x");
    let closed = desk.write("d/closed", "x");
    chmod(&closed, 0o200);
    for name in ["d", "d/closed"] {
        let listed = as_anybody(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(desk.source(&[name]).ready())
        });
        assert!(
            matches!(&listed, Err(SourceError::Unreadable { path, .. }) if *path == closed),
            "{name}: {listed:?}"
        );
    }
}

#[test]
fn an_output_folder_that_cannot_be_written_is_found_at_once() {
    let desk = Desk::new();
    fs::create_dir(desk.out()).unwrap();
    chmod(&desk.out(), 0o500);
    for path in [desk.out(), desk.out().join("new/below")] {
        let sink = as_anybody(|| Sink::folder(&path, SinkOptions::default()));
        assert!(
            matches!(&sink, Err(TransferError::Local { path: named, .. }) if *named == path),
            "{sink:?}"
        );
    }
    chmod(&desk.out(), 0o700);
    as_anybody(|| Sink::folder(desk.out().join("new"), SinkOptions::default())).unwrap();
}
