//! A TCP road with a listener on it: passes everything on to a fixed address and keeps a copy.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Listens on a loopback port of its own until the test process ends.
pub struct Tap {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// A tap in front of `target`.
    #[must_use]
    pub fn before(target: SocketAddr) -> Self {
        Self::meddling(target, None)
    }

    /// The same, but in each direction of each connection one bit of that byte is turned.
    #[must_use]
    pub fn turning_a_bit(target: SocketAddr, at_byte: usize) -> Self {
        Self::meddling(target, Some(at_byte))
    }

    fn meddling(target: SocketAddr, turned: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&heard);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else {
                    continue;
                };
                let (Ok(near_back), Ok(far_back)) = (near.try_clone(), far.try_clone()) else {
                    continue;
                };
                for (from, to) in [(near, far), (far_back, near_back)] {
                    let copy = Arc::clone(&copy);
                    thread::spawn(move || pass(from, to, &copy, turned));
                }
            }
        });
        Self { address, heard }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes passed so far, both directions together.
    #[must_use]
    pub fn heard_bytes(&self) -> usize {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether these bytes passed in one piece of one direction.
    #[must_use]
    pub fn heard(&self, needle: &[u8]) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.windows(needle.len()).any(|window| window == needle)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, copy: &Mutex<Vec<u8>>, turned: Option<usize>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if let Some(at) = turned.filter(|at| (passed..passed + read).contains(at)) {
            buffer[at - passed] ^= 1;
        }
        passed += read;
        copy.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
