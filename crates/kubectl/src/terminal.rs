//! The user's terminal: raw mode that is always undone, its size, and standard input as a stream that never holds up the end.

use bytes::Bytes;
use std::io::{IsTerminal, Read};
use tokio::sync::mpsc;

/// Raw mode until dropped.
pub struct Raw {
    before: libc::termios,
}

impl Raw {
    /// Puts standard input into raw mode; `None` when it is no terminal.
    pub fn enter() -> Option<Raw> {
        // SAFETY: an all-zero termios is valid memory for tcgetattr to fill; descriptor 0 needs not be a terminal.
        unsafe {
            let mut state: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(0, &raw mut state) != 0 {
                return None;
            }
            let before = state;
            libc::cfmakeraw(&raw mut state);
            (libc::tcsetattr(0, libc::TCSANOW, &raw const state) == 0).then_some(Raw { before })
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: restores what tcgetattr gave.
        unsafe {
            libc::tcsetattr(0, libc::TCSANOW, &raw const self.before);
        }
    }
}

/// Is standard input a terminal?
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Width and height.
pub fn size() -> Option<(u16, u16)> {
    // SAFETY: an all-zero winsize is valid memory for the kernel to fill.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(1, libc::TIOCGWINSZ, &raw mut size) == 0 && size.ws_col > 0).then_some((size.ws_col, size.ws_row))
    }
}

/// Standard input in pieces; ends with the input. Reads on a thread that nobody waits for.
pub fn input() -> mpsc::Receiver<Bytes> {
    let (send, receive) = mpsc::channel(4);
    let reader = std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut buffer = [0; 16 * 1024];
        loop {
            match std::io::stdin().read(&mut buffer) {
                Ok(n) if n > 0 => {
                    if send.blocking_send(Bytes::copy_from_slice(&buffer[..n])).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    });
    if let Err(error) = reader {
        eprintln!("error: standard input cannot be read: {error}");
    }
    receive
}
