//! An answer as it is written: server-sent events.
//!
//! ```text
//!   engine's thread ─ tokens ─▶ forwarding thread ─ 16 events ─▶ the client's connection
//!                                  │ whole characters only          │ gone: the next event cannot be sent,
//!                                  └────────── cancels ◀────────────┘ and at once through the cancel guard
//! ```

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, Sse},
};
use futures_core::Stream;
use glm46v::{Canceller, Pending, TokenScore};
use serde::Serialize;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    Shared,
    answer::{Chunk, LogProbs, Named, Usage},
    question::Question,
    refusal::Refusal,
};

/// Events between the forwarding thread and a slow client.
const EVENTS: usize = 16;

pub(crate) fn events(
    shared: Shared,
    named: Named,
    question: Question,
    pending: Pending,
    asked_at: Instant,
) -> Response {
    let (sender, receiver) = mpsc::channel(EVENTS);
    let cancel = pending.canceller();
    // Ends with the answer, or when the client is gone.
    spawn_blocking(move || {
        // An error means that the client is gone, and with it whoever could be told.
        let _ = forward(&shared, &named, &question, pending, asked_at, &sender);
    });
    Sse::new(Events { receiver, _cancel: cancel }).into_response()
}

/// The client is gone.
struct Gone;

fn forward(
    shared: &Shared,
    named: &Named,
    question: &Question,
    mut pending: Pending,
    asked_at: Instant,
    client: &mpsc::Sender<Event>,
) -> Result<(), Gone> {
    let send = |chunk: &Chunk| client.blocking_send(event(chunk)).map_err(|_| Gone);
    let text_of = |id| shared.engine.processor().token_text(id);
    send(&Chunk::opening(named))?;
    let mut written = Text::default();
    let mut gaps = shared.metrics.engine.gaps();
    while let Some(score) = pending.next_token() {
        gaps.token();
        let text = written.push(&score, &|ids| shared.engine.processor().text(ids).unwrap_or_default());
        let logprobs = question.top_logprobs.map(|_| LogProbs::new(&[score], &text_of));
        if !text.is_empty() || logprobs.is_some() {
            send(&Chunk::text(named, text, logprobs))?;
        }
    }
    match pending.wait() {
        Ok(answer) => {
            // What was held back because it might have been the beginning of a character.
            let rest = answer.text.strip_prefix(&written.sent).unwrap_or_default();
            if !rest.is_empty() {
                send(&Chunk::text(named, rest.to_owned(), None))?;
            }
            shared.metrics.engine.generated(&answer, asked_at.elapsed());
            send(&Chunk::closing(named, answer.finish_reason))?;
            if question.include_usage {
                send(&Chunk::usage(named, Usage::of(&answer)))?;
            }
        }
        Err(error) => {
            shared.metrics.engine.failed(&error);
            let refusal = Refusal::of(error);
            shared.metrics.refused(refusal.status());
            client.blocking_send(event(&refusal.body())).map_err(|_| Gone)?;
        }
    }
    client.blocking_send(Event::default().data("[DONE]")).map_err(|_| Gone)
}

fn event(object: &impl Serialize) -> Event {
    Event::default().json_data(object).unwrap_or_else(|_| Event::default().data("{}"))
}

/// The text so far, and how much of it has been sent.
#[derive(Default)]
struct Text {
    ids: Vec<u32>,
    sent: String,
}

impl Text {
    /// What a token adds. A character may span tokens: it is held back until it is whole.
    fn push(&mut self, score: &TokenScore, decode: &dyn Fn(&[u32]) -> String) -> String {
        self.ids.push(score.id);
        let all = decode(&self.ids);
        match all.strip_prefix(&self.sent) {
            Some(new) if !new.ends_with(char::REPLACEMENT_CHARACTER) => {
                let new = new.to_owned();
                self.sent = all;
                new
            }
            _ => String::new(),
        }
    }
}

/// The events; dropped with the connection, and the request with them.
struct Events {
    receiver: mpsc::Receiver<Event>,
    _cancel: Canceller,
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(|event| event.map(Ok))
    }
}
