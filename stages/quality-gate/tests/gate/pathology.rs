//! Slides and fields of view through the gate's public door.

use std::{collections::HashMap, sync::Mutex};

use schemas::{BlobRef, CheckVerdict, Domain, FrameNumber, NotAnalysable, ReasonCode, Verdict};
use slide::testing::{GLASS, Section, Slide, blurred, field, picture};
use stage::{
    ClipHeader, EcgStrip, Frame, FrameError, Frames, Image, Outcome, SlideHeader, Stage as _, TilePosition,
    testing::{MemoryBlobs, ctx},
};

use crate::{
    accepted, codes, instance, named, rejected,
    world::{World, gate, table},
};

type Stored = (SlideHeader, HashMap<TilePosition, Image>);

fn world(slides: Vec<Stored>) -> World {
    let mut world = World::new(Domain::Pathology);
    for (header, tiles) in slides {
        let blob = world.add(1).blob.clone();
        world.frames.insert_slide(blob, header, tiles);
    }
    world
}

const SIDE: u32 = 384;

/// A field of view of known scale.
fn view(paint: impl Fn(f64, f64) -> [u8; 3]) -> World {
    world(vec![field(picture(SIDE, SIDE, paint), Some(0.5))])
}

fn section(x: f64, y: f64) -> [u8; 3] {
    Section::default().colour(x, y)
}

/// A slide with a piece of tissue, 2048 by 1536, and `mark` over it where that says a colour.
fn slide_with(mark: impl Fn(f64, f64) -> Option<[u8; 3]>) -> Slide<impl Fn(f64, f64) -> [u8; 3]> {
    let paint = move |x: f64, y: f64| {
        let tissue = (x - 1000.0).hypot(y - 760.0) < 600.0;
        mark(x, y).unwrap_or(if tissue { section(x, y) } else { GLASS })
    };
    Slide { size: [2048, 1536], tile: 256, microns_per_pixel: 0.5, paint }
}

fn word(world: &World) -> (Verdict, Option<String>) {
    let one = instance(world);
    (one.verdict, one.code.map(|code| code.as_str().to_owned()))
}

#[test]
fn a_clean_field_of_view_is_accepted_and_every_check_reports() {
    let accepted = accepted(&view(section));
    let instance = &accepted.instances[0];
    let failed: Vec<_> = instance.checks.iter().filter(|check| check.verdict != CheckVerdict::Pass).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(
        (accepted.verdict, instance.verdict, &instance.code),
        (Verdict::Accept, Verdict::Accept, &None)
    );
    let names: Vec<&str> = instance.checks.iter().map(|check| check.name.as_str()).collect();
    let expected =
        ["decodable", "tissue", "focus", "pen", "black_pen", "fold", "density", "stain", "resolution"];
    assert_eq!(names, expected);
    assert!(instance.checks.iter().all(|check| check.value.is_some()));
}

#[test]
fn the_share_of_tissue_is_measured() {
    for share in [0.3, 0.6, 0.9] {
        let world = view(|x, y| if x < share * f64::from(SIDE) { section(x, y) } else { GLASS });
        let value = named(&instance(&world), "tissue").value.expect("measured");
        assert!((value - share).abs() < 0.03, "tissue {value}, drawn {share}");
    }
}

#[test]
fn each_fault_of_a_field_is_rejected_under_its_code_with_advice_in_both_languages() {
    let clean = picture(SIDE, SIDE, section);
    let stroke =
        |ink: [u8; 3]| view(move |x, y| if (y - x / 2.0).abs() < 12.0 { ink } else { section(x, y) });
    let faults = [
        ("BLANK", view(|_, _| GLASS)),
        ("BLANK", view(|x, y| if x < 8.0 { section(x, y) } else { GLASS })),
        ("BLANK", view(|x, y| [0, 1, 2].map(|k| 236 + ((x * 7.0 + y * 13.0) as u32 * (k + 3) % 13) as u8))),
        ("OUT_OF_FOCUS", world(vec![field(blurred(&clean, 5.0), Some(0.5))])),
        ("PEN", stroke([20, 130, 60])),
        ("PEN", stroke([30, 60, 170])),
        ("PEN", stroke([200, 30, 40])),
        ("PEN", stroke([25, 25, 28])),
    ];
    for (code, world) in faults {
        let rejection = rejected(&world);
        assert!(codes(&rejection).contains(&code), "{code}: {:?}", codes(&rejection));
        assert!(rejection.instances[0].applicable, "{code} is a failure, not another purpose");
        for reason in &rejection.reasons {
            assert!(!reason.advice.en.is_empty() && !reason.advice.zh.is_empty());
        }
    }
}

