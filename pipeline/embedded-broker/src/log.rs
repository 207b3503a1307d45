//! A partition's records on disk.
//!
//! ```text
//! data_dir/<topic>-<partition>/
//!   00000000000000000000.log         sealed segment: batches one behind the other, nothing else
//!   00000000000000000000.index       its sparse index; written once the segment is on the disk
//!   00000000000000004711.log         active segment: the only one that grows, the only one that may be torn
//!   00000000000000004711.producers   idempotent producers as they stood at offset 4711
//!   log-start-offset                 only after DeleteRecords
//! ```
//! Invariants: offsets have no gaps; a segment's name is its first offset; a segment with an index is complete and on
//! the disk; records below the log start offset are never handed out, though their bytes may still be there.

pub(crate) mod batch;
mod index;
pub(crate) mod partition;
mod retention;
pub(crate) mod segment;
