//! The gate through its public door.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

mod world;

use raster::testing::Loop;
use schemas::{
    Check, CheckVerdict, Domain, FrameNumber, GatedInstance, NotAnalysable, ReasonCode, Rejection,
    StudyAccepted, Timing, TimingSource, Verdict, View,
};
use stage::{
    Frame, FrameError, Image, MaskSource, Outcome, Scope, Stage as _, StageError,
    testing::{MemoryBlobs, check, ctx},
};
use world::{Faulty, World, gate, services, table};

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
        "contrast",
        "motion",
        "duplicate_frames",
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
    let mut header = drawn.header();
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

/// A field of view: eosin with haematoxylin dots over `tissue` of its width, the rest glass.
fn field_of_view(tissue: f64, blur: f64) -> World {
    let (side, drawn) = (200_u32, Loop::default());
    let pixel = |i: u32| {
        let (x, y) = (i % side, i / side);
        if f64::from(x) >= tissue * f64::from(side) {
            [243, 243, 243]
        } else if (x % 16).abs_diff(8).pow(2) + (y % 16).abs_diff(8).pow(2) < 16 {
            [90, 60, 140]
        } else {
            [225, 150, 190]
        }
    };
    let rgb: Vec<[u8; 3]> = (0..side * side).map(pixel).collect();
    let mut channels = [0, 1, 2].map(|c| rgb.iter().map(|pixel| f32::from(pixel[c])).collect::<Vec<_>>());
    if blur > 0.0 {
        channels = channels.map(|channel| raster::Kernel::new(blur).picture(&channel, side as usize));
    }
    let pixels = (0..rgb.len()).flat_map(|i| [0, 1, 2].map(|c: usize| channels[c][i].round() as u8));
    let image = Image { width: side, height: side, rgb: pixels.collect() };
    let header = stage::ClipHeader {
        columns: side,
        rows: side,
        frames: 1,
        timing: Timing { source: TimingSource::Unknown, fps: None },
        frame_times_ms: Vec::new(),
        view: None,
        mask: MaskSource::WholeImage,
        visible: [0, 0, side, side],
        ..drawn.header()
    };
    let mut world = World::new(Domain::Pathology);
    world.add_clip(header, vec![Frame { number: FrameNumber::from_index(0), image }]);
    world
}

#[test]
fn a_field_of_view_is_judged_by_tissue_and_focus() {
    let sharp = accepted(&field_of_view(0.8, 0.0));
    let share = named(&sharp.instances[0], "tissue").value.expect("measured");
    assert!((share - 0.8).abs() < 0.03, "tissue {share}");
    assert_eq!(sharp.verdict, Verdict::Accept);
    assert_eq!(codes(&rejected(&field_of_view(0.01, 0.0))), ["BLANK"]);
    assert_eq!(codes(&rejected(&field_of_view(0.8, 5.0))), ["OUT_OF_FOCUS"]);
    let little = accepted(&field_of_view(0.15, 0.0));
    assert_eq!(little.instances[0].code.as_ref().map(ReasonCode::as_str), Some("BLANK"));
}

#[test]
fn a_tiled_slide_is_not_applicable() {
    let mut world = World::new(Domain::Pathology);
    world.add_clip(Loop::default().header(), Vec::new());
    assert_eq!(codes(&rejected(&world)), ["NO_APPLICABLE_INSTANCE", "TILED_SLIDE"]);
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused_by_key() {
    let mut swapped = table();
    swapped["echo"]["blur"]["warn"] = 0.9.into();
    let config = swapped.try_into().expect("still the same keys");
    let error = quality_gate::QualityGate::build(config, &services()).expect_err("reject before warn");
    assert_eq!(error.key, "echo.blur");
    let mut unknown = table();
    unknown.as_table_mut().expect("a table").insert("unheard_of".to_owned(), 1.into());
    assert!(unknown.try_into::<quality_gate::Config>().is_err());
}
