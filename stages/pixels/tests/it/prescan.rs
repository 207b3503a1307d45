//! What intake relies on.

use std::io::Cursor;

use pixels::{PrescanError, TransferSyntax, prescan_data_set, prescan_file};
use schemas::Uid;

use crate::support::{DEFLATED, EXPLICIT, Object, element, file, fixture, head, item, sequence_end};

fn image() -> Object {
    Object::new(EXPLICIT, 4, 2)
        .with(0x0010, 0x0010, "PN", b"DOE^JANE")
        .with(0x0010, 0x0020, "LO", b"MRN 77")
        .with(0x0010, 0x0030, "DA", b"19700101")
        .with(0x0008, 0x0050, "SH", b"ACC1")
        .pixels(&[0; 8])
}

#[test]
fn header_and_identity_come_apart() {
    let scanned = prescan_file(Cursor::new(image().file())).expect("scans");
    assert_eq!(scanned.header.study.as_str(), "2.25.1");
    assert_eq!(scanned.header.instance.as_str(), "2.25.3");
    assert_eq!(scanned.header.modality.as_deref(), Some("US"));
    assert_eq!(
        (scanned.header.rows, scanned.header.columns, scanned.header.frames),
        (Some(2), Some(4), Some(1))
    );
    assert!(!scanned.header.synthetic);
    assert_eq!(scanned.identity.patient_name, b"DOE^JANE");
    assert_eq!(scanned.identity.accession_number, b"ACC1");
    let shown = format!("{scanned:?}");
    for secret in ["DOE", "MRN", "1970", "ACC1"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_network_data_set_has_no_meta_header() {
    let syntax = TransferSyntax::new(Uid::new(EXPLICIT).expect("uid"));
    let scanned = prescan_data_set(Cursor::new(image().data_set()), &syntax).expect("scans");
    assert_eq!(scanned.header.data_set_offset, 0);
    assert_eq!(scanned.header.series.as_str(), "2.25.2");
}

#[test]
fn the_phantom_mark_needs_its_creator() {
    let marked = image().with(0x0099, 0x1001, "LO", b"YES");
    let synthetic =
        |object: &Object| prescan_file(Cursor::new(object.file())).expect("scans").header.synthetic;
    assert!(!synthetic(&marked));
    assert!(synthetic(&marked.with(0x0099, 0x0010, "LO", b"PRESCREEN PHANTOM")));
}

#[test]
fn deflated_data_sets_are_inflated() {
    let scanned = prescan_file(Cursor::new(fixture("image_dfl.dcm"))).expect("scans");
    assert_eq!((scanned.header.rows, scanned.header.columns), (Some(512), Some(512)));
    assert_eq!(scanned.header.transfer_syntax.uid().as_str(), DEFLATED);
}

#[test]
fn sequences_of_any_length_kind_are_walked() {
    let inner = element(0x0008, 0x0100, "SH", b"1");
    let mut undefined = head(0x0018, 0x6011, "SQ", u32::MAX);
    undefined.extend(item(&inner));
    undefined.extend(sequence_end());
    let nested = [head(0x0040, 0x0275, "SQ", item(&inner).len() as u32), item(&inner)].concat();
    let object = image().raw((0x0018, 0x6011), undefined).raw((0x0040, 0x0275), nested);
    prescan_file(Cursor::new(object.file())).expect("scans");
}

#[test]
fn every_truncation_is_told() {
    let bytes = image().file();
    for length in 0..bytes.len() {
        let scanned = prescan_file(Cursor::new(&bytes[..length]));
        // A file cut exactly between two elements is shorter, and whole as far as a walk can see.
        if let Err(error) = scanned {
            assert!(
                matches!(
                    error.code(),
                    "NOT_DICOM"
                        | "TRUNCATED"
                        | "LENGTH_BEYOND_END"
                        | "MISSING_ELEMENT"
                        | "MISSING_TRANSFER_SYNTAX"
                ),
                "{length}: {error}"
            );
        }
    }
}

#[test]
fn elements_out_of_order_or_twice_are_refused() {
    let code = |data_set: Vec<u8>| {
        prescan_file(Cursor::new(file(EXPLICIT, &data_set))).err().map_or("accepted", |error| error.code())
    };
    let uid = element(0x0008, 0x0018, "UI", b"2.25.3");
    assert_eq!(code([element(0x0010, 0x0020, "LO", b"1"), uid.clone()].concat()), "OUT_OF_ORDER");
    assert_eq!(code([uid.clone(), uid].concat()), "OUT_OF_ORDER");
}

#[test]
fn an_implicit_data_set_under_an_explicit_syntax_is_named() {
    let mut data_set = vec![0x08, 0x00, 0x16, 0x00, 0x1A, 0, 0, 0];
    data_set.extend(b"1.2.840.10008.5.1.4.1.1.7\0");
    let error = prescan_file(Cursor::new(file(EXPLICIT, &data_set))).expect_err("refused");
    assert!(matches!(error, PrescanError::InvalidVr { vr: [0x1A, 0], .. }), "{error}");
}

#[test]
fn hostile_uids_are_refused_without_being_repeated() {
    for uid in ["../../etc/x", "1.2.a", "1..2", "", &"1".repeat(65)] {
        let object = image().with(0x0020, 0x000D, "UI", uid.as_bytes());
        let error = prescan_file(Cursor::new(object.file())).expect_err(uid);
        assert!(matches!(error.code(), "INVALID_UID" | "MISSING_ELEMENT"), "{uid}: {error}");
        assert!(!error.to_string().contains("etc"));
    }
    let padded = image().with(0x0020, 0x000D, "UI", b"2.25.1 ");
    assert_eq!(prescan_file(Cursor::new(padded.file())).expect("padding").header.study.as_str(), "2.25.1");
}
