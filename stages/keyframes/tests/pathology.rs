//! Tiles of slides through the stage's public door.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

use std::collections::HashMap;

use keyframes::Keyframes;
use schemas::{
    Area, BlobRef, Clip, Domain, GatedInstance, InstanceUid, Keyframe, KeyframeKind, KeyframeSource,
    KeyframesExtracted, Priority, ReasonCode, Revision, SeriesUid, StudyAccepted, StudyHead, StudyUid,
    Verdict,
};
use slide::testing::{GLASS, Section, Slide, field, picture};
use stage::{
    Blobs as _, Image, Outcome, Services, SlideHeader, Stage as _, StageError, TilePosition,
    testing::{MemoryBlobs, MemoryFrames, check, ctx},
};

fn table() -> toml::Value {
    let defaults: toml::Table = toml::from_str(include_str!("../../../config/default.toml")).expect("TOML");
    defaults["stages"]["keyframes"].clone()
}

fn built(table: toml::Value) -> Result<Keyframes, stage::ConfigError> {
    let config = table.try_into().expect("the table fits the configuration");
    Keyframes::build(config, &Services::without_model())
}

fn stage() -> Keyframes {
    built(table()).expect("the table can be meant")
}

type Stored = (SlideHeader, HashMap<TilePosition, Image>);

struct World {
    study: StudyAccepted,
    frames: MemoryFrames,
    blobs: MemoryBlobs,
}

impl World {
    fn of(slides: Vec<Stored>) -> Self {
        let study = StudyHead {
            study_uid: StudyUid::new("2.25.1").expect("uid"),
            revision: Revision::FIRST,
            priority: Priority::Routine,
            domain: Domain::Pathology,
            synthetic: true,
        };
        let mut world = Self {
            study: StudyAccepted { study, verdict: Verdict::Accept, instances: Vec::new() },
            frames: MemoryFrames::default(),
            blobs: MemoryBlobs::default(),
        };
        for (number, (header, tiles)) in slides.into_iter().enumerate() {
            let uid = format!("2.25.1.1.{number}");
            let blob = BlobRef::of(Area::Raw, uid.as_bytes());
            world.study.instances.push(GatedInstance {
                series_uid: SeriesUid::new("2.25.1.1").expect("uid"),
                instance_uid: InstanceUid::new(&uid).expect("uid"),
                blob: blob.clone(),
                frames: 1,
                applicable: true,
                verdict: Verdict::Accept,
                code: None,
                view: None,
                timing: None,
                checks: Vec::new(),
            });
            world.frames.insert_slide(blob, header, tiles);
        }
        world
    }

    fn run(&self) -> Result<Outcome<KeyframesExtracted>, StageError> {
        let inputs = std::slice::from_ref(&self.study);
        check(stage, inputs, &mut ctx(&self.blobs, &self.frames)).pop().expect("one outcome")
    }

    fn clips(&self) -> Vec<Clip> {
        match self.run() {
            Ok(Outcome::Emit(extracted)) => extracted.clips,
            other => panic!("no keyframes: {other:?}"),
        }
    }

    fn clip(&self) -> Clip {
        self.clips().into_iter().next().expect("one clip")
    }

    fn picture(&self, blob: &BlobRef) -> image::RgbImage {
        let png = self.blobs.get(blob).expect("stored");
        image::load_from_memory_with_format(&png, image::ImageFormat::Png).expect("a PNG").into_rgb8()
    }
}

fn section(x: f64, y: f64) -> [u8; 3] {
    Section::default().colour(x, y)
}

/// A large piece without nuclei but for a dense patch, a small piece, and a stroke of ink over part of the patch.
fn paint(x: f64, y: f64) -> [u8; 3] {
    let large = (300.0..2300.0).contains(&x) && (300.0..2100.0).contains(&y);
    let small = (2700.0..3300.0).contains(&x) && (1500.0..2100.0).contains(&y);
    let patch = (1000.0..2100.0).contains(&x) && (600.0..1200.0).contains(&y);
    if large && (y - 1100.0).abs() < 25.0 && x > 1500.0 {
        [20, 130, 60]
    } else if patch || small {
        section(x, y)
    } else if large {
        Section { nuclei: 0.1, ..Section::default() }.colour(x, y)
    } else {
        GLASS
    }
}

