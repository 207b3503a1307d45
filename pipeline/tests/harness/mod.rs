//! What the end-to-end tests share: the real binary as processes, its API, its DICOM port and its topics.
//!
//! Each test has folders and ports of its own, so any number of them may run at once. Nothing sleeps and hopes: every
//! wait polls a condition until a deadline, and gives up early when the process it waits for has ended. A test that
//! fails prints the end of the log of each of its processes.

#![expect(dead_code, reason = "each test target uses a part of it")]

pub(crate) mod association;
pub(crate) mod flight;
pub(crate) mod process;
pub(crate) mod studies;
pub(crate) mod topic;

use std::{
    thread,
    time::{Duration, Instant},
};

/// No single step of a healthy system takes this long, even on a busy machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Polls until `look` finds something. Panics with `what` when `patience` is over.
pub(crate) fn eventually<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        thread::sleep(LOOK);
    }
}
