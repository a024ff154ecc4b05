//! Bytes to and from a mail server, each wait under a deadline.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::client::TlsStream;

use super::reply::{Lines, ReplyBuffer, ReplyError};

/// What went wrong on the way. Holds nothing that was sent or received.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The network said no.
    #[error("the connection to the mail server broke: {0}")]
    Io(#[from] io::Error),
    /// The server did not answer in time.
    #[error("the mail server did not answer {0} in time")]
    Timeout(&'static str),
    /// The server closed the connection.
    #[error("the mail server closed the connection before it answered {0}")]
    Closed(&'static str),
    /// What it said is no SMTP.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// An answer that does not belong to the question.
    #[error("the mail server answered {command} with {code}, out of the protocol")]
    Unexpected {
        /// The command.
        command: &'static str,
        /// The code of the reply.
        code: u16,
    },
    /// The connection was lost or spoiled before; open another.
    #[error("the connection to the mail server cannot be used any more")]
    Unusable,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream and the replies that came over it.
pub(super) struct Wire {
    pub stream: Stream,
    pub replies: ReplyBuffer,
}

/// A write that did not come to its end.
pub(super) struct Unfinished {
    /// Bytes that the system took; the peer may have any part of them, and nothing behind them.
    pub taken: usize,
    pub error: SmtpError,
}

impl Wire {
    pub fn new(stream: Stream) -> Wire {
        Wire { stream, replies: ReplyBuffer::default() }
    }

    /// The next reply, all of it within `limit`.
    pub async fn read_lines(&mut self, limit: Duration, answer_to: &'static str) -> Result<Lines, SmtpError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(reply) = self.replies.take()? {
                return Ok(reply);
            }
            let read = self.stream.read_buf(&mut self.replies.bytes);
            match timeout_at(deadline, read).await {
                Ok(Ok(0)) => return Err(SmtpError::Closed(answer_to)),
                Ok(Ok(_)) => {}
                Ok(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(SmtpError::Closed(answer_to)),
                Ok(Err(e)) => return Err(e.into()),
                Err(_) => return Err(SmtpError::Timeout(answer_to)),
            }
        }
    }

    /// Writes all of `bytes`, each step within `limit`.
    pub async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Unfinished> {
        self.write_all(&mut [bytes], limit).await
    }

    /// Writes all of these pieces, one behind the other, each step within `limit`.
    pub async fn write_all<const N: usize>(
        &mut self,
        pieces: &mut [&[u8]; N],
        limit: Duration,
    ) -> Result<(), Unfinished> {
        let mut taken = 0;
        while pieces.iter().any(|piece| !piece.is_empty()) {
            let slices = pieces.map(IoSlice::new);
            match timeout(limit, self.stream.write_vectored(&slices)).await {
                Ok(Ok(0)) => return Err(Unfinished { taken, error: SmtpError::Closed("what was sent") }),
                Ok(Ok(n)) => {
                    taken += n;
                    skip(pieces, n);
                }
                Ok(Err(e)) => return Err(Unfinished { taken, error: e.into() }),
                Err(_) => return Err(Unfinished { taken, error: SmtpError::Timeout("what was sent") }),
            }
        }
        match timeout(limit, self.stream.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(Unfinished { taken, error: e.into() }),
            Err(_) => Err(Unfinished { taken, error: SmtpError::Timeout("what was sent") }),
        }
    }

    /// Looks, without waiting, whether the server is silent and there, as it should be between
    /// two exchanges; after a while of idleness it may have said 421 and left.
    pub async fn is_quiet(&mut self) -> bool {
        let mut bytes = [0; 1];
        let mut probe = ReadBuf::new(&mut bytes);
        let stream = &mut self.stream;
        let silent = poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut probe).is_pending())).await;
        silent && self.replies.is_empty()
    }
}

/// Leaves out the first `n` bytes.
fn skip(pieces: &mut [&[u8]], mut n: usize) {
    for piece in pieces {
        let done = n.min(piece.len());
        (*piece, n) = (&piece[done..], n - done);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
