//! H&E: slides and fields of view, judged by their tiles.
//!
//! ```text
//!  every instance ─▶ slide header ─▶ pyramids: which instances are levels of one slide
//!     coarser level of another instance ─▶ not applicable: its slide is judged by the finest
//!     finest level ─▶ overview ─▶ tissue ─ hardly any ─▶ BLANK, nothing else is asked
//!                                   │
//!                                   ▼
//!                    tiles spread over the tissue (a field of view is one tile), one at a time
//!                                   ▼
//!                    focus, pens, folds, strength of the stain: of each tile; which stains: of all together
//! ```
//!
//! A slide is rejected for what at least half of its tiles would be rejected for. A stroke of pen or a fold that fewer
//! tiles show is a caution: the keyframes step aside.

mod limits;
mod rules;

use schemas::{AcquiredInstance, ReasonCode};
use slide::{Appearance, Grid, Overview, Part, Place, Pyramid, is_pen, pyramids, tissue};
use stage::{FrameError, Frames, SlideHeader, StageError};
use stain::{MAX_SAMPLE, Plan, sample};

pub use limits::PathologyLimits;

use crate::{
    Config, Limits,
    applicability::NotApplicable,
    checks::{decodable, header},
    gate::{Gated, Record},
    motion::median,
    rule::Worse,
};

/// Judges `acquired`, the instances of one study, in their order.
pub(crate) fn gate(
    acquired: &[AcquiredInstance],
    config: &Config,
    frames: &dyn Frames,
) -> Result<Vec<Gated>, StageError> {
    let opened: Vec<Opened<'_>> =
        acquired.iter().map(|instance| open(instance, config, frames)).collect::<Result<_, _>>()?;
    let readable: Vec<Part<'_>> = opened
        .iter()
        .filter_map(|opened| match opened {
            Opened::Slide(instance, header) => {
                Some(Part { series_uid: &instance.series_uid, blob: &instance.blob, header })
            }
            Opened::Decided(_) => None,
        })
        .collect();
    let mut slides = pyramids(&readable).into_iter().peekable();
    drop(readable);
    let mut position = 0;
    let mut gated = Vec::with_capacity(opened.len());
    for opened in opened {
        gated.push(match opened {
            Opened::Decided(decided) => decided,
            Opened::Slide(instance, header) => {
                let own = slides.next_if(|(finest, _)| *finest == position);
                position += 1;
                judge(Record::of(instance), &header, own.map(|(_, pyramid)| pyramid), config, frames)?
            }
        });
    }
    Ok(gated)
}

/// An instance after a look at its header.
enum Opened<'a> {
    Decided(Gated),
    Slide(&'a AcquiredInstance, SlideHeader),
}

fn open<'a>(
    instance: &'a AcquiredInstance,
    config: &Config,
    frames: &dyn Frames,
) -> Result<Opened<'a>, StageError> {
    let mut record = Record::of(instance);
    let why = match instance.not_analysable {
        Some(reason) => reason,
        None => match frames.slide(&instance.blob) {
            Ok(header) => return Ok(Opened::Slide(instance, header)),
            Err(FrameError::NotAnalysable { reason }) => reason,
            Err(FrameError::Damaged { code, .. }) => {
                record.note(decodable::unreadable(code, config.damaged.reject));
                return Ok(Opened::Decided(record.judged()));
            }
            Err(error) => return Err(error.into()),
        },
    };
    Ok(Opened::Decided(record.not_applicable(NotApplicable::NotAnalysable(why))))
}

