//! What a reader of phantom studies may rely on, seen through the DICOM files.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in its helpers too")]

mod screen;

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, Tag, from_reader};
use phantom::echo::{
    Batch, Content, Corruption, CorruptionKind, DicomInstance, EchoError, EchoSpec, Encoding, LoopFrames,
    Omission, SpecError, View, generate, write_studies,
};
use screen::Fan;
use uuid::Uuid;

/// A short clip of a healthy heart.
fn short(seed: u64, corruption: Option<Corruption>) -> EchoSpec {
    let mut spec = EchoSpec { corruption, ..EchoSpec::sample(seed) };
    spec.machine.beats = 0.3;
    spec
}

/// Severities are in the units of each kind.
fn spoilt(seed: u64, kind: CorruptionKind, severity: f64) -> EchoSpec {
    short(seed, Some(Corruption::new(kind, severity).unwrap()))
}

fn open(instance: &DicomInstance) -> DefaultDicomObject {
    from_reader(instance.file_bytes.as_slice()).unwrap()
}

fn text(object: &DefaultDicomObject, tag: Tag) -> String {
    object.element(tag).unwrap_or_else(|_| panic!("{tag} is missing")).to_str().unwrap().trim().to_owned()
}

fn number(object: &DefaultDicomObject, tag: Tag) -> f64 {
    object.element(tag).unwrap_or_else(|_| panic!("{tag} is missing")).to_float64().unwrap()
}

/// The fan of the first `count` frames of the study's first cine.
fn frames(spec: &EchoSpec, count: usize) -> Vec<Fan> {
    let study = generate(spec).unwrap();
    let object = open(&study.instances[0]);
    let pixels = object.element(tags::PIXEL_DATA).unwrap();
    let fragments = pixels.value().fragments().unwrap();
    fragments.iter().take(count).map(|jpeg| Fan::decode(jpeg, &spec.machine)).collect()
}

fn first(spec: &EchoSpec) -> Fan {
    frames(spec, 1).remove(0)
}

#[test]
fn the_same_specification_gives_the_same_bytes_and_another_gives_other_uids() {
    let spec = short(7, None);
    let (one, two) = (generate(&spec).unwrap(), generate(&spec).unwrap());
    assert_eq!(one.truth, two.truth);
    for (one, two) in one.instances.iter().zip(&two.instances) {
        assert!(one.file_bytes == two.file_bytes, "{}", one.sop_instance_uid);
    }
    let other = generate(&spoilt(7, CorruptionKind::Blur, 2.5)).unwrap();
    assert_ne!(one.study_uid, other.study_uid);
    assert_ne!(one.instances[0].sop_instance_uid, other.instances[0].sop_instance_uid);
}

/// The digests were taken on x86-64 Linux. When the drawing changes on purpose, change them and `GENERATOR` together.
#[test]
fn pixels_are_the_same_on_every_machine() {
    let mut found = Vec::new();
    for (encoding, recorded) in [
        (Encoding::Native, "639425eb-da04-5440-9fa6-936a88e228f2"),
        (Encoding::Jpeg, "4da3bc9e-7b32-5d65-8c5f-483071057760"),
    ] {
        let study = generate(&EchoSpec { encoding, ..short(7, None) }).unwrap();
        let object = open(&study.instances[0]);
        let pixels = object.element(tags::PIXEL_DATA).unwrap();
        let bytes = match pixels.value().fragments() {
            Some(fragments) => fragments.concat(),
            None => pixels.to_bytes().unwrap().into_owned(),
        };
        found.push((encoding, Uuid::new_v5(&Uuid::NAMESPACE_OID, &bytes).to_string(), recorded));
    }
    assert!(found.iter().all(|(_, now, recorded)| now == recorded), "{found:?}");
}

