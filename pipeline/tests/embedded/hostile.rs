//! Hostile DICOM sent to the running service: the right status, bounded memory, and the next good study passes.

use crate::harness::{
    association::{Answer, Association, Context, element},
    process::Place,
    studies::{make, small, submit},
};

/// What an ordinary study may add to the peak, with room: none of the objects here is larger than one.
const MOST_GROWTH: u64 = 128 << 20;
/// The same for a decode worker, which may hold a few decoded frames.
const MOST_OF_A_WORKER: u64 = 256 << 20;

const INSTANCE: &str = "1.2.826.0.1.9.1.1";

/// A small data set in explicit VR little endian.
fn data_set(instance: &[u8]) -> Vec<u8> {
    [
        element((0x0008, 0x0016), "UI", b"1.2.840.10008.5.1.4.1.1.3.1"),
        element((0x0008, 0x0018), "UI", instance),
        element((0x0008, 0x0060), "CS", b"US"),
        element((0x0020, 0x000D), "UI", b"1.2.826.0.1.9"),
        element((0x0020, 0x000E), "UI", b"1.2.826.0.1.9.1"),
    ]
    .concat()
}

/// The data set of a Part 10 file: what follows preamble, "DICM" and the meta group (PS3.10 §7.1).
fn without_meta(file: &[u8]) -> Vec<u8> {
    let length = u32::from_le_bytes(file[140..144].try_into().unwrap());
    file[144 + length as usize..].to_vec()
}

#[test]
fn hostile_objects_are_refused_with_bounded_memory() {
    let place = Place::new("attacked service");
    let folder = place.folder("sent");
    let mut service = place.start();
    let first = make(&small(30), &folder);
    submit(&first, || place.entry());
    assert_eq!(service.terminal(&first.uid).state, "reported");
    let before = service.memory("VmHWM");
    let port = service.entry().dicom.unwrap();

    // Row 1: an element that declares FFFFFFFE bytes.
    let mut endless = data_set(INSTANCE.as_bytes());
    endless.extend_from_slice(&[0xE1, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF]);
    // Row 3: sequences nested 1,800 deep.
    let mut deep = data_set(INSTANCE.as_bytes());
    for _ in 0..1_800 {
        deep.extend_from_slice(&[0x40, 0x00, 0x40, 0xA7, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        deep.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    let mut association = Association::open(port);
    for (name, data_set) in [("length FFFFFFFE", endless), ("depth 1800", deep)] {
        let answer = association.store(Context::Explicit, INSTANCE.as_bytes(), &data_set);
        assert_eq!(answer, Answer::Status(0xC000), "{name}");
    }

    // Row 35: what should be a UID leads out of the folder, is too long, or is no number.
    let too_long = "1.".repeat(40) + "1";
    for uid in ["../../etc/x", too_long.as_str(), "abc.def"] {
        let answer =
            Association::open(port).store(Context::Explicit, uid.as_bytes(), &data_set(uid.as_bytes()));
        assert!(matches!(answer, Answer::Status(0x0117) | Answer::Aborted), "{uid}: {answer:?}");
        let answer =
            Association::open(port).store(Context::Explicit, INSTANCE.as_bytes(), &data_set(uid.as_bytes()));
        assert!(matches!(answer, Answer::Status(0xC000 | 0xA900)), "{uid} inside the data set: {answer:?}");
    }
    assert!(
        !walkdir::WalkDir::new(place.data_dir()).into_iter().any(|entry| entry.unwrap().file_name() == "x")
    );

    // Row 5: many more frames declared than there are. The bytes are safe, so it is taken; the gate says what is wrong.
    let study = make(&small(31), &folder);
    let file = std::fs::read(&study.files[0]).unwrap();
    let mut data_set = without_meta(&file);
    let at = data_set.windows(6).position(|window| window == b"\x28\x00\x08\x00IS").unwrap();
    let length = u16::from_le_bytes([data_set[at + 6], data_set[at + 7]]) as usize;
    data_set.splice(at..at + 8 + length, element((0x0028, 0x0008), "IS", b"3000"));
    let instance = study.files[0].file_stem().unwrap().to_str().unwrap();
    assert_eq!(association.store(Context::Jpeg, instance.as_bytes(), &data_set), Answer::Status(0));
    assert!(crate::harness::studies::close(&service.entry(), &study.uid));
    let row = service.terminal(&study.uid);
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("rejected", Some("FRAME_COUNT_MISMATCH")));

    let next = make(&small(32), &folder);
    submit(&next, || place.entry());
    assert_eq!(service.terminal(&next.uid).state, "reported");
    let growth = service.memory("VmHWM") - before;
    let worker = service.children_peak();
    println!("peak grew by {} MiB; a decode worker held at most {} MiB", growth >> 20, worker >> 20);
    assert!(growth < MOST_GROWTH, "peak memory grew by {growth} bytes");
    assert!(worker < MOST_OF_A_WORKER, "a decode worker held {worker} bytes");
    service.stop();
}
