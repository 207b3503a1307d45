use std::fs;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;
use crate::config::Cleanup;
use crate::log::batch::samples::{Sample, batch};

const NOW: i64 = 1_700_000_000_000;
const WHOLE: ReadLimit = ReadLimit { max_bytes: usize::MAX, first_batch_always: true };

fn small_segments(segment_bytes: u64) -> TopicSettings {
    TopicSettings { segment_bytes, retention_ms: None, ..TopicSettings::default() }
}

fn append(partition: &mut Partition, bytes: &[u8]) -> i64 {
    partition.append(&BatchHeader::verify(bytes).unwrap(), bytes, NOW).unwrap().base_offset
}

fn read(partition: &Partition, offset: i64) -> Vec<u8> {
    let slice = partition.slice(offset, WHOLE).unwrap().unwrap();
    let mut bytes = vec![0; slice.bytes];
    slice.file.read_exact_at(&mut bytes, slice.position).unwrap();
    bytes
}

/// Base offsets of all batches from `offset` on, as a consumer would meet them.
fn batches_from(partition: &Partition, mut offset: i64) -> Vec<i64> {
    let mut bases = Vec::new();
    while offset < partition.end() {
        let bytes = read(partition, offset);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let header = BatchHeader::verify(rest).unwrap();
            bases.push(header.base_offset);
            offset = header.last_offset() + 1;
            rest = &rest[header.bytes as usize..];
        }
    }
    bases
}

fn active_log(dir: &Path) -> PathBuf {
    let base = *list_bases(dir, "log").unwrap().last().unwrap();
    dir.join(file_name(base, "log"))
}

#[test]
fn what_is_appended_is_read_back_across_segments_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut partition = Partition::open(dir.path(), small_segments(1024), NOW).unwrap();
    for n in 0..60 {
        assert_eq!(append(&mut partition, &batch(&[n, n + 1])), n * 2);
    }
    assert!(partition.segments.len() > 3);
    let expected: Vec<i64> = (0..60).map(|n| n * 2).collect();
    assert_eq!(batches_from(&partition, 0), expected);
    assert_eq!(batches_from(&partition, 41)[0], 40);
    for job in partition.seal_jobs().unwrap() {
        job.run().unwrap();
    }
    drop(partition);
    let mut partition = Partition::open(dir.path(), small_segments(1024), NOW).unwrap();
    assert_eq!(batches_from(&partition, 0), expected);
    assert_eq!(append(&mut partition, &batch(&[1])), 120);
}

#[test]
fn a_torn_tail_is_cut_off_at_every_byte_of_the_last_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut partition = Partition::open(dir.path(), TopicSettings::default(), NOW).unwrap();
    append(&mut partition, &batch(&[1, 2, 3]));
    append(&mut partition, &batch(&[4]));
    let first_bytes = batch(&[1, 2, 3]).len();
    let path = active_log(dir.path());
    let whole = fs::read(&path).unwrap();
    for cut in first_bytes..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let partition = Partition::open(dir.path(), TopicSettings::default(), NOW).unwrap();
        assert_eq!(partition.end(), 3, "cut at {cut}");
        assert_eq!(fs::metadata(&path).unwrap().len(), first_bytes as u64);
    }
}

#[test]
fn a_hole_left_by_a_kill_inside_a_write_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut partition = Partition::open(dir.path(), TopicSettings::default(), NOW).unwrap();
    append(&mut partition, &batch(&[1]));
    let path = active_log(dir.path());
    let good = fs::metadata(&path).unwrap().len();
    let unfinished = batch(&[2]);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&unfinished[16..], good + 16).unwrap();
    let partition = Partition::open(dir.path(), TopicSettings::default(), NOW).unwrap();
    assert_eq!((partition.end(), fs::metadata(&path).unwrap().len()), (1, good));
}

