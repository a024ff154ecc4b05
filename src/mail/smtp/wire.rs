//! Bytes to and from a mail server, each wait under a deadline.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::client::TlsStream;

use super::reply::{Lines, ReplyBuffer, ReplyError};

/// Received bytes are made room for, at least: the answers to a group of commands come together.
const ROOM: usize = 1024;

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
    alarm: Alarm,
}

/// A write that did not come to its end.
pub(super) struct Unfinished {
    /// Bytes that the system took; the peer may have any part of them, and nothing behind them.
    pub taken: usize,
    pub error: SmtpError,
}

impl Wire {
    pub fn new(stream: Stream) -> Wire {
        Wire { stream, replies: ReplyBuffer::default(), alarm: Alarm::default() }
    }

    /// The next reply, all of it within `limit`.
    pub async fn read_lines(&mut self, limit: Duration, answer_to: &'static str) -> Result<Lines, SmtpError> {
        self.read(limit, answer_to, 0).await
    }

    /// The next reply, all of it within `limit`; without the words of one whose code is below `worded`.
    pub async fn read(&mut self, limit: Duration, answer_to: &'static str, worded: u16) -> Result<Lines, SmtpError> {
        let mut deadline = None;
        loop {
            if let Some(reply) = self.replies.take(worded)? {
                return Ok(reply);
            }
            self.replies.bytes.reserve(ROOM);
            let read = self.alarm.within(limit, &mut deadline, self.stream.read_buf(&mut self.replies.bytes));
            match read.await {
                Some(Ok(0)) => return Err(SmtpError::Closed(answer_to)),
                Some(Ok(_)) => {}
                Some(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(SmtpError::Closed(answer_to)),
                Some(Err(e)) => return Err(e.into()),
                None => return Err(SmtpError::Timeout(answer_to)),
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
            match self.alarm.within(limit, &mut None, self.stream.write_vectored(&slices)).await {
                Some(Ok(0)) => return Err(Unfinished { taken, error: SmtpError::Closed("what was sent") }),
                Some(Ok(n)) => {
                    taken += n;
                    skip(pieces, n);
                }
                Some(Err(e)) => return Err(Unfinished { taken, error: e.into() }),
                None => return Err(Unfinished { taken, error: SmtpError::Timeout("what was sent") }),
            }
        }
        match self.alarm.within(limit, &mut None, self.stream.flush()).await {
            Some(Ok(())) => Ok(()),
            Some(Err(e)) => Err(Unfinished { taken, error: e.into() }),
            None => Err(Unfinished { taken, error: SmtpError::Timeout("what was sent") }),
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

/// Rings when a wait has taken too long. Nearly every wait ends long before, and the next one follows: an alarm that
/// is set for an earlier moment is left alone, and set anew if it rings too early.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// What `wait` comes to; None: not before the deadline, which is `limit` after the first time that it must be
    /// waited for.
    async fn within<T>(
        &mut self,
        limit: Duration,
        deadline: &mut Option<Instant>,
        wait: impl Future<Output = T>,
    ) -> Option<T> {
        let mut wait = pin!(wait);
        poll_fn(|context| match wait.as_mut().poll(context) {
            Poll::Ready(came) => Poll::Ready(Some(came)),
            Poll::Pending => self.poll(*deadline.get_or_insert_with(|| Instant::now() + limit), context).map(|()| None),
        })
        .await
    }

    fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
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

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    /// A long time is waited for first, or a moment: each wait ends when it should.
    #[tokio::test]
    async fn an_alarm_rings_for_each_wait_at_its_own_time() {
        let mut alarm = Alarm::default();
        for millis in [60, 1, 20, 5, 80, 1] {
            let began = Instant::now();
            assert_eq!(alarm.within(Duration::from_secs(600), &mut None, ready(7)).await, Some(7));
            let limit = Duration::from_millis(millis);
            // One that is given up leaves the alarm set.
            let mut deadline = None;
            let given_up = alarm.within(limit, &mut deadline, pending::<()>());
            tokio::select! {
                biased;
                came = given_up => panic!("{came:?} after no time"),
                () = ready(()) => {}
            }
            assert_eq!(alarm.within(limit, &mut None, pending::<()>()).await, None);
            let took = began.elapsed();
            assert!(took >= limit && took < Duration::from_secs(5), "{took:?} of {limit:?}");
        }
    }

    #[tokio::test]
    async fn a_deadline_holds_for_all_of_a_wait() {
        let (mut alarm, mut deadline, began) = (Alarm::default(), None, Instant::now());
        let step = || tokio::time::sleep(Duration::from_millis(400));
        let limit = Duration::from_secs(1);
        assert!(alarm.within(limit, &mut deadline, step()).await.is_some());
        assert!(alarm.within(limit, &mut deadline, step()).await.is_some());
        assert!(alarm.within(limit, &mut deadline, step()).await.is_none());
        assert!(began.elapsed() >= limit && began.elapsed() < Duration::from_millis(1200));
    }
}
