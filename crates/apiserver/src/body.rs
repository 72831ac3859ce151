//! Reads request bodies off the wire, within limits of size, time and memory, so that the sender of one that is beyond
//! them reads why.

use crate::decode::{BODY_BYTES_MAX, oversize};
use crate::respond::{BoxError, Result};
use api::{Reason, Status};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of a body that is too large is taken and thrown away. Many clients send all before they read the answer,
/// and lose it if the connection breaks meanwhile; whoever sends more than this does not mean well.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a body may take to arrive: the stock server's limit for a whole request.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of all bodies of a process that are held at once, from their arrival to the answer: twenty of the largest, or
/// ten thousand of the usual few KB. What they become in memory is some times as much.
pub(crate) const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is set aside for a body before its first byte is there, whatever length was announced.
const FIRST_BYTES_MAX: usize = 64 * 1024;

/// A whole body. It counts as held until this is dropped.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    #[allow(dead_code)] // held for its drop
    permit: Option<OwnedSemaphorePermit>,
}

/// The whole body, or the failure to answer with: 413 above the limit, 429 when others have taken all of `left`, 504 if
/// it does not arrive in time, 400 if it breaks off.
pub(crate) async fn read<B>(headers: &HeaderMap, body: B, left: &Arc<Semaphore>) -> Result<Held>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    if body.is_end_stream() {
        return Ok(Held { bytes: Bytes::new(), permit: None });
    }
    let late = || Status::failure(Reason::Timeout, "Timeout: the request body did not arrive in time");
    tokio::time::timeout(ARRIVAL_TIME_MAX, arrive(headers, body, left)).await.map_err(|_| late())?
}

async fn arrive<B>(headers: &HeaderMap, mut body: B, left: &Arc<Semaphore>) -> Result<Held>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let announced = body.size_hint().lower();
    if announced > BODY_BYTES_MAX as u64 {
        // Who waits for `100 Continue` sends nothing unless the body is asked for.
        if !headers.contains_key(header::EXPECT) {
            discard(body);
        }
        return Err(oversize().into());
    }
    let announced = usize::try_from(announced).unwrap_or(0);
    let mut permit: Option<OwnedSemaphorePermit> = None;
    let mut bytes = BytesMut::with_capacity(announced.min(FIRST_BYTES_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error: BoxError = error.into();
            Status::bad_request(format!("the request body broke off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            discard(body);
            return Err(oversize().into());
        }
        let more = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(left).try_acquire_many_owned(more) else {
            discard(body);
            return Err(too_many().into());
        };
        match &mut permit {
            Some(held) => held.merge(more),
            None => permit = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held { bytes: bytes.freeze(), permit })
}

/// 429 in the words of the stock server.
fn too_many() -> Status {
    let mut status = Status::failure(Reason::TooManyRequests, "too many requests, please try again later.");
    status.details = Some(Box::new(api::Details { retry_after_seconds: Some(1), ..Default::default() }));
    status
}

/// Takes the rest of a body beside the answer, which does not wait for it.
fn discard<B>(mut body: B)
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let discarding = async move {
        let mut discarded = 0;
        while discarded < DISCARDED_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    tokio::spawn(tokio::time::timeout(DISCARD_TIME_MAX, discarding));
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::convert::Infallible;
    use std::pin::pin;

    /// A body of these chunks, which then ends or never does.
    fn body(
        chunks: &[&'static str],
        ends: bool,
    ) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
        let chunks: Vec<_> = chunks.iter().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))).collect();
        let rest = if ends { stream::empty().left_stream() } else { stream::pending().right_stream() };
        StreamBody::new(stream::iter(chunks).chain(rest))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let left = Arc::new(Semaphore::new(10));
        let stopwatch = tokio::time::sleep(2 * ARRIVAL_TIME_MAX);
        let headers = HeaderMap::new();
        tokio::select! {
            read = read(&headers, body(&["abc"], false), &left) => assert_eq!(read.err().unwrap().code, 504),
            () = stopwatch => panic!("still waiting"),
        }
        assert_eq!(left.available_permits(), 10);
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_limit() {
        let left = Arc::new(Semaphore::new(10));
        let headers = HeaderMap::new();
        let mut slow = Box::pin(read(&headers, body(&["abc", "def"], false), &left));
        assert!(slow.as_mut().now_or_never().is_none());
        assert_eq!(left.available_permits(), 4);
        let status = read(&headers, body(&["abc", "def"], true), &left).await.err().unwrap();
        let wait = status.details.as_ref().and_then(|details| details.retry_after_seconds);
        assert_eq!((status.code, wait), (429, Some(1)));
        let whole = read(&headers, body(&["ab", "cd"], true), &left).await.unwrap();
        assert_eq!((&*whole.bytes, left.available_permits()), (&b"abcd"[..], 0));
        // What needs no memory is answered even now.
        assert!(pin!(read(&headers, http_body_util::Empty::new(), &left)).await.is_ok());
        drop(slow);
        drop(whole);
        assert_eq!(left.available_permits(), 10);
    }
}
