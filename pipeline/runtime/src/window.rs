//! How many records of a lane may be in flight: received and not complete.
//!
//! Closed at its capacity and open again only well below it: while it is closed the poller pauses partitions, and a
//! pause throws away what the client has fetched ahead.

/// Bounds of what is in flight in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Records.
    pub records: usize,
    /// Bytes of keys, headers and values.
    pub bytes: usize,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { records: 256, bytes: 32 << 20 }
    }
}

#[derive(Debug)]
pub(crate) struct Window {
    capacity: InFlight,
    used: InFlight,
    open: bool,
}

impl Window {
    pub(crate) fn new(capacity: InFlight) -> Self {
        Self { capacity, used: InFlight { records: 0, bytes: 0 }, open: true }
    }

    /// Whether more records may be taken in. A chunk on its way may overshoot the capacity by its own size.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn used(&self) -> InFlight {
        self.used
    }

    pub(crate) fn enter(&mut self, bytes: usize) {
        self.used.records += 1;
        self.used.bytes += bytes;
        if self.used.records >= self.capacity.records || self.used.bytes >= self.capacity.bytes {
            self.open = false;
        }
    }

    pub(crate) fn leave(&mut self, bytes: usize) {
        self.used.records = self.used.records.saturating_sub(1);
        self.used.bytes = self.used.bytes.saturating_sub(bytes);
        let below = |used: usize, capacity: usize| used <= capacity - capacity.div_ceil(4);
        self.open |=
            below(self.used.records, self.capacity.records) && below(self.used.bytes, self.capacity.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_when_full_and_opens_with_a_quarter_free() {
        let mut window = Window::new(InFlight { records: 4, bytes: 1000 });
        (0..4).for_each(|_| window.enter(10));
        assert!(!window.is_open());
        window.leave(10);
        assert!(window.is_open());
        let mut window = Window::new(InFlight { records: 100, bytes: 1000 });
        window.enter(2000);
        assert!(!window.is_open(), "one record larger than the window still fits, alone");
        window.leave(2000);
        assert!(window.is_open());
        let mut smallest = Window::new(InFlight { records: 1, bytes: 1 });
        smallest.enter(5);
        smallest.leave(5);
        assert!(smallest.is_open());
    }
}
