//! Drains as they happen, simulated: the truth is known because the simulation goes on to the end.

use super::*;

/// Numbers from 0 to 1, the same each time (a linear congruential generator, Knuth's constants).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponentially distributed with mean 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.next()).ln()
    }
}

/// How long one record takes, in seconds.
#[derive(Clone, Copy)]
enum Service {
    Even(f64),
    Exponential(f64),
}

/// A stage of one worker and its backlog.
struct Simulation {
    service: Service,
    /// Records that arrive at once, at a second.
    heaps: Vec<(f64, i64)>,
    /// Records that arrive a second, at random.
    stream: f64,
    /// When the stage does nothing.
    paused: Vec<(f64, f64)>,
    seed: u64,
}

/// One look: when, the lag, and what was said.
type Look = (f64, i64, DrainEta);

impl Simulation {
    fn of(service: Service) -> Self {
        Self { service, heaps: vec![(0.0, 500)], stream: 0.0, paused: Vec::new(), seed: 1 }
    }

    /// Looks every two seconds; the last one is the first with nothing left, or at `limit`.
    fn run(&self, limit: f64) -> Vec<Look> {
        let mut chance = Chance(self.seed);
        let mut arrivals: Vec<f64> =
            self.heaps.iter().flat_map(|(at, records)| (0..*records).map(|_| *at)).collect();
        let mut at = 0.0;
        while self.stream > 0.0 && at < limit {
            at += chance.exponential() / self.stream;
            arrivals.push(at);
        }
        arrivals.sort_by(f64::total_cmp);
        let mut free = 0.0_f64;
        let mut done = Vec::new();
        for arrival in &arrivals {
            let mut begin = free.max(*arrival);
            for (from, to) in &self.paused {
                if (*from..*to).contains(&begin) {
                    begin = *to;
                }
            }
            free = begin
                + match self.service {
                    Service::Even(seconds) => seconds,
                    Service::Exponential(seconds) => seconds * chance.exponential(),
                };
            done.push(free);
        }
        let count = |times: &[f64], now: f64| times.iter().filter(|time| **time <= now).count() as i64;
        let (start, mut window, mut looks) = (Instant::now(), DrainWindow::default(), Vec::new());
        let mut now = 0.5;
        while now < limit {
            let progress = Progress { done: count(&done, now), end: count(&arrivals, now) };
            window.observe(start + Duration::from_secs_f64(now), progress);
            looks.push((now, progress.lag(), window.eta()));
            if progress.lag() == 0 && now > 10.0 && self.heaps.iter().all(|(at, _)| *at < now) {
                break;
            }
            now += 2.0;
        }
        looks
    }
}

/// The worst relative error of the looks between two moments, against the moment when nothing was left.
fn worst(looks: &[Look], from: f64, to: f64) -> f64 {
    let end = looks.iter().rev().find(|(_, lag, _)| *lag == 0).expect("it drains").0;
    let errors = looks.iter().filter(|(at, ..)| (from..to.min(end)).contains(at)).map(|(at, lag, eta)| {
        let DrainEta::In(eta) = eta else { panic!("at {at} s with {lag} waiting: {eta:?}") };
        // A look is every two seconds: the truth is known no better.
        ((eta.as_secs_f64() - (end - at)).abs() - 2.0).max(0.0) / (end - at)
    });
    errors.fold(0.0, f64::max)
}

fn said(looks: &[Look], from: f64, to: f64) -> Vec<DrainEta> {
    looks.iter().filter(|(at, ..)| (from..to).contains(at)).map(|(_, _, eta)| *eta).collect()
}

#[test]
fn an_even_drain_is_told_within_a_twentieth_from_its_sixth_second() {
    for seconds in [0.02, 0.2, 1.0] {
        let looks = Simulation::of(Service::Even(seconds)).run(600.0);
        let worst = worst(&looks, 6.5, 600.0);
        assert!(worst < 0.05, "{seconds} s each: {worst}");
    }
}

#[test]
fn an_uneven_drain_is_told_within_a_quarter_nearly_always() {
    let (mut off, mut all) = (0, 0);
    for seed in 1..=20 {
        let looks = Simulation { seed, ..Simulation::of(Service::Exponential(0.3)) }.run(600.0);
        let end = looks.last().expect("looks").0;
        for (at, _, eta) in looks.iter().filter(|(at, lag, _)| *at > 12.0 && *lag > 0) {
            let DrainEta::In(eta) = eta else { panic!("seed {seed}, {at} s: {eta:?}") };
            off += i32::from((eta.as_secs_f64() - (end - at)).abs() > 0.25 * (end - at) + 2.0);
            all += 1;
        }
    }
    assert!(off * 10 < all, "{off} of {all} looks are more than a quarter off");
}