fn slide() -> Slide<fn(f64, f64) -> [u8; 3]> {
    Slide { size: [3584, 2560], tile: 256, microns_per_pixel: 0.5, paint }
}

fn bbox(keyframe: &Keyframe) -> [u32; 4] {
    keyframe.bbox.expect("a tile has its place")
}

fn holds(keyframe: &Keyframe, x: u32, y: u32) -> bool {
    let [left, top, width, height] = bbox(keyframe);
    (left..left + width).contains(&x) && (top..top + height).contains(&y)
}

#[test]
fn tiles_are_where_nuclei_are_apart_from_each_other_and_on_every_piece() {
    let clip = World::of(vec![slide().levels(&[1, 4])]).clip();
    assert!((4..=6).contains(&clip.keyframes.len()), "{:?}", clip.keyframes);
    assert_eq!(clip.flags, Vec::<ReasonCode>::new());
    for (index, one) in clip.keyframes.iter().enumerate() {
        assert_eq!((one.kind, one.source), (KeyframeKind::Tile, KeyframeSource::TileScore));
        assert!((0.0..=1.0).contains(&one.confidence) && one.time_ms.is_none());
        let [left, top, width, height] = bbox(one);
        assert_eq!((width, height), (512, 512));
        assert!(left + width <= 3584 && top + height <= 2560);
        for other in &clip.keyframes[..index] {
            let [x, y, ..] = bbox(other);
            assert!(left.abs_diff(x) >= 512 || top.abs_diff(y) >= 512, "{one:?} overlaps {other:?}");
        }
    }
    assert!(clip.keyframes.is_sorted_by(|a, b| a.confidence >= b.confidence));
    let best = &clip.keyframes[0];
    assert!(holds(best, 1250, 800) || holds(best, 1250, 900) || holds(best, 3000, 1800), "{best:?}");
    assert!(clip.keyframes.iter().any(|one| bbox(one)[0] > 2200), "the small piece has its tile");
    assert!(clip.keyframes.iter().any(|one| bbox(one)[0] < 2200), "the large piece has its tile");
    let inked = clip.keyframes.iter().filter(|one| holds(one, 1900, 1100) && one.confidence > 0.0).count();
    assert_eq!(inked, 0, "ink leaves nothing of a score: {:?}", clip.keyframes);
}

#[test]
fn a_tile_is_stored_as_scanned_and_normalised() {
    let world = World::of(vec![slide().levels(&[1, 4])]);
    for keyframe in world.clip().keyframes {
        let [left, top, ..] = bbox(&keyframe);
        let scanned = world.picture(&keyframe.image);
        let drawn = picture(512, 512, |x, y| paint(x + f64::from(left), y + f64::from(top)));
        assert_eq!(scanned.dimensions(), (512, 512));
        // Tiles of nothing but glass are not stored and read as white.
        let off = scanned.as_raw().iter().zip(drawn.rgb.iter()).filter(|(a, b)| a.abs_diff(**b) > 13).count();
        assert_eq!(off, 0, "the picture is the place that the box names");
        let normalised = world.picture(&keyframe.normalised.expect("normalised"));
        assert_eq!(normalised.dimensions(), (512, 512));
        assert_ne!(normalised.as_raw(), scanned.as_raw());
    }
}

#[test]
fn two_laboratories_give_tiles_that_look_alike() {
    let mean = |strength: f64| {
        let paint = move |x: f64, y: f64| Section { strength, ..Section::default() }.colour(x, y);
        let world = World::of(vec![field(picture(512, 512, paint), Some(0.5))]);
        let keyframe = world.clip().keyframes.pop().expect("a tile");
        let level = |image: &image::RgbImage| {
            image.as_raw().iter().map(|level| f64::from(*level)).sum::<f64>() / image.as_raw().len() as f64
        };
        let normalised = keyframe.normalised.expect("normalised");
        [level(&world.picture(&keyframe.image)), level(&world.picture(&normalised))]
    };
    let ([before_a, after_a], [before_b, after_b]) = (mean(0.7), mean(1.3));
    assert!(
        (after_a - after_b).abs() * 5.0 < (before_a - before_b).abs(),
        "mean levels {before_a:.1} and {before_b:.1} became {after_a:.1} and {after_b:.1}"
    );
}

