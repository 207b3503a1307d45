//! Files that appear whole or not at all.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::PathologyError;

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PathologyError {
    let path = path.to_owned();
    move |source| PathologyError::Io { path, source }
}

pub(crate) fn folder(path: &Path) -> Result<(), PathologyError> {
    fs::create_dir_all(path).map_err(io(path))
}

/// Written beside, synced, renamed; nothing is left beside when `write` fails.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), PathologyError>,
) -> Result<(), PathologyError> {
    let partial = Partial(path.with_extension("partial"));
    let mut out = BufWriter::new(File::create(&partial.0).map_err(io(&partial.0))?);
    write(&mut out)?;
    let file = out.into_inner().map_err(|error| io(&partial.0)(error.into_error()))?;
    file.sync_all().map_err(io(&partial.0))?;
    fs::rename(&partial.0, path).map_err(io(path))
}

/// Removes a file of our own that a failure left behind.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already where the rename succeeded.
        let _ = fs::remove_file(&self.0);
    }
}

/// Compressed tiles on disk until the size of their level is known; removed when dropped.
pub(crate) struct Spool {
    path: Partial,
    out: BufWriter<File>,
}

impl Spool {
    pub(crate) fn create(path: PathBuf) -> Result<Self, PathologyError> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(io(&path))?;
        Ok(Self { path: Partial(path), out: BufWriter::new(file) })
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), PathologyError> {
        self.out.write_all(bytes).map_err(io(&self.path.0))
    }

    /// These ranges of all that was pushed, one after the other.
    pub(crate) fn read(&mut self, ranges: Vec<Range<u64>>) -> Result<impl Read + use<'_>, PathologyError> {
        self.out.flush().map_err(io(&self.path.0))?;
        Ok(BufReader::new(Ranges { file: self.out.get_ref(), ranges: ranges.into() }))
    }
}

/// Reads pieces of a file as one stream.
struct Ranges<'a> {
    file: &'a File,
    ranges: VecDeque<Range<u64>>,
}

impl Read for Ranges<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(range) = self.ranges.front_mut() {
            if range.is_empty() {
                self.ranges.pop_front();
                continue;
            }
            self.file.seek(SeekFrom::Start(range.start))?;
            let wanted = (range.end - range.start).min(buffer.len() as u64) as usize;
            let read = self.file.read(&mut buffer[..wanted])?;
            range.start += read as u64;
            return Ok(read);
        }
        Ok(0)
    }
}
