//! The bytes of a request, up to a limit.
//!
//! What is too large is read on and thrown away for a while: a client that is still sending would otherwise find its
//! connection closed and never read why.

use std::{future::poll_fn, pin::pin};

use axum::body::Body;
use futures_core::Stream as _;

use crate::refusal::Refusal;

/// A body of up to so many times the limit is read to its end before it is refused.
const DRAINED: usize = 8;

pub(crate) async fn read(body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut stream = pin!(body.into_data_stream());
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(piece) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        let piece = piece.map_err(|_| Refusal::invalid("body", "it broke off"))?;
        length = length.saturating_add(piece.len());
        if length <= most {
            bytes.extend_from_slice(&piece);
        } else if length > most.saturating_mul(DRAINED) {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if length > most {
        return Err(Refusal::TooLarge { what: "request", most: most as u64, unit: "bytes" });
    }
    Ok(bytes)
}
