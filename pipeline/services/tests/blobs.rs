//! Blobs in a folder and in a remote store, through the trait that stages see.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use std::{
    fs,
    path::Path,
    sync::{Arc, Barrier},
};

use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, memory::InMemory, path::Path as Key};
use proptest::prelude::*;
use schemas::{Area, BlobRef, Digest};
use services::{CacheConfig, ObjectBlobs, OpenError};
use stage::{BlobError, Blobs as _, MemoKey};
use tempfile::TempDir;

fn folder() -> (TempDir, ObjectBlobs) {
    let dir = TempDir::new().unwrap();
    let blobs = ObjectBlobs::folder(dir.path()).unwrap();
    (dir, blobs)
}

fn remote(bound: u64) -> (TempDir, Arc<InMemory>, ObjectBlobs) {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(InMemory::new());
    let cache = CacheConfig { folder: dir.path().to_owned(), bytes: bound };
    let blobs = ObjectBlobs::remote(Arc::clone(&store) as Arc<dyn ObjectStore>, &cache).unwrap();
    (dir, store, blobs)
}

fn cached(dir: &Path) -> usize {
    fs::read_dir(dir.join("decode-cache")).unwrap().count()
}

#[test]
fn what_is_put_is_got_from_the_key_of_its_content() {
    let (dir, blobs) = folder();
    let (other, _, elsewhere) = remote(1000);
    for blobs in [&blobs, &elsewhere] {
        for bytes in [&b""[..], b"cine", &[7; 10_000]] {
            let blob = blobs.put(Area::Frames, bytes).unwrap();
            assert_eq!(blob, BlobRef::of(Area::Frames, bytes));
            assert_eq!(blobs.put(Area::Frames, bytes).unwrap(), blob);
            assert_eq!(blobs.get(&blob).unwrap(), bytes);
            assert_eq!(fs::read(blobs.local_file(&blob).unwrap().path()).unwrap(), bytes);
        }
    }
    let blob = BlobRef::of(Area::Frames, b"cine");
    assert_eq!(fs::read(dir.path().join(blob.key())).unwrap(), b"cine");
    drop(other);
}

#[test]
fn a_folder_opened_again_has_what_was_put() {
    let (dir, blobs) = folder();
    let blob = blobs.put(Area::Raw, b"kept").unwrap();
    drop(blobs);
    assert_eq!(ObjectBlobs::folder(dir.path()).unwrap().get(&blob).unwrap(), b"kept");
}

#[test]
fn absent_and_changed_content_are_told_apart() {
    let (dir, blobs) = folder();
    let absent = BlobRef::of(Area::Raw, b"never put");
    let blob = blobs.put(Area::Raw, b"content").unwrap();
    assert!(matches!(blobs.get(&absent), Err(BlobError::NotFound { key }) if key == absent.key()));
    for rotten in [&b"CONTENT"[..], b"cont", b""] {
        fs::write(dir.path().join(blob.key()), rotten).unwrap();
        assert!(matches!(blobs.get(&blob), Err(BlobError::Mismatch { key }) if key == blob.key()));
    }
    let lying = BlobRef { bytes: 1 << 50, ..blob.clone() };
    assert!(matches!(blobs.get(&lying), Err(BlobError::Mismatch { .. })));
    // Cut short, it is replaced by the next who puts it.
    blobs.put(Area::Raw, b"content").unwrap();
    assert_eq!(blobs.get(&blob).unwrap(), b"content");
}

#[test]
fn a_store_that_fails_is_unavailable() {
    let (dir, blobs) = folder();
    fs::remove_dir_all(dir.path()).unwrap();
    fs::write(dir.path(), b"no folder any more").unwrap();
    assert!(matches!(blobs.put(Area::Raw, b"x"), Err(BlobError::Unavailable { .. })));
    fs::remove_file(dir.path()).unwrap();
    assert!(matches!(ObjectBlobs::folder(Path::new("/dev/null/blobs")), Err(OpenError::Folder { .. })));
}

#[test]
fn a_store_that_is_gone_is_not_taken_for_an_empty_one() {
    let (dir, blobs) = folder();
    let blob = blobs.put(Area::Raw, b"content").unwrap();
    // As a disk that is not mounted any more: the folder is there and empty.
    fs::remove_dir_all(dir.path()).unwrap();
    fs::create_dir(dir.path()).unwrap();
    assert!(matches!(blobs.get(&blob), Err(BlobError::Unavailable { .. })));
    assert!(matches!(blobs.local_file(&blob), Err(BlobError::Unavailable { .. })));
    assert_eq!(blobs.memo(MemoKey(blob.sha256)).unwrap(), None);
    let (_other, _, elsewhere) = remote(1000);
    assert!(matches!(elsewhere.get(&blob), Err(BlobError::Unavailable { .. })));
    assert!(matches!(elsewhere.local_file(&blob), Err(BlobError::Unavailable { .. })));
}

