//! Which records were being processed when the process died.
//!
//! A file of fixed slots, one for each record a worker may hold at once. A worker writes the record's position into
//! its slot before it touches the record, and clears it afterwards. No fsync: the page cache outlives the process, and
//! a death of the machine is nobody's fault. What is found in the slots at start was in flight at a process death.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::record::{Position, Record};

/// A slot never crosses a page, so that a process is never killed in the middle of one. Topic names have at most 249
/// characters.
const SLOT: usize = 512;

/// Opens the file, and returns what a dead process left in it. The caller counts these before it calls
/// [`SuspectFile::clear`].
pub(crate) fn open(path: &Path) -> io::Result<(SuspectFile, Vec<Position>)> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut left = Vec::new();
    let mut slot = [0_u8; SLOT];
    for index in 0.. {
        let n = file.read_at(&mut slot, index * SLOT as u64)?;
        left.extend(parse(slot.get(..n).unwrap_or_default()));
        if n < SLOT {
            break;
        }
    }
    Ok((SuspectFile(Arc::new(file)), left))
}

fn parse(slot: &[u8]) -> Option<Position> {
    let line = slot.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let topic = words.next().filter(|topic| !topic.is_empty())?;
    Some(Position {
        topic: topic.into(),
        partition: words.next()?.parse().ok()?,
        offset: words.next()?.parse().ok()?,
    })
}

#[derive(Debug, Clone)]
pub(crate) struct SuspectFile(Arc<File>);

impl SuspectFile {
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.0.set_len(0)
    }

    /// The slots of worker `worker` when each worker has `slots`.
    pub(crate) fn slots(&self, worker: usize, slots: usize) -> Slots {
        Slots { file: Arc::clone(&self.0), first: worker * slots, buffer: [0; SLOT], used: 0 }
    }
}

/// One worker's slots.
#[derive(Debug)]
pub(crate) struct Slots {
    file: Arc<File>,
    first: usize,
    buffer: [u8; SLOT],
    used: usize,
}

impl Slots {
    /// From now on `record` is suspect, in place of what slot `index` held.
    pub(crate) fn enter(&mut self, index: usize, record: &Record) -> io::Result<()> {
        use io::Write;
        self.buffer.fill(0);
        let mut line = self.buffer.as_mut_slice();
        writeln!(line, "{} {} {}", record.topic, record.partition, record.offset)?;
        self.used = self.used.max(index + 1);
        self.write(index)
    }

    /// None of the worker's records is suspect any more.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.buffer.fill(0);
        for index in 0..std::mem::take(&mut self.used) {
            self.write(index)?;
        }
        Ok(())
    }

    fn write(&self, index: usize) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, ((self.first + index) * SLOT) as u64)
    }
}

/// One process's word that at most one suspect is being processed at a time, over all its runs: two at once, and the
/// guilty one would take the other along into the next count.
#[derive(Debug, Clone, Default)]
pub struct Solitude(Arc<AtomicBool>);

impl Solitude {
    /// Enters, unless another suspect is inside. Left when the value is dropped.
    pub(crate) fn enter(&self) -> Option<Alone> {
        self.0.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).ok()?;
        Some(Alone(Arc::clone(&self.0)))
    }
}

/// The right to process one suspect.
#[derive(Debug)]
pub(crate) struct Alone(Arc<AtomicBool>);

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn record(topic: &str, offset: i64) -> Record {
        Record {
            topic: topic.into(),
            partition: 2,
            offset,
            timestamp: Timestamp::UNIX_EPOCH,
            key: None,
            headers: crate::Headers::default(),
            payload: Vec::new(),
        }
    }

    #[test]
    fn what_a_dead_process_held_is_found_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suspects");
        let (file, left) = open(&path).unwrap();
        assert_eq!(left, []);
        let mut first = file.slots(0, 2);
        let mut second = file.slots(1, 2);
        first.enter(0, &record(&"t".repeat(249), 1_000_000)).unwrap();
        first.enter(0, &record("study.acquired.v1", 7)).unwrap();
        first.enter(1, &record("study.acquired.v1", 8)).unwrap();
        second.enter(0, &record("study.acquired.v1", 9)).unwrap();
        second.clear().unwrap();

        let (file, left) = open(&path).unwrap();
        assert_eq!(
            left,
            [record("study.acquired.v1", 7).position(), record("study.acquired.v1", 8).position()]
        );
        file.clear().unwrap();
        assert_eq!(open(&path).unwrap().1, []);
    }
}