#[test]
fn a_cine_carries_every_attribute_the_pipeline_reads() {
    let spec = EchoSpec::sample(11);
    let study = generate(&spec).unwrap();
    for (instance, truth) in study.instances.iter().zip(&study.truth.cines) {
        let object = open(instance);
        assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), instance.transfer_syntax_uid);
        assert_eq!(text(&object, tags::SOP_CLASS_UID), "1.2.840.10008.5.1.4.1.1.3.1");
        assert_eq!(text(&object, tags::SOP_INSTANCE_UID), truth.instance_uid);
        assert_eq!(text(&object, tags::STUDY_INSTANCE_UID), study.study_uid);
        assert_eq!(text(&object, tags::BURNED_IN_ANNOTATION), "YES");
        assert_eq!(text(&object, Tag(0x0099, 0x0010)), "PRESCREEN PHANTOM");
        assert_eq!(text(&object, Tag(0x0099, 0x1001)), "YES");
        assert!(text(&object, tags::MANUFACTURER).contains("phantom"));
        assert!(text(&object, tags::PATIENT_NAME).starts_with("PHANTOM^"));

        assert_eq!(number(&object, tags::NUMBER_OF_FRAMES) as usize, truth.frames);
        assert_eq!(
            object.element(tags::FRAME_INCREMENT_POINTER).unwrap().value().to_tag().unwrap(),
            tags::FRAME_TIME
        );
        assert!((1000.0 / number(&object, tags::FRAME_TIME) - truth.fps).abs() < 1e-9);
        assert!((number(&object, tags::CINE_RATE) - truth.fps).abs() < 0.5);
        assert_eq!(number(&object, tags::HEART_RATE), study.truth.heart_rate);
        let r_waves = object.element(tags::R_WAVE_TIME_VECTOR).unwrap().to_multi_float64().unwrap();
        assert_eq!(r_waves.len(), truth.r_waves_ms.len());
        assert!(r_waves.len() >= 2, "two beats and more are shown");
        for (header, exact) in r_waves.iter().zip(&truth.r_waves_ms) {
            assert!((header - exact).abs() < 1e-3);
        }

        let views = object.element(tags::VIEW_CODE_SEQUENCE).unwrap().items().unwrap();
        let code = views[0].element(tags::CODE_VALUE).unwrap().to_str().unwrap().into_owned();
        assert_eq!(code.trim(), if truth.view == View::A4c { "399214001" } else { "399232001" });
        let regions = object.element(tags::SEQUENCE_OF_ULTRASOUND_REGIONS).unwrap().items().unwrap();
        let value = |region: usize, tag| regions[region].element(tag).unwrap().to_float64().unwrap();
        assert_eq!((value(0, tags::REGION_DATA_TYPE), value(1, tags::REGION_DATA_TYPE)), (1.0, 10.0));
        assert_eq!(Some(value(0, tags::PHYSICAL_DELTA_X)), truth.cm_per_pixel);
        for region in 0..2 {
            assert!(value(region, tags::REGION_LOCATION_MAX_X1) < number(&object, tags::COLUMNS));
            assert!(value(region, tags::REGION_LOCATION_MAX_Y1) < number(&object, tags::ROWS));
        }
        let ecg_seconds = value(1, tags::PHYSICAL_DELTA_X)
            * (value(1, tags::REGION_LOCATION_MAX_X1) - value(1, tags::REGION_LOCATION_MIN_X0) + 1.0);
        assert!((ecg_seconds - truth.frames as f64 / truth.fps).abs() < 1e-6);
    }
    let still = open(&study.instances[2]);
    assert_eq!(text(&still, tags::SOP_CLASS_UID), "1.2.840.10008.5.1.4.1.1.6.1");
    assert_eq!(vec![text(&still, tags::SOP_INSTANCE_UID)], study.truth.stills);
    assert!(still.element_opt(tags::NUMBER_OF_FRAMES).unwrap().is_none());
    assert_eq!(text(&still, Tag(0x0099, 0x1001)), "YES");
}