#[test]
fn damage_in_a_sealed_segment_refuses_the_start_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut partition = Partition::open(dir.path(), small_segments(1024), NOW).unwrap();
    while partition.segments.len() < 3 {
        append(&mut partition, &batch(&[1, 2]));
    }
    let first = dir.path().join(file_name(0, "log"));
    let mut bytes = fs::read(&first).unwrap();
    bytes[100] ^= 1;
    fs::write(&first, &bytes).unwrap();
    let error = Partition::open(dir.path(), small_segments(1024), NOW).unwrap_err();
    assert!(matches!(error, StartError::Damaged { position: 0, .. }), "{error}");
    assert_eq!(fs::read(&first).unwrap(), bytes);
}

#[test]
fn duplicates_are_known_after_a_restart_even_if_their_segment_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small_segments(1024);
    let sent: Vec<Vec<u8>> =
        (0..12).map(|n| Sample { timestamps: &[1], producer: (5, 0, n), value_bytes: 300 }.bytes()).collect();
    let mut partition = Partition::open(dir.path(), settings, NOW).unwrap();
    for (n, bytes) in sent.iter().enumerate() {
        assert_eq!(append(&mut partition, bytes), n as i64);
    }
    assert!(partition.segments.len() > 3);
    for job in partition.seal_jobs().unwrap() {
        job.run().unwrap();
    }
    drop(partition);
    let mut partition = Partition::open(dir.path(), settings, NOW).unwrap();
    for (n, bytes) in sent.iter().enumerate().skip(7) {
        assert_eq!(append(&mut partition, bytes), n as i64);
    }
    assert_eq!(partition.end(), 12);
    // Without the snapshot the state is rebuilt from the whole log.
    drop(partition);
    for base in list_bases(dir.path(), "producers").unwrap() {
        fs::remove_file(dir.path().join(file_name(base, "producers"))).unwrap();
    }
    let mut partition = Partition::open(dir.path(), settings, NOW).unwrap();
    assert_eq!(append(&mut partition, &sent[8]), 8);
}

#[test]
fn retention_by_size_deletes_the_oldest_segments_only() {
    let dir = tempfile::tempdir().unwrap();
    let settings = TopicSettings { retention_bytes: Some(3000), ..small_segments(1024) };
    let mut partition = Partition::open(dir.path(), settings, NOW).unwrap();
    for _ in 0..60 {
        append(&mut partition, &batch(&[1, 2]));
    }
    assert!(partition.enforce_retention(NOW).unwrap() > 0);
    let kept: u64 = partition.segments.iter().map(Segment::bytes).sum();
    assert!((3000..3000 + 1024).contains(&kept), "{kept}");
    assert_eq!(batches_from(&partition, partition.log_start())[0], partition.log_start());
    assert!(matches!(partition.slice(0, WHOLE), Err(OffsetError::OutOfRange)));
    assert_eq!(partition.enforce_retention(NOW).unwrap(), 0);
}

#[test]
fn retention_by_time_empties_the_log_and_offsets_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let settings = TopicSettings { retention_ms: Some(1000), ..small_segments(1024) };
    let mut partition = Partition::open(dir.path(), settings, NOW).unwrap();
    append(&mut partition, &batch(&[NOW - 1001, NOW - 1000]));
    assert_eq!(partition.enforce_retention(NOW).unwrap(), 0);
    assert_eq!(partition.enforce_retention(NOW + 1).unwrap(), 1);
    assert_eq!((partition.log_start(), partition.end()), (2, 2));
    drop(partition);
    let mut partition = Partition::open(dir.path(), settings, NOW).unwrap();
    assert_eq!((partition.log_start(), partition.end()), (2, 2));
    assert_eq!(append(&mut partition, &batch(&[NOW])), 2);
}

#[test]
fn a_compacted_topic_is_never_aged_out() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        TopicSettings { retention_ms: Some(1), cleanup: Cleanup::Compact, ..TopicSettings::default() };
    let mut partition = Partition::open(dir.path(), settings, NOW).unwrap();
    append(&mut partition, &batch(&[1]));
    assert_eq!(partition.enforce_retention(NOW).unwrap(), 0);
}

