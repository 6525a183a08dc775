//! Both sides in one process, over a stream in memory, with real files.

mod early;
mod faults;
mod hostile;
mod oft_hostile;
mod oft_resume;
mod oft_ways;
mod old;
mod raw;
mod ways;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

use super::*;

/// Two folders that are gone after the test.
struct Desk {
    root: TempDir,
}

impl Desk {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("in")).unwrap();
        Self { root }
    }

    fn input(&self, name: &str) -> PathBuf {
        self.root.path().join("in").join(name)
    }

    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.input(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn source(&self, names: &[&str]) -> Source {
        Source::paths(
            names.iter().map(|name| self.input(name)).collect(),
            SourceOptions::default(),
        )
        .unwrap()
    }

    fn sink(&self) -> Sink {
        self.sink_with(SinkOptions::default())
    }

    fn sink_with(&self, options: SinkOptions) -> Sink {
        Sink::folder(self.out(), options).unwrap()
    }

    /// Everything in the output folder, sorted: folders end with a slash.
    fn arrived(&self) -> Vec<String> {
        listing(&self.out())
    }
}

fn listing(root: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            // It may be tidied up this very moment.
            let Ok(meta) = path.symlink_metadata() else {
                continue;
            };
            if meta.is_dir() {
                found.push(name + "/");
                walk(root, &path, found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_be_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn stream() -> (DuplexStream, DuplexStream) {
    duplex(64 * 1024)
}

async fn yes(_: Offer) -> bool {
    true
}

type Ended = Result<Summary, TransferError>;

async fn transfer_over<A, B>(a: A, b: B, source: Source, sink: Sink) -> (Ended, Ended)
where
    A: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::join!(
        send(a, source, Control::new()),
        receive(b, sink, yes, Control::new())
    )
}

async fn transfer(source: Source, sink: Sink) -> (Ended, Ended) {
    let (a, b) = stream();
    transfer_over(a, b, source, sink).await
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}
