//! Faults for tests: explicit, off unless injected.
//!
//! What can happen to a request: it is lost, it is answered late, it is refused with an error code, or it is carried out
//! and only its answer is lost (the case that idempotent producers exist for). What can happen to the broker: it stops
//! answering while connections stay open, or it is not there at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiKey;
use tokio::sync::watch;

use crate::locks::hold;

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is carried out after this time.
    Delay(Duration),
    /// It is not carried out; every partition in it is answered with this code. Produce and fetch only.
    Refuse(ResponseError),
    /// It is not carried out, and its connection is closed.
    LoseRequest,
    /// It is carried out, but its connection is closed instead of an answer.
    LoseResponse,
}

/// Which requests a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// The kind of request.
    pub api: ApiKey,
    /// Requests of this kind to let pass first.
    pub skip: usize,
    /// Requests it then befalls.
    pub count: usize,
    /// What befalls them.
    pub fault: Fault,
}

/// Whether clients can reach the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Open,
    Paused,
    Closed,
}

/// The handle to a broker's faults.
#[derive(Debug, Clone)]
pub struct Faults {
    /// Shared between the test that injects and the connections that ask; held for a moment.
    injections: Arc<Mutex<Vec<Injection>>>,
    reach: Arc<watch::Sender<Reach>>,
}

impl Faults {
    pub(crate) fn new() -> Faults {
        Faults { injections: Arc::default(), reach: Arc::new(watch::Sender::new(Reach::Open)) }
    }

    /// Lets a fault befall coming requests; several injections act independently of each other.
    pub fn inject(&self, injection: Injection) {
        hold(&self.injections).push(injection);
    }

    /// Requests stay unanswered, connections stay open, until [`Faults::resume`].
    pub fn pause(&self) {
        self.reach.send_replace(Reach::Paused);
    }

    /// All connections are closed and new ones refused, until [`Faults::resume`]; the port stays the same.
    pub fn stop_listening(&self) {
        self.reach.send_replace(Reach::Closed);
    }

    /// Ends [`Faults::pause`] and [`Faults::stop_listening`].
    pub fn resume(&self) {
        self.reach.send_replace(Reach::Open);
    }

    /// Forgets all injections and resumes.
    pub fn clear(&self) {
        hold(&self.injections).clear();
        self.resume();
    }

    pub(crate) fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.subscribe()
    }

    /// The faults that befall the next request of this kind.
    pub(crate) fn next(&self, api: ApiKey) -> Vec<Fault> {
        let mut injections = hold(&self.injections);
        let mut faults = Vec::new();
        for injection in injections.iter_mut().filter(|injection| injection.api == api) {
            if injection.skip > 0 {
                injection.skip -= 1;
            } else if injection.count > 0 {
                injection.count -= 1;
                faults.push(injection.fault);
            }
        }
        injections.retain(|injection| injection.count > 0);
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_befalls_exactly_the_requests_it_names() {
        let faults = Faults::new();
        faults.inject(Injection { api: ApiKey::Fetch, skip: 1, count: 2, fault: Fault::LoseRequest });
        assert_eq!(faults.next(ApiKey::Produce), []);
        let befallen: Vec<usize> = (0..5).map(|_| faults.next(ApiKey::Fetch).len()).collect();
        assert_eq!(befallen, [0, 1, 1, 0, 0]);
    }
}
