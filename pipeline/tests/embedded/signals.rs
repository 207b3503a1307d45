//! SIGTERM: the first drains, the second leaves at once; neither loses anything.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    PATIENCE,
    process::{Place, Service},
    studies::{Study, make, small, submit},
};

fn send_some(place: &Place, seeds: std::ops::Range<u64>) -> Vec<Study> {
    let folder = place.folder("sent");
    let studies: Vec<Study> = seeds.map(|seed| make(&small(seed), &folder)).collect();
    for study in &studies {
        submit(study, || place.entry());
    }
    studies
}

fn all_end(mut service: Service, studies: &[Study]) {
    for study in studies {
        assert_eq!(service.terminal(&study.uid).state, "reported");
    }
    assert_eq!(service.studies().len(), studies.len());
    let counts = service.status().studies;
    assert_eq!((counts.unaccounted, counts.dead_lettered), (0, 0));
    service.stop();
}

#[test]
fn the_first_signal_drains_and_what_is_left_is_done_at_the_next_start() {
    let place = Place::new("drained service");
    let mut service = place.start();
    let studies = send_some(&place, 50..53);
    service.until("the gate works", || (!place.suspects("quality_gate").is_empty()).then_some(()));
    service.signal(Signal::TERM);
    assert_eq!(service.ended(PATIENCE).code(), Some(0));
    assert_eq!(place.in_flight(), Vec::<String>::new(), "what was begun was finished");
    all_end(place.start(), &studies);
}

#[test]
fn the_second_signal_aborts_and_nothing_is_lost() {
    let place = Place::new("aborted service");
    let mut service = place.start();
    let studies = send_some(&place, 60..63);
    service.until("the gate works", || (!place.suspects("quality_gate").is_empty()).then_some(()));
    service.signal(Signal::TERM);
    service.until("the API closes: it is draining", || {
        std::net::TcpStream::connect(place.entry()?.url.trim_start_matches("http://")).is_err().then_some(())
    });
    service.signal(Signal::TERM);
    let begin = Instant::now();
    service.ended(PATIENCE);
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    all_end(place.start(), &studies);
}
