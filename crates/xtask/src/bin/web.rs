//! The small web server of the test images: it says which pod it is, serves a directory, logs each request, and ends
//! when it is told to.
//!
//! `web [--port N] [--pages DIR]`: `GET /name` answers the host's name, `GET /exit/CODE` ends the process with a code,
//! other paths answer files of DIR (`/` its index.html). Static and without dependencies, as the only file of an image.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1).cloned());
    let port: u16 = option("--port").and_then(|p| p.parse().ok()).unwrap_or(8080);
    let pages = PathBuf::from(option("--pages").unwrap_or_else(|| "/pages".into()));
    end_on_signals();
    let listener = match TcpListener::bind(("0.0.0.0", port)) {
        Ok(l) => l,
        Err(e) => {
            eprintln!("web: listen on port {port}: {e}");
            std::process::exit(1);
        }
    };
    println!("web: listening on port {port}");
    for stream in listener.incoming().flatten() {
        let pages = pages.clone();
        std::thread::spawn(move || serve(stream, &pages));
    }
}

/// The first process of a pid namespace gets no signal that it does not ask for.
fn end_on_signals() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: _exit may be called in a signal handler.
        unsafe { libc::_exit(0) };
    }
    let handler: extern "C" fn(libc::c_int) = end;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler only calls an async-signal-safe function.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

fn serve(stream: TcpStream, pages: &Path) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.by_ref().take(8192).read_line(&mut line).is_err() {
        return;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_string(), words.next().unwrap_or("/").to_string());
    let mut header = String::new();
    while reader.by_ref().take(8192).read_line(&mut header).is_ok_and(|n| n > 2) {
        header.clear();
    }
    let (status, body) = answer(&path, pages);
    println!("{method} {path} {}", status.split(' ').next().unwrap_or_default());
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let mut stream = reader.into_inner();
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)); // the client may be gone
    if let Some(code) = path.strip_prefix("/exit/").and_then(|c| c.parse().ok()) {
        std::process::exit(code);
    }
}

fn answer(path: &str, pages: &Path) -> (&'static str, Vec<u8>) {
    if path == "/name" {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        return ("200 OK", name.into_bytes());
    }
    if path.starts_with("/exit/") {
        return ("200 OK", b"ending\n".to_vec());
    }
    let wanted = Path::new(path.trim_start_matches('/'));
    let inside = wanted.components().all(|c| matches!(c, Component::Normal(_)));
    let file = pages.join(if path == "/" { Path::new("index.html") } else { wanted });
    match std::fs::read(file) {
        Ok(bytes) if inside => ("200 OK", bytes),
        _ => ("404 Not Found", b"not found\n".to_vec()),
    }
}
