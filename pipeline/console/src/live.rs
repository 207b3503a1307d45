//! The status as it changes: asked of the site every two seconds while somebody listens, once for all who do.
//!
//! ```text
//!   Feed::run ──status or its failure──▶ watch (the latest one only) ──▶ at most 32 listeners ──▶ event streams
//! ```
//!
//! Invariants: a slow listener misses pictures and delays nobody; while nobody listens, nobody asks; the streams end when
//! the feed is dropped, which is how the server stops.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{http::StatusCode, response::sse::Event};
use futures_util::{Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::{
    error::Refusal,
    site::{Site, Status},
};

/// How often the site is asked: as often as it looks at its backlog.
const EVERY: Duration = Duration::from_secs(2);
/// Listeners at once; each is a connection.
const LISTENERS: usize = 32;

/// A status, or the words of its failure.
pub(crate) type Picture = Result<Arc<Status>, String>;

/// Asks the site; dropped, it ends every stream.
pub(crate) struct Feed<S> {
    site: Arc<S>,
    latest: watch::Sender<Option<Picture>>,
    seats: Arc<Semaphore>,
}

/// Where listeners come in.
#[derive(Clone)]
pub(crate) struct Live {
    latest: watch::Receiver<Option<Picture>>,
    seats: Arc<Semaphore>,
}

/// A feed and its way in.
pub(crate) fn feed<S: Site>(site: Arc<S>) -> (Feed<S>, Live) {
    let (sender, latest) = watch::channel(None);
    let seats = Arc::new(Semaphore::new(LISTENERS));
    (Feed { site, latest: sender, seats: seats.clone() }, Live { latest, seats })
}

impl<S: Site> Feed<S> {
    /// Asks until it is dropped.
    pub(crate) async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.seats.available_permits() < LISTENERS {
                self.latest.send_replace(Some(picture(self.site.clone()).await));
            }
        }
    }
}

async fn picture<S: Site>(site: Arc<S>) -> Picture {
    match spawn_blocking(move || site.status()).await {
        Ok(Ok(status)) => Ok(Arc::new(status)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the status could not be taken".to_owned()),
    }
}

/// One listener between two events.
struct Listener<F> {
    latest: watch::Receiver<Option<Picture>>,
    tell: F,
    ready: VecDeque<Event>,
    _seat: OwnedSemaphorePermit,
}

impl Live {
    /// The pictures from now on, the first at once, each told as events by `tell`.
    pub(crate) async fn listen<S: Site, F: Fn(&Picture) -> Vec<Event> + Send + 'static>(
        &self,
        site: Arc<S>,
        tell: F,
    ) -> Result<impl Stream<Item = Result<Event, Infallible>> + Send + use<S, F>, Refusal> {
        let seat = self.seats.clone().try_acquire_owned().map_err(|_| {
            Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("{LISTENERS} listeners are here already"))
        })?;
        let mut latest = self.latest.clone();
        latest.mark_unchanged();
        // What the feed said last may be as old as the last listener.
        let ready = tell(&picture(site).await).into();
        let listener = Listener { latest, tell, ready, _seat: seat };
        Ok(stream::unfold(listener, |mut listener| async {
            loop {
                if let Some(event) = listener.ready.pop_front() {
                    return Some((Ok(event), listener));
                }
                listener.latest.changed().await.ok()?;
                if let Some(picture) = &*listener.latest.borrow_and_update() {
                    listener.ready = (listener.tell)(picture).into();
                }
            }
        }))
    }
}
