//! The gate through its public door.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

mod pathology;
mod world;

use raster::testing::Loop;
use schemas::{
    Check, CheckVerdict, Domain, FrameNumber, GatedInstance, NotAnalysable, ReasonCode, Rejection,
    StudyAccepted, Timing, TimingSource, Verdict, View,
};
use stage::{
    Frame, FrameError, Image, Outcome, Scope, Stage as _, StageError,
    testing::{MemoryBlobs, check, ctx},
};
use world::{Faulty, World, gate, table, two_chamber};

fn judged(world: &World) -> Outcome<StudyAccepted> {
    let blobs = MemoryBlobs::default();
    let mut outcomes = check(gate, std::slice::from_ref(&world.study), &mut ctx(&blobs, &world.frames));
    outcomes.pop().expect("one outcome").expect("the machinery holds")
}

fn accepted(world: &World) -> StudyAccepted {
    match judged(world) {
        Outcome::Emit(accepted) => accepted,
        Outcome::Reject(rejection) => panic!("rejected: {:?}", rejection.reasons),
    }
}

fn rejected(world: &World) -> Rejection {
    match judged(world) {
        Outcome::Reject(rejection) => rejection,
        Outcome::Emit(accepted) => panic!("accepted: {:?}", accepted.instances),
    }
}

fn codes(rejection: &Rejection) -> Vec<&str> {
    rejection.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

fn instance(world: &World) -> GatedInstance {
    let instances = match judged(world) {
        Outcome::Emit(accepted) => accepted.instances,
        Outcome::Reject(rejection) => rejection.instances,
    };
    instances.into_iter().next().expect("one instance")
}

fn named<'a>(instance: &'a GatedInstance, name: &str) -> &'a Check {
    instance.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}"))
}

#[test]
fn a_clean_apical_loop_is_accepted_and_every_check_reports_its_value() {
    let accepted = accepted(&World::new(Domain::Echo).with_loop(&Loop::default()));
    let instance = &accepted.instances[0];
    let failed: Vec<&Check> =
        instance.checks.iter().filter(|check| check.verdict != CheckVerdict::Pass).collect();
    assert_eq!(failed, Vec::<&Check>::new());
    assert_eq!(
        (accepted.verdict, instance.verdict, instance.code.clone()),
        (Verdict::Accept, Verdict::Accept, None)
    );
    let names: Vec<&str> = instance.checks.iter().map(|check| check.name.as_str()).collect();
    let expected = [
        "frames",
        "frame_rate",
        "duration",
        "decodable",
        "fan",
        "colour",
        "resolution",
        "blur",
        "laplacian_variance",
        "saturation",
        "blood_level",
        "black",
        "tissue_level",
        "contrast",
        "motion",
        "duplicate_frames",
        "drift",
        "respiratory_drift",
        "dropout",
        "burned_in_text",
        "chambers",
        "axis_tilt",
        "mitral_annulus",
        "elongation",
        "apex_depth",
    ];
    assert_eq!(names, expected);
    assert!(instance.checks.iter().all(|check| check.value.is_some()));
    assert_eq!(named(instance, "frame_rate").value, Some(30.0));
    assert_eq!(named(instance, "duration").value, Some(2.0));
    assert_eq!(named(instance, "decodable").value, Some(0.0));
}

#[test]
fn each_fault_of_a_loop_is_rejected_under_its_code_with_advice_in_both_languages() {
    let clean = Loop::default();
    let faults = [
        ("BLUR", Loop { blur: 3.0, ..clean.clone() }),
        ("OVER_GAIN", Loop { gain: 120.0, ..clean.clone() }),
        ("UNDER_GAIN", Loop { gain: -150.0, ..clean.clone() }),
        ("LOW_CONTRAST", Loop { contrast: 0.4, ..clean.clone() }),
        ("STATIC", Loop { frozen: true, ..clean.clone() }),
        ("TRUNCATED", Loop { frames: 12, ..clean.clone() }),
        ("TRUNCATED", Loop { frames: 20, ..clean.clone() }),
        ("LOW_FPS", Loop { fps: 12.0, ..clean }),
    ];
    for (code, fault) in faults {
        let rejection = rejected(&World::new(Domain::Echo).with_loop(&fault));
        assert!(codes(&rejection).contains(&code), "{code}: {:?}", codes(&rejection));
        assert!(rejection.instances[0].applicable, "{code} is a failure, not another purpose");
        for reason in &rejection.reasons {
            assert!(!reason.advice.en.is_empty() && !reason.advice.zh.is_empty());
        }
    }
}