#[test]
fn the_offset_table_points_at_the_frames() {
    let study = generate(&short(3, None)).unwrap();
    let object = open(&study.instances[0]);
    let pixels = object.element(tags::PIXEL_DATA).unwrap().value();
    let (offsets, fragments) = (pixels.offset_table().unwrap(), pixels.fragments().unwrap());
    assert_eq!(fragments.len(), study.truth.cine.frames);
    let mut next = 0;
    for (offset, fragment) in offsets.iter().zip(fragments) {
        assert_eq!(*offset as usize, next);
        assert!(fragment.starts_with(&[0xff, 0xd8]) && fragment.len() % 2 == 0);
        next += fragment.len() + 8;
    }
}

#[test]
fn native_pixels_are_the_picture_that_jpeg_approximates() {
    let spec = short(4, None);
    let study = generate(&EchoSpec { encoding: Encoding::Native, ..spec.clone() }).unwrap();
    let object = open(&study.instances[0]);
    let native = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
    assert_eq!(native.len(), study.truth.cine.frames * 640 * 480 * 3);
    assert_eq!(text(&object, tags::PHOTOMETRIC_INTERPRETATION), "RGB");
    let jpeg = first(&spec);
    let exact = Fan::from_rgb(&native[..640 * 480 * 3], &spec.machine);
    assert!(exact.mean_difference(&jpeg) < 6.0, "{}", exact.mean_difference(&jpeg));
}

/// Blood fills the upper fan most at end diastole and least at end systole, in the pictures and not only in the truth.
/// Rows 0 to 45 hold the text, with a name that differs.
#[test]
fn a_frame_taken_alone_is_the_frame_of_the_file() {
    let spec = EchoSpec { encoding: Encoding::Native, ..short(7, Some(CorruptionKind::Drift.into())) };
    let spec = spec.with_loop(View::A2c);
    let study = generate(&spec).unwrap();
    let object = open(&study.instances[0]);
    let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    let mut alone = LoopFrames::new(&spec).unwrap();
    assert_eq!(*alone.truth(), study.truth.cine);
    for index in [study.truth.cine.frames - 1, 0] {
        let frame = alone.frame(index).unwrap();
        let size = frame.as_raw().len();
        let below = 46 * 3 * frame.width() as usize;
        assert!(pixels[index * size..][below..size] == frame.as_raw()[below..], "frame {index}");
    }
    assert!(alone.frame(study.truth.cine.frames).is_none());
    assert!(matches!(
        LoopFrames::new(&EchoSpec { contents: vec![Content::MMode], ..spec }),
        Err(EchoError::Spec(SpecError::NoLoop))
    ));
}

#[test]
fn key_frames_of_the_truth_are_extremes_of_the_picture() {
    for seed in [1, 2] {
        let mut spec = EchoSpec::sample(seed);
        spec.heart.ef_percent = 55.0;
        let study = generate(&spec).unwrap();
        let truth = &study.truth.cine;
        let blood: Vec<f64> = frames(&spec, usize::MAX).iter().map(Fan::ventricular_blood).collect();
        assert!(!truth.ed_frames.is_empty() && !truth.es_frames.is_empty());
        let (least, most) =
            blood.iter().fold((f64::MAX, f64::MIN), |(least, most), b| (least.min(*b), most.max(*b)));
        let place = |frame: &usize| (blood[frame - 1] - least) / (most - least);
        for frame in &truth.ed_frames {
            assert!(place(frame) > 0.85, "ED frame {frame} at {}", place(frame));
        }
        for frame in &truth.es_frames {
            assert!(place(frame) < 0.15, "ES frame {frame} at {}", place(frame));
        }
        for (frames, times) in
            [(&truth.ed_frames, &truth.r_waves_ms), (&truth.es_frames, &truth.end_systoles_ms)]
        {
            for (frame, time) in frames.iter().zip(times) {
                let shown_ms = (*frame as f64 - 1.0) * 1000.0 / truth.fps;
                assert!(
                    (shown_ms - time).abs() <= 500.0 / truth.fps + 1e-9,
                    "{frame} is 1-based and nearest"
                );
            }
        }
    }
}

