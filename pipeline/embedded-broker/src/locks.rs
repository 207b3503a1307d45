//! Taking a lock. A poisoned one means that another thread panicked half-way through a change: no request may see that.

use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

const POISONED: &str = "a thread panicked while it held this lock";

#[expect(clippy::expect_used, reason = "half-changed state must not be served")]
pub(crate) fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().expect(POISONED)
}

#[expect(clippy::expect_used, reason = "half-changed state must not be served")]
pub(crate) fn hold_read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().expect(POISONED)
}

#[expect(clippy::expect_used, reason = "half-changed state must not be served")]
pub(crate) fn hold_write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().expect(POISONED)
}