#[test]
fn a_field_of_view_is_one_tile_whole() {
    let world = World::of(vec![field(picture(700, 500, section), None)]);
    let clip = world.clip();
    let [tile] = clip.keyframes.as_slice() else { panic!("one tile: {:?}", clip.keyframes) };
    assert_eq!((tile.kind, tile.source), (KeyframeKind::Tile, KeyframeSource::WholeImage));
    assert_eq!((tile.bbox, tile.time_ms, clip.geometry.as_ref()), (Some([0, 0, 700, 500]), None, None));
    assert_eq!(world.picture(&tile.image).as_raw()[..], picture(700, 500, section).rgb[..]);
    assert!(tile.normalised.is_some());
}

#[test]
fn a_single_stain_is_flagged_and_a_blank_field_stays_unchanged() {
    let eosin = Section { nuclei: 0.0, ..Section::default() };
    let clip = World::of(vec![field(picture(400, 400, |x, y| eosin.colour(x, y)), None)]).clip();
    assert_eq!(clip.flags, [ReasonCode::known("STAIN_FALLBACK")]);
    let blank = World::of(vec![field(picture(400, 400, |_, _| GLASS), None)]);
    let clip = blank.clip();
    assert_eq!(clip.flags, [ReasonCode::known("BLANK")]);
    assert_eq!(clip.keyframes[0].normalised.as_ref(), Some(&clip.keyframes[0].image));
}

#[test]
fn levels_in_several_instances_give_the_tiles_of_one_slide() {
    let together = World::of(vec![slide().levels(&[1, 4])]).clip();
    let coarse = {
        let (mut header, tiles) = slide().levels(&[4]);
        header.levels[0].microns_per_pixel = Some([2.0; 2]);
        (header, tiles)
    };
    let mut world = World::of(vec![coarse, slide().levels(&[1])]);
    let companion = &mut world.study.instances[0];
    companion.applicable = false;
    companion.verdict = Verdict::Reject;
    companion.code = Some(ReasonCode::known("LOWER_RESOLUTION_LEVEL"));
    let clips = world.clips();
    assert_eq!(clips.len(), 1);
    assert_eq!(clips[0].instance_uid, world.study.instances[1].instance_uid);
    assert_eq!(clips[0].keyframes, together.keyframes);
}

#[test]
fn a_finer_slide_gives_tiles_at_20x_with_boxes_in_its_own_pixels() {
    let fine = Slide {
        size: [4096, 2048],
        tile: 512,
        microns_per_pixel: 0.25,
        paint: |x: f64, y: f64| {
            if x < 3000.0 { section(x / 2.0, y / 2.0) } else { GLASS }
        },
    };
    let world = World::of(vec![fine.levels(&[1])]);
    let clip = world.clip();
    assert!(clip.keyframes.len() >= 2);
    for keyframe in &clip.keyframes {
        let [_, _, width, height] = bbox(keyframe);
        assert_eq!((width, height), (1024, 1024));
        assert_eq!(world.picture(&keyframe.image).dimensions(), (512, 512));
    }
}

#[test]
fn a_slide_of_glass_is_rejected_with_advice() {
    let glass =
        Slide { size: [2048, 2048], tile: 256, microns_per_pixel: 0.5, paint: |_: f64, _: f64| GLASS };
    let Ok(Outcome::Reject(rejection)) = World::of(vec![glass.levels(&[1])]).run() else {
        panic!("glass has no tile")
    };
    assert_eq!(rejection.reasons[0].code.as_str(), "NO_KEYFRAMES");
    assert!(rejection.reasons[0].advice.en.contains("tissue") && !rejection.reasons[0].advice.zh.is_empty());
}

#[test]
fn rules_that_cannot_be_meant_are_refused_by_key() {
    for (key, value) in [("tiles", toml::Value::from(0)), ("candidates", 2.into()), ("sharp", 0.0.into())] {
        let mut wrong = table();
        wrong["pathology"][key] = value;
        assert_eq!(built(wrong).expect_err("cannot be meant").key, format!("pathology.{key}"));
    }
}
