//! The keyframes stage through its public door.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

use keyframes::Keyframes;
use raster::testing::Loop;
use schemas::{
    Area, BlobRef, Check, CheckVerdict, Clip, Domain, GatedInstance, InstanceUid, Keyframe, KeyframeKind,
    KeyframeSource, KeyframesExtracted, Priority, ReasonCode, Revision, SeriesUid, StudyAccepted, StudyHead,
    StudyUid, Timing, TimingSource, Verdict,
};
use stage::{
    Blobs as _, ClipHeader, Frame, Image, Outcome, Services, Stage as _, StageError,
    testing::{MemoryBlobs, MemoryFrames, check, ctx},
};

fn stage() -> Keyframes {
    let defaults: toml::Table = toml::from_str(include_str!("../../../config/default.toml")).expect("TOML");
    let config =
        defaults["stages"]["keyframes"].clone().try_into().expect("the table fits the configuration");
    Keyframes::build(config, &Services::without_model()).expect("the table can be meant")
}

struct World {
    study: StudyAccepted,
    frames: MemoryFrames,
    blobs: MemoryBlobs,
}

impl World {
    fn new(domain: Domain) -> Self {
        let study = StudyHead {
            study_uid: StudyUid::new("2.25.1").expect("uid"),
            revision: Revision::FIRST,
            priority: Priority::Routine,
            domain,
            synthetic: true,
        };
        Self {
            study: StudyAccepted { study, verdict: Verdict::Accept, instances: Vec::new() },
            frames: MemoryFrames::default(),
            blobs: MemoryBlobs::default(),
        }
    }

    fn with(mut self, header: ClipHeader, frames: Vec<Frame>) -> Self {
        let uid = format!("2.25.1.1.{}", self.study.instances.len());
        let blob = BlobRef::of(Area::Raw, uid.as_bytes());
        self.study.instances.push(GatedInstance {
            series_uid: SeriesUid::new("2.25.1.1").expect("uid"),
            instance_uid: InstanceUid::new(&uid).expect("uid"),
            blob: blob.clone(),
            frames: header.frames,
            applicable: true,
            verdict: Verdict::Accept,
            code: None,
            view: header.view,
            timing: Some(header.timing),
            checks: Vec::new(),
        });
        self.frames.insert(blob, header, frames);
        self
    }

    fn run(&self) -> Result<Outcome<KeyframesExtracted>, StageError> {
        let inputs = std::slice::from_ref(&self.study);
        check(stage, inputs, &mut ctx(&self.blobs, &self.frames)).pop().expect("one outcome")
    }

    fn extracted(&self) -> KeyframesExtracted {
        match self.run() {
            Ok(Outcome::Emit(extracted)) => extracted,
            other => panic!("no keyframes: {other:?}"),
        }
    }

    fn clip(&self) -> Clip {
        self.extracted().clips.into_iter().next().expect("one clip")
    }
}

fn of_loop(drawn: &Loop) -> World {
    World::new(Domain::Echo).with(drawn.header(), drawn.frames())
}

/// How many frames a keyframe lies outside the nearest true interval of its kind.
fn error(keyframe: &Keyframe, drawn: &Loop) -> f64 {
    let at = f64::from(keyframe.frame.index());
    let outside = |(from, to): (f64, f64)| (from - at).max(at - to).max(0.0);
    let intervals =
        drawn.phases().into_iter().map(|[ed, es]| if keyframe.kind == KeyframeKind::ED { ed } else { es });
    intervals.map(outside).fold(f64::INFINITY, f64::min)
}

fn flags(clip: &Clip) -> Vec<&str> {
    clip.flags.iter().map(ReasonCode::as_str).collect()
}

