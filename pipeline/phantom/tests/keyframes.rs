//! The keyframes stage against phantoms of known truth, at gate size; `prescreen bench keyframes --full` is the same
//! statistic over 200 and more.
//!
//! Headers tell nothing of R waves or heart rate here: what is measured is what the picture shows.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

#[path = "../../src/commands/bench/keyframes/clip.rs"]
mod clip;
#[path = "../../src/commands/bench/keyframes/score.rs"]
mod score;

use clip::{Clip, Hints};
use keyframes::{Config, Trace, trace};
use phantom::echo::{
    EchoSpec,
    suite::{Suite, wide},
};
use schemas::{KeyframeKind, KeyframeSource, ReasonCode};
use score::{Events, Tally};

/// Of the first phantom; others than the bench's.
const SEED: u64 = 7_000;

fn config() -> Config {
    let defaults: toml::Table = toml::from_str(include_str!("../../../config/default.toml")).expect("TOML");
    defaults["stages"]["keyframes"].clone().try_into().expect("the table fits the configuration")
}

fn read(clip: &Clip) -> Result<Trace, ReasonCode> {
    trace(&clip.instance, &clip.frames, &config()).expect("pictures in memory")
}

fn tally(specs: impl Iterator<Item = EchoSpec>) -> Tally {
    let mut tally = Tally::default();
    for spec in specs {
        let clip = Clip::make(&spec, Hints::None).expect("a phantom");
        tally.add(&clip.truth, read(&clip).as_ref());
    }
    tally
}

fn assert_events(name: &str, events: &Events) {
    assert!(events.expected > 0, "{name}: no event lies inside its clip");
    assert_eq!(events.missed, 0, "{name}: missed of {}", events.expected);
    let (ms, frames) = (events.error_ms.mean().expect("marks"), events.error_frames.mean().expect("marks"));
    assert!(ms <= 25.0 && frames <= 1.0, "{name}: interval error {ms} ms, {frames} frames");
}

#[test]
fn no_event_of_the_strict_suites_is_missed_or_far_off() {
    let mut all = Tally::default();
    for suite in Suite::STRICT {
        let tally = tally((SEED..SEED + 2).map(|seed| suite.spec(seed)));
        assert_events(suite.name(), &tally.end_diastole);
        assert_events(suite.name(), &tally.end_systole);
        all.join(&tally);
    }
    assert_eq!(all.unnoticed, 0, "an answer that looks sure is wrong");
    let period = all.period_error.mean().expect("periods");
    assert!(period <= 0.02, "the period is off by {:.1} %", period * 100.0);
    let ef = [all.ef_error.mean(), all.ef_error.median(), all.ef_error.most()];
    assert!(ef[0].expect("ejection fractions") <= 4.0, "mean, median and most points of error: {ef:?}");
    let onset = all.onset_ms.mean().expect("end-diastoles");
    assert!(onset <= 30.0, "the leading shoulder lies {onset} ms from the R wave");
    for (events, from, to) in [(&all.end_diastole, 25.0, 65.0), (&all.end_systole, 10.0, 50.0)] {
        let offset = events.offset_ms.mean().expect("events");
        assert!((from..to).contains(&offset), "the middle of the plateau lies at {offset} ms");
    }
    assert!(4 * all.flagged <= all.clips, "{} of {} clean clips are doubted", all.flagged, all.clips);
    assert!(
        all.beats_measured >= 26 && 2 * all.beats_dropped <= all.beats_measured,
        "{} of {} beats dropped",
        all.beats_dropped,
        all.beats_measured
    );
}

#[test]
fn no_event_is_missed_at_any_frame_rate_and_heart_rate() {
    let tally = tally((SEED..SEED + 12).map(wide));
    assert_events("wide", &tally.end_diastole);
    assert_events("wide", &tally.end_systole);
    assert!(tally.period_error.mean().expect("periods") <= 0.02);
}

#[test]
fn every_thread_reads_the_same() {
    let clip = Clip::make(&Suite::Nominal.spec(SEED), Hints::None).expect("a phantom");
    let alone = read(&clip);
    assert!(alone.is_ok());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| read(&clip))).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), alone);
        }
    });
}

#[test]
fn r_waves_of_the_header_and_of_the_drawn_strip_say_end_diastole() {
    for (hints, source) in [(Hints::All, KeyframeSource::RWave), (Hints::Drawn, KeyframeSource::EcgStrip)] {
        let clip = Clip::make(&Suite::Nominal.spec(SEED), hints).expect("a phantom");
        let trace = read(&clip).expect("keyframes");
        let diastoles: Vec<_> = trace.keyframes.iter().filter(|k| k.kind == KeyframeKind::ED).collect();
        assert!(!diastoles.is_empty() && diastoles.iter().all(|keyframe| keyframe.source == source));
        for keyframe in diastoles {
            let time = keyframe.time_ms.expect("timing is known");
            let gap =
                clip.truth.cine.r_waves_ms.iter().map(|r| (r - time).abs()).fold(f64::INFINITY, f64::min);
            assert!(gap <= 15.0, "{source:?}: {gap} ms from the R wave");
        }
        assert!(!trace.flags.contains(&ReasonCode::known("ECG_DISAGREES")), "{:?}", trace.flags);
    }
}

#[test]
fn outlines_lie_on_the_frame_and_shrink_in_systole() {
    let clip = Clip::make(&Suite::A2c.spec(SEED + 1), Hints::None).expect("a phantom");
    let trace = read(&clip).expect("keyframes");
    let area = |kind: KeyframeKind| {
        let outlines = trace.keyframes.iter().filter(|k| k.kind == kind).map(|k| &k.outline);
        outlines.map(|outline| polygon_area(outline)).fold(0.0, f64::max)
    };
    assert!(trace.keyframes.iter().flat_map(|k| &k.outline).all(|[x, y]| *x >= 0.0 && *y >= 0.0));
    assert!(area(KeyframeKind::ES) > 0.0 && area(KeyframeKind::ES) < area(KeyframeKind::ED));
    assert_eq!(trace.curve.len(), clip.truth.cine.frames);
    assert_eq!((trace.area.len(), trace.times_ms.len()), (trace.curve.len(), trace.curve.len()));
}

fn polygon_area(corners: &[[f64; 2]]) -> f64 {
    let next = corners.iter().cycle().skip(1);
    0.5 * corners.iter().zip(next).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum::<f64>().abs()
}