/// Judges the instance that holds the finest level of `slide`; another has none.
fn judge(
    mut record: Record<'_>,
    header: &SlideHeader,
    slide: Option<Pyramid>,
    config: &Config,
    frames: &dyn Frames,
) -> Result<Gated, StageError> {
    let Some(slide) = slide else {
        return Ok(record.not_applicable(NotApplicable::LowerResolution));
    };
    let limits = &config.pathology;
    for check in header::checks(&header.warnings) {
        record.note(check);
    }
    let overview = match Overview::read(&slide, frames, limits.overview_tiles) {
        Ok(overview) => overview,
        Err(FrameError::NotAnalysable { reason }) => {
            return Ok(record.not_applicable(NotApplicable::NotAnalysable(reason)));
        }
        Err(error) => return Err(error.into()),
    };
    let found = tissue(&overview.image);
    let grid = Grid::new(&slide);
    let places = evenly(&grid.places(&overview, &found, limits.tissue.warn), limits.sampled_tiles as usize);
    let mut tiles = Tiles::of(&overview);
    let enough = if slide.is_field() { limits.tissue } else { limits.slide_tissue };
    if found.share() >= enough.reject {
        for place in &places {
            tiles.read(&grid, place, MAX_SAMPLE / places.len().max(1), frames)?;
        }
    }
    let damaged = f64::from(tiles.damaged) / f64::from(tiles.read.max(1));
    record.note(decodable::check(damaged, tiles.damage.clone(), config.damaged));
    if record.is_rejected() {
        return Ok(record.judged());
    }
    record.note(rules::tissue(found.share(), enough));
    if record.is_rejected() || tiles.seen.is_empty() {
        return Ok(record.judged());
    }
    tiles.judge(limits, &mut record);
    record.note(rules::resolution(slide.finest().grid.microns_per_pixel, limits.resolution));
    Ok(record.judged())
}

/// At most `most` of `places`, evenly spaced.
fn evenly(places: &[Place], most: usize) -> Vec<Place> {
    if places.len() <= most {
        return places.to_vec();
    }
    // The middle of each of `most` equal stretches.
    (0..most).filter_map(|index| places.get((2 * index + 1) * places.len() / (2 * most)).copied()).collect()
}

/// What the sampled tiles look like.
struct Tiles {
    seen: Vec<Appearance>,
    /// Pixels of all of them, for their stains.
    pixels: Vec<[u8; 3]>,
    read: u32,
    damaged: u32,
    /// Why the first damaged one does not decode.
    damage: Option<ReasonCode>,
}

impl Tiles {
    /// None yet; tiles that the overview could not read count.
    fn of(overview: &Overview) -> Self {
        Self {
            seen: Vec::new(),
            pixels: Vec::new(),
            read: overview.read,
            damaged: overview.damaged,
            damage: overview.damage.clone(),
        }
    }

    fn read(
        &mut self,
        grid: &Grid<'_>,
        place: &Place,
        sampled: usize,
        frames: &dyn Frames,
    ) -> Result<(), StageError> {
        self.read += 1;
        match grid.read(frames, place.bbox) {
            Ok(tile) => {
                self.seen.push(Appearance::of(&tile));
                // Ink would turn the plane of the two stains.
                self.pixels.extend(sample(&tile.rgb, sampled).into_iter().filter(|pixel| !is_pen(*pixel)));
            }
            Err(FrameError::Damaged { code, .. }) => {
                self.damaged += 1;
                self.damage.get_or_insert(code);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn judge(&self, limits: &PathologyLimits, record: &mut Record<'_>) {
        let all = |value: fn(&Appearance) -> f64| self.seen.iter().map(value).collect::<Vec<f64>>();
        let (sharpness, blur) =
            (median(all(|tile| tile.laplacian_variance)), median(all(|tile| tile.reblur)));
        record.note(rules::focus(sharpness, blur, limits));
        let (pen, bounds) = local(&all(|tile| tile.pen), limits.pen);
        record.note(rules::pen(pen, bounds));
        let (black_pen, bounds) = local(&all(|tile| tile.black_pen), limits.black_pen);
        record.note(rules::black_pen(black_pen, bounds));
        let folded =
            self.seen.iter().map(|tile| if tile.density_99 > limits.fold_density { tile.fold } else { 0.0 });
        record.note(rules::fold(mean(&folded.collect::<Vec<f64>>()), limits.fold));
        record.note(rules::pale(median(all(|tile| tile.density)), limits.pale));
        record.note(rules::stain(&Plan::of(&self.pixels), limits.off_green));
    }
}

/// A fault that may be in one place: the middle tile decides whether it rejects, the mean over all whether it warns.
fn local(values: &[f64], limits: Limits) -> (f64, Limits) {
    let middle = median(values.to_vec());
    if middle > limits.reject { (middle, limits) } else { (mean(values), limits.warning_only(Worse::Above)) }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