#[test]
fn end_diastole_and_end_systole_lie_within_a_frame_of_the_truth() {
    let clean = Loop::default();
    let loops = [
        clean.clone(),
        Loop { frames: 100, fps: 50.0, beat_s: 0.7, ..clean.clone() },
        Loop { shortening: 0.08, ..clean.clone() },
        Loop { beat_s: 1.2, frames: 80, ..clean.clone() },
        Loop { fps: 15.0, frames: 40, ..clean.clone() },
        Loop { blur: 1.0, gain: 30.0, ..clean.clone() },
        Loop { frames: 40, first_r_s: 0.1, ..clean },
    ];
    for drawn in loops {
        let clip = of_loop(&drawn).clip();
        assert_eq!(clip.flags, [], "{drawn:?}");
        assert!(
            clip.keyframes.len() >= 2 && clip.keyframes.len().is_multiple_of(2),
            "{drawn:?}: {:?}",
            clip.keyframes
        );
        assert!(clip.keyframes.is_sorted_by_key(|keyframe| keyframe.frame));
        for keyframe in &clip.keyframes {
            assert!(error(keyframe, &drawn) <= 1.0, "{keyframe:?} of {drawn:?}, truth {:?}", drawn.phases());
            // The time lies between frames, the frame is the nearest.
            let expected = f64::from(keyframe.frame.index()) * 1000.0 / drawn.fps;
            assert!(keyframe.time_ms.is_some_and(|time| (time - expected).abs() <= 500.0 / drawn.fps + 1e-3));
            assert!((0.0..=1.0).contains(&keyframe.confidence));
            assert_eq!(keyframe.source, KeyframeSource::AreaCurve);
        }
    }
}

#[test]
fn r_waves_say_end_diastole_and_the_curve_end_systole() {
    let drawn = Loop::default();
    let r_waves_ms = vec![drawn.first_r_s * 1000.0, (drawn.first_r_s + drawn.beat_s) * 1000.0];
    let header = ClipHeader { r_waves_ms, ..drawn.header() };
    let clip = World::new(Domain::Echo).with(header, drawn.frames()).clip();
    let found: Vec<_> = clip.keyframes.iter().map(|k| (k.kind, k.frame.index(), k.source)).collect();
    assert_eq!(found[0], (KeyframeKind::ED, 6, KeyframeSource::RWave));
    assert_eq!(clip.flags, []);
    assert!(clip.keyframes.iter().all(|keyframe| error(keyframe, &drawn) <= 1.0));
    assert!(
        clip.keyframes
            .iter()
            .filter(|k| k.kind == KeyframeKind::ES)
            .all(|k| k.source == KeyframeSource::AreaCurve)
    );
}

#[test]
fn r_waves_that_contradict_the_picture_are_flagged() {
    let drawn = Loop::default();
    let header = ClipHeader { r_waves_ms: vec![200.0, 700.0, 1200.0, 1700.0], ..drawn.header() };
    let clip = World::new(Domain::Echo).with(header, drawn.frames()).clip();
    assert_eq!(flags(&clip)[..2], ["PHASE_UNRELIABLE", "ECG_DISAGREES"]);
    assert_eq!(clip.geometry, None, "no measurement of frames that are not known");
}

#[test]
fn without_timing_frames_are_found_and_no_time_is_claimed() {
    let drawn = Loop::default();
    let timing = Timing { source: TimingSource::Unknown, fps: None };
    let header = ClipHeader { timing, frame_times_ms: Vec::new(), ..drawn.header() };
    let clip = World::new(Domain::Echo).with(header, drawn.frames()).clip();
    assert_eq!(clip.flags, [ReasonCode::known("TIMING_UNKNOWN")]);
    assert!(
        clip.keyframes.iter().all(|k| k.time_ms.is_none() && error(k, &drawn) <= 1.0),
        "{:?}",
        clip.keyframes
    );
}

