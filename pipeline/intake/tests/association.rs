//! The SCP and the SCU against each other: what is stored, and what each status means.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "support/raw.rs"]
mod raw;
mod support;

use std::{fs, io::Cursor, thread};

use dicom_ul::pdu::{AssociationRJServiceUserReason, AssociationRJSource, PDataValueType, Pdu};
use intake::scp::Access;
use raw::{Raw, command, command_for, context, number, request, store_command, store_context};
use schemas::NotAnalysable::{NotAnImage, OwnResult, TransferSyntax};
use support::{
    COMPREHENSIVE_3D_SR, EXPLICIT, H264, IMPLICIT, JPEG, Object, Publishing, Serving, US_MULTIFRAME,
    VERIFICATION, config, peer, scp_config, start, start_with,
};

#[test]
fn what_the_scu_sends_is_stored_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join("spool"));
    let serving = Serving::start(&running.intake);
    let noise: Vec<u8> = (0..3_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let objects = [
        Object::new("1", "1").with_pixels(noise),
        Object::new("1", "2"),
        Object {
            sop_class: COMPREHENSIVE_3D_SR.to_owned(),
            modality: "SR".to_owned(),
            pixels: None,
            ..Object::new("1", "3")
        },
    ];
    let files: Vec<_> = objects.iter().map(|object| object.write(folder.path())).collect();
    assert_eq!(serving.send(&files).unwrap(), [0, 0, 0]);

    let stored: Vec<_> = running.files("objects").iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(stored.len(), 3);
    for object in &objects {
        let found = stored.iter().any(|bytes| {
            let header = pixels::prescan_file(Cursor::new(bytes)).unwrap().header;
            bytes[header.data_set_offset as usize..] == object.data_set()
        });
        assert!(found, "data set of {} is not in the spool as it was sent", object.instance);
    }
    assert_eq!(running.files("incoming"), Vec::<std::path::PathBuf>::new());
    assert_eq!(running.intake.open_studies().unwrap()[0].instances, 3);
    serving.end();
    running.end();
}

#[test]
fn an_echo_is_answered_and_other_operations_are_0211() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let mut raw = store_context(serving.address);
    let simple = |field| command(&[(0x0100, number(field)), (0x0110, number(1)), (0x0800, number(0x0101))]);
    raw.value(3, PDataValueType::Command, true, &simple(0x0030));
    assert_eq!(raw.status(), 0x0000);
    // C-FIND with an identifier, C-MOVE without one, N-CREATE; then the association is still good.
    let with_data = command(&[(0x0100, number(0x0020)), (0x0110, number(2)), (0x0800, number(0x0001))]);
    assert_eq!(raw.store(1, &with_data, &[1, 2, 3, 4]), 0x0211);
    for field in [0x0021, 0x0140] {
        raw.value(1, PDataValueType::Command, true, &simple(field));
        assert_eq!(raw.status(), 0x0211);
    }
    let object = Object::new("1", "1");
    assert_eq!(raw.store(1, &command_for(&object), &object.data_set()), 0x0000);
    raw.send(&Pdu::ReleaseRQ);
    assert_eq!(raw.receive(), Some(Pdu::ReleaseRP));
    serving.end();
    running.end();
}

#[test]
fn only_listed_peers_get_an_association() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut config = scp_config();
    config.peers[0].address = Some([192, 0, 2, 1].into());
    config.peers.push(peer("ANYWHERE", Access::Store));
    let serving = Serving::start_with(&running.intake, config);
    let answer = |calling: &str, called: &str| {
        let contexts = vec![context(1, VERIFICATION, &[IMPLICIT])];
        Raw::associate(serving.address, request(calling, called, contexts)).1.unwrap()
    };
    let reason = |pdu: Pdu| match pdu {
        Pdu::AssociationRJ(rejected) => rejected.source,
        other => panic!("{other:?}"),
    };
    let calling =
        AssociationRJSource::ServiceUser(AssociationRJServiceUserReason::CallingAETitleNotRecognized);
    let called = AssociationRJSource::ServiceUser(AssociationRJServiceUserReason::CalledAETitleNotRecognized);
    assert_eq!(reason(answer("STRANGER", "PRESCREEN")), calling);
    assert_eq!(reason(answer("MODALITY", "PRESCREEN")), calling, "the right title from the wrong address");
    assert_eq!(reason(answer("ANYWHERE", "OTHER")), called);
    assert!(matches!(answer("ANYWHERE", "PRESCREEN"), Pdu::AssociationAC(_)));
    serving.end();
    let name = "prescreen_dicom_associations_rejected_total";
    assert_eq!(running.metric(name, Some("calling_ae_title")), 2.0);
    assert_eq!(running.metric(name, Some("called_ae_title")), 1.0);
    running.end();
}

