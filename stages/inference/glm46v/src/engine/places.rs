//! How many requests an engine takes at once, waiting and running.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The places; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    free: Arc<AtomicUsize>,
    capacity: usize,
}

/// A taken place. Dropping it makes it free.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Places {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { free: Arc::new(AtomicUsize::new(capacity)), capacity }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// A place, if one is free.
    pub(crate) fn take(&self) -> Option<Place> {
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1));
        taken.is_ok().then(|| Place(self.free.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_places_are_taken_than_there_are_and_each_comes_back() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.take());
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        drop(first);
        let again = places.take();
        assert!(again.is_some() && places.clone().take().is_none());
    }
}
