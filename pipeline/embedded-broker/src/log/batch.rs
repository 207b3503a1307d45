//! The record batch, format 2 (KIP-98), as bytes: only its 61-byte header is read, its records stay opaque, so every
//! compression codec works with none linked. All integers are big-endian.
//!
//! ```text
//!  0 base offset i64 │ 8 length i32 (of what follows) │ 12 leader epoch i32 │ 16 magic i8 │ 17 crc-32c u32 (of 21..)
//! 21 attributes i16 │ 23 last offset delta i32 │ 27 base timestamp i64 │ 35 max timestamp i64
//! 43 producer id i64 │ 51 producer epoch i16 │ 53 base sequence i32 │ 57 record count i32 │ 61 records
//! ```
//! The base offset and the leader epoch lie outside the checksum: the broker sets them without touching the rest.

use bytes::Buf;

pub(crate) const HEADER_BYTES: usize = 61;
/// The part of the header that the broker writes: base offset, length, leader epoch.
pub(crate) const PREFIX_BYTES: usize = 16;
/// Bytes before the `length` field's count begins.
const LENGTH_END: u64 = 12;
const CHECKED_FROM: usize = 21;

const COMPRESSION: i16 = 0b111;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The header of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    /// Size of the whole batch, header included.
    pub(crate) bytes: u64,
    magic: i8,
    crc: u32,
    attributes: i16,
    last_offset_delta: i32,
    /// Milliseconds since the epoch.
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    records: i32,
}

/// Who wrote a batch, and which of its records they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerStamp {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchDamage {
    #[error("the batch ends early: {have} of {need} bytes")]
    Short { have: u64, need: u64 },
    #[error("the batch declares {0} bytes, fewer than its header")]
    Length(i32),
    #[error("record format {0}, only format 2 is kept")]
    Magic(i8),
    #[error("checksum {stored:08x} in the header, {computed:08x} over the bytes")]
    Checksum { stored: u32, computed: u32 },
    #[error("{records} records over {offsets} offsets")]
    Count { records: i32, offsets: i64 },
    #[error("the batch stands at offset {found}, expected {expected}")]
    Offset { found: i64, expected: i64 },
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; checks what later arithmetic relies on, not the checksum.
    pub(crate) fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchDamage> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchDamage::Short { have: bytes.len() as u64, need: HEADER_BYTES as u64 });
        };
        let mut at = &header[..];
        let base_offset = at.get_i64();
        let length = at.get_i32();
        let _leader_epoch = at.get_i32();
        let header = BatchHeader {
            base_offset,
            bytes: u64::try_from(length).map_err(|_| BatchDamage::Length(length))? + LENGTH_END,
            magic: at.get_i8(),
            crc: at.get_u32(),
            attributes: at.get_i16(),
            last_offset_delta: at.get_i32(),
            base_timestamp: at.get_i64(),
            max_timestamp: at.get_i64(),
            producer_id: at.get_i64(),
            producer_epoch: at.get_i16(),
            base_sequence: at.get_i32(),
            records: at.get_i32(),
        };
        if header.bytes < HEADER_BYTES as u64 {
            return Err(BatchDamage::Length(length));
        }
        if header.magic != 2 {
            return Err(BatchDamage::Magic(header.magic));
        }
        let offsets = i64::from(header.last_offset_delta) + 1;
        if offsets < 1 || i64::from(header.records) != offsets {
            return Err(BatchDamage::Count { records: header.records, offsets });
        }
        Ok(header)
    }

    /// Reads and checks a whole batch; `bytes` may go on behind it.
    pub(crate) fn verify(bytes: &[u8]) -> Result<BatchHeader, BatchDamage> {
        let header = Self::parse(bytes)?;
        let short = BatchDamage::Short { have: bytes.len() as u64, need: header.bytes };
        let end = usize::try_from(header.bytes).map_err(|_| short)?;
        let checked = bytes.get(CHECKED_FROM..end).ok_or(short)?;
        let computed = crc32c::crc32c(checked);
        if computed != header.crc {
            return Err(BatchDamage::Checksum { stored: header.crc, computed });
        }
        Ok(header)
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offsets the batch takes; at least 1.
    pub(crate) fn offsets(&self) -> i64 {
        i64::from(self.last_offset_delta) + 1
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.attributes & COMPRESSION != 0
    }

    pub(crate) fn is_transactional_or_control(&self) -> bool {
        self.attributes & (TRANSACTIONAL | CONTROL) != 0
    }

    /// `None` for a producer without idempotence.
    pub(crate) fn producer(&self) -> Option<ProducerStamp> {
        (self.producer_id >= 0).then(|| ProducerStamp {
            id: self.producer_id,
            epoch: self.producer_epoch,
            first_sequence: self.base_sequence,
            last_sequence: sequence_after(self.base_sequence, self.last_offset_delta),
        })
    }

    /// The first 16 bytes as they are stored, with the offset the broker gave; the leader epoch is always 0 here.
    pub(crate) fn stored_prefix(&self, base_offset: i64) -> [u8; PREFIX_BYTES] {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..8].copy_from_slice(&base_offset.to_be_bytes());
        prefix[8..12].copy_from_slice(&((self.bytes - LENGTH_END) as i32).to_be_bytes());
        prefix
    }
}

