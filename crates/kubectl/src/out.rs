//! Standard output. A reader that went away (`kubectl get pods | head -1`) ends the program quietly.

use std::io::Write;

/// Prints text.
pub fn print(text: &str) {
    bytes(text.as_bytes());
}

/// Prints bytes.
pub fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            eprintln!("error: could not write to standard output: {error}");
            std::process::exit(1);
        }
        std::process::exit(0);
    }
}

/// Prints a line.
pub fn line(text: &str) {
    print(&format!("{text}\n"));
}
