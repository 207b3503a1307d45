//! One sample on the wire: a line of JSON, then its pixels.

use std::io::{self, Write};

use serde_json::{Value, json};

/// A sample: pictures of one size, and what is true of them.
pub(crate) struct Record {
    /// What is true.
    pub(crate) truth: Value,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// 1 for grey, 3 for RGB.
    pub(crate) channels: u32,
    /// One after the other, row by row.
    pub(crate) pictures: Vec<Vec<u8>>,
}

impl Record {
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let shape = [self.pictures.len() as u32, self.height, self.width, self.channels];
        writeln!(out, "{}", json!({ "shape": shape, "truth": self.truth }))?;
        self.pictures.iter().try_for_each(|picture| out.write_all(picture))
    }
}