#[test]
fn deleted_records_stay_deleted_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut partition = Partition::open(dir.path(), small_segments(1024), NOW).unwrap();
    for _ in 0..60 {
        append(&mut partition, &batch(&[1, 2]));
    }
    assert_eq!(partition.delete_before(61).unwrap(), 61);
    assert!(matches!(partition.delete_before(121), Err(OffsetError::OutOfRange)));
    assert_eq!(partition.delete_before(5).unwrap(), 61);
    assert!(partition.enforce_retention(NOW).unwrap() > 0);
    drop(partition);
    let mut partition = Partition::open(dir.path(), small_segments(1024), NOW).unwrap();
    assert_eq!((partition.log_start(), partition.end()), (61, 120));
    assert_eq!(batches_from(&partition, 61)[0], 60);
    assert_eq!(partition.delete_before(-1).unwrap(), 120);
    partition.enforce_retention(NOW).unwrap();
    assert_eq!(append(&mut partition, &batch(&[1])), 120);
}

#[test]
fn a_waiter_is_woken_by_an_append_and_by_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let mut partition = Partition::open(dir.path(), TopicSettings::default(), NOW).unwrap();
    let waiter = Arc::new(Notify::new());
    let is_woken = |waiter: &Notify| {
        let mut woken = std::pin::pin!(waiter.notified());
        woken.as_mut().enable()
    };
    partition.wake_on_append(&waiter);
    assert!(!is_woken(&waiter));
    append(&mut partition, &batch(&[1]));
    assert!(is_woken(&waiter));
    partition.wake_on_append(&waiter);
    partition.close();
    assert!(is_woken(&waiter));
}

#[test]
fn limits_cut_a_read_but_never_below_the_first_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut partition = Partition::open(dir.path(), TopicSettings::default(), NOW).unwrap();
    append(&mut partition, &batch(&[1, 2]));
    append(&mut partition, &batch(&[3, 4]));
    let first = batch(&[1, 2]).len();
    let limit = |max_bytes, first_batch_always| ReadLimit { max_bytes, first_batch_always };
    assert_eq!(partition.slice(0, limit(first + 10, false)).unwrap().unwrap().bytes, first + 10);
    assert_eq!(partition.slice(0, limit(1, true)).unwrap().unwrap().bytes, first);
    assert!(partition.slice(0, limit(1, false)).unwrap().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The model: the log is a list of (offset, timestamp). Reads, time lookups, deletions and restarts agree with it.
    #[test]
    fn a_log_behaves_like_a_list(
        steps in proptest::collection::vec((proptest::collection::vec(0_i64..1000, 1..6), 0_u8..10), 1..60),
        probes in proptest::collection::vec((0_i64..1000, 0.0_f64..1.0), 8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let settings = small_segments(1024);
        let mut partition = Partition::open(dir.path(), settings, NOW).unwrap();
        let mut records: Vec<i64> = Vec::new();
        let mut start = 0_i64;
        for (timestamps, action) in &steps {
            match action {
                0 => {
                    drop(partition);
                    partition = Partition::open(dir.path(), settings, NOW).unwrap();
                }
                1 => {
                    start = start.midpoint(records.len() as i64);
                    prop_assert_eq!(partition.delete_before(start).unwrap(), start);
                    partition.enforce_retention(NOW).unwrap();
                }
                2 => for job in partition.seal_jobs().unwrap() { job.run().unwrap(); },
                _ => {
                    prop_assert_eq!(append(&mut partition, &batch(timestamps)), records.len() as i64);
                    records.extend(timestamps);
                }
            }
            prop_assert_eq!((partition.log_start(), partition.end()), (start, records.len() as i64));
        }
        for (time, place) in &probes {
            let expected = (start..).zip(&records[start as usize..]).find(|(_, at)| *at >= time);
            prop_assert_eq!(partition.offset_for_time(*time).unwrap(), expected.map(|(offset, at)| (offset, *at)));
            let offset = start + ((records.len() as i64 - start) as f64 * place) as i64;
            if offset < partition.end() {
                let bytes = read(&partition, offset);
                let header = BatchHeader::verify(&bytes).unwrap();
                prop_assert!(header.base_offset <= offset && offset <= header.last_offset());
            }
        }
    }
}