#[test]
fn milder_faults_are_accepted_with_caution() {
    let clean = Loop::default();
    let faults = [
        ("LOW_FPS", "frame_rate", Loop { fps: 20.0, ..clean.clone() }),
        ("TRUNCATED", "duration", Loop { frames: 36, ..clean.clone() }),
        ("OVER_GAIN", "blood_level", Loop { gain: 60.0, ..clean.clone() }),
        ("LOW_RES", "resolution", Loop { side: 150, ..clean }),
    ];
    for (code, name, fault) in faults {
        let accepted = accepted(&World::new(Domain::Echo).with_loop(&fault));
        assert_eq!(accepted.verdict, Verdict::Caution, "{code}");
        let check = named(&accepted.instances[0], name);
        assert_eq!(
            (check.verdict, check.code.as_ref().map(ReasonCode::as_str)),
            (CheckVerdict::Warn, Some(code))
        );
    }
}

#[test]
fn blur_is_measured_as_it_grows() {
    let blurs = [0.0, 1.0, 2.0, 4.0].map(|blur| {
        let instance =
            instance(&World::new(Domain::Echo).with_loop(&Loop { blur, frames: 40, ..Loop::default() }));
        ["blur", "laplacian_variance"].map(|name| named(&instance, name).value.expect("measured"))
    });
    assert!(blurs.is_sorted_by(|a, b| a[0] < b[0]), "the re-blur metric rises: {blurs:?}");
    assert!(blurs.is_sorted_by(|a, b| a[1] > b[1]), "the variance of the Laplacian falls: {blurs:?}");
}

#[test]
fn unknown_timing_is_a_caution_and_never_a_number() {
    let drawn = Loop::default();
    let mut header = two_chamber(&drawn);
    header.timing = Timing { source: TimingSource::Unknown, fps: None };
    header.frame_times_ms = Vec::new();
    let mut world = World::new(Domain::Echo);
    world.add_clip(header, drawn.frames());
    let accepted = accepted(&world);
    assert_eq!(accepted.verdict, Verdict::Caution);
    for name in ["frame_rate", "duration"] {
        let check = named(&accepted.instances[0], name);
        assert_eq!(
            (check.value, check.code.as_ref().map(ReasonCode::as_str)),
            (None, Some("TIMING_UNKNOWN"))
        );
    }
}

#[test]
fn the_duration_counts_beats_by_r_waves_then_by_heart_rate() {
    let drawn = Loop { frames: 45, ..Loop::default() }; // 1.5 s
    let beats = |r_waves_ms: Vec<f64>, heart_rate| {
        let mut world = World::new(Domain::Echo);
        let header = stage::ClipHeader { r_waves_ms, heart_rate, ..drawn.header() };
        world.add_clip(header, drawn.frames());
        named(&instance(&world), "duration").value.expect("timing is known")
    };
    assert!((beats(vec![100.0, 600.0, 1100.0], Some(60.0)) - 3.0).abs() < 1e-9);
    assert!((beats(Vec::new(), Some(120.0)) - 3.0).abs() < 1e-9);
    assert!((beats(Vec::new(), None) - 1.5).abs() < 1e-9);
}

/// What a check says of the default loop with another header.
fn of_header(change: impl FnOnce(&mut stage::ClipHeader), name: &str) -> Check {
    let drawn = Loop { frames: 50, ..Loop::default() };
    let mut header = two_chamber(&drawn);
    change(&mut header);
    let mut world = World::new(Domain::Echo);
    world.add_clip(header, drawn.frames());
    named(&instance(&world), name).clone()
}