#[test]
fn the_truth_is_consistent() {
    let study = generate(&short(21, None)).unwrap();
    let truth = &study.truth;
    let ef = 100.0 * (truth.edv_ml - truth.esv_ml) / truth.edv_ml;
    assert!((ef - truth.ef_percent).abs() < 1e-9);
    let json = serde_json::to_value(truth).unwrap();
    for name in [
        "study_uid",
        "domain",
        "view",
        "ef_percent",
        "edv_ml",
        "esv_ml",
        "ed_frames",
        "es_frames",
        "fps",
        "heart_rate",
        "corruption",
        "severity",
        "severity_unit",
        "ed_area_cm2",
        "synthetic",
        "instance_uid",
    ] {
        assert!(json.get(name).is_some(), "{name} is missing");
    }
    assert_eq!(json["view"], "A4C");
    assert_eq!(json["domain"], "echo");
}

/// Levels a quality gate accepts without a warning (OVER_GAIN, UNDER_GAIN, LOW_CONTRAST, BLUR).
#[test]
fn a_sound_phantom_is_well_exposed_and_sharp() {
    for seed in 0..8 {
        let fan = first(&short(seed, None));
        assert!(fan.share(|grey| grey >= 250) < 0.05, "seed {seed}: saturated {}", fan.share(|g| g >= 250));
        assert!(fan.share(|grey| grey <= 5) < 0.15, "seed {seed}: black {}", fan.share(|g| g <= 5));
        let (blood, tissue) = fan.classes();
        assert!(blood < 110.0 && tissue - blood > 80.0, "seed {seed}: blood {blood}, tissue {tissue}");
        assert!(fan.sharpness() > 500.0, "seed {seed}: {}", fan.sharpness());
    }
}

#[test]
fn blur_removes_detail_by_degrees() {
    let sharp = first(&short(5, None)).sharpness();
    let blurred: Vec<f64> =
        [1.0, 2.0, 5.0].map(|s| first(&spoilt(5, CorruptionKind::Blur, s)).sharpness()).into();
    assert!(sharp > 5.0 * blurred[0] && blurred.is_sorted_by(|a, b| a > b), "{sharp} then {blurred:?}");
    assert!(blurred[1] < 50.0, "2 px are below the gate's limit: {}", blurred[1]);
}

#[test]
fn gain_saturates_or_blackens() {
    let saturated = |spec: &EchoSpec| first(spec).share(|grey| grey >= 250);
    let black = |spec: &EchoSpec| first(spec).share(|grey| grey <= 5);
    let sound = short(5, None);
    let (half, full) = (spoilt(5, CorruptionKind::OverGain, 14.0), spoilt(5, CorruptionKind::OverGain, 28.0));
    assert!(saturated(&sound) < saturated(&half) && saturated(&half) < saturated(&full));
    assert!(saturated(&full) > 0.2, "{}", saturated(&full));
    let (half, full) =
        (spoilt(5, CorruptionKind::UnderGain, 10.0), spoilt(5, CorruptionKind::UnderGain, 20.0));
    assert!(black(&sound) < black(&half) && black(&half) < black(&full));
}

#[test]
fn noise_fills_the_chambers_until_contrast_is_gone() {
    let contrast = |spec: &EchoSpec| {
        let (blood, tissue) = first(spec).classes();
        tissue - blood
    };
    let sound = contrast(&short(5, None));
    let noisy: Vec<f64> = [46.0, 39.0, 32.0].map(|s| contrast(&spoilt(5, CorruptionKind::Noise, s))).into();
    assert!(sound > noisy[0] && noisy.is_sorted_by(|a, b| a > b), "{sound} then {noisy:?}");
    assert!(noisy[2] < 58.0, "{noisy:?}");
}

#[test]
fn a_static_clip_freezes_for_the_share_asked_for() {
    for (severity, least, most) in [(1.0, 1.0, 1.0), (0.5, 0.4, 0.6)] {
        let fans = frames(&spoilt(5, CorruptionKind::Static, severity), usize::MAX);
        let frozen = fans.windows(2).filter(|pair| pair[0].mean_difference(&pair[1]) < 0.25).count();
        let share = frozen as f64 / (fans.len() - 1) as f64;
        assert!((least..=most).contains(&share), "{share} at {severity}");
    }
    let live = frames(&short(5, None), usize::MAX);
    assert!(live.windows(2).all(|pair| pair[0].mean_difference(&pair[1]) > 1.0));
}

