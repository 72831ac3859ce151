//! Reads request bodies off the wire, up to the limit, so that the sender of one that is too large reads why.

use crate::decode::{BODY_BYTES_MAX, oversize};
use crate::respond::{BoxError, Result};
use api::Status;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;
use std::time::Duration;

/// How much of a body that is too large is taken and thrown away. Many clients send all before they read the answer,
/// and lose it if the connection breaks meanwhile; whoever sends more than this does not mean well.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

/// The whole body, or the failure to answer with: 413 above the limit, 400 if it breaks off.
pub(crate) async fn read<B>(headers: &HeaderMap, mut body: B) -> Result<Bytes>
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
    let mut bytes = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
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
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
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
