//! What a DICOM data set may claim before it is refused. The values are those measured to stop every hostile sample
//! while letting every real one pass.

/// Sequences and items may nest this deep. A recursive reader overflows a 2 MiB stack at about 1,800.
pub const MAX_DEPTH: usize = 64;
/// Elements, items and fragments together.
pub const MAX_ELEMENTS: u64 = 1_000_000;
/// Length of one value in bytes. Pixel data of the image itself is exempt: it is never held in memory.
pub const MAX_VALUE: u64 = 64 << 20;
/// Bytes of one value that the reader keeps (frame times, palettes, offset tables) …
pub(crate) const MAX_KEPT_VALUE: u64 = 8 << 20;
/// … and of all of them.
pub(crate) const MAX_KEPT: u64 = 32 << 20;
