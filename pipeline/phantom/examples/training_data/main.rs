//! Pictures with truth to train the phantom checkpoint on, as a stream for `training/phantom_training/render.py`:
//! `cargo run --release -p phantom --example training_data -- echo|pathology FIRST_SEED COUNT [THREADS]`.
//!
//! ```text
//!  seed ─▶ spec ─▶ phantom ─▶ JPEG as in the file, decoded and masked as the pipeline does ─▶ {"…": truth}\n + raw pixels
//! ```
//! Study i has the seed `FIRST_SEED + i`, whatever the number of threads; studies leave in that order. What `pixels` cannot
//! mask (a fan too dark to be found) never reaches a model and is left out.

mod echo;
mod pathology;
mod record;

use std::error::Error;
use std::io::{BufWriter, Write as _};
use std::sync::mpsc::sync_channel;
use std::thread;

use record::Record;

/// Studies that a thread may be ahead of the writer.
const AHEAD: usize = 8;

type Made = Result<Vec<Record>, Box<dyn Error + Send + Sync>>;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, first, count, rest @ ..] = arguments.as_slice() else {
        return Err("usage: training_data echo|pathology FIRST_SEED COUNT [THREADS]".into());
    };
    let make: fn(u64) -> Made = match kind.as_str() {
        "echo" => echo::records,
        "pathology" => pathology::records,
        _ => return Err(format!("kind {kind:?}; expected echo or pathology").into()),
    };
    let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
    let threads: u64 = rest.first().map_or(Ok(2), |threads| threads.parse())?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (send, receive) = sync_channel(AHEAD);
                scope.spawn(move || {
                    let own = (worker..count).step_by(threads as usize);
                    // A writer that has stopped listening has failed, and says so itself.
                    own.map(|study| make(first + study)).all(|made| send.send(made).is_ok())
                });
                receive
            })
            .collect();
        for study in 0..count {
            let worker = workers.get((study % threads) as usize).ok_or("no thread")?;
            for record in worker.recv()?? {
                record.write(&mut out)?;
            }
        }
        Ok(out.flush()?)
    })
}
