//! Beats of echo loops: end diastole and end systole, as masked and cropped as the keyframes stage stores them.

use std::io::Cursor;

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use phantom::echo::suite::wide;
use phantom::echo::{CineTruth, Corruption, CorruptionKind, EchoSpec, Interval, LoopFrames, View};
use pixels::{Clip, Mask};
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::Made;
use super::record::Record;

/// Beats drawn of a loop; making a loop ready costs more than a few frames of it.
const BEATS: usize = 2;
/// Share of the frames that lie one beside the plateau they were drawn from: the keyframes stage is not always exact.
const BESIDE: f64 = 0.1;
/// Quality of JPEG in a phantom's file that nothing is wrong with.
const JPEG_QUALITY: u8 = 85;
/// Stream of the choices made here; the phantom itself draws from others.
const STREAM: u64 = 7;

/// How well a physician could read the pictures, by the severities of `corruption`.
#[derive(Clone, Copy)]
enum Quality {
    Good,
    Fair,
    Poor,
}

/// Ranges of severities in the units of [`CorruptionKind`]: what the gate passes, what it warns of, what it rejects. Between
/// them lie gaps, where it would be unfair to ask for one answer.
const MILD: [(CorruptionKind, f64, f64); 8] = [
    (CorruptionKind::Blur, 0.2, 0.6),
    (CorruptionKind::OverGain, 1.0, 5.0),
    (CorruptionKind::UnderGain, -6.0, -1.0),
    (CorruptionKind::Noise, -60.0, -48.0),
    (CorruptionKind::Dropout, 0.05, 0.10),
    (CorruptionKind::Drift, 1.0, 12.0),
    (CorruptionKind::Foreshortening, 5.0, 20.0),
    (CorruptionKind::Jpeg, 50.0, 95.0),
];
const MODERATE: [(CorruptionKind, f64, f64); 6] = [
    (CorruptionKind::Blur, 0.8, 1.4),
    (CorruptionKind::OverGain, 8.0, 15.0),
    (CorruptionKind::UnderGain, -16.0, -10.0),
    (CorruptionKind::Noise, -43.0, -36.0),
    (CorruptionKind::Clutter, -10.0, -5.0),
    (CorruptionKind::Dropout, 0.18, 0.35),
];
const SEVERE: [(CorruptionKind, f64, f64); 5] = [
    (CorruptionKind::Blur, 2.0, 8.0),
    (CorruptionKind::OverGain, 20.0, 40.0),
    (CorruptionKind::UnderGain, -40.0, -20.0),
    (CorruptionKind::Noise, -31.0, -20.0),
    (CorruptionKind::Dropout, 0.5, 0.8),
];

/// The samples of study `seed`.
pub(crate) fn records(seed: u64) -> Made {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    let (spec, view, quality) = draw(seed, rng);
    let mut frames = LoopFrames::new(&spec)?;
    let truth = frames.truth().clone();
    let jpeg_quality = match spec.corruption.map(|corruption| (corruption.kind(), corruption.severity())) {
        Some((CorruptionKind::Jpeg, Some(quality))) => quality.round() as u8,
        _ => JPEG_QUALITY,
    };
    let mut mask = None;
    let mut records = Vec::new();
    for beat in beats(&truth, rng) {
        let [Some(ed), Some(es)] = beat.map(|frame| frames.frame(frame)) else { continue };
        if mask.is_none() {
            let Ok(found) = Clip::open(Cursor::new(jpeg(&brightest(&ed, &es), jpeg_quality)?))?.mask() else {
                return Ok(Vec::new());
            };
            mask = Some(found);
        }
        let Some(mask) = &mask else { continue };
        let pictures =
            [shown(&ed, jpeg_quality, mask)?, shown(&es, jpeg_quality, mask)?].into_iter().collect();
        let visible = mask.visible();
        records.push(Record {
            truth: json!({
                "seed": seed,
                "view": view.name(),
                "quality": match quality {
                    Quality::Good => "good",
                    Quality::Fair => "fair",
                    Quality::Poor => "poor",
                },
                "ef_percent": spec.heart.ef_percent,
                "corruption": truth.corruption,
                "severity": truth.severity,
                "frames": beat,
            }),
            width: visible.width(),
            height: visible.height(),
            channels: 1,
            pictures,
        });
    }
    Ok(records)
}

