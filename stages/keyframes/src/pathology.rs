//! Which tiles of a slide carry the finding.
//!
//! ```text
//!  overview ─▶ places with tissue ─▶ candidates: dense in haematoxylin, spread over every piece of tissue
//!                                        │ each read once at 20x, one at a time; a sample of its pixels is kept
//!                                        ▼
//!              stains of all candidates together ─▶ score of each ─▶ the best, spread again ─▶ read and stored,
//!                                                                      as scanned and normalised
//! ```
//!
//! The score is `N·tanh(tissue)` (NucleiScorer of histolab, N the share of nuclei) times focus, times what pen and folds
//! leave. A field of view is one tile, whole.

mod spread;

use raster::Window;
use schemas::{
    Area, BlobRef, Clip, FrameNumber, GatedInstance, Keyframe, KeyframeKind, KeyframeSource, ReasonCode,
    Verdict,
};
use serde::Deserialize;
use slide::{Appearance, Grid, Overview, Part, Place, Pyramid, is_pen, pyramids, tissue};
use spread::{Candidate, spread};
use stage::{ConfigError, Ctx, FrameError, Image, SlideHeader, StageError};
use stain::{Concentrations, MAX_SAMPLE, Normaliser, Plan, REFERENCE, sample};

use crate::{
    config::{at_least, share},
    picture::encode,
    study::{bare, empty},
    trace::{NO_KEYFRAMES, thousandths},
};

/// What the gate calls an instance that holds a coarser level of another's slide.
const LOWER_RESOLUTION_LEVEL: ReasonCode = ReasonCode::known("LOWER_RESOLUTION_LEVEL");
/// Share of pen in a tile that leaves nothing of its score; the gate rejects a field of view with as much.
const MOST_PEN: f64 = 0.02;
/// Share of fold in a tile that leaves nothing of its score. A tile with a fold reads 0.005.
const MOST_FOLD: f64 = 0.01;
/// Optical density (99th percentile) from which dense pixels are taken for a fold, as in the gate.
const FOLD_DENSITY: f64 = 1.05;

/// How tiles are chosen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TileRules {
    /// Tiles kept of a slide, the best ones.
    pub tiles: u32,
    /// Places looked at in full resolution.
    pub candidates: u32,
    /// Raw tiles read for the overview at most; of a level with more, some stand for their neighbours.
    pub overview_tiles: u32,
    /// Share of a tile that must be tissue.
    pub least_tissue: f64,
    /// Concentration of haematoxylin from which a pixel belongs to a nucleus.
    pub nucleus: f64,
    /// Variance of the Laplacian from which a tile counts as sharp; below, its score falls in proportion.
    pub sharp: f64,
}

impl TileRules {
    /// Refuses what cannot be meant.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        at_least("pathology.tiles", self.tiles, 1)?;
        at_least("pathology.candidates", self.candidates, self.tiles)?;
        at_least("pathology.overview_tiles", self.overview_tiles, 1)?;
        share("pathology.least_tissue", self.least_tissue)?;
        for (key, value) in [("pathology.nucleus", self.nucleus), ("pathology.sharp", self.sharp)] {
            if !(value.is_finite() && value > 0.0) {
                let expected = "a number above 0".to_owned();
                return Err(ConfigError { key, value: value.to_string(), expected });
            }
        }
        Ok(())
    }
}