#[test]
fn truncation_and_frame_rate_show_in_the_header() {
    let seconds = |object: &DefaultDicomObject| {
        number(object, tags::NUMBER_OF_FRAMES) * number(object, tags::FRAME_TIME) / 1000.0
    };
    let study = generate(&spoilt(5, CorruptionKind::Truncated, 0.6)).unwrap();
    let beats = seconds(&open(&study.instances[0])) * study.truth.heart_rate / 60.0;
    assert!((0.5..0.7).contains(&beats), "{beats}");
    let study = generate(&spoilt(5, CorruptionKind::LowFps, 10.0)).unwrap();
    assert!((number(&open(&study.instances[0]), tags::FRAME_TIME) - 100.0).abs() < 1e-9);
    assert!((study.truth.cine.fps - 10.0).abs() < 1e-9);
}

#[test]
fn dropout_darkens_beams() {
    let mean = |spec: &EchoSpec| first(spec).mean();
    let (half, full) = (spoilt(5, CorruptionKind::Dropout, 0.3), spoilt(5, CorruptionKind::Dropout, 0.6));
    let sound = mean(&short(5, None));
    assert!(mean(&half) < 0.9 * sound && mean(&full) < 0.7 * sound);
}

#[test]
fn without_a_fan_the_screen_is_snow_and_no_region_is_declared() {
    let spec = short(5, Some(CorruptionKind::NoFan.into()));
    let study = generate(&spec).unwrap();
    let object = open(&study.instances[0]);
    assert!(object.element_opt(tags::SEQUENCE_OF_ULTRASOUND_REGIONS).unwrap().is_none());
    assert_eq!(study.truth.cine.cm_per_pixel, None);
    assert!(first(&spec).bright_outside() > 0.8);
    assert!(first(&short(5, None)).bright_outside() < 0.05);
}

#[test]
fn a_value_out_of_range_is_refused_with_its_bounds() {
    let mut spec = EchoSpec::sample(1);
    spec.heart.heart_rate = f64::NAN;
    let Err(EchoError::Spec(SpecError::Range { field, least, most, .. })) = generate(&spec) else {
        panic!("a heart without a rate")
    };
    assert_eq!((field, least, most), ("heart.heart_rate", 35.0, 160.0));
    let still = EchoSpec { contents: vec![Content::Still(View::A4c)], ..EchoSpec::sample(1) };
    assert!(matches!(generate(&still), Err(EchoError::Spec(SpecError::NoLoop))));
}

#[test]
fn studies_lie_beside_their_truth_and_do_not_depend_on_the_count() {
    let folder = tempfile::tempdir().unwrap();
    let corruption = Some("truncated".parse().unwrap());
    let batch = |count| Batch { count, seed: 2, corruption };
    let truths = write_studies(folder.path(), batch(2).specs()).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("truth.json")).unwrap()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    for (study, entry) in truths.studies.iter().zip(json.as_array().unwrap()) {
        assert_eq!(entry["study_uid"], study.study_uid.as_str());
        assert_eq!(entry["corruption"], "truncated");
        assert_eq!((&entry["severity"], &entry["severity_unit"]), (&0.6.into(), &"beats".into()));
        let uids = study.cines.iter().map(|cine| &cine.instance_uid).chain(&study.stills);
        let mut expected: Vec<String> = uids.map(|uid| format!("{uid}.dcm")).collect();
        let mut found: Vec<String> = std::fs::read_dir(folder.path().join(&study.study_uid))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }
    let one: Vec<EchoSpec> = batch(1).specs().collect();
    assert_eq!(one[0], batch(2).specs().next().unwrap());
}

