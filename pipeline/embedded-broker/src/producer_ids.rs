//! Ids for idempotent producers, never given twice: handed out from blocks, of which only the end is on the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StartError;
use crate::files;

const BLOCK: i64 = 1000;

#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    next: i64,
    /// First id that may not be handed out before a new end is on the disk.
    end: i64,
}

impl ProducerIds {
    pub(crate) fn open(path: &Path) -> Result<ProducerIds, StartError> {
        let next = match fs::read_to_string(path) {
            Ok(text) => text.trim().parse().map_err(|_| StartError::Damaged {
                path: path.to_owned(),
                position: 0,
                reason: "it does not hold a number".to_owned(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(StartError::storage(path)(error)),
        };
        Ok(ProducerIds { path: path.to_owned(), next, end: next })
    }

    pub(crate) fn allocate(&mut self) -> io::Result<i64> {
        if self.next == self.end {
            let end = self.end + BLOCK;
            files::replace(&self.path, end.to_string().as_bytes())?;
            self.end = end;
        }
        let id = self.next;
        self.next += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_twice_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("producer-ids");
        let mut ids = ProducerIds::open(&path).unwrap();
        let before: Vec<i64> = (0..=BLOCK).map(|_| ids.allocate().unwrap()).collect();
        let after = ProducerIds::open(&path).unwrap().allocate().unwrap();
        assert!(before.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(after > *before.last().unwrap());
    }
}
