//! Tiles of stained tissue, normalised as the keyframes stage stores them.

use phantom::pathology::{Corruption, CorruptionKind, Field, FieldSpec, Section};
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use slide::is_pen;
use stain::{MAX_SAMPLE, Plan, REFERENCE, sample};

use super::Made;
use super::record::Record;

/// Stream of the choices made here; the phantom itself draws from others.
const STREAM: u64 = 8;

/// What spoils a tile: the word of the form, the corruption, its range of severities, and from which on the tile is poor.
const ARTEFACTS: [(&str, CorruptionKind, f64, f64, f64); 7] = [
    ("blur", CorruptionKind::Blur, 2.0, 8.0, 4.0),
    ("pen", CorruptionKind::PenGreen, 0.7, 1.0, 0.0),
    ("pen", CorruptionKind::PenBlue, 0.7, 1.0, 0.0),
    ("pen", CorruptionKind::PenBlack, 0.7, 1.0, 0.0),
    ("pen", CorruptionKind::PenRed, 0.7, 1.0, 0.0),
    ("fold", CorruptionKind::Fold, 2.0, 3.5, 9.0),
    ("pale", CorruptionKind::Pale, 0.2, 0.5, 0.3),
];

/// The sample of field `seed`.
pub(crate) fn records(seed: u64) -> Made {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    let sampled = FieldSpec::sample(seed);
    let (tissue, gland_share, cellularity) = match rng.random_range(0..100) {
        0..45 => ("glandular", rng.random_range(0.3..1.0), rng.random_range(0.05..0.9)),
        45..75 => ("stromal", 0.0, rng.random_range(0.05..0.5)),
        _ => ("solid", 0.0, rng.random_range(0.75..1.0)),
    };
    // One in two is sound; the kinds of pen together are as frequent as any other artefact.
    let artefact = match rng.random_range(0..8) {
        0 => Some(0),
        1 => Some(rng.random_range(1..5)),
        2 => Some(5),
        3 => Some(6),
        _ => None,
    };
    let (artefact, corruption, quality) = match artefact.and_then(|index| ARTEFACTS.get(index)) {
        None => (None, mild(rng), "good"),
        Some((word, kind, least, most, poor)) => {
            let severity = rng.random_range(*least..*most);
            let is_poor = if *kind == CorruptionKind::Pale { severity < *poor } else { severity >= *poor };
            let quality = if is_poor { "poor" } else { "fair" };
            (Some(*word), Corruption::new(*kind, severity).ok(), quality)
        }
    };
    let section = Section { gland_share, cellularity, ..sampled.section };
    let field = Field::draw(&FieldSpec { section, corruption, ..sampled })?;
    let drawn = sample(&field.rgb, MAX_SAMPLE);
    // Ink would turn the plane of the two stains.
    let unmarked: Vec<[u8; 3]> = drawn.into_iter().filter(|pixel| !is_pen(*pixel)).collect();
    let normalised = Plan::of(&unmarked).normaliser(&REFERENCE).apply(&field.rgb);
    let tissue_pixels = field.tissue.iter().filter(|tissue| **tissue).count();
    Ok(vec![Record {
        truth: json!({
            "seed": seed,
            "tissue": tissue,
            "nuclei_per_megapixel": 1e6 * field.nuclei_count as f64 / tissue_pixels.max(1) as f64,
            "artefact": artefact,
            "quality": quality,
            "corruption": corruption.map(Corruption::kind),
            "severity": corruption.and_then(Corruption::severity),
        }),
        width: field.spec.columns,
        height: field.spec.rows,
        channels: 3,
        pictures: vec![normalised],
    }])
}

/// What a tile may have without being spoilt.
fn mild(rng: &mut impl Rng) -> Option<Corruption> {
    let kinds = [(CorruptionKind::Blur, 0.2, 0.8), (CorruptionKind::Dark, 1.05, 1.4)];
    let (kind, least, most) = *kinds.choose(rng)?;
    rng.random_bool(0.3).then(|| Corruption::new(kind, rng.random_range(least..most)).ok())?
}