#[test]
fn milder_faults_are_accepted_with_caution() {
    let pale = Section { strength: 0.5, ..Section::default() };
    let eosin = Section { nuclei: 0.0, ..Section::default() };
    let brown = Section { counterstain: [0.27, 0.57, 0.78], ..Section::default() };
    let fold = |x: f64, y: f64| Section::default().layers(x, y, if (x - y).abs() < 30.0 { 2.3 } else { 1.0 });
    let clean = picture(SIDE, SIDE, section);
    let cautions = [
        ("BLANK", "tissue", view(|x, y| if x < 60.0 { section(x, y) } else { GLASS })),
        ("FOLD", "fold", view(fold)),
        ("PALE", "density", view(move |x, y| pale.colour(x, y))),
        ("STAIN_FALLBACK", "stain", view(move |x, y| eosin.colour(x, y))),
        ("STAIN_IMPLAUSIBLE", "stain", view(move |x, y| brown.colour(x, y))),
        ("LOW_RES", "resolution", world(vec![field(clean.clone(), Some(2.0))])),
        ("RESOLUTION_UNKNOWN", "resolution", world(vec![field(clean, None)])),
    ];
    for (code, name, world) in cautions {
        let accepted = accepted(&world);
        assert_eq!(accepted.verdict, Verdict::Caution, "{code}");
        let check = named(&accepted.instances[0], name);
        assert_eq!(check.code.as_ref().map(ReasonCode::as_str), Some(code), "{check:?}");
        assert_eq!(check.verdict, CheckVerdict::Warn);
        assert!(check.advice.is_some());
    }
}

#[test]
fn black_white_and_noise_have_a_verdict() {
    let noise = |x: f64, y: f64| {
        let n = (x as u32).wrapping_mul(2_654_435_761) ^ (y as u32).wrapping_mul(0x9E37_79B9);
        [n >> 8, n >> 14, n >> 20].map(|n| n as u8)
    };
    for (name, world) in [
        ("black", view(|_, _| [0; 3])),
        ("white", view(|_, _| [255; 3])),
        ("noise", view(noise)),
        ("one pixel", world(vec![field(picture(1, 1, section), None)])),
        ("one row", world(vec![field(picture(700, 1, section), None)])),
    ] {
        let one = instance(&world);
        assert!(one.applicable, "{name}");
        assert!(one.checks.iter().filter_map(|check| check.value).all(f64::is_finite), "{name}: {one:?}");
    }
    assert_eq!(word(&view(|_, _| [0; 3])), (Verdict::Reject, Some("BLANK".to_owned())), "black is no tissue");
}

