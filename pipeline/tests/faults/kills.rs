//! Workers killed with SIGKILL at random while studies come in.

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    deployment::{Parts, send, size, start_edge, start_worker},
    harness::{eventually, process::Service},
};

/// Between two kills of workers, at most.
const PAUSE_MS: u64 = 4_000;

#[test]
fn every_study_ends_once_while_workers_are_killed_at_random() {
    let parts = Parts::take();
    let (studies, kills) = (size("PRESCREEN_TEST_STUDIES", 60), size("PRESCREEN_TEST_KILLS", 5));
    let random = &mut ChaCha8Rng::seed_from_u64(parts.seed);
    let edge = parts.place("edge");
    let places = [parts.place("worker 1"), parts.place("worker 2")];
    let mut service = start_edge(&edge);
    let begin = Instant::now();
    let mut felt = 0;
    let sent = thread::scope(|scope| {
        let modality = scope.spawn(|| send(&edge, parts.seed..parts.seed + studies));
        let mut workers: Vec<_> = places.iter().map(start_worker).collect();
        for _ in 0..kills {
            // Something ends between two kills, so that they spread over the whole run.
            let before = service.status().studies.reported;
            service.until("another study is reported", || {
                edge.get_status().filter(|status| status.studies.reported > before)
            });
            let earliest = Instant::now() + Duration::from_millis(random.random_range(0..PAUSE_MS));
            let first = random.random_range(0..places.len());
            // Whoever has work: nobody promises that each of two workers has some at any moment.
            let victim = service.until("a worker works", || {
                let busy = |n: &usize| !places[*n].in_flight().is_empty() && places[*n].bears_another_kill();
                let victim = (0..places.len()).map(|n| (first + n) % places.len()).find(busy);
                victim.filter(|_| Instant::now() >= earliest)
            });
            let place = &places[victim];
            workers.remove(victim).kill();
            let left = place.in_flight();
            felt += left.len();
            let mut again = start_worker(place);
            again.until("the new process has read what the dead one left", || {
                (place.in_flight() != left).then_some(())
            });
            workers.insert(victim, again);
        }
        let sent = modality.join().unwrap();
        for uid in &sent {
            assert_eq!(service.terminal(uid).state, "reported", "{uid}");
        }
        workers.into_iter().for_each(Service::stop);
        sent
    });

    let stored = parts.stored(&sent);
    println!(
        "{studies} studies, {kills} kills, {:.0} s: {felt} records in flight at a kill, {} redelivered to the store",
        begin.elapsed().as_secs_f64(),
        stored.redelivered
    );
    stored.assert_whole(sent.len());
    assert!(felt > 0, "the kills hit something");
    eventually("nothing is unaccounted", Duration::from_secs(10), || {
        edge.get_status().filter(|status| status.studies.unaccounted == 0 && status.spooled == 0)
    });
    service.stop();
}