#[test]
fn colour_lies_in_the_box_and_the_header_speaks_of_it_or_not() {
    for (kind, declared) in [(CorruptionKind::ColourBox, true), (CorruptionKind::ColourBoxSilent, false)] {
        let spec =
            EchoSpec { encoding: Encoding::Native, ..short(5, Some(kind.into())) }.with_loop(View::A4c);
        let study = generate(&spec).unwrap();
        let object = open(&study.instances[0]);
        assert_eq!(number(&object, tags::ULTRASOUND_COLOR_DATA_PRESENT) > 0.0, declared);
        let regions = object.element(tags::SEQUENCE_OF_ULTRASOUND_REGIONS).unwrap().items().unwrap();
        let value = |item: usize, tag| regions[item].element(tag).unwrap().to_float64().unwrap();
        let types: Vec<f64> = (0..regions.len()).map(|item| value(item, tags::REGION_DATA_TYPE)).collect();
        assert_eq!(types, if declared { vec![1.0, 2.0, 10.0] } else { vec![1.0, 10.0] });
        let frames = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        for frame in frames.chunks_exact(640 * 480 * 3) {
            let hued = |pixel: &[u8]| pixel.iter().max().unwrap() - pixel.iter().min().unwrap() > 30;
            let inside = frame
                .chunks_exact(3)
                .enumerate()
                .filter(|(at, pixel)| hued(pixel) && (46..432).contains(&(at / 640)) && at % 640 < 600);
            let places: Vec<(f64, f64)> =
                inside.map(|(at, _)| ((at % 640) as f64, (at / 640) as f64)).collect();
            assert!(places.len() > 3000, "{} coloured pixels of the fan's 100,000", places.len());
            if declared {
                let [left, top] =
                    [tags::REGION_LOCATION_MIN_X0, tags::REGION_LOCATION_MIN_Y0].map(|t| value(1, t));
                let [right, bottom] =
                    [tags::REGION_LOCATION_MAX_X1, tags::REGION_LOCATION_MAX_Y1].map(|t| value(1, t));
                assert!(
                    places.iter().all(|(x, y)| (left..=right).contains(x) && (top..=bottom).contains(y)),
                    "colour outside the box {left} {top} {right} {bottom}"
                );
            }
        }
    }
}

/// (SOP class, region formats and types) of each instance; a view only where a sector is shown.
#[test]
fn an_exam_holds_one_apical_loop_among_everything_else_a_hospital_sends() {
    let mut spec = short(2, None).with_exam(20);
    spec.machine.frame_rate = 15.0;
    let study = generate(&spec).unwrap();
    assert_eq!(study.instances.len(), 20);
    let apical = |cine: &&phantom::echo::CineTruth| !cine.colour && cine.view == View::A4c;
    assert_eq!(study.truth.cines.iter().filter(apical).count(), 1);
    assert_eq!((study.truth.cine.view, study.truth.cine.colour), (View::A4c, false));
    assert_eq!(study.truth.cines.len() + study.truth.stills.len(), 20);
    for (index, instance) in study.instances.iter().enumerate() {
        let object = open(instance);
        assert_eq!(number(&object, tags::INSTANCE_NUMBER) as usize, index + 1);
        assert_eq!(text(&object, Tag(0x0099, 0x1001)), "YES");
        assert_eq!(text(&object, tags::STUDY_INSTANCE_UID), study.study_uid);
        let known = study.truth.cines.iter().any(|cine| cine.instance_uid == instance.sop_instance_uid);
        let still = study.truth.stills.contains(&instance.sop_instance_uid);
        assert!(known != still, "instance {index} is told of once");
    }
    let kinds: std::collections::BTreeSet<String> = study
        .instances
        .iter()
        .map(|instance| {
            let object = open(instance);
            let regions = object.element_opt(tags::SEQUENCE_OF_ULTRASOUND_REGIONS).unwrap();
            let types = regions.map_or(Vec::new(), |regions| {
                let value = |item: &dicom_object::InMemDicomObject, tag| {
                    item.element(tag).unwrap().to_float64().unwrap()
                };
                regions
                    .items()
                    .unwrap()
                    .iter()
                    .map(|item| {
                        (value(item, tags::REGION_SPATIAL_FORMAT), value(item, tags::REGION_DATA_TYPE))
                    })
                    .collect()
            });
            format!("{:?} of {} with {types:?}", instance.view.is_some(), text(&object, tags::IMAGE_TYPE))
        })
        .collect();
    assert!(kinds.len() >= 5, "{kinds:?}");
}

