//! One frame costs its own bytes.

use std::{
    cell::Cell,
    io::{Cursor, Read, Result, Seek, SeekFrom},
    rc::Rc,
};

use pixels::Clip;

use crate::support::fixture;

/// A file that counts what is read of it.
struct Counted {
    file: Cursor<Vec<u8>>,
    read: Rc<Cell<usize>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let n = self.file.read(buffer)?;
        self.read.set(self.read.get() + n);
        Ok(n)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn opening_and_reading_one_frame_leaves_the_rest_of_the_cine_alone() {
    let bytes = fixture("examples_ybr_color.dcm");
    let (whole, frames) = (bytes.len(), 30);
    let read = Rc::new(Cell::new(0));
    let mut clip = Clip::open(Counted { file: Cursor::new(bytes), read: read.clone() }).expect("opens");
    let before = read.get();
    clip.frame(17).expect("decodes");
    // The frame, and one buffer of read-ahead.
    assert!(read.get() - before < 2 * whole / frames + 8 * 1024, "{} of {whole}", read.get() - before);
}
