//! Real deaths of the process: this test binary runs itself as the worker.

use std::{
    collections::BTreeSet,
    io::Read as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use prometheus::Registry;
use runtime::{
    Client, Exit, LogKey, Metrics, PauseSwitch, Run, RunSettings, Shutdown, Solitude, StageRun, run_stage,
};
use schemas::{Cause, Message, StudyAccepted, StudyAcquired};
use stage::{
    Services,
    testing::{MemoryBlobs, MemoryFrames},
};

use crate::{
    scripted::{Script, Scripted, accepted},
    world::{Got, World, uid, until},
};

const BOOTSTRAP: &str = "RUNTIME_TEST_BOOTSTRAP";
const STATE: &str = "RUNTIME_TEST_STATE";

fn spawn(world: &World) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::worker_process", "--ignored", "--nocapture"])
        .env(BOOTSTRAP, &world.client.bootstrap)
        .env(STATE, world.state_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The worker: four threads; study 3 kills the process. Drains when its standard input ends.
#[test]
#[ignore = "started by the tests of this module, as a process of its own"]
fn worker_process() {
    let (Some(bootstrap), Some(state)) = (std::env::var_os(BOOTSTRAP), std::env::var_os(STATE)) else {
        return;
    };
    let mut client = Client::new(bootstrap.into_string().unwrap());
    // A static member that comes back takes its partitions at once.
    client.properties.insert("group.instance.id".to_owned(), "worker".to_owned());
    let mut settings = RunSettings::new(PathBuf::from(state));
    settings.workers = 4;
    settings.commit_every = Duration::from_millis(20);
    let shutdown = Shutdown::new();
    let script = Script::new(|input, _| {
        if input.study().study_uid.as_str() == uid(3) {
            std::thread::sleep(Duration::from_millis(50));
            std::process::abort();
        }
        std::thread::sleep(Duration::from_millis(50));
        Ok(accepted(input))
    });
    let run = Run {
        client,
        group: "prescreen.scripted".to_owned(),
        blobs: Arc::new(MemoryBlobs::default()),
        settings,
        metrics: Metrics::register(&Registry::new()).unwrap(),
        log_key: LogKey::new(b"test"),
        shutdown: shutdown.clone(),
        pause: PauseSwitch::default(),
        solitude: Solitude::default(),
    };
    let stage = StageRun::<Scripted> {
        run,
        config: script.config(),
        services: Services::without_model(),
        frames: Arc::new(MemoryFrames::default()),
    };
    std::thread::spawn(move || {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        shutdown.drain();
    });
    assert!(matches!(run_stage(stage), Exit::Drained));
}

#[test]
fn a_record_that_kills_its_worker_is_given_up_after_three_deaths_and_takes_nobody_along() {
    let world = World::new(1);
    world.publish_routine(0..12);
    for death in 1..=3 {
        let mut child = spawn(&world);
        until("the record kills the process", || child.try_wait().unwrap().is_some());
        assert!(!child.wait().unwrap().success(), "death {death}");
    }
    let mut last = spawn(&world);
    let letters = world.read(&StudyAcquired::TOPIC.dead_letters(), 1);
    until("all others have an output", || {
        let outputs = world.read_all(StudyAccepted::TOPIC.name);
        (0..12).filter(|n| *n != 3).all(|n| outputs.iter().any(|output| output.uid() == uid(n)))
    });
    drop(last.stdin.take());
    assert!(last.wait().unwrap().success(), "the survivor drains");
    let letter = letters[0].dead_letter();
    assert_eq!((letter.cause, letter.offset, letter.attempts), (Cause::WorkerCrash, 3, 3));
    assert_eq!(
        world.read_all(&StudyAcquired::TOPIC.dead_letters()).len(),
        1,
        "innocent records were in flight, too"
    );
}

#[test]
fn workers_killed_at_any_moment_lose_nothing() {
    const STUDIES: std::ops::Range<u32> = 100..300;
    let world = World::new(2);
    world.publish_routine(STUDIES);
    let done =
        || world.read_all(StudyAccepted::TOPIC.name).iter().map(Got::uid).collect::<BTreeSet<_>>().len();
    let mut child = spawn(&world);
    for _ in 0..4 {
        // Past the suspects of the last death, which are done one by one: killed at each of them, one would be given
        // up.
        let enough = (done() + 9).min(STUDIES.len());
        until("there is progress", || done() >= enough);
        child.kill().unwrap();
        child.wait().unwrap();
        child = spawn(&world);
    }
    until("every study has an output", || done() == STUDIES.len());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(world.read_all(&StudyAcquired::TOPIC.dead_letters()).len(), 0);
}
