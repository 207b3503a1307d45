//! A kill at each step, made as the state that it leaves on disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use intake::{Intake, IntakeMetrics, JournalError, Novelty, StartError};
use prometheus::Registry;
use schemas::{Revision, RunId};
use support::{Event, Object, Publishing, config, files, snapshot, start};

fn start_error(directory: &Path) -> StartError {
    let metrics = IntakeMetrics::new(&Registry::new()).unwrap();
    match Intake::start(config(directory), metrics, jiff::Timestamp::now()) {
        Ok(_) => panic!("it starts"),
        Err(error) => error,
    }
}

fn journal(directory: &Path) -> PathBuf {
    directory.join("journal")
}

#[test]
fn open_studies_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    running.receive(&Object::new("1", "1")).unwrap();
    running.receive(&Object::new("1", "2")).unwrap();
    running.receive(&Object::new("2", "1")).unwrap();
    let before = running.intake.open_studies().unwrap();
    assert_eq!(before.len(), 2);
    running.end();
    let running = start(folder.path());
    assert_eq!(running.intake.open_studies().unwrap(), before);
    assert_eq!(running.receive(&Object::new("1", "1")).unwrap().novelty, Novelty::Duplicate);
    running.end();
}

#[test]
fn a_torn_last_line_is_cut_and_the_rest_kept() {
    let folder = tempfile::tempdir().unwrap();
    for torn in [&b"[{\"received\":{\"stu"[..], b"[{\"closed\"\n", b"\0\0\0\0\0\0", b"\n"] {
        let directory = folder.path().join(torn.len().to_string());
        let running = start(&directory);
        running.receive(&Object::new("1", "1")).unwrap();
        running.end();
        fs::OpenOptions::new().append(true).open(journal(&directory)).unwrap().write_all(torn).unwrap();
        let running = start(&directory);
        assert_eq!(running.intake.open_studies().unwrap()[0].instances, 1);
        running.receive(&Object::new("1", "2")).unwrap();
        running.end();
        let running = start(&directory);
        assert_eq!(
            running.intake.open_studies().unwrap()[0].instances,
            2,
            "what came after the cut is readable"
        );
        running.end();
    }
}

#[test]
fn a_damaged_line_before_the_last_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    running.receive(&Object::new("1", "1")).unwrap();
    running.receive(&Object::new("1", "2")).unwrap();
    running.end();
    let mut bytes = fs::read(journal(folder.path())).unwrap();
    bytes[3] = 0xFF;
    fs::write(journal(folder.path()), bytes).unwrap();
    assert!(matches!(start_error(folder.path()), StartError::Journal(JournalError::Damaged { line: 1 })));
}

#[test]
fn temporary_files_go_and_an_object_without_an_entry_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    running.receive(&Object::new("1", "1")).unwrap();
    running.end();
    fs::write(folder.path().join("incoming/half"), b"half an object").unwrap();
    // Killed between rename and journal line: nobody was answered.
    let orphan = schemas::Digest::of(b"renamed").to_string();
    fs::write(folder.path().join("objects").join(&orphan), b"renamed").unwrap();
    let running = start(folder.path());
    assert_eq!(running.files("incoming").len(), 0);
    assert_eq!(running.files("objects").len(), 1);
    let expected = folder.path().join("quarantine").join(format!("{orphan}_ORPHAN"));
    assert_eq!(running.files("quarantine"), [expected]);
    running.end();
}

#[test]
fn an_acknowledged_object_that_is_gone_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    running.receive(&Object::new("1", "1")).unwrap();
    running.end();
    fs::remove_file(&files(folder.path(), "objects")[0]).unwrap();
    assert!(matches!(start_error(folder.path()), StartError::Lost { count: 1 }));
}

#[test]
fn a_second_process_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    assert!(matches!(start_error(folder.path()), StartError::Journal(JournalError::Locked(_))));
    running.end();
}

/// Killed after the announcement and before the journal mark: announced again, under the same id, and then done.
#[test]
fn what_was_announced_but_not_marked_is_announced_again_with_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, killed) = (folder.path().join("spool"), folder.path().join("killed"));
    let running = start(&spool);
    let object = Object::new("1", "1");
    running.receive(&object).unwrap();
    running.intake.close_study(&object.study_uid()).unwrap();
    let (from, to) = (spool.clone(), killed.clone());
    let answer = move |event: &Event| {
        if matches!(event, Event::Identity(..)) {
            snapshot(&from, &to);
        }
        Ok(())
    };
    let publishing = Publishing::start_with(&running.intake, Box::new(answer));
    let (_, first) = publishing.acquired();
    publishing.identity();
    publishing.end();
    running.end();

    let running = start(&killed);
    let publishing = Publishing::start(&running.intake);
    let (message, again) = publishing.acquired();
    assert_eq!(again, first);
    assert_eq!(message.study.revision, Revision::FIRST);
    publishing.identity();
    publishing.end();
    assert_eq!(running.files("objects").len(), 0);
    running.end();
    let manifest = schemas::manifest_digest(&message.instances).to_string();
    assert_eq!(again, schemas::event_id(&RunId::live(), "intake", &[&object.study, "1", &manifest]));
}

/// Killed between the mark and the removal of the object, and between the archive and the mark.
#[test]
fn a_half_done_settlement_is_finished_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, killed) = (folder.path().join("spool"), folder.path().join("killed"));
    let running = start(&spool);
    let object = Object::new("1", "1");
    running.receive(&object).unwrap();
    running.intake.close_study(&object.study_uid()).unwrap();
    snapshot(&spool, &killed);
    let publishing = Publishing::start(&running.intake);
    publishing.identity();
    publishing.end();
    running.end();

    // The mark is there, the object too.
    let marked = folder.path().join("marked");
    snapshot(&spool, &marked);
    fs::copy(
        &files(&killed, "objects")[0],
        marked.join("objects").join(files(&killed, "objects")[0].file_name().unwrap()),
    )
    .unwrap();
    let running = start(&marked);
    assert_eq!((running.files("objects").len(), running.files("quarantine").len()), (0, 0));
    assert_eq!(running.receive(&object).unwrap().novelty, Novelty::Duplicate, "it is still known");
    running.end();

    // The archive is there, the mark is not: the journal decides, and the revision is published once more.
    fs::copy(
        &files(&spool, "archive")[0],
        killed.join("archive").join(files(&spool, "archive")[0].file_name().unwrap()),
    )
    .unwrap();
    let running = start(&killed);
    let publishing = Publishing::start(&running.intake);
    assert_eq!(publishing.acquired().0.study.revision, Revision::FIRST);
    publishing.identity();
    publishing.end();
    running.end();
}