/// Sequence numbers count 0 to `i32::MAX` and begin again at 0 (KIP-98).
pub(crate) fn sequence_after(sequence: i32, steps: i32) -> i32 {
    ((i64::from(sequence) + i64::from(steps)) & i64::from(i32::MAX)) as i32
}

/// The first record at or behind `from_offset` with a timestamp of at least `timestamp`, as (offset, timestamp).
///
/// `batch` is a whole stored batch. The records of a compressed one are not looked into: the answer is then its first
/// offset (or `from_offset`), which is never behind the record asked for, so a reader misses nothing.
pub(crate) fn first_record_since(batch: &[u8], timestamp: i64, from_offset: i64) -> Option<(i64, i64)> {
    let header = BatchHeader::parse(batch).ok()?;
    if header.max_timestamp < timestamp || header.last_offset() < from_offset {
        return None;
    }
    if header.is_compressed() {
        return Some((header.base_offset.max(from_offset), header.base_timestamp));
    }
    let mut records = batch.get(HEADER_BYTES..usize::try_from(header.bytes).ok()?)?;
    for _ in 0..header.records {
        let length = usize::try_from(varint(&mut records)?).ok()?;
        let (record, rest) = records.split_at_checked(length)?;
        records = rest;
        let (_attributes, mut record) = record.split_first()?;
        let at = header.base_timestamp.checked_add(varint(&mut record)?)?;
        let offset = header.base_offset.checked_add(varint(&mut record)?)?;
        if at >= timestamp && offset >= from_offset {
            return Some((offset, at));
        }
    }
    None
}

/// A zigzag-encoded variable-length integer, as records carry their lengths and deltas.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Batches for the tests of the log.
#[cfg(test)]
pub(crate) mod samples {
    use super::{CHECKED_FROM, LENGTH_END};

    fn push_varint(out: &mut Vec<u8>, value: i64) {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            out.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        out.push(zigzag as u8);
    }

    pub(crate) struct Sample<'a> {
        pub(crate) timestamps: &'a [i64],
        /// Producer id, epoch, first sequence; -1s for none.
        pub(crate) producer: (i64, i16, i32),
        pub(crate) value_bytes: usize,
    }

    impl Sample<'_> {
        /// The batch as an (uncompressing) client sends it.
        pub(crate) fn bytes(&self) -> Vec<u8> {
            let base = *self.timestamps.first().unwrap();
            let mut out = vec![0; 12];
            out.extend([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
            let count = self.timestamps.len() as i32;
            out.extend((count - 1).to_be_bytes());
            out.extend(base.to_be_bytes());
            out.extend(self.timestamps.iter().max().unwrap().to_be_bytes());
            out.extend(self.producer.0.to_be_bytes());
            out.extend(self.producer.1.to_be_bytes());
            out.extend(self.producer.2.to_be_bytes());
            out.extend(count.to_be_bytes());
            for (delta, timestamp) in self.timestamps.iter().enumerate() {
                let mut record = vec![0];
                push_varint(&mut record, timestamp - base);
                push_varint(&mut record, delta as i64);
                push_varint(&mut record, -1);
                push_varint(&mut record, self.value_bytes as i64);
                record.extend(vec![b'v'; self.value_bytes]);
                push_varint(&mut record, 0);
                push_varint(&mut out, record.len() as i64);
                out.extend(record);
            }
            let length = (out.len() as u64 - LENGTH_END) as i32;
            out[8..12].copy_from_slice(&length.to_be_bytes());
            let crc = crc32c::crc32c(&out[CHECKED_FROM..]);
            out[17..21].copy_from_slice(&crc.to_be_bytes());
            out
        }
    }

    /// A batch of records with these timestamps and no producer.
    pub(crate) fn batch(timestamps: &[i64]) -> Vec<u8> {
        Sample { timestamps, producer: (-1, -1, -1), value_bytes: 20 }.bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::samples::batch;
    use super::*;

    #[test]
    fn a_batch_is_verified_and_one_changed_byte_is_found() {
        let mut bytes = batch(&[100, 90, 120]);
        let header = BatchHeader::verify(&bytes).unwrap();
        assert_eq!((header.offsets(), header.max_timestamp, header.bytes), (3, 120, bytes.len() as u64));
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(BatchHeader::verify(&bytes), Err(BatchDamage::Checksum { .. })));
    }

    #[test]
    fn time_lookup_answers_the_record_not_the_batch() {
        let bytes = batch(&[100, 90, 120, 130]);
        assert_eq!(first_record_since(&bytes, 95, 0), Some((0, 100)));
        assert_eq!(first_record_since(&bytes, 101, 0), Some((2, 120)));
        assert_eq!(first_record_since(&bytes, 101, 3), Some((3, 130)));
        assert_eq!(first_record_since(&bytes, 131, 0), None);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_answered_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), timestamp: i64) {
            let _ = BatchHeader::verify(&bytes);
            let _ = first_record_since(&bytes, timestamp, 0);
        }

        #[test]
        fn damaged_records_are_answered_and_never_panic(position in 21_usize..120, value: u8, timestamp in 0_i64..200) {
            let mut bytes = batch(&[100, 90, 120]);
            if let Some(byte) = bytes.get_mut(position) { *byte = value; }
            let _ = first_record_since(&bytes, timestamp, 0);
        }
    }
}