#[test]
fn a_clip_without_a_whole_beat_falls_back_to_its_extremes_and_says_so() {
    let drawn = Loop { frames: 10, first_r_s: 0.0, ..Loop::default() };
    let clip = of_loop(&drawn).clip();
    assert_eq!(flags(&clip), ["PHASE_UNRELIABLE", "NO_BEAT", "GEOMETRY_UNRELIABLE"]);
    assert!(clip.keyframes.iter().all(|keyframe| keyframe.source == KeyframeSource::Extremes));
    let kinds: Vec<_> = clip.keyframes.iter().map(|keyframe| keyframe.kind).collect();
    assert_eq!(kinds, [KeyframeKind::ED, KeyframeKind::ES]);
    assert!(clip.keyframes.iter().all(|keyframe| keyframe.confidence == 0.0));
}

#[test]
fn pictures_are_stored_masked_as_png_of_the_visible_part() {
    let drawn = Loop { frames: 40, ..Loop::default() };
    let header = ClipHeader { visible: [20, 4, 210, 240], ..drawn.header() };
    let world = World::new(Domain::Echo).with(header, drawn.frames());
    let clip = world.clip();
    let keyframe = &clip.keyframes[0];
    assert_eq!((keyframe.bbox, keyframe.image.area), (Some([20, 4, 210, 240]), Area::Frames));
    let png = world.blobs.get(&keyframe.image).expect("stored");
    let picture =
        image::load_from_memory_with_format(&png, image::ImageFormat::Png).expect("a PNG").into_rgb8();
    let frame = &drawn.frames()[keyframe.frame.index() as usize].image;
    assert_eq!((picture.width(), picture.height()), (210, 240));
    for (x, y) in [(0, 0), (105, 100), (60, 200), (209, 239)] {
        let at = 3 * ((y + 4) * drawn.side + x + 20) as usize;
        assert_eq!(picture.get_pixel(x, y).0, frame.rgb[at..at + 3], "at {x},{y}");
    }
}

#[test]
fn at_most_the_configured_beats_are_kept() {
    let drawn = Loop { frames: 200, ..Loop::default() };
    let clip = of_loop(&drawn).clip();
    assert_eq!(clip.keyframes.len(), 10);
    assert!(clip.keyframes.iter().all(|keyframe| error(keyframe, &drawn) <= 1.0));
}

#[test]
fn a_flat_clip_is_rejected_with_advice() {
    let drawn = Loop { frames: 40, ..Loop::default() };
    let black = |frame: Frame| Frame {
        image: Image { rgb: vec![0; frame.image.rgb.len()].into(), ..frame.image },
        ..frame
    };
    let world =
        World::new(Domain::Echo).with(drawn.header(), drawn.frames().into_iter().map(black).collect());
    let Ok(Outcome::Reject(rejection)) = world.run() else { panic!("black is no ventricle") };
    assert_eq!(rejection.reasons[0].code.as_str(), "NO_KEYFRAMES");
    assert!(rejection.reasons[0].advice.en.contains("apical") && !rejection.reasons[0].advice.zh.is_empty());
}

#[test]
fn warnings_travel_on_and_unfit_instances_are_left_out() {
    let drawn = Loop { frames: 40, ..Loop::default() };
    let mut world = of_loop(&drawn).with(drawn.header(), Vec::new());
    world.study.instances[0].checks.push(Check {
        name: "frame_rate".to_owned(),
        value: Some(20.0),
        unit: "Hz".to_owned(),
        threshold: 25.0,
        verdict: CheckVerdict::Warn,
        code: Some(ReasonCode::known("LOW_FPS")),
        advice: None,
    });
    world.study.instances[1].verdict = Verdict::Reject;
    let extracted = world.extracted();
    assert_eq!(extracted.cautions, [ReasonCode::known("LOW_FPS")]);
    assert_eq!(extracted.clips.len(), 1);
}

#[test]
fn a_missing_blob_is_invalid_input() {
    let mut world = of_loop(&Loop { frames: 40, ..Loop::default() });
    world.study.instances[0].blob = BlobRef::of(Area::Raw, b"elsewhere");
    assert!(matches!(world.run(), Err(StageError::Invalid(_))));
}