#[test]
fn a_two_chamber_picture_under_a_four_chamber_header_is_a_caution() {
    let check = of_header(|header| header.view = Some(View::A4C), "chambers");
    assert_eq!((check.value, check.threshold, check.verdict), (Some(2.0), 4.0, CheckVerdict::Warn));
    assert_eq!(check.code.as_ref().map(ReasonCode::as_str), Some("VIEW_UNCONFIRMED"));
    assert!(check.advice.is_some_and(|advice| !advice.zh.is_empty()));
    assert_eq!(of_header(|_| (), "chambers").verdict, CheckVerdict::Pass);
}

#[test]
fn burned_in_text_is_noted_and_spoils_nothing() {
    let check = of_header(|header| header.bright_outside = 0.01, "burned_in_text");
    assert_eq!((check.value, check.verdict), (Some(0.01), CheckVerdict::Pass));
    assert_eq!(check.code.as_ref().map(ReasonCode::as_str), Some("BURNED_IN_TEXT"));
    assert_eq!(of_header(|header| header.bright_outside = 0.002, "burned_in_text").code, None);
}

/// The loop's frames, each changed by `pixel(frame, x, y)`, which gives the pixel to take instead.
fn redrawn(drawn: &Loop, pixel: impl Fn(u32, i64, i64) -> Option<(i64, i64)>) -> World {
    let side = i64::from(drawn.side);
    let change = |frame: Frame| {
        let at = |place: Option<(i64, i64)>| match place {
            Some((x, y)) if (0..side).contains(&x) && (0..side).contains(&y) => {
                let start = ((y * side + x) * 3) as usize;
                [frame.image.rgb[start], frame.image.rgb[start + 1], frame.image.rgb[start + 2]]
            }
            _ => [0; 3],
        };
        let rgb =
            (0..side * side).flat_map(|i| at(pixel(frame.number.index(), i % side, i / side))).collect();
        Frame { image: Image { rgb, ..frame.image.clone() }, ..frame }
    };
    let mut world = World::new(Domain::Echo);
    world.add_clip(two_chamber(drawn), drawn.frames().into_iter().map(change).collect());
    world
}

#[test]
fn a_heart_that_wanders_with_the_breath_is_a_caution() {
    let drawn = Loop { frames: 90, ..Loop::default() };
    // 150 mm over 256 px: 14 px up and down are 8 mm, once in the three seconds of the clip.
    let way = |frame: u32| (14.0 * (f64::from(frame) * std::f64::consts::TAU / 90.0).sin()).round() as i64;
    let fan = |x: i64, y: i64| {
        let (across, down) = ((x as f64 / 256.0 - 0.5).abs(), y as f64 / 256.0 - 0.02);
        down > 0.0 && across < down * 0.78 && across.hypot(down) < 0.93
    };
    let world = redrawn(&drawn, |frame, x, y| {
        fan(x, y).then(|| (x, (y - way(frame)).clamp(x.abs_diff(128) as i64 + 40, 230)))
    });
    let instance = instance(&world);
    let check = named(&instance, "drift");
    assert_eq!(check.verdict, CheckVerdict::Warn, "{check:?}");
    assert_eq!(
        named(&instance, "respiratory_drift").code.as_ref().map(ReasonCode::as_str),
        Some("RESPIRATORY")
    );
}

#[test]
fn dark_sectors_are_a_caution_and_reject_when_most_is_lost() {
    let drawn = Loop { frames: 50, ..Loop::default() };
    let verdict = |lost: f64| {
        let dark = |x: i64, y: i64| {
            let beam = (x as f64 / 256.0 - 0.5) / (y as f64 / 256.0 - 0.02).max(0.01) / 1.56 + 0.5;
            (0.25..0.25 + lost).contains(&beam)
        };
        let world = redrawn(&drawn, |_, x, y| (!dark(x, y) || y < 30).then_some((x, y)));
        let check = named(&instance(&world), "dropout").clone();
        assert!((check.value.expect("measured") - lost).abs() < 0.1, "{lost}: {check:?}");
        check.verdict
    };
    assert_eq!(verdict(0.25), CheckVerdict::Warn);
    assert_eq!(verdict(0.55), CheckVerdict::Reject);
}

