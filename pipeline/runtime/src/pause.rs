//! Holding a run back while somebody works on what it depends on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A switch shared by whoever may pause a run and the run. A paused run begins no record; it finishes those that its
/// workers have, keeps polling and stays in its group.
#[derive(Debug, Clone, Default)]
pub struct PauseSwitch(Arc<AtomicBool>);

impl PauseSwitch {
    /// Pauses the run, or lets it go on.
    pub fn set(&self, paused: bool) {
        self.0.store(paused, Ordering::SeqCst);
    }

    /// Whether the run is paused.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