#[test]
fn a_slide_is_judged_the_same_in_one_instance_and_in_one_for_each_level() {
    let slide = slide_with(|_, _| None);
    let together = world(vec![slide.levels(&[1, 4])]);
    let mut apart: Vec<Stored> = [4, 1].map(|factor| slide.levels(&[factor])).into();
    for (header, factor) in apart.iter_mut().map(|(header, _)| header).zip([4.0, 1.0]) {
        header.levels[0].microns_per_pixel = Some([0.5 * factor; 2]);
    }
    let apart = world(apart);
    let whole = accepted(&together);
    let parts = accepted(&apart);
    assert_eq!((whole.verdict, parts.verdict), (Verdict::Accept, Verdict::Accept), "{:?}", whole.instances);
    let [coarse, fine] = parts.instances.as_slice() else { panic!("two instances") };
    assert_eq!(fine.checks, whole.instances[0].checks);
    assert!(fine.applicable && !coarse.applicable && coarse.checks.is_empty());
    assert_eq!(coarse.code.as_ref().map(ReasonCode::as_str), Some("LOWER_RESOLUTION_LEVEL"));
    let share = named(fine, "tissue").value.expect("measured");
    let drawn = std::f64::consts::PI * 600.0 * 600.0 / (2048.0 * 1536.0);
    assert!((share - drawn).abs() < 0.02, "tissue {share}, drawn {drawn}");
}

#[test]
fn a_stroke_on_part_of_a_slide_is_a_caution_and_ink_on_most_of_it_a_rejection() {
    let ink = [20, 130, 60];
    let corner = slide_with(move |x, y| ((y - x).abs() < 40.0 && x < 1000.0).then_some(ink));
    let accepted = accepted(&world(vec![corner.levels(&[1, 4])]));
    let check = named(&accepted.instances[0], "pen");
    assert_eq!((check.verdict, accepted.verdict), (CheckVerdict::Warn, Verdict::Caution));
    let lines =
        slide_with(move |x, y| (y.rem_euclid(200.0) < 40.0 && x > 100.0 && x < 1900.0).then_some(ink));
    assert!(codes(&rejected(&world(vec![lines.levels(&[1, 4])]))).contains(&"PEN"));
}

#[test]
fn a_slide_of_glass_is_blank_and_a_blurred_one_out_of_focus() {
    let glass =
        Slide { size: [2048, 1536], tile: 256, microns_per_pixel: 0.5, paint: |_: f64, _: f64| GLASS };
    assert_eq!(codes(&rejected(&world(vec![glass.levels(&[1, 4])]))), ["BLANK"]);
    let (header, tiles) = slide_with(|_, _| None).levels(&[1, 4]);
    let soft = tiles.into_iter().map(|(position, tile)| (position, blurred(&tile, 8.0))).collect();
    assert_eq!(codes(&rejected(&world(vec![(header, soft)]))), ["OUT_OF_FOCUS"]);
}

#[test]
fn every_field_of_a_series_is_judged_for_itself() {
    let clean = field(picture(SIDE, SIDE, section), Some(0.5));
    let blank = field(picture(SIDE, SIDE, |_, _| GLASS), Some(0.5));
    let mut world = world(vec![clean.clone(), blank, clean]);
    world.add(1).not_analysable = Some(NotAnalysable::LabelOrOverview);
    let words: Vec<_> = accepted(&world)
        .instances
        .iter()
        .map(|one| (one.applicable, one.code.as_ref().map_or("", ReasonCode::as_str).to_owned()))
        .collect();
    let expected = [(true, ""), (true, "BLANK"), (true, ""), (false, "LABEL_OR_OVERVIEW")];
    assert_eq!(words, expected.map(|(applicable, code)| (applicable, code.to_owned())));
}

#[test]
fn an_instance_judged_on_arrival_has_the_verdict_of_its_study() {
    let world = view(section);
    let blobs = MemoryBlobs::default();
    let judged = gate()
        .judge(Domain::Pathology, &world.study.instances[0], &ctx(&blobs, &world.frames))
        .expect("the machinery holds");
    assert_eq!(judged.instance, instance(&world));
}

/// Frames of which some tiles fail, and which count what is read.
struct Watched<'a, F> {
    world: &'a World,
    fault: F,
    read: Mutex<Vec<TilePosition>>,
}

