//! Standard output. A reader that went away (`kubectl get pods | head -1`) ends the program quietly.

use crate::core::printer::Form;
use crate::failure::{Failure, Outcome};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Prints text.
pub fn print(text: &str) {
    bytes(text.as_bytes());
}

static PRINTED: AtomicUsize = AtomicUsize::new(0);

/// How many bytes were printed so far.
pub fn printed() -> usize {
    PRINTED.load(Ordering::Relaxed)
}

/// Prints bytes.
pub fn bytes(bytes: &[u8]) {
    PRINTED.fetch_add(bytes.len(), Ordering::Relaxed);
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            eprintln!("error: could not write to standard output: {error}");
            std::process::exit(1);
        }
        std::process::exit(0);
    }
}

/// Reads `-o`, with the file that it may name.
pub fn form(text: &str, no_headers: bool) -> Outcome<Form> {
    let Some((kind, path)) = Form::file(text) else { return Form::parse(text, no_headers).map_err(Failure::error) };
    let content =
        std::fs::read_to_string(path).map_err(|e| Failure::error(format!("error reading --template {path}, {e}")))?;
    Form::from_file(kind, &content, no_headers).map_err(Failure::error)
}

/// Prints a line.
pub fn line(text: &str) {
    print(&format!("{text}\n"));
}
