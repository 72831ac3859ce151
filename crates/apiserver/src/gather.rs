//! Gathers what one connection sends before it is encrypted and given to the kernel.
//!
//! HTTP/2 hands on each frame by itself, and asks to flush it. For a hundred watches on one connection that would be a
//! hundred TLS records and system calls for one event: here they become one of each.

use parking_lot::Mutex;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait at most: some TLS records, of 16 KiB each.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// The side of a connection that HTTP writes to and reads from.
pub(crate) struct Gathered<S>(Arc<Mutex<Gather<S>>>);

struct Gather<S> {
    stream: S,
    waiting: Vec<u8>,
    /// How many of them are written already.
    written: usize,
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes all that waits.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        // An idle connection keeps no buffer.
        self.waiting = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Takes bytes, after it has written what they would not fit behind.
    fn take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.waiting.len() + bytes.len() > WAITING_BYTES_MAX {
            ready!(self.drain(cx))?;
            if bytes.len() > WAITING_BYTES_MAX {
                return Pin::new(&mut self.stream).poll_write(cx, bytes);
            }
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().take(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gather = self.0.lock();
        let mut taken = 0;
        for slice in slices {
            match gather.take(cx, slice) {
                Poll::Ready(Ok(count)) => taken += count,
                // What was taken before is told first.
                _ if taken > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing while something waits: [`Gathering`] writes it when all that is ready has been gathered.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gather = self.0.lock();
        if gather.waiting.is_empty() { Pin::new(&mut gather.stream).poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gather = self.0.lock();
        ready!(gather.drain(cx))?;
        Pin::new(&mut gather.stream).poll_shutdown(cx)
    }
}

/// How many streams of a connection last longer than a request.
#[derive(Clone, Default)]
pub(crate) struct Watches(Arc<AtomicUsize>);

impl Watches {
    /// Counts one, until it is dropped.
    pub(crate) fn open(&self) -> OpenWatch {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenWatch(self.clone())
    }

    fn many(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}

pub(crate) struct OpenWatch(Watches);

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What drives a connection and, after each of its turns, writes what was gathered.
pub(crate) struct Gathering<S> {
    shared: Arc<Mutex<Gather<S>>>,
    watches: Watches,
}

/// A stream in two: the side for HTTP, and what drives the connection that is made of it.
pub(crate) fn gather<S>(stream: S, watches: Watches) -> (Gathered<S>, Gathering<S>) {
    let shared = Arc::new(Mutex::new(Gather { stream, waiting: Vec::new(), written: 0 }));
    (Gathered(Arc::clone(&shared)), Gathering { shared, watches })
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Drives the connection to its end.
    pub(crate) async fn drive<C: Future>(self, connection: C) -> io::Result<C::Output> {
        let mut connection = pin!(connection);
        let mut yielded = false;
        std::future::poll_fn(|cx| {
            let done = connection.as_mut().poll(cx);
            let mut gather = self.shared.lock();
            if gather.waiting.is_empty() {
                yielded = false;
                return done.map(Ok);
            }
            // Watches that were woken with this one are waiting for their turn, and have something to send as well.
            if done.is_pending() && !yielded && self.watches.many() {
                yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let drained = gather.drain(cx)?;
            // Where the client does not take it, whoever is woken next finds that the turn was given already.
            yielded = drained.is_pending();
            if drained.is_ready() {
                // What a flush cannot send now, the next one sends: the stream has registered for that.
                let _ = Pin::new(&mut gather.stream).poll_flush(cx)?;
            }
            done.map(Ok)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;

    /// Remembers each write.
    #[derive(Default)]
    struct Recorder {
        writes: Vec<Vec<u8>>,
        closed: bool,
    }

    impl AsyncWrite for Recorder {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.writes.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.closed = true;
            Poll::Ready(Ok(()))
        }
    }

    fn writes(shared: &Arc<Mutex<Gather<Recorder>>>) -> Vec<usize> {
        shared.lock().stream.writes.iter().map(Vec::len).collect()
    }

    #[tokio::test]
    async fn frames_of_one_turn_are_one_write() {
        let (mut io, gathering) = gather(Recorder::default(), Watches::default());
        let shared = Arc::clone(&io.0);
        let connection = async {
            for _ in 0..3 {
                io.write_all(b"frame").await.unwrap();
                io.flush().await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        assert!(gathering.drive(connection).now_or_never().is_none());
        assert_eq!(writes(&shared), [15]);
        assert_eq!(shared.lock().waiting.capacity(), 0);
    }

    #[tokio::test]
    async fn watches_give_each_other_a_turn() {
        let watches = Watches::default();
        let open = [watches.open(), watches.open()];
        let (mut io, gathering) = gather(Recorder::default(), watches);
        let shared = Arc::clone(&io.0);
        let connection = async {
            io.write_all(b"one").await.unwrap();
            std::future::pending::<()>().await;
        };
        let mut driven = pin!(gathering.drive(connection));
        assert!(driven.as_mut().now_or_never().is_none());
        assert_eq!(writes(&shared), [0; 0]);
        assert!(driven.as_mut().now_or_never().is_none());
        assert_eq!(writes(&shared), [3]);
        drop(open);
    }

    #[tokio::test]
    async fn what_waits_has_a_limit_and_the_end_sends_it() {
        let (mut io, gathering) = gather(Recorder::default(), Watches::default());
        let shared = Arc::clone(&io.0);
        let connection = async {
            io.write_all(&[0; WAITING_BYTES_MAX]).await.unwrap();
            io.write_all(&[0; 10]).await.unwrap();
            assert_eq!(writes(&io.0), [WAITING_BYTES_MAX]);
            io.write_all(&vec![0; WAITING_BYTES_MAX + 1]).await.unwrap();
            io.write_all(b"end").await.unwrap();
            io.shutdown().await.unwrap();
        };
        gathering.drive(connection).await.unwrap();
        assert_eq!(writes(&shared), [WAITING_BYTES_MAX, 10, WAITING_BYTES_MAX + 1, 3]);
        assert!(shared.lock().stream.closed);
    }
}
