//! Reads request bodies off the wire, within limits of size, time and memory, so that the sender of one that is beyond
//! them reads why.

use crate::decode::{BODY_BYTES_MAX, oversize};
use crate::respond::{BoxError, Result};
use api::{Reason, Status};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
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
/// How much of that one user of one space may hold: whoever sends bodies and does not end them is in their own way only.
const SHARE_BYTES_MAX: usize = BODIES_BYTES_MAX / 8;
/// How long the next part of a body may take to arrive.
const PAUSE_TIME_MAX: Duration = Duration::from_secs(10);
/// Shares that nobody holds any more are forgotten when there are so many.
const SHARES_KEPT: usize = 1024;
/// What is set aside for a body before its first byte is there, whatever length was announced.
const FIRST_BYTES_MAX: usize = 64 * 1024;

/// The memory for bodies, and who holds how much of it.
pub(crate) struct Bodies {
    all: Arc<Semaphore>,
    shares: Mutex<HashMap<(String, String), Weak<Semaphore>>>,
}

/// What one sender may still hold.
#[derive(Clone)]
pub(crate) struct Left {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Bodies {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(bytes)), shares: Mutex::default() }
    }

    /// What a user of a space may still hold. All that they send at once is counted together.
    pub(crate) fn left(&self, space: &str, user: &str) -> Left {
        let mut shares = self.shares.lock();
        let key = (space.to_owned(), user.to_owned());
        let own = shares.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            if shares.len() >= SHARES_KEPT {
                shares.retain(|_, share| share.strong_count() > 0);
            }
            let own = Arc::new(Semaphore::new(SHARE_BYTES_MAX));
            shares.insert(key, Arc::downgrade(&own));
            own
        });
        Left { all: self.all.clone(), own }
    }
}

impl Left {
    fn take(&self, bytes: u32) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let own = self.own.clone().try_acquire_many_owned(bytes).ok()?;
        Some((self.all.clone().try_acquire_many_owned(bytes).ok()?, own))
    }
}

/// A whole body. It counts as held until this is dropped.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    #[allow(dead_code)] // held for its drop
    permit: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// The whole body, or the failure to answer with: 413 above the limit, 429 when nothing is left, 504 if it does not arrive
/// in time, 400 if it breaks off.
pub(crate) async fn read<B>(headers: &HeaderMap, body: B, left: &Left) -> Result<Held>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    if body.is_end_stream() {
        return Ok(Held { bytes: Bytes::new(), permit: None });
    }
    tokio::time::timeout(ARRIVAL_TIME_MAX, arrive(headers, body, left)).await.map_err(|_| late())?
}

async fn arrive<B>(headers: &HeaderMap, mut body: B, left: &Left) -> Result<Held>
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
    let mut permit: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> = None;
    let mut bytes = BytesMut::with_capacity(announced.min(FIRST_BYTES_MAX));
    while let Some(frame) = tokio::time::timeout(PAUSE_TIME_MAX, body.frame()).await.map_err(|_| late())? {
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
        let Some(more) = left.take(more) else {
            discard(body);
            return Err(too_many().into());
        };
        match &mut permit {
            Some((all, own)) => {
                all.merge(more.0);
                own.merge(more.1);
            }
            None => permit = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held { bytes: bytes.freeze(), permit })
}

fn late() -> Status {
    Status::failure(Reason::Timeout, "Timeout: the request body did not arrive in time")
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
        let bodies = Bodies::new(10);
        let left = bodies.left("wds1", "u");
        let stopwatch = tokio::time::sleep(2 * ARRIVAL_TIME_MAX);
        let headers = HeaderMap::new();
        tokio::select! {
            read = read(&headers, body(&["abc"], false), &left) => assert_eq!(read.err().unwrap().code, 504),
            () = stopwatch => panic!("still waiting"),
        }
        assert_eq!(bodies.all.available_permits(), 10);
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_limit() {
        let bodies = Bodies::new(10);
        let left = bodies.left("wds1", "u");
        let headers = HeaderMap::new();
        let mut slow = Box::pin(read(&headers, body(&["abc", "def"], false), &left));
        assert!(slow.as_mut().now_or_never().is_none());
        assert_eq!(bodies.all.available_permits(), 4);
        let status = read(&headers, body(&["abc", "def"], true), &left).await.err().unwrap();
        let wait = status.details.as_ref().and_then(|details| details.retry_after_seconds);
        assert_eq!((status.code, wait), (429, Some(1)));
        let whole = read(&headers, body(&["ab", "cd"], true), &left).await.unwrap();
        assert_eq!((&*whole.bytes, bodies.all.available_permits()), (&b"abcd"[..], 0));
        // What needs no memory is answered even now.
        assert!(pin!(read(&headers, http_body_util::Empty::new(), &left)).await.is_ok());
        drop(slow);
        drop(whole);
        assert_eq!(bodies.all.available_permits(), 10);
    }

    #[tokio::test]
    async fn one_user_does_not_take_what_others_need() {
        let bodies = Bodies::new(3 * SHARE_BYTES_MAX);
        let headers = HeaderMap::new();
        let half = "x".repeat(SHARE_BYTES_MAX / 2);
        let hog = |bytes: &str| bodies.left("wds1", "hog").take(u32::try_from(bytes.len()).unwrap());
        let held = (hog(&half), hog(&half));
        assert!(held.0.is_some() && held.1.is_some());
        let refused = read(&headers, body(&["ab"], true), &bodies.left("wds1", "hog")).await.err().unwrap();
        assert_eq!(refused.code, 429);
        for (space, user) in [("wds1", "other"), ("imbs", "hog")] {
            assert!(read(&headers, body(&["ab"], true), &bodies.left(space, user)).await.is_ok(), "{space} {user}");
        }
        drop(held);
        assert!(read(&headers, body(&["ab"], true), &bodies.left("wds1", "hog")).await.is_ok());
    }
}