#[test]
fn each_view_names_itself_and_keeps_the_volumes() {
    let mut areas = Vec::new();
    for view in View::ALL {
        let study = generate(&short(9, None).with_loop(view)).unwrap();
        let object = open(&study.instances[0]);
        assert_eq!(text(&object, tags::VIEW_NAME), view.name());
        assert_eq!(serde_json::to_value(&study.truth).unwrap()["view"], view.name());
        let ef = 100.0 * (study.truth.edv_ml - study.truth.esv_ml) / study.truth.edv_ml;
        assert!((ef - study.truth.ef_percent).abs() < 1e-9);
        assert!(study.truth.cine.es_area_cm2 < study.truth.cine.ed_area_cm2);
        areas.push(study.truth.cine.ed_area_cm2);
    }
    assert!(areas[0] == areas[1] && areas[0] == areas[2] && areas[0] == areas[4], "one plane: {areas:?}");
    assert!(areas[3] < areas[0], "across the axis the cut is smaller: {areas:?}");
}

/// A liver fills the near field, and the ventricle lies on its side.
#[test]
fn a_subcostal_view_is_no_tilted_four_chamber_view() {
    let near = |view| {
        let fan = first(&short(9, None).with_loop(view));
        fan.dark_share(0.15..0.30)
    };
    assert!(near(View::A4c) > 0.25, "an apical near field is ventricle: {}", near(View::A4c));
    assert!(near(View::Subcostal) < 0.12, "a subcostal near field is liver: {}", near(View::Subcostal));
}

#[test]
fn a_machine_may_leave_out_what_is_not_required() {
    let omissions = vec![Omission::View, Omission::RWaves, Omission::HeartRate, Omission::Ecg];
    let study = generate(&EchoSpec { omissions, ..short(6, None) }).unwrap();
    let object = open(&study.instances[0]);
    for tag in [tags::VIEW_CODE_SEQUENCE, tags::VIEW_NAME, tags::R_WAVE_TIME_VECTOR, tags::HEART_RATE] {
        assert!(object.element_opt(tag).unwrap().is_none(), "{tag}");
    }
    let regions = object.element(tags::SEQUENCE_OF_ULTRASOUND_REGIONS).unwrap().items().unwrap();
    assert_eq!(regions.len(), 1, "the sector alone");
    let full = generate(&short(6, None)).unwrap();
    assert_eq!(study.truth.cine.end_systoles_ms, full.truth.cine.end_systoles_ms, "the truth keeps all");
}

/// The near field stays where it is while the heart below it moves.
#[test]
fn respiration_moves_the_heart_and_not_the_fan() {
    let clip = |corruption| {
        let mut spec = EchoSpec { corruption, ..EchoSpec::sample(5) }.with_loop(View::A4c);
        spec.machine.beats = 2.0;
        spec.machine.frame_rate = 15.0;
        frames(&spec, usize::MAX)
    };
    let (still, drifting) = (clip(None), clip(Some("drift:12".parse().unwrap())));
    let ends = |clip: &[Fan]| clip[0].mean_difference(clip.last().unwrap());
    assert!(ends(&drifting) > 1.3 * ends(&still), "{} against {}", ends(&drifting), ends(&still));
}

#[test]
fn a_foreshortened_ventricle_is_shown_shorter_than_it_is() {
    let truth = |text: &str| {
        let corruption = Some(text.parse().unwrap());
        generate(&short(5, corruption)).unwrap().truth
    };
    let (sound, short) = (generate(&short(5, None)).unwrap().truth, truth("foreshortening:20"));
    assert_eq!(sound.ef_percent, short.ef_percent);
    assert!((short.cine.ed_area_cm2 / sound.cine.ed_area_cm2 - 0.8).abs() < 1e-9);
}