/// The tiles of every fit slide of a study, in the order of its instances.
pub(crate) fn clips(
    instances: &[GatedInstance],
    rules: &TileRules,
    ctx: &Ctx<'_>,
) -> Result<Vec<Clip>, StageError> {
    let fit = |one: &GatedInstance| one.applicable && one.verdict != Verdict::Reject;
    let level = |one: &GatedInstance| !one.applicable && one.code == Some(LOWER_RESOLUTION_LEVEL);
    let mut headers: Vec<(&GatedInstance, Result<SlideHeader, ReasonCode>)> = Vec::new();
    for instance in instances.iter().filter(|one| fit(one) || level(one)) {
        headers.push((instance, readable(ctx.frames().slide(&instance.blob))?));
    }
    let (opened, parts): (Vec<&GatedInstance>, Vec<Part<'_>>) = headers
        .iter()
        .filter_map(|(instance, header)| {
            let header = header.as_ref().ok()?;
            let part = Part { series_uid: &instance.series_uid, blob: &instance.blob, header };
            Some((*instance, part))
        })
        .unzip();
    let slides = pyramids(&parts);
    let mut clips = Vec::new();
    for (instance, header) in headers.iter().filter(|(instance, _)| fit(instance)) {
        let of_it = |(finest, _): &&(usize, Pyramid)| {
            opened.get(*finest).is_some_and(|one| one.instance_uid == instance.instance_uid)
        };
        match (header, slides.iter().find(of_it)) {
            (Ok(_), Some((_, slide))) => clips.push(clip(instance, slide, rules, ctx)?),
            (Ok(_), None) => clips.push(empty(instance, NO_KEYFRAMES)),
            (Err(code), _) => clips.push(empty(instance, code.clone())),
        }
    }
    Ok(clips)
}

/// What was read, or the code under which it cannot be read any more.
fn readable<T>(read: Result<T, FrameError>) -> Result<Result<T, ReasonCode>, StageError> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(FrameError::Damaged { code, .. }) => Ok(Err(code)),
        Err(error) => Err(error.into()),
    }
}

/// The best tiles of one slide.
fn clip(
    instance: &GatedInstance,
    slide: &Pyramid,
    rules: &TileRules,
    ctx: &Ctx<'_>,
) -> Result<Clip, StageError> {
    let overview = match readable(Overview::read(slide, ctx.frames(), rules.overview_tiles))? {
        Ok(overview) => overview,
        Err(code) => return Ok(empty(instance, code)),
    };
    let grid = Grid::new(slide);
    let whole = [0, 0, slide.finest().grid.columns, slide.finest().grid.rows];
    let places = if slide.is_field() {
        vec![Place { bbox: whole, tissue: 1.0, piece: 1 }]
    } else {
        grid.places(&overview, &tissue(&overview.image), rules.least_tissue)
    };
    let promising = promising(&places, &overview, rules.candidates as usize);
    let mut flags = Vec::new();
    let looked_at = LookedAt::read(&grid, &promising, &mut flags, ctx)?;
    if looked_at.tiles.is_empty() {
        flags.push(NO_KEYFRAMES);
        return Ok(Clip { flags, ..bare(instance) });
    }
    let plan = Plan::of(&looked_at.pixels);
    flags.extend(plan.flag());
    let stains = plan.staining(&REFERENCE).unwrap_or(REFERENCE.staining).stains;
    let scored = looked_at.scored(&Concentrations::by(&stains), rules);
    let normaliser = plan.normaliser(&REFERENCE);
    let mut keyframes = Vec::new();
    for (bbox, score) in spread(&scored, rules.tiles as usize) {
        let tile = grid.read(ctx.frames(), bbox)?;
        let (image, normalised) = store(&tile, &normaliser, ctx)?;
        keyframes.push(Keyframe {
            kind: KeyframeKind::Tile,
            frame: FrameNumber::from_index(0),
            time_ms: None,
            beat: 1,
            confidence: thousandths(score),
            source: if slide.is_field() { KeyframeSource::WholeImage } else { KeyframeSource::TileScore },
            bbox: Some(bbox),
            image,
            normalised: Some(normalised),
        });
    }
    keyframes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    Ok(Clip { keyframes, flags, ..bare(instance) })
}