#[test]
fn a_heap_that_has_arrived_is_backlog_and_no_stream() {
    for (heap, service) in [(500, 0.2), (200, 1.0), (60, 5.0)] {
        let simulation =
            Simulation { heaps: vec![(60.0, heap)], stream: 0.05, ..Simulation::of(Service::Even(service)) };
        let looks = simulation.run(900.0);
        let begin = 60.0 + (4.0 * service).max(12.0);
        let worst = worst(&looks, begin, 60.0 + heap as f64 * service * 0.8);
        assert!(worst < 0.35, "{heap} records of {service} s: {worst}");
    }
}

#[test]
fn what_arrives_meanwhile_counts() {
    let simulation = Simulation { stream: 2.0, ..Simulation::of(Service::Even(0.2)) };
    let looks = simulation.run(600.0);
    let end = looks.last().expect("looks").0;
    assert!(end > 130.0, "without arrivals it would be 100 s: {end}");
    let worst = worst(&looks, 14.0, end * 0.7);
    assert!(worst < 0.3, "{worst}");
}

#[test]
fn a_standstill_is_not_draining_and_is_forgotten_after_it() {
    let simulation = Simulation { paused: vec![(30.0, 90.0)], ..Simulation::of(Service::Even(0.2)) };
    let looks = simulation.run(600.0);
    assert!(said(&looks, 6.5, 30.0).iter().all(|eta| matches!(eta, DrainEta::In(_))));
    let standing = said(&looks, 40.5, 90.0);
    assert!(standing.iter().all(|eta| *eta == DrainEta::NotDraining), "{standing:?}");
    let worst = worst(&looks, 98.0, 600.0);
    assert!(worst < 0.1, "eight seconds after it goes on: {worst}");
}

#[test]
fn a_backlog_that_grows_does_not_drain() {
    let simulation = Simulation { stream: 8.0, ..Simulation::of(Service::Even(0.2)) };
    let looks = simulation.run(300.0);
    let growing = said(&looks, 20.0, 300.0);
    assert!(growing.iter().all(|eta| *eta == DrainEta::NotDraining), "{growing:?}");
}

#[test]
fn a_stage_that_keeps_up_is_never_said_not_to_drain() {
    let simulation =
        Simulation { heaps: vec![(0.0, 3)], stream: 4.0, ..Simulation::of(Service::Exponential(0.22)) };
    let mut looks = Vec::new();
    for seed in 1..=5 {
        looks.extend(
            Simulation { seed, heaps: simulation.heaps.clone(), paused: Vec::new(), ..simulation }.run(300.0),
        );
    }
    let stuck = looks.iter().filter(|(_, lag, eta)| *lag < 30 && *eta == DrainEta::NotDraining).count();
    assert_eq!(stuck, 0, "of {} looks", looks.len());
}

#[test]
fn a_slow_stage_is_given_its_time() {
    // A model on a CPU: a minute for each record.
    let simulation = Simulation { heaps: vec![(0.0, 20)], ..Simulation::of(Service::Even(60.0)) };
    let looks = simulation.run(2_000.0);
    assert!(said(&looks, 0.0, 60.0).iter().all(|eta| *eta == DrainEta::Unknown), "nothing is known yet");
    let worst = worst(&looks, 182.0, 1_000.0);
    assert!(worst < 0.25, "{worst}");
}

#[test]
fn offsets_that_go_back_begin_anew() {
    let (start, mut window) = (Instant::now(), DrainWindow::default());
    for second in 0..20 {
        let at = start + Duration::from_secs(second);
        window.observe(at, Progress { done: 10 * second as i64, end: 500 });
    }
    assert!(matches!(window.eta(), DrainEta::In(_)));
    assert!((window.rate_per_s() - 10.0).abs() < 0.01);
    window.observe(start + Duration::from_secs(20), Progress { done: 0, end: 500 });
    assert_eq!((window.eta(), window.rate_per_s()), (DrainEta::Unknown, 0.0));
    window.observe(start + Duration::from_secs(21), Progress { done: 500, end: 500 });
    assert_eq!(window.eta(), DrainEta::Empty);
}