#[test]
fn statuses_tell_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let mut raw = store_context(serving.address);
    let object = Object::new("1", "1");
    let data_set = object.data_set();
    assert_eq!(
        raw.store(1, &store_command(US_MULTIFRAME, b"1.2.3"), &data_set),
        0xA900,
        "other instance than announced"
    );
    assert_eq!(
        raw.store(1, &store_command(COMPREHENSIVE_3D_SR, b"1.2.3"), &data_set),
        0xA900,
        "other class than the context"
    );
    let other_class = Object { sop_class: COMPREHENSIVE_3D_SR.to_owned(), ..object.clone() };
    assert_eq!(
        raw.store(1, &command_for(&object), &other_class.data_set()),
        0xA900,
        "other class in the data set"
    );
    for hostile in [&b"../../etc/x"[..], b"", b"1.2.abc", &[b'1'; 65], b"1..2"] {
        assert_eq!(raw.store(1, &store_command(US_MULTIFRAME, hostile), &data_set), 0x0117);
    }
    assert_eq!(
        raw.store(3, &command_for(&object), &data_set),
        0x0122,
        "a verification context stores nothing"
    );
    assert_eq!(raw.store(1, &command_for(&object), &data_set[..data_set.len() - 9]), 0xC000, "truncated");
    assert_eq!(running.files("objects").len() + running.files("incoming").len(), 0);
    // Trailing padding is legal (PS3.5 §6.2).
    let padded = [object.instance.as_bytes(), b"\0\0"].concat();
    assert_eq!(raw.store(1, &store_command(US_MULTIFRAME, &padded), &data_set), 0x0000);

    let contexts = vec![context(1, US_MULTIFRAME, &[EXPLICIT])];
    let (mut monitor, _) = Raw::associate(serving.address, request("MONITOR", "PRESCREEN", contexts));
    assert_eq!(monitor.store(1, &command_for(&object), &data_set), 0x0124);
    serving.end();
    running.end();
}

#[test]
fn the_same_object_twice_is_one_and_another_under_its_uid_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let object = Object::new("1", "1");
    let other = object.clone().with_pixels(vec![8; 64]);
    let mut raw = store_context(serving.address);
    assert_eq!(raw.store(1, &command_for(&object), &object.data_set()), 0x0000);
    assert_eq!(raw.store(1, &command_for(&object), &object.data_set()), 0x0000);
    assert_eq!(raw.store(1, &command_for(&other), &other.data_set()), 0xC111);
    assert_eq!(running.files("objects").len(), 1);
    let quarantine = running.files("quarantine");
    assert_eq!(quarantine.len(), 1);
    assert!(quarantine[0].to_str().unwrap().ends_with("_CONFLICT"));
    assert_eq!(running.metric("prescreen_intake_quarantined_total", Some("CONFLICT")), 1.0);
    assert_eq!(running.metric("prescreen_intake_objects_total", Some("DUPLICATE")), 1.0);
    serving.end();
    running.end();
}

#[test]
fn the_same_uid_on_many_associations_at_once_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let object = Object::new("1", "1");
    let statuses: Vec<u16> = thread::scope(|scope| {
        let store = |pixels: u8| {
            let object = object.clone().with_pixels(vec![pixels; 50_000]);
            let mut raw = store_context(serving.address);
            raw.store(1, &command_for(&object), &object.data_set())
        };
        // Two contents under one UID, four times each.
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || store(n % 2))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 0).count(), 4);
    assert_eq!(statuses.iter().filter(|status| **status == 0xC111).count(), 4);
    assert_eq!(running.files("objects").len(), 1);
    assert_eq!(running.intake.open_studies().unwrap()[0].instances, 1);
    serving.end();
    running.end();
}

#[test]
fn a_full_disk_is_a700_and_an_object_over_the_limit_too() {
    let folder = tempfile::tempdir().unwrap();
    let object = Object::new("1", "1").with_pixels(vec![1; 3_000_000]);
    for (name, limits) in [
        ("no room", intake::IntakeConfig { min_free: u64::MAX, ..config(&folder.path().join("a")) }),
        ("too large", intake::IntakeConfig { max_object: 2_000_000, ..config(&folder.path().join("b")) }),
    ] {
        let running = start_with(limits);
        let serving = Serving::start(&running.intake);
        let mut raw = store_context(serving.address);
        assert_eq!(raw.store(1, &command_for(&object), &object.data_set()), 0xA700, "{name}");
        assert_eq!(running.files("incoming").len(), 0, "{name}");
        serving.end();
        running.end();
    }
}

#[test]
fn what_nobody_can_decode_is_stored_and_announced_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join("spool"));
    let serving = Serving::start(&running.intake);
    let video = Object { transfer_syntax: H264.to_owned(), ..Object::new("1", "1") };
    let report = Object {
        sop_class: COMPREHENSIVE_3D_SR.to_owned(),
        modality: "SR".to_owned(),
        pixels: None,
        ..Object::new("1", "2")
    };
    let own_series = intake::result_series_uid(&video.study_uid(), "OT").unwrap().to_string();
    let own = Object { series: own_series, modality: "OT".to_owned(), ..Object::new("1", "3") };
    let cine = Object { transfer_syntax: JPEG.to_owned(), ..Object::new("1", "4") };
    let files: Vec<_> =
        [&video, &report, &own, &cine].iter().map(|object| object.write(folder.path())).collect();
    assert_eq!(serving.send(&files).unwrap(), [0; 4]);
    running.intake.close_study(&video.study_uid()).unwrap();
    let publishing = Publishing::start(&running.intake);
    let (message, _) = publishing.acquired();
    let reasons: Vec<_> = message.instances.iter().map(|instance| instance.not_analysable).collect();
    assert_eq!(reasons, [Some(TransferSyntax), Some(NotAnImage), Some(OwnResult), None]);
    assert_eq!(message.study.domain, schemas::Domain::Echo);
    publishing.end();
    serving.end();
    running.end();
}
