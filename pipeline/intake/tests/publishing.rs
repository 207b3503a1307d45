//! From the spool to the rest of the system, which may be down.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::fs;

use intake::{AnnounceError, Novelty, Refusal};
use schemas::{Area, BlobRef, Cause, CompletionRule, Priority, Revision};
use stage::Blobs as _;
use support::{Event, Object, Publishing, config, script, start, start_with};

fn unavailable() -> Result<(), AnnounceError> {
    Err(AnnounceError::Unavailable("connection refused".into()))
}

#[test]
fn a_study_reaches_blobs_broker_and_identity_and_leaves_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let object = Object { synthetic: true, ..Object::new("1", "1") };
    running.receive(&object).unwrap();
    assert_eq!(running.intake.close_study(&object.study_uid()).unwrap(), Some(Revision::FIRST));
    assert_eq!(running.intake.close_study(&object.study_uid()).unwrap(), None, "it is not open any more");
    let publishing = Publishing::start(&running.intake);
    let (message, _) = publishing.acquired();
    assert_eq!(message.completion.rule, CompletionRule::Forced);
    assert!(message.study.synthetic);
    assert_eq!(message.instances[0].blob, BlobRef::of(Area::Raw, &object.file()));
    assert_eq!(publishing.blobs.get(&message.instances[0].blob).unwrap(), object.file());
    let (study, identity) = publishing.identity();
    assert_eq!(study, object.study_uid());
    assert_eq!(identity.patient_id, b"SECRET-1");
    publishing.end();
    assert_eq!(running.files("objects").len(), 0);
    let left = fs::read_to_string(folder.path().join("journal")).unwrap();
    assert!(!left.contains("Hidden") && !left.contains("SECRET"), "the journal names no patient");
    running.end();
}

#[test]
fn what_is_down_is_waited_for_and_intake_goes_on_answering() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let object = Object::new("1", "1");
    running.receive(&object).unwrap();
    running.intake.close_study(&object.study_uid()).unwrap();
    let (failed, failures) = crossbeam_channel::bounded(100_000);
    let (up, is_up) = crossbeam_channel::bounded::<()>(1);
    let down = move |_: &support::Event| match is_up.try_recv() {
        Err(crossbeam_channel::TryRecvError::Empty) => {
            failed.send(()).unwrap();
            unavailable()
        }
        _ => Ok(()),
    };
    let publishing = Publishing::start_with(&running.intake, Box::new(down));
    for number in 0..5 {
        failures.recv_timeout(support::PATIENCE).unwrap();
        let receipt = running.receive(&Object::new("2", &number.to_string())).unwrap();
        assert_eq!(receipt.novelty, Novelty::Stored, "while the broker is down");
    }
    drop(up);
    assert_eq!(publishing.acquired().0.study.study_uid, object.study_uid());
    publishing.identity();
    publishing.end();
    assert!(running.metric("prescreen_intake_publish_failures_total", Some("broker")) >= 5.0);
    running.end();
}

#[test]
fn a_database_that_is_down_repeats_the_event_under_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let object = Object::new("1", "1");
    running.receive(&object).unwrap();
    running.intake.close_study(&object.study_uid()).unwrap();
    let publishing = Publishing::start_with(&running.intake, script(vec![Ok(()), unavailable()]));
    let (first, id) = publishing.acquired();
    let (second, again) = publishing.acquired();
    assert_eq!((first, id), (second, again));
    publishing.identity();
    publishing.end();
    running.end();
}

