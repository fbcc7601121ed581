//! A server's session joined with a process: bytes both ways until the process has ended and its output is out.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::command::{Message, Sender, Session};
use crate::status;

/// What is on its way when the process has ended gets this long: a child that the command left behind may hold the
/// streams open for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// A process' streams.
pub struct Streams {
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Told the terminal's width and height.
    pub resize: Box<dyn Fn(u16, u16) + Send + Sync>,
    /// The exit code, or why there is none.
    pub exit: Pin<Box<dyn Future<Output = Result<i32, String>> + Send>>,
}

/// Carries bytes until the end. Returns when the client is gone; dropping the streams ends what depends on them.
pub async fn run(session: Session, streams: Streams) {
    let (sender, mut messages) = session.split();
    let Streams { mut stdin, stdout, stderr, resize, exit } = streams;
    let input = async {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Stdin(data) => {
                    if let Some(to) = &mut stdin
                        && (to.write_all(&data).await.is_err() || to.flush().await.is_err())
                    {
                        stdin = None;
                    }
                }
                Message::StdinEnd => {
                    if let Some(mut to) = stdin.take() {
                        let _ = to.shutdown().await;
                    }
                }
                Message::Resize { width, height } => resize(width, height),
                Message::Stdout(_) | Message::Stderr(_) | Message::Status(_) => {}
            }
        }
    };
    let work = async {
        let output = async {
            tokio::join!(pump(stdout, &sender, Message::Stdout), pump(stderr, &sender, Message::Stderr));
        };
        tokio::pin!(output, exit);
        let code = tokio::select! { biased;
            () = &mut output => exit.await,
            code = &mut exit => {
                let _ = tokio::time::timeout(LAST_OUTPUT, &mut output).await;
                code
            }
        };
        let last = match code {
            Ok(code) => status::of(code),
            Err(e) => status::failure(&e),
        };
        let _ = sender.send(Message::Status(last.into())).await;
    };
    tokio::select! { biased;
        () = work => {}
        () = input => return,
    }
    drain(messages).await;
}

/// Ends a session whose process could not be started.
pub async fn fail(session: Session, message: &str) {
    let (sender, messages) = session.split();
    let _ = sender.send(Message::Status(status::failure(message).into())).await;
    drain(messages).await;
}

/// Until the client closes: it must get to read the status.
async fn drain(mut messages: tokio::sync::mpsc::Receiver<Message>) {
    while messages.recv().await.is_some() {}
}

async fn pump(from: Option<Box<dyn AsyncRead + Send + Unpin>>, to: &Sender, wrap: fn(Bytes) -> Message) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || to.send(wrap(Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
            return;
        }
    }
}