#[test]
fn of_many_who_remember_at_once_all_go_on_with_one_answer() {
    let (_dir, blobs) = folder();
    let key = MemoKey(Digest::of(b"question"));
    assert_eq!(blobs.memo(key).unwrap(), None);
    let start = Barrier::new(8);
    let answers: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u8)
            .map(|thread| {
                let (blobs, start) = (&blobs, &start);
                scope.spawn(move || {
                    start.wait();
                    blobs.remember(key, &[thread; 1000]).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winner = blobs.memo(key).unwrap().unwrap();
    assert_eq!(winner.len(), 1000);
    assert!(answers.iter().all(|answer| *answer == winner));
    assert_eq!(blobs.remember(key, b"too late").unwrap(), winner);
}

#[test]
fn a_file_is_stored_in_parts_and_once() {
    let (dir, blobs) = folder();
    let (_other, _, elsewhere) = remote(1000);
    let content: Vec<u8> = (0..9_000_000_u32).map(|index| (index % 251) as u8).collect();
    let source = TempDir::new().unwrap();
    let file = source.path().join("cine.dcm");
    for content in [&content[..], b"", b"small"] {
        fs::write(&file, content).unwrap();
        for blobs in [&blobs, &elsewhere] {
            let blob = blobs.put_file(Area::Raw, &file).unwrap();
            assert_eq!(blob, BlobRef::of(Area::Raw, content));
            assert_eq!(blobs.put_file(Area::Raw, &file).unwrap(), blob);
            assert_eq!(blobs.get(&blob).unwrap(), content);
        }
    }
    let missing = blobs.put_file(Area::Raw, &source.path().join("missing"));
    assert!(matches!(missing, Err(BlobError::Unavailable { .. })));
    drop(dir);
}

#[test]
fn calls_may_come_from_a_thread_of_another_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (_dir, blobs) = folder();
        let blob = blobs.put(Area::Frames, b"from within").unwrap();
        assert_eq!(blobs.get(&blob).unwrap(), b"from within");
        drop(blobs);
    });
}

#[test]
fn the_local_cache_keeps_its_bound_and_what_is_in_use() {
    let (dir, _, blobs) = remote(1000);
    let put = |number: u8| blobs.put(Area::Raw, &[number; 400]).unwrap();
    let in_use = blobs.local_file(&put(1)).unwrap();
    for number in 2..6 {
        let file = blobs.local_file(&put(number)).unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), [number; 400]);
        assert!(cached(dir.path()) <= 3, "the one in use, the new one, and at most one more");
    }
    assert_eq!(fs::read(in_use.path()).unwrap(), [1; 400]);
    let large = blobs.put(Area::Raw, &[9; 5000]).unwrap();
    assert_eq!(fs::read(blobs.local_file(&large).unwrap().path()).unwrap(), [9; 5000]);
    drop(in_use);
    drop(blobs.local_file(&put(7)).unwrap());
    assert!(cached(dir.path()) <= 2);
}

#[test]
fn the_local_cache_takes_in_nothing_wrong_and_starts_empty() {
    let (dir, store, blobs) = remote(1000);
    let absent = BlobRef::of(Area::Raw, b"never put");
    let blob = blobs.put(Area::Raw, b"content").unwrap();
    assert!(matches!(blobs.local_file(&absent), Err(BlobError::NotFound { .. })));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for rotten in [&b"CONTENT"[..], b"cont"] {
        let payload = PutPayload::from(rotten.to_vec());
        runtime.block_on(store.put(&Key::from(blob.key()), payload)).unwrap();
        assert!(matches!(blobs.local_file(&blob), Err(BlobError::Mismatch { .. })));
    }
    assert_eq!(cached(dir.path()), 0);
    fs::write(dir.path().join("decode-cache/left"), b"by a crash").unwrap();
    let cache = CacheConfig { folder: dir.path().to_owned(), bytes: 1000 };
    let _again = ObjectBlobs::remote(store, &cache).unwrap();
    assert_eq!(cached(dir.path()), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_content_comes_back(contents in proptest::collection::vec(any::<Vec<u8>>(), 1..4)) {
        let (_dir, blobs) = folder();
        for bytes in &contents {
            let blob = blobs.put(Area::Quarantine, bytes).unwrap();
            prop_assert_eq!(&blobs.get(&blob).unwrap(), bytes);
        }
    }
}
