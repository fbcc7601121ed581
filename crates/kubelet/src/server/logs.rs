//! Container logs: the CRI log file, filtered and followed.
//!
//! Following waits for the kernel to tell that the directory has changed (inotify), and looks once a second whether the
//! container still runs. After a rotation the new file is read from its beginning.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use platform::time::{Duration, timeout};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::routes::{Query, find};
use super::{Body, text};
use crate::convert;
use crate::core::machine::Run;
use crate::shared::Shared;

/// Bytes of one file that are looked at; rotation keeps files far smaller.
const MAX_READ: u64 = 64 << 20;

/// What to show.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub follow: bool,
    pub timestamps: bool,
    pub tail: Option<usize>,
    /// Unix nanoseconds.
    pub since: Option<i128>,
    pub limit: Option<usize>,
    pub stream: Option<String>,
}

impl Options {
    fn parse(query: &Query, now: i128) -> Result<Options, String> {
        let number = |name: &str| -> Result<Option<i64>, String> {
            match query.get(name).filter(|v| !v.is_empty()) {
                Some(v) => v.parse().map(Some).map_err(|_| format!("invalid {name}: {v:?}")),
                None => Ok(None),
            }
        };
        let since_time = match query.get("sinceTime").filter(|v| !v.is_empty()) {
            Some(v) => {
                let (seconds, nanos) = api::time::parse(v).ok_or_else(|| format!("invalid sinceTime: {v:?}"))?;
                Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
            }
            None => None,
        };
        let since = number("sinceSeconds")?.map(|s| now - i128::from(s) * 1_000_000_000).or(since_time);
        Ok(Options {
            follow: query.flag(&["follow"]),
            timestamps: query.flag(&["timestamps"]),
            tail: number("tailLines")?.and_then(|n| usize::try_from(n).ok()),
            since,
            limit: number("limitBytes")?.and_then(|n| usize::try_from(n).ok()),
            stream: query.get("stream").map(str::to_ascii_lowercase).filter(|s| s != "all" && !s.is_empty()),
        })
    }

    /// One record as the client sees it; none if it is filtered out. A part of a line has no newline.
    fn show(&self, line: &[u8]) -> Option<Vec<u8>> {
        let mut fields = line.splitn(4, |b| *b == b' ');
        let (time, stream, tag) = (fields.next()?, fields.next()?, fields.next()?);
        let content = fields.next().unwrap_or(b"");
        if self.stream.as_ref().is_some_and(|s| s.as_bytes() != stream) {
            return None;
        }
        if let Some(since) = self.since {
            let (seconds, nanos) = api::time::parse(std::str::from_utf8(time).ok()?)?;
            if i128::from(seconds) * 1_000_000_000 + i128::from(nanos) < since {
                return None;
            }
        }
        let mut out = Vec::with_capacity(line.len() + 1);
        if self.timestamps {
            out.extend_from_slice(time);
            out.push(b' ');
        }
        out.extend_from_slice(content);
        if !tag.starts_with(b"P") {
            out.push(b'\n');
        }
        Some(out)
    }
}

/// Serves a container's log.
pub async fn serve(shared: Arc<Shared>, ns: &str, pod: &str, container: &str, query: &Query) -> Response<Body> {
    let now = i128::from(shared.env.wall().unix_nanos());
    let options = match Options::parse(query, now) {
        Ok(options) => options,
        Err(e) => return text(StatusCode::BAD_REQUEST, e),
    };
    let Some(found) = find(&shared, ns, pod) else {
        return text(StatusCode::NOT_FOUND, format!("pod {pod:?} does not exist"));
    };
    if found.pod.container(container).is_none() {
        return text(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {pod:?}"));
    }
    let previous = query.flag(&["previous"]);
    let mut instances = found.seen.containers.iter().filter(|c| c.name == container && c.state != Run::Created);
    let newest = instances.next();
    let chosen = match (previous, newest) {
        (false, Some(c)) => c,
        (false, None) => {
            return text(
                StatusCode::BAD_REQUEST,
                format!("container {container:?} in pod {pod:?} is waiting to start: ContainerCreating"),
            );
        }
        (true, _) => match instances.next() {
            Some(c) => c,
            None => {
                return text(
                    StatusCode::BAD_REQUEST,
                    format!("previous terminated container {container:?} in pod {pod:?} not found"),
                );
            }
        },
    };
    let path = convert::log_dir(&shared.config, &found.pod).join(container).join(format!("{}.log", chosen.attempt));
    let (sender, receiver) = mpsc::channel::<Bytes>(16);
    let reader = Reader {
        shared: shared.clone(),
        uid: found.pod.metadata.uid.clone(),
        id: chosen.id.clone(),
        path,
        options,
        sent: 0,
        sender,
    };
    drop(shared.env.spawn("logs", async move {
        if let Err(e) = reader.run().await {
            tracing::debug!(error = %e, "a log ended early");
        }
    }));
    let frames = futures_util::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|b| (b, r)) });
    let body = BodyExt::boxed(StreamBody::new(frames.map(|b| Ok::<_, Infallible>(Frame::data(b)))));
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
    response
}

struct Reader {
    shared: Arc<Shared>,
    uid: String,
    id: String,
    path: PathBuf,
    options: Options,
    sent: usize,
    sender: mpsc::Sender<Bytes>,
}

