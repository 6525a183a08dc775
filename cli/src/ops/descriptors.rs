//! How many descriptors the process may hold: each connection is one, and systems begin with few.

/// Takes all that the system allows without a question; what it does not give was not there before either.
#[cfg(unix)]
pub(crate) fn raise() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use tracing::debug;

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(most = ?raised.current, "descriptors"),
        Err(error) => debug!(%error, "no more descriptors were to be had"),
    }
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub(crate) fn raise() {}