#[test]
fn without_a_heart_rate_the_picture_tells_the_beat() {
    // 1.33 s of 0.6 s beats: too short for beats of one second, long enough for these.
    let drawn = Loop { frames: 40, beat_s: 0.6, ..Loop::default() };
    let instance = instance(&World::new(Domain::Echo).with_loop(&drawn));
    let check = named(&instance, "duration");
    assert!((check.value.expect("measured") - 2.2).abs() < 0.15, "{check:?}");
    assert_eq!(check.verdict, CheckVerdict::Pass);
}

#[test]
fn what_the_purpose_does_not_ask_for_is_not_applicable_and_does_not_spoil_the_study() {
    let drawn = Loop { frames: 50, ..Loop::default() };
    let mut world =
        World::new(Domain::Echo).with_loop(&drawn).with_loop(&Loop { colour: 0.2, ..drawn.clone() });
    world.add_clip(stage::ClipHeader { doppler: true, ..drawn.header() }, Vec::new());
    world.add_clip(stage::ClipHeader { b_mode: false, ..drawn.header() }, Vec::new());
    world.add_clip(stage::ClipHeader { frames: 1, ..drawn.header() }, Vec::new());
    world.add_clip(stage::ClipHeader { view: Some(View::PLAX), ..drawn.header() }, Vec::new());
    world.add(1).not_analysable = Some(NotAnalysable::NotAnImage);
    world.add(1).not_analysable = Some(NotAnalysable::TransferSyntax);
    let accepted = accepted(&world);
    assert_eq!(accepted.verdict, Verdict::Accept);
    let words: Vec<_> = accepted
        .instances
        .iter()
        .map(|one| (one.applicable, one.code.as_ref().map_or("", ReasonCode::as_str)))
        .collect();
    let expected = [
        (true, ""),
        (false, "COLOR_DOPPLER"),
        (false, "COLOR_DOPPLER"),
        (false, "NOT_BMODE"),
        (false, "SINGLE_FRAME"),
        (false, "NOT_APICAL"),
        (false, "NOT_AN_IMAGE"),
        (false, "UNSUPPORTED_TRANSFER_SYNTAX"),
    ];
    assert_eq!(words, expected);
}

#[test]
fn a_study_with_nothing_applicable_is_rejected_and_says_what_to_acquire() {
    let mut echo = World::new(Domain::Echo);
    echo.add_clip(stage::ClipHeader { frames: 1, ..Loop::default().header() }, Vec::new());
    let rejection = rejected(&echo);
    assert_eq!(codes(&rejection), ["NO_APPLICABLE_INSTANCE", "SINGLE_FRAME"]);
    assert!(rejection.reasons[0].advice.en.contains("apical four-chamber"));
    let mut unknown = World::new(Domain::Unknown);
    unknown.add(1);
    assert_eq!(codes(&rejected(&unknown)), ["NO_APPLICABLE_INSTANCE", "UNKNOWN_DOMAIN"]);
    assert_eq!(codes(&rejected(&World::new(Domain::Echo))), ["NO_APPLICABLE_INSTANCE"]);
}