/// Half of the loops are apical four-chamber views, every other view is seen often enough to be told.
fn draw(seed: u64, rng: &mut impl Rng) -> (EchoSpec, View, Quality) {
    let view = match rng.random_range(0..100) {
        0..40 => View::A4c,
        40..64 => View::A2c,
        64..76 => View::Plax,
        76..88 => View::Psax,
        _ => View::Subcostal,
    };
    let spec = wide(seed).with_loop(view);
    let (quality, corruption) = match rng.random_range(0..100) {
        0..32 => (Quality::Good, None),
        32..36 => (Quality::Good, Some(CorruptionKind::Mirror.into())),
        36..55 => (Quality::Good, one_of(&MILD, rng)),
        55..82 => (Quality::Fair, one_of(&MODERATE, rng)),
        _ => (Quality::Poor, one_of(&SEVERE, rng)),
    };
    // A plane across the long axis shows nothing of its length.
    let impossible =
        |corruption: &Corruption| corruption.kind() == CorruptionKind::Foreshortening && view == View::Psax;
    (EchoSpec { corruption: corruption.filter(|one| !impossible(one)), ..spec }, view, quality)
}

fn one_of(kinds: &[(CorruptionKind, f64, f64)], rng: &mut impl Rng) -> Option<Corruption> {
    let (kind, least, most) = *kinds.choose(rng)?;
    Corruption::new(kind, rng.random_range(least..most)).ok()
}

/// Frames (0-based) of end diastole and the next end systole, of up to [`BEATS`] beats.
fn beats(truth: &CineTruth, rng: &mut impl Rng) -> Vec<[usize; 2]> {
    let mut whole: Vec<[Interval; 2]> = Vec::new();
    for ed in &truth.ed_intervals {
        if let Some(es) = truth.es_intervals.iter().find(|es| es.from_ms > ed.to_ms) {
            whole.push([*ed, *es]);
        }
    }
    let last = truth.frames.saturating_sub(1);
    let mut pick = |interval: Interval| {
        let within = interval.from_ms.max(0.0)..=interval.to_ms.max(0.1);
        let frame = (rng.random_range(within) * truth.fps / 1000.0).round() as usize;
        let beside = if rng.random_bool(BESIDE) { 2 } else { 1 };
        let moved = if rng.random() { frame + beside - 1 } else { (frame + 1).saturating_sub(beside) };
        moved.min(last)
    };
    // Of a single beat two pairs of frames, where its plateaus have them.
    let beats = whole.iter().cycle().take(if whole.is_empty() { 0 } else { BEATS });
    beats.map(|[ed, es]| [pick(*ed), pick(*es)]).filter(|[ed, es]| ed < es).collect()
}

/// Each pixel's greatest value, which shows the fan best.
fn brightest(a: &RgbImage, b: &RgbImage) -> RgbImage {
    let mut most = a.clone();
    most.iter_mut().zip(b.iter()).for_each(|(most, value)| *most = (*value).max(*most));
    most
}

fn jpeg(frame: &RgbImage, quality: u8) -> Result<Vec<u8>, jpeg_encoder::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_1);
    encoder.encode(frame.as_raw(), frame.width() as u16, frame.height() as u16, ColorType::Rgb)?;
    Ok(bytes)
}

/// What the mask leaves visible of a frame that went through the file, one byte a pixel: inside the fan all channels are
/// equal.
fn shown(
    frame: &RgbImage,
    quality: u8,
    mask: &Mask,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let image = Clip::open(Cursor::new(jpeg(frame, quality)?))?.masked_frame(0, mask)?.into_image();
    let visible = mask.visible();
    let (pixels, _) = image.rgb.as_chunks::<3>();
    let rows = pixels.chunks_exact(image.width as usize).skip(visible.y0 as usize);
    let rows = rows.take(visible.height() as usize);
    Ok(rows
        .flat_map(|row| row.iter().skip(visible.x0 as usize).take(visible.width() as usize))
        .map(|[_, green, _]| *green)
        .collect())
}
