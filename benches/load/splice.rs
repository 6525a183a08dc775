//! What the relay is measured against: a program that pairs connections in the order in which they come, and copies with
//! `splice(2)`, without limits, names or timers; a thread for each direction.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;

use rdv_benches::Failure;
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};

use crate::served::Served;

const ROLE: &str = "--splice";
/// How much is on its way in a direction, in bytes.
const PIPE: usize = 256 * 1024;

/// Starts it as a process of its own.
pub(crate) fn start() -> Result<Served, Failure> {
    let program: PathBuf = std::env::current_exe()?;
    let folder = rdv_benches::scratch::folder()?;
    Served::start(&program, folder, &[ROLE.to_owned()], "Splice on ")
}

/// Is it, if the command line says so; never ends then.
pub(crate) fn play_role() -> Result<bool, Failure> {
    if std::env::args().nth(1).is_none_or(|word| word != ROLE) {
        return Ok(false);
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("Splice on {}", listener.local_addr()?);
    loop {
        let (one, _) = listener.accept()?;
        let (other, _) = listener.accept()?;
        for stream in [&one, &other] {
            stream.set_nodelay(true)?;
        }
        for (from, to) in [(one.try_clone()?, other.try_clone()?), (other, one)] {
            std::thread::spawn(move || {
                // An end of either side is the end.
                carry(&from, &to).ok();
                to.shutdown(Shutdown::Both).ok();
                from.shutdown(Shutdown::Both).ok();
            });
        }
    }
}

fn carry(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (out, into) = pipe()?;
    fcntl_setpipe_size(&into, PIPE)?;
    let flags = SpliceFlags::MOVE;
    loop {
        let mut held = splice(from, None, &into, None, PIPE, flags)?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            held -= splice(&out, None, to, None, held, flags)?;
        }
    }
}