impl<F: Fn(TilePosition) -> Option<FrameError> + Send + Sync> Frames for Watched<'_, F> {
    fn header(&self, instance: &BlobRef) -> Result<ClipHeader, FrameError> {
        self.world.frames.header(instance)
    }

    fn frame(&self, instance: &BlobRef, number: FrameNumber) -> Result<Frame, FrameError> {
        self.world.frames.frame(instance, number)
    }

    fn ecg(&self, instance: &BlobRef, number: FrameNumber) -> Result<Option<EcgStrip>, FrameError> {
        self.world.frames.ecg(instance, number)
    }

    fn slide(&self, instance: &BlobRef) -> Result<SlideHeader, FrameError> {
        self.world.frames.slide(instance)
    }

    fn tile(&self, instance: &BlobRef, position: TilePosition) -> Result<Option<Image>, FrameError> {
        self.read.lock().expect("no reader panicked").push(position);
        (self.fault)(position).map_or_else(|| self.world.frames.tile(instance, position), Err)
    }
}

fn damaged() -> FrameError {
    FrameError::Damaged { code: ReasonCode::known("CODESTREAM_MISMATCH"), detail: "test".to_owned() }
}

#[test]
fn damaged_tiles_warn_when_few_and_reject_under_the_decoders_code_when_many() {
    let world = world(vec![slide_with(|_, _| None).levels(&[1, 4])]);
    let blobs = MemoryBlobs::default();
    let outcome = |fault: fn(TilePosition) -> bool| {
        let fault = move |position| fault(position).then(damaged);
        let frames = Watched { world: &world, fault, read: Mutex::default() };
        gate().process(&world.study, &mut ctx(&blobs, &frames)).expect("damage is a verdict")
    };
    // The overview reads four tiles of the coarse level, the sample sixteen places of the fine one.
    match outcome(|at| at == TilePosition { level: 1, column: 0, row: 0 }) {
        Outcome::Emit(accepted) => {
            let check = named(&accepted.instances[0], "decodable");
            assert_eq!(check.verdict, CheckVerdict::Warn);
            assert_eq!(check.code, Some(ReasonCode::known("CODESTREAM_MISMATCH")));
        }
        Outcome::Reject(rejection) => panic!("one tile: {:?}", codes(&rejection)),
    }
    match outcome(|at| at.level == 0) {
        Outcome::Reject(rejection) => assert_eq!(codes(&rejection), ["CODESTREAM_MISMATCH"]),
        Outcome::Emit(_) => panic!("no tile of the finest level decodes"),
    }
}

#[test]
fn of_the_finest_level_only_the_sampled_tiles_are_read() {
    let world = world(vec![slide_with(|_, _| None).levels(&[1, 4])]);
    let frames = Watched { world: &world, fault: |_| None, read: Mutex::default() };
    let blobs = MemoryBlobs::default();
    gate().process(&world.study, &mut ctx(&blobs, &frames)).expect("the machinery holds");
    let read = frames.read.into_inner().expect("no reader panicked");
    // A place of 512 pixels touches at most nine tiles of 256.
    let fine = read.iter().filter(|position| position.level == 0).count();
    assert!(fine <= 16 * 9, "{fine} tiles of the finest level");
    assert!(read.len() > fine, "the overview comes from the coarse level");
}

#[test]
fn an_unavailable_store_is_an_error_and_no_verdict() {
    let world = view(section);
    let fault = |_| Some(FrameError::Unavailable("the store is down".into()));
    let frames = Watched { world: &world, fault, read: Mutex::default() };
    let blobs = MemoryBlobs::default();
    let error = gate().process(&world.study, &mut ctx(&blobs, &frames)).expect_err("the store is down");
    assert!(matches!(error, stage::StageError::Transient { .. }), "{error:?}");
}

#[test]
fn bounds_of_pathology_that_cannot_be_meant_are_refused_by_key() {
    for (key, value) in [("sampled_tiles", toml::Value::from(0)), ("pale", (-1.0).into())] {
        let mut wrong = table();
        wrong["pathology"][key] = value;
        let config = wrong.try_into().expect("still the same keys");
        let error = quality_gate::QualityGate::build(config, &stage::Services::without_model())
            .expect_err("cannot be meant");
        assert_eq!(error.key, format!("pathology.{key}"));
    }
}