/// The places worth a look in full resolution: dense in haematoxylin by the overview.
fn promising(places: &[Place], overview: &Overview, most: usize) -> Vec<Candidate> {
    let unmix = Concentrations::by(&REFERENCE.staining.stains);
    let cheap = |place: &Place| {
        let (mut sum, mut count) = (0.0, 0_u32);
        for pixel in overview.pixels(place.bbox) {
            let [haematoxylin, _] = unmix.of(pixel);
            sum += f64::from(haematoxylin.clamp(0.0, 2.0));
            count += 1;
        }
        Candidate {
            bbox: place.bbox,
            piece: place.piece,
            score: sum / f64::from(count.max(1)) * place.tissue.tanh(),
        }
    };
    let all: Vec<Candidate> = places.iter().map(cheap).collect();
    let piece = |bbox| all.iter().find(|one| one.bbox == bbox).map_or(0, |one| one.piece);
    let chosen = spread(&all, most);
    chosen.into_iter().map(|(bbox, score)| Candidate { bbox, piece: piece(bbox), score }).collect()
}

/// Candidates as seen in full resolution; of their pixels only a sample is kept.
struct LookedAt {
    tiles: Vec<(Candidate, Appearance, std::ops::Range<usize>)>,
    pixels: Vec<[u8; 3]>,
}

impl LookedAt {
    /// Reads each candidate once. What cannot be decoded is left out, under its code in `flags`.
    fn read(
        grid: &Grid<'_>,
        candidates: &[Candidate],
        flags: &mut Vec<ReasonCode>,
        ctx: &Ctx<'_>,
    ) -> Result<Self, StageError> {
        let mut seen = Self { tiles: Vec::new(), pixels: Vec::new() };
        for candidate in candidates {
            let tile = match readable(grid.read(ctx.frames(), candidate.bbox))? {
                Ok(tile) => tile,
                Err(code) => {
                    if !flags.contains(&code) {
                        flags.push(code);
                    }
                    continue;
                }
            };
            let begin = seen.pixels.len();
            let drawn = sample(&tile.rgb, MAX_SAMPLE / candidates.len());
            // Ink would turn the plane of the two stains.
            seen.pixels.extend(drawn.into_iter().filter(|pixel| !is_pen(*pixel)));
            seen.tiles.push((*candidate, Appearance::of(&tile), begin..seen.pixels.len()));
        }
        Ok(seen)
    }

    fn scored(&self, unmix: &Concentrations, rules: &TileRules) -> Vec<Candidate> {
        let score = |(candidate, look, range): &(Candidate, Appearance, std::ops::Range<usize>)| {
            let drawn = self.pixels.get(range.clone()).unwrap_or_default();
            let nuclear =
                drawn.iter().filter(|pixel| f64::from(unmix.of(**pixel)[0]) >= rules.nucleus).count();
            let nuclei = nuclear as f64 / drawn.len().max(1) as f64;
            let focus = (look.laplacian_variance / rules.sharp).min(1.0);
            let enough = if look.tissue < rules.least_tissue { 0.0 } else { look.tissue.tanh() };
            Candidate { score: nuclei * enough * focus * (1.0 - artefact(look)), ..*candidate }
        };
        self.tiles.iter().map(score).collect()
    }
}

/// How much of a tile pens and folds spoil, 0 to 1.
fn artefact(look: &Appearance) -> f64 {
    let fold = if look.density_99 > FOLD_DENSITY { look.fold } else { 0.0 };
    ((look.pen + look.black_pen) / MOST_PEN).max(fold / MOST_FOLD).min(1.0)
}

/// Stores a tile as scanned and normalised.
fn store(tile: &Image, normaliser: &Normaliser, ctx: &Ctx<'_>) -> Result<(BlobRef, BlobRef), StageError> {
    let put = |image: &Image| {
        let whole = Window::inside([0, 0, image.width, image.height], image.width, image.height);
        let png = encode(image, whole).map_err(StageError::invalid)?;
        ctx.blobs().put(Area::Frames, &png).map_err(StageError::from)
    };
    let normalised = Image { rgb: normaliser.apply(&tile.rgb).into(), ..*tile };
    Ok((put(tile)?, put(&normalised)?))
}
