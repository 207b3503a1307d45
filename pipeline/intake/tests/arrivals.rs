//! What is offered while a study is still open, and that offering never costs a study anything.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::{fs, time::Duration};

use crossbeam_channel::RecvTimeoutError;
use intake::Novelty;
use schemas::{Area, BlobRef, NotAnalysable, Priority, Protocol, Revision};
use stage::{BlobError, Blobs as _, testing::MemoryBlobs};
use support::{
    COMPREHENSIVE_3D_SR, EXPLICIT, H264, Object, PATIENCE, Publishing, Serving, peer, scp_config, start,
};

const OFFERS: &str = "prescreen_arrival_offers_total";

#[test]
fn a_stored_instance_is_offered_with_who_sent_it_and_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let arrivals = running.intake.arrivals(4).unwrap();
    let mut config = scp_config();
    let urgent =
        intake::scp::Peer { priority: Priority::Urgent, ..peer("MODALITY", intake::scp::Access::Store) };
    config.peers = vec![urgent];
    let serving = Serving::start_with(&running.intake, config);
    let object = Object { synthetic: true, ..Object::new("1", "1") };
    let sent = tempfile::tempdir().unwrap();
    assert_eq!(serving.send(&[object.write(sent.path())]).unwrap(), [0]);

    let arrival = arrivals.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (arrival.from.protocol, arrival.from.ae_title.as_deref()),
        (Protocol::CStore, Some("MODALITY"))
    );
    assert_eq!(arrival.study.study_uid, object.study_uid());
    assert_eq!((arrival.study.revision, arrival.study.priority), (Revision::FIRST, Priority::Urgent));
    assert!(arrival.study.synthetic);
    assert_eq!(arrival.instance.instance_uid.as_str(), object.instance);
    let blobs = MemoryBlobs::default();
    arrival.put(&blobs).unwrap();
    arrival.put(&blobs).unwrap();
    let stored = blobs.get(&arrival.instance.blob).unwrap();
    assert!(stored.ends_with(&object.data_set()), "the data set as received");
    serving.end();
    running.end();
}

#[test]
fn a_gate_that_does_not_keep_up_costs_words_and_neither_time_nor_studies() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    // Nobody ever takes from it.
    let arrivals = running.intake.arrivals(1).unwrap();
    for number in 0..50 {
        let receipt = running.receive(&Object::new("1", &number.to_string())).unwrap();
        assert_eq!(receipt.novelty, Novelty::Stored);
    }
    assert_eq!(running.intake.open_studies().unwrap()[0].instances, 50);
    assert_eq!(running.metric(OFFERS, Some("offered")), 1.0);
    assert_eq!(running.metric(OFFERS, Some("skipped")), 49.0);
    assert_eq!(arrivals.len(), 1);

    // A gate that is gone altogether is no reason either.
    drop(arrivals);
    running.receive(&Object::new("1", "50")).unwrap();
    running.intake.close_study(&Object::new("1", "0").study_uid()).unwrap();
    let publishing = Publishing::start(&running.intake);
    assert_eq!(publishing.acquired().0.instances.len(), 51, "every instance is in the study");
    publishing.end();
    running.end();
}

#[test]
fn only_what_may_be_a_cine_is_offered_and_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let arrivals = running.intake.arrivals(16).unwrap();
    let report = Object {
        sop_class: COMPREHENSIVE_3D_SR.to_owned(),
        modality: "SR".to_owned(),
        pixels: None,
        transfer_syntax: EXPLICIT.to_owned(),
        ..Object::new("1", "1")
    };
    let slide = Object { modality: "SM".to_owned(), ..Object::new("2", "1") };
    let video = Object { transfer_syntax: H264.to_owned(), ..Object::new("3", "1") };
    for object in [&report, &slide, &video, &video] {
        running.receive(object).unwrap();
    }
    let arrival = arrivals.recv_timeout(PATIENCE).unwrap();
    assert_eq!(arrival.study.study_uid, video.study_uid());
    assert_eq!(arrival.instance.not_analysable, Some(NotAnalysable::TransferSyntax));
    assert_eq!(arrival.from.ae_title, None);
    // The owner answers in order: after this question nothing is on its way any more.
    running.intake.open_studies().unwrap();
    assert!(matches!(arrivals.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)));
    running.end();
}

#[test]
fn a_late_look_finds_the_bytes_where_the_publisher_put_them_and_damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let arrivals = running.intake.arrivals(2).unwrap();
    let (published, rotten) = (Object::new("1", "1"), Object::new("2", "1"));
    running.receive(&published).unwrap();
    running.intake.close_study(&published.study_uid()).unwrap();
    let publishing = Publishing::start(&running.intake);
    publishing.identity();
    publishing.end();
    assert_eq!(running.files("objects").len(), 0, "the publisher is done with it");
    let arrival = arrivals.recv_timeout(PATIENCE).unwrap();
    let blobs = MemoryBlobs::default();
    arrival.put(&blobs).unwrap();
    assert_eq!(arrival.instance.blob, BlobRef::of(Area::Raw, &published.file()));

    running.receive(&rotten).unwrap();
    fs::write(&running.files("objects")[0], b"rotten").unwrap();
    let arrival = arrivals.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(arrival.put(&blobs), Err(BlobError::Mismatch { .. })));
    running.end();
}
