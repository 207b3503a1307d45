//! SIGTERM and SIGINT: the first drains, the second aborts safely.

use crossbeam_channel::{Receiver, bounded};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// Turns signals into messages. Called once, before any other thread starts.
pub(crate) fn interrupts() -> std::io::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (told, interrupts) = bounded(4);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            // Beyond the second signal nothing changes any more.
            let _ = told.try_send(());
        }
    })?;
    Ok(interrupts)
}
