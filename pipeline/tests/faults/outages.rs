//! Database and broker gone for a while: intake goes on, nothing dies, everything resumes by itself.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    deployment::{Parts, size, start_edge, start_worker},
    harness::{
        PATIENCE, eventually,
        process::{Place, Service},
        studies::{Study, close, deliver, make, small},
    },
};

const STUDIES: u64 = 6;

fn studies(edge: &Place, seeds: std::ops::Range<u64>) -> Vec<Study> {
    let folder = edge.folder("sent");
    seeds.map(|seed| make(&small(seed), &folder)).collect()
}

/// Takes `part` away while studies are in flight, sends more for as long as it is gone, and brings it back.
fn outage(part: &str, end: &str, begin: &str) {
    let parts = Parts::take();
    let length = Duration::from_secs(size("PRESCREEN_TEST_OUTAGE_SECONDS", 15));
    let edge = parts.place("edge");
    let worker_place = parts.place("worker");
    let mut service: Service = start_edge(&edge);
    let mut worker = start_worker(&worker_place);
    let first = studies(&edge, parts.seed..parts.seed + STUDIES);
    let second = studies(&edge, parts.seed + STUDIES..parts.seed + 2 * STUDIES);
    for study in &first {
        deliver(study, || edge.entry()?.dicom);
        assert!(close(&service.entry(), &study.uid));
    }
    service.terminal(&first[0].uid);

    parts.control(part, end);
    let gone = Instant::now();
    // Longest answer of C-STORE while the part is gone.
    let mut slowest = Duration::ZERO;
    for (n, study) in second.iter().enumerate() {
        let sending = Instant::now();
        deliver(study, || edge.entry()?.dicom);
        slowest = slowest.max(sending.elapsed());
        assert!(close(&service.entry(), &study.uid), "closing needs neither broker nor database");
        // Spread over the outage.
        let until = gone + length * (n as u32 + 1) / STUDIES as u32;
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }
    service.until("the edge lives", || Some(()));
    worker.until("the worker lives", || Some(()));
    parts.control(part, begin);
    let back = Instant::now();

    let mut uids: Vec<String> = Vec::new();
    for study in first.iter().chain(&second) {
        assert_eq!(service.terminal(&study.uid).state, "reported", "{}", study.uid);
        uids.push(study.uid.clone());
    }
    println!(
        "{part} gone for {:.0} s: slowest study taken in {slowest:?}, all {} reported {:.1} s after it came back",
        back.duration_since(gone).as_secs_f64(),
        uids.len(),
        back.elapsed().as_secs_f64()
    );
    assert!(slowest < Duration::from_secs(5), "intake went on at its own pace: {slowest:?}");
    parts.stored(&uids).assert_whole(uids.len());
    eventually("nothing is unaccounted and the spool is empty", PATIENCE, || {
        edge.get_status().filter(|status| status.studies.unaccounted == 0 && status.spooled == 0)
    });
    worker.stop();
    service.stop();
}

#[test]
fn a_stopped_database_stops_nothing_but_the_results() {
    outage("postgres", "stop", "again");
}

#[test]
fn a_stopped_broker_stops_nothing_at_the_door() {
    outage("kafka", "stop", "start");
}
