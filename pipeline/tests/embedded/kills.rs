//! SIGKILL: what was acknowledged is never lost, what is done twice shows once, and a record that kills is put aside.

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::harness::{
    PATIENCE, eventually,
    flight::STAGES,
    process::{Place, Service},
    studies::{make, small, submit},
    topic::records,
};

const STUDIES: u64 = 12;
const KILLS: usize = 5;

/// Records that stage workers have taken in this life of the process.
fn received(service: &Service) -> f64 {
    STAGES
        .iter()
        .map(|stage| service.metric("prescreen_stage_received_total", &format!("stage=\"{stage}\"")))
        .sum()
}

#[test]
fn no_study_is_lost_when_the_service_is_killed_again_and_again() {
    let place = Place::new("killed service");
    let folder = place.folder("sent");
    let random = &mut ChaCha8Rng::seed_from_u64(3);
    let (mut felt, mut taken) = (0, 0.0);
    let (mut service, sent) = thread::scope(|scope| {
        let modality = scope.spawn(|| {
            let send = |seed| {
                let study = make(&small(seed), &folder);
                submit(&study, || place.entry());
                study.uid
            };
            (0..STUDIES).map(send).collect::<Vec<String>>()
        });
        let mut service = place.start();
        for _ in 0..KILLS {
            // Something ends in each life, so that the kills spread over the whole run.
            let before = service.status().studies.reported;
            // A fast machine is through before the last kill.
            if before >= STUDIES as i64 {
                break;
            }
            service.until("another study is reported", || {
                place.get_status().filter(|status| status.studies.reported > before)
            });
            let earliest = Instant::now() + Duration::from_millis(random.random_range(0..500));
            service.until("a record is being worked on", || {
                let working = !place.in_flight().is_empty() && place.bears_another_kill();
                let through =
                    || place.get_status().is_some_and(|status| status.studies.reported >= STUDIES as i64);
                (Instant::now() >= earliest && (working || through())).then_some(())
            });
            taken += received(&service);
            service.kill();
            felt += place.in_flight().len();
            service = place.start();
        }
        (service, modality.join().unwrap())
    });

    for uid in &sent {
        assert_eq!(service.terminal(uid).state, "reported", "{uid}");
    }
    let rows = service.studies();
    let mut keys: Vec<(String, i32)> = rows.iter().map(|row| (row.study_uid.clone(), row.revision)).collect();
    keys.sort();
    let mut expected: Vec<(String, i32)> = sent.iter().map(|uid| (uid.clone(), 1)).collect();
    expected.sort();
    assert_eq!(keys, expected, "one row for each study sent, and no other");
    let studies = service.status().studies;
    assert_eq!((studies.reported, studies.received), (STUDIES as i64, STUDIES as i64));
    assert_eq!((studies.in_progress, studies.unaccounted, studies.dead_lettered), (0, 0, 0));
    for uid in &sent {
        let events = service.study(uid).unwrap().events;
        assert_eq!(events.len(), STAGES.len() + 1, "one event of each step: {events:?}");
    }
    taken += received(&service);
    let redelivered = taken as u64 - STAGES.len() as u64 * STUDIES;
    println!("{KILLS} kills: {felt} records in flight at a kill, {redelivered} redelivered to stages");
    assert!(felt > 0, "the kills hit something");
    assert!(redelivered > 0, "what was in flight came again");
    service.stop();
}

#[test]
fn a_record_that_kills_its_worker_three_times_is_a_dead_letter() {
    let place = Place::new("service with a killer");
    let folder = place.folder("sent");
    let mut service = place.start();
    let killer = make(&phantom::echo::EchoSpec::sample(40), &folder);
    submit(&killer, || place.entry());
    for death in 0..3 {
        // The test stands for the record: whenever the gate works on it, the process dies. What the file of suspects
        // holds from the life before is counted, and then cleared, before anything is worked on.
        service.until("the gate works on the killer", || {
            (place.deaths("quality_gate").iter().sum::<u64>() == death
                && !place.suspects("quality_gate").is_empty())
            .then_some(())
        });
        service.kill();
        assert_eq!(place.suspects("quality_gate").len(), 1, "it was in flight when the process died");
        service = place.spawn(&["run"]);
    }
    service.ready();
    assert_eq!(service.terminal(&killer.uid).state, "dead_lettered");
    let timeline = service.study(&killer.uid).unwrap();
    assert_eq!(timeline.dead_letters.len(), 1, "{timeline:?}");
    assert_eq!(
        (timeline.dead_letters[0].stage.as_str(), timeline.dead_letters[0].cause.as_str()),
        ("quality_gate", "worker_crash")
    );

    let letters = records(&service.entry().broker, "study.acquired.v1.dlq");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("dl_cause"), Some("worker_crash"));
    assert_eq!(letters[0].key, killer.uid.as_bytes());

    let next = make(&small(41), &folder);
    submit(&next, || place.entry());
    assert_eq!(service.terminal(&next.uid).state, "reported");
    eventually("the count of the dead record is forgotten", PATIENCE, || {
        place.deaths("quality_gate").is_empty().then_some(())
    });
    service.stop();
}