impl Reader {
    async fn run(mut self) -> io::Result<()> {
        let watch =
            if self.options.follow { Some(Watch::new(self.path.parent().unwrap_or(Path::new("/")))?) } else { None };
        let mut file = match File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()), // it wrote nothing
            other => other?,
        };
        let mut rest = Vec::new();
        let start = begin(&mut file, self.options.tail)?;
        file.seek(SeekFrom::Start(start))?;
        loop {
            // Looked at before the reading: what came before the end is read after it.
            let ended = !self.is_running();
            if !self.copy(&mut file, &mut rest).await? {
                return Ok(());
            }
            let Some(watch) = &watch else { return Ok(()) };
            if self.rotated(&file) {
                file = File::open(&self.path)?;
                continue;
            }
            if ended {
                return Ok(());
            }
            let _ = timeout(Duration::from_secs(1), watch.changed()).await;
            if self.sender.is_closed() {
                return Ok(());
            }
        }
    }

    fn is_running(&self) -> bool {
        let seen = self.shared.workers().get(&self.uid).map(|w| w.seen.clone());
        let Some(seen) = seen else { return false };
        let seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.containers.iter().any(|c| c.id == self.id && c.state == Run::Running)
    }

    fn rotated(&self, file: &File) -> bool {
        match (file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(there)) => open.ino() != there.ino(),
            _ => false,
        }
    }

    /// Sends what is in the file now. False when the client has enough or is gone.
    async fn copy(&mut self, file: &mut File, rest: &mut Vec<u8>) -> io::Result<bool> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                return Ok(true);
            }
            rest.extend_from_slice(&buffer[..n]);
            let mut out = Vec::new();
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                out.extend(self.options.show(&line[..end]).unwrap_or_default());
            }
            let room = self.options.limit.map_or(usize::MAX, |l| l - self.sent);
            out.truncate(room);
            self.sent += out.len();
            if !out.is_empty() && self.sender.send(out.into()).await.is_err() {
                return Ok(false);
            }
            if self.options.limit == Some(self.sent) {
                return Ok(false);
            }
        }
    }
}

/// Where the last `tail` lines begin.
fn begin(file: &mut File, tail: Option<usize>) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let Some(tail) = tail else { return Ok(size.saturating_sub(MAX_READ)) };
    if tail == 0 {
        return Ok(size);
    }
    let (mut at, mut lines, mut block) = (size, 0, vec![0; 64 * 1024]);
    while at > 0 && size - at < MAX_READ {
        let length = at.min(block.len() as u64);
        file.seek(SeekFrom::Start(at - length))?;
        file.read_exact(&mut block[..length as usize])?;
        for i in (0..length as usize).rev() {
            let here = at - length + i as u64;
            // A line ends at each newline; a part of a line does not count by itself.
            if block[i] == b'\n' && here + 1 != size {
                lines += 1;
                if lines == tail {
                    return Ok(here + 1);
                }
            }
        }
        at -= length;
    }
    Ok(at)
}

/// Changes in a directory.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn new(dir: &Path) -> io::Result<Watch> {
        let name = std::ffi::CString::new(dir.as_os_str().as_encoded_bytes())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        // SAFETY: plain call.
        let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the name ends with NUL.
        let added = unsafe {
            libc::inotify_add_watch(
                fd.as_raw_fd(),
                name.as_ptr(),
                libc::IN_MODIFY | libc::IN_CREATE | libc::IN_MOVED_TO,
            )
        };
        if added < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: AsyncFd owns the descriptor, which stays open and the same until AsyncFd is dropped.
        Ok(Watch(unsafe { AsyncFd::register(fd) }?))
    }

    async fn changed(&self) {
        let mut buffer = [0u8; 4096];
        loop {
            let Ok(mut ready) = self.0.readable().await else { return };
            let read = ready.try_io(|fd| {
                // SAFETY: pointer and length belong to the buffer.
                let n = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
                if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n) }
            });
            if read.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_records() {
        let line = b"2026-01-02T03:04:05.000000001Z stderr F hello there";
        let shown = |o: Options| o.show(line).map(|b| String::from_utf8(b).expect("text"));
        assert_eq!(shown(Options::default()).as_deref(), Some("hello there\n"));
        assert_eq!(
            shown(Options { timestamps: true, ..Options::default() }).as_deref(),
            Some("2026-01-02T03:04:05.000000001Z hello there\n")
        );
        assert_eq!(shown(Options { stream: Some("stdout".into()), ..Options::default() }), None);
        assert_eq!(shown(Options { since: Some(i128::MAX), ..Options::default() }), None);
        assert_eq!(Options::default().show(b"2026-01-02T03:04:05Z stdout P part").as_deref(), Some(&b"part"[..]));
    }

    #[test]
    fn finds_the_tail() {
        let path = std::env::temp_dir().join(format!("corten-tail-{}", std::process::id()));
        std::fs::write(&path, "a\nb\nc\n").expect("write");
        let mut file = File::open(&path).expect("open");
        for (tail, want) in [(None, 0), (Some(0), 6), (Some(1), 4), (Some(2), 2), (Some(3), 0), (Some(9), 0)] {
            assert_eq!(begin(&mut file, tail).expect("begin"), want, "{tail:?}");
        }
        std::fs::remove_file(&path).expect("clean up");
    }
}
