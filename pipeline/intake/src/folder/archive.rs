//! Zip archives: every entry as a file, within bounds that a bomb meets early.

use std::{
    io::{self, Read, Seek},
    path::Path,
};

use zip::{ZipArchive, result::ZipError};

use super::{FileOptions, FileReport};
use crate::{intake::Intake, refusal::Refusal};

/// Entries of one archive.
const MAX_ENTRIES: usize = 20_000;
/// Inflated bytes of one archive …
const MAX_INFLATED: u64 = 16 << 30;
/// … and how many times its own size they may be, beyond [`RATIO_FLOOR`].
const MAX_RATIO: u64 = 100;
/// Bytes that a small archive may always inflate to.
const RATIO_FLOOR: u64 = 256 << 20;

impl Intake {
    pub(super) fn receive_archive(
        &self,
        path: &Path,
        mut file: impl Read + Seek,
        options: FileOptions,
        report: &mut dyn FnMut(FileReport),
    ) {
        let mut refuse = |refusal| report(FileReport { path: path.to_owned(), result: Err(refusal) });
        let size = match file.seek(io::SeekFrom::End(0)) {
            Ok(size) => size,
            Err(error) => return refuse(Refusal::Unreadable(error)),
        };
        let mut archive = match ZipArchive::new(file) {
            Ok(archive) => archive,
            Err(error) => return refuse(refusal(error)),
        };
        if archive.len() > MAX_ENTRIES {
            return refuse(Refusal::Archive { problem: "more entries than are taken from one archive" });
        }
        let mut left = size.saturating_mul(MAX_RATIO).clamp(RATIO_FLOOR, MAX_INFLATED);
        for index in 0..archive.len() {
            let entry = match archive.by_index(index) {
                Ok(entry) => entry,
                Err(error) => {
                    let path = path.join(format!("entry {}", index + 1));
                    report(FileReport { path, result: Err(refusal(error)) });
                    continue;
                }
            };
            if entry.is_dir() {
                continue;
            }
            // Only shown, never opened or made: the name may say `../../etc/x`.
            let path = path.join(entry.name().trim_start_matches('/'));
            if entry.is_symlink() {
                report(FileReport { path, result: Err(Refusal::NotAFile) });
                continue;
            }
            let mut budget = Budget { entry, left: &mut left };
            let result = self.receive_one(&mut budget, options);
            let exhausted = left == 0;
            report(FileReport { path, result });
            if exhausted {
                return;
            }
        }
    }
}

/// Reads an entry and fails when the archive's inflated bytes are used up.
struct Budget<'a, R> {
    entry: R,
    left: &'a mut u64,
}

impl<R: Read> Read for Budget<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.entry.read(buffer)?;
        *self.left = self.left.saturating_sub(read as u64);
        if *self.left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "archive inflates beyond its limit; send it unpacked",
            ));
        }
        Ok(read)
    }
}

fn refusal(error: ZipError) -> Refusal {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Refusal::Unreadable(error),
        ZipError::UnsupportedArchive(_) => {
            Refusal::Archive { problem: "encrypted, or compressed otherwise than by deflate" }
        }
        _ => Refusal::Archive { problem: "it is damaged" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflating_stops_at_the_archives_budget() {
        let mut left = 1_000;
        let mut read = Vec::new();
        let error = Budget { entry: io::repeat(0), left: &mut left }.read_to_end(&mut read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(read.len() <= 1_000 && left == 0);
    }
}
