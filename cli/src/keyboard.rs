//! What a person types while other things go on.

use std::io::BufRead;

use tokio::sync::mpsc;

/// Lines that wait; nobody types more ahead.
const LINES: usize = 8;

/// The lines of standard input, read by a thread of their own from the first question on.
#[derive(Default)]
pub(crate) struct Keyboard {
    lines: Option<mpsc::Receiver<String>>,
}

impl Keyboard {
    /// Forgets what was typed before: it was no answer to what is asked now.
    pub(crate) fn begin(&mut self) {
        let lines = self.lines.get_or_insert_with(listen);
        while lines.try_recv().is_ok() {}
    }

    /// The next line; none if there will be no more. Cancel-safe.
    pub(crate) async fn line(&mut self) -> Option<String> {
        match &mut self.lines {
            Some(lines) => lines.recv().await,
            None => std::future::pending().await,
        }
    }
}

fn listen() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