#[test]
fn a_refused_revision_is_set_aside_and_the_next_study_has_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let (poison, good) = (Object::new("1", "1"), Object::new("2", "1"));
    for object in [&poison, &good] {
        running.receive(object).unwrap();
        running.intake.close_study(&object.study_uid()).unwrap();
    }
    let (too_large, mut outages) = (poison.study_uid(), 2);
    let answer = move |event: &Event| match event {
        Event::Acquired(message, _) if message.study.study_uid == too_large => {
            Err(AnnounceError::Refused("message too large".into()))
        }
        // The broker is down when the dead letter is due: it is waited for.
        Event::Refused(..) if outages > 0 => {
            outages -= 1;
            unavailable()
        }
        _ => Ok(()),
    };
    let publishing = Publishing::start_with(&running.intake, Box::new(answer));
    let (study, _, cause, detail) = publishing.refused();
    assert_eq!((study, cause), (poison.study_uid(), Cause::Invalid), "its study ends as a dead letter");
    assert!(detail.contains("message too large"), "{detail}");
    assert_eq!(publishing.acquired().0.study.study_uid, good.study_uid());
    publishing.identity();
    publishing.end();
    let quarantine = running.files("quarantine");
    assert_eq!(fs::read(&quarantine[0]).unwrap(), poison.file());
    assert_eq!((quarantine.len(), running.files("objects").len()), (1, 0));
    running.end();
    // A restart does not try it again.
    let running = start(folder.path());
    assert_eq!((running.files("quarantine").len(), running.files("objects").len()), (1, 0));
    running.end();
}

#[test]
fn a_late_instance_makes_a_second_revision_with_every_instance() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let (first, late) = (Object::new("1", "1"), Object::new("1", "2"));
    running.receive(&first).unwrap();
    running.intake.close_study(&first.study_uid()).unwrap();
    let publishing = Publishing::start(&running.intake);
    let (_, first_id) = publishing.acquired();
    publishing.identity();
    publishing.end();
    running.end();

    // The study sent again the next day, after a restart, with one more loop.
    let running = start(folder.path());
    assert_eq!(running.receive(&first).unwrap().novelty, Novelty::Duplicate);
    assert_eq!(running.intake.open_studies().unwrap(), [], "a duplicate opens nothing");
    assert_eq!(fs::read(folder.path().join("journal")).unwrap(), b"", "and leaves no trace in the journal");
    assert_eq!(running.receive(&late).unwrap().novelty, Novelty::Stored);
    assert!(matches!(running.receive(&first.clone().with_pixels(vec![9; 64])), Err(Refusal::Conflict)));
    running.intake.close_study(&late.study_uid()).unwrap();
    let publishing = Publishing::start(&running.intake);
    let (message, second_id) = publishing.acquired();
    publishing.identity();
    assert_eq!((message.study.revision, message.instances.len()), (Revision(2), 2));
    assert_ne!(first_id, second_id);
    publishing.end();
    running.end();
}

#[test]
fn a_quiet_study_closes_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.completion.quiet = std::time::Duration::from_millis(1);
    let running = start_with(config);
    running.receive(&Object::new("1", "1")).unwrap();
    let publishing = Publishing::start(&running.intake);
    let (message, _) = publishing.acquired();
    assert_eq!(message.completion.rule, CompletionRule::IdleTimeout);
    assert_eq!(message.study.priority, Priority::Routine);
    publishing.end();
    running.end();
}

#[test]
fn a_phantom_does_not_join_a_patients_study() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    running.receive(&Object::new("1", "1")).unwrap();
    let phantom = Object { synthetic: true, ..Object::new("1", "2") };
    assert!(matches!(running.receive(&phantom), Err(Refusal::SyntheticMix)));
    assert_eq!(running.files("quarantine").len(), 1);
    running.end();
}

#[test]
fn an_object_that_rots_in_the_spool_is_never_published() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let (rotten, good) = (Object::new("1", "1"), Object::new("2", "1"));
    running.receive(&rotten).unwrap();
    fs::write(&running.files("objects")[0], b"rotten").unwrap();
    running.receive(&good).unwrap();
    for object in [&rotten, &good] {
        running.intake.close_study(&object.study_uid()).unwrap();
    }
    let publishing = Publishing::start(&running.intake);
    let (study, _, cause, _) = publishing.refused();
    assert_eq!((study, cause), (rotten.study_uid(), Cause::ObjectMismatch));
    assert_eq!(publishing.acquired().0.study.study_uid, good.study_uid());
    publishing.identity();
    publishing.end();
    assert_eq!(running.metric("prescreen_intake_quarantined_total", Some("OBJECT_DAMAGED")), 1.0);
    running.end();
}