#[test]
fn a_picture_without_a_fan_is_rejected_as_such() {
    let drawn = Loop { frames: 40, ..Loop::default() };
    let noise = |frame: Frame| {
        let side = frame.image.width;
        let grey =
            |i: u32| [(i.wrapping_mul(2_654_435_761).wrapping_add(frame.number.0 * 977) >> 11) as u8; 3];
        Frame { image: Image { rgb: (0..side * side).flat_map(grey).collect(), ..frame.image }, ..frame }
    };
    let mut world = World::new(Domain::Echo);
    world.add_clip(drawn.header(), drawn.frames().into_iter().map(noise).collect());
    assert_eq!(codes(&rejected(&world)), ["NO_FAN"]);
    let mut black = World::new(Domain::Echo);
    let blank = |frame: Frame| Frame {
        image: Image { rgb: vec![0; frame.image.rgb.len()].into(), ..frame.image },
        ..frame
    };
    black.add_clip(drawn.header(), drawn.frames().into_iter().map(blank).collect());
    assert_eq!(codes(&rejected(&black)), ["NO_FAN"]);
}

fn damaged() -> FrameError {
    FrameError::Damaged { code: ReasonCode::known("CODESTREAM_MISMATCH"), detail: "test".to_owned() }
}

#[test]
fn damaged_frames_warn_when_few_and_reject_under_the_decoders_code_when_many() {
    let world = World::new(Domain::Echo).with_loop(&Loop { frames: 40, ..Loop::default() });
    let outcome = |last_damaged: u32| {
        let fault = |number: FrameNumber| (number.0 <= last_damaged).then(damaged);
        let (blobs, frames) = (MemoryBlobs::default(), Faulty { frames: &world.frames, fault });
        gate().process(&world.study, &mut ctx(&blobs, &frames)).expect("damage is a verdict")
    };
    match outcome(2) {
        Outcome::Emit(accepted) => {
            let check = named(&accepted.instances[0], "decodable");
            assert_eq!((check.value, check.verdict), (Some(0.05), CheckVerdict::Warn));
        }
        Outcome::Reject(rejection) => panic!("two of forty: {:?}", codes(&rejection)),
    }
    match outcome(40) {
        Outcome::Reject(rejection) => assert_eq!(codes(&rejection), ["CODESTREAM_MISMATCH"]),
        Outcome::Emit(_) => panic!("nothing decodes"),
    }
}

#[test]
fn a_decoder_that_dies_on_every_frame_is_asked_only_until_the_verdict_is_sure() {
    let world = World::new(Domain::Echo).with_loop(&Loop { frames: 60, ..Loop::default() });
    let asked = std::sync::atomic::AtomicU32::new(0);
    let fault = |_| {
        asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(damaged())
    };
    let (blobs, frames) = (MemoryBlobs::default(), Faulty { frames: &world.frames, fault });
    let outcome = gate().process(&world.study, &mut ctx(&blobs, &frames));
    assert!(matches!(outcome, Ok(Outcome::Reject(_))));
    assert_eq!(asked.into_inner(), 7, "one more than a tenth of sixty");
}

#[test]
fn trouble_with_the_machinery_is_an_error_by_whom_it_concerns() {
    let mut missing = World::new(Domain::Echo);
    missing.add(40);
    let blobs = MemoryBlobs::default();
    let error =
        gate().process(&missing.study, &mut ctx(&blobs, &missing.frames)).expect_err("nothing is stored");
    assert!(matches!(error, StageError::Invalid(_)), "{error:?}");
    let world = World::new(Domain::Echo).with_loop(&Loop { frames: 40, ..Loop::default() });
    let fault = |_| Some(FrameError::Unavailable("the store is down".into()));
    let frames = Faulty { frames: &world.frames, fault };
    let error = gate().process(&world.study, &mut ctx(&blobs, &frames)).expect_err("the store is down");
    assert!(matches!(error, StageError::Transient { scope: Scope::Dependency, .. }), "{error:?}");
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused_by_key() {
    let mut swapped = table();
    swapped["echo"]["blur"]["warn"] = 0.9.into();
    let config = swapped.try_into().expect("still the same keys");
    let error = quality_gate::QualityGate::build(config, &stage::Services::without_model())
        .expect_err("reject before warn");
    assert_eq!(error.key, "echo.blur");
    let mut unknown = table();
    unknown.as_table_mut().expect("a table").insert("unheard_of".to_owned(), 1.into());
    assert!(unknown.try_into::<quality_gate::Config>().is_err());
}
