//! Where bytes come from: a seekable file, or the inflated stream of a deflated data set.
//!
//! Positions are absolute: from the start of the file, or from the start of the inflated data set.
//! A buffer grows with the bytes that arrive, never by a length that a header declares.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};

use flate2::read::DeflateDecoder;

/// A deflated data set may grow by this factor …
const INFLATE_RATIO: u64 = 20;
/// … or to this size, whichever is more: a small synthetic image deflates 50:1 with nothing wrong in it …
const INFLATE_FLOOR: u64 = 64 << 20;
/// … and never beyond this.
const INFLATE_CEILING: u64 = 2 << 30;
/// Bytes read at a time into a growing buffer.
const CHUNK: usize = 64 << 10;

/// The bytes after a declared length ran out, or the machine failed.
#[derive(Debug)]
pub(crate) enum InputError {
    /// The source ended here.
    End,
    /// The inflated stream grew past its limit (bytes).
    InflateLimit(u64),
    /// The device or the deflate stream failed.
    Io(io::Error),
}

impl From<io::Error> for InputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::End } else { Self::Io(error) }
    }
}

/// A source of bytes with a position.
pub(crate) trait Input {
    /// Bytes before the next one to be read.
    fn position(&self) -> u64;
    /// Where the bytes end, if that is known before reading them.
    fn end(&self) -> Option<u64>;
    /// Reads up to `buffer.len()` bytes; 0 at the end.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, InputError>;
    /// Moves forward by `n` bytes.
    fn skip(&mut self, n: u64) -> Result<(), InputError>;

    /// Fills `buffer`, or says that the source ended.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), InputError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_some(rest)? {
                0 => return Err(InputError::End),
                n => filled += n,
            }
        }
        Ok(())
    }

    /// Appends exactly `length` bytes to `into`, in steps, so that memory follows the data and not the declaration.
    fn append(&mut self, length: u64, into: &mut Vec<u8>) -> Result<(), InputError> {
        let mut left = length;
        while left > 0 {
            let step = left.min(CHUNK as u64) as usize;
            let start = into.len();
            into.resize(start + step, 0);
            let Some(room) = into.get_mut(start..) else { return Err(InputError::End) };
            self.fill(room)?;
            left -= step as u64;
        }
        Ok(())
    }
}

/// A seekable source, read from its present position.
pub(crate) struct Plain<R> {
    reader: BufReader<R>,
    position: u64,
    end: u64,
}

impl<R: Read + Seek> Plain<R> {
    pub(crate) fn at(mut reader: R, position: u64) -> io::Result<Self> {
        let end = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(position))?;
        Ok(Self { reader: BufReader::new(reader), position, end })
    }

    /// Back (or forth) to an absolute position.
    pub(crate) fn seek_to(&mut self, position: u64) -> io::Result<()> {
        let by = position.cast_signed() - self.position.cast_signed();
        self.reader.seek_relative(by)?;
        self.position = position;
        Ok(())
    }
}

impl<R: Read + Seek> Input for Plain<R> {
    fn position(&self) -> u64 {
        self.position
    }

    fn end(&self) -> Option<u64> {
        Some(self.end)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, InputError> {
        let n = self.reader.read(buffer)?;
        self.position += n as u64;
        Ok(n)
    }

    fn skip(&mut self, n: u64) -> Result<(), InputError> {
        let target =
            self.position.checked_add(n).filter(|target| *target <= self.end).ok_or(InputError::End)?;
        Ok(self.seek_to(target)?)
    }
}

/// The inflated stream of a deflated data set (PS3.5 A.5: a raw deflate stream).
pub(crate) struct Inflated<R: Read> {
    decoder: DeflateDecoder<Take<R>>,
    position: u64,
    limit: u64,
}

impl<R: Read + Seek> Inflated<R> {
    /// Inflates from byte `start` of the file to its end.
    pub(crate) fn at(mut reader: R, start: u64) -> io::Result<Self> {
        let end = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(start))?;
        let compressed = end.saturating_sub(start);
        let limit = compressed.saturating_mul(INFLATE_RATIO).clamp(INFLATE_FLOOR, INFLATE_CEILING);
        Ok(Self { decoder: DeflateDecoder::new(reader.take(compressed)), position: 0, limit })
    }
}

impl<R: Read> Input for Inflated<R> {
    fn position(&self) -> u64 {
        self.position
    }

    fn end(&self) -> Option<u64> {
        None
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, InputError> {
        let n = self.decoder.read(buffer)?;
        self.position += n as u64;
        if self.position > self.limit { Err(InputError::InflateLimit(self.limit)) } else { Ok(n) }
    }

    fn skip(&mut self, n: u64) -> Result<(), InputError> {
        let mut scratch = [0; 8 << 10];
        let mut left = n;
        while left > 0 {
            let step = left.min(scratch.len() as u64) as usize;
            let Some(room) = scratch.get_mut(..step) else { return Err(InputError::End) };
            self.fill(room)?;
            left -= step as u64;
        }
        Ok(())
    }
}
