//! From blood to pools: one blob for each.

use raster::{Kernel, Mask, Plane, Relief, squared_distances};

use crate::{Blob, Blood};

/// Above this occupancy a pixel is blood.
const OCCUPIED: f32 = 0.5;
/// What the fan loses at its edge, half of a 5 by 5 square: smoothing mixes the black outside in.
const EDGE: usize = 2;
/// Smoothing of the distance to the wall, pixels.
const SIGMA: f64 = 1.0;
/// A summit of the distance seeds a pool of its own if it rises above the neck to a deeper one by so many pixels and by
/// this share of itself. Of itself and not of the deepest: measured against the left ventricle, a right ventricle and
/// its atrium were one pool in 9 of 24 clips.
const RISE: (f32, f32) = (0.8, 0.12);
/// Whole heights of a relief in one such rise.
const STEPS: f32 = 1024.0;
/// Share of the fan below which a pool is no chamber.
const LEAST_SHARE: f64 = 0.008;
/// Share of a seed blob's deepest distance from which on a pixel is its core, for [`segment_from`].
const CORE: f64 = 0.5;

/// The pools of one frame, largest first.
pub fn segment(plane: &Plane, fan: &Mask, blood: &Blood) -> Vec<Blob> {
    blobs(&blood.occupancy(plane), fan)
}

/// The pools of several frames together, largest first: where blood is on average. All of a clip, or those of one
/// phase.
pub fn segment_clip<'a>(planes: impl IntoIterator<Item = &'a Plane>, fan: &Mask, blood: &Blood) -> Vec<Blob> {
    blobs(&blood.mean_occupancy(planes), fan)
}

/// The pools of one frame that belong to `seeds`, found elsewhere in the same clip: one for each seed, in their order,
/// `None` where no blood is left at its core. A chamber keeps its identity over the beat, and two that touch in this
/// frame stay two.
pub fn segment_from(plane: &Plane, fan: &Mask, blood: &Blood, seeds: &[Blob]) -> Vec<Option<Blob>> {
    let pools = pools(&blood.occupancy(plane), fan);
    let relief = depths(&pools);
    let mut markers = vec![0_u32; pools.inside().len()];
    for (label, seed) in (1_u32..).zip(seeds) {
        let squared = squared_distances(&seed.mask);
        let core = CORE * CORE * f64::from(squared.iter().copied().max().unwrap_or(0));
        for (marker, distance) in markers.iter_mut().zip(&squared) {
            if f64::from(*distance) >= core && *distance > 0 {
                *marker = label;
            }
        }
    }
    let labels = negated(&relief, pools.width()).flooded(&markers, &pools);
    (1_u32..).zip(seeds).map(|(label, _)| Blob::of(&labels, label, pools.width())).collect()
}

/// Blood, freed of threads one pixel wide.
fn pools(occupancy: &[f32], fan: &Mask) -> Mask {
    let region = fan.eroded(EDGE);
    let inside = region.inside().iter().zip(occupancy).map(|(inside, share)| *inside && *share > OCCUPIED);
    Mask::new(fan.width(), fan.height(), inside.collect()).eroded(1).dilated(1)
}

/// Smoothed distance to the wall on a scale on which every rise that counts is [`STEPS`]: linear while the pixels
/// decide, logarithmic once the share does.
fn depths(pools: &Mask) -> Vec<i32> {
    let distances: Vec<f32> =
        squared_distances(pools).into_iter().map(|squared| (squared as f32).sqrt()).collect();
    let (pixels, share) = RISE;
    let bend = pixels / share;
    let scaled = |distance: f32| {
        let beyond = (distance.max(bend) / bend).ln() / -(-share).ln_1p();
        (distance.min(bend) / pixels + beyond) * STEPS
    };
    let smooth = Kernel::new(SIGMA).picture(&distances, pools.width());
    smooth.into_iter().map(|distance| scaled(distance).round() as i32).collect()
}

fn negated(depths: &[i32], width: usize) -> Relief {
    Relief::new(width, depths.iter().map(|depth| -depth).collect())
}

fn blobs(occupancy: &[f32], fan: &Mask) -> Vec<Blob> {
    let pools = pools(occupancy, fan);
    let depths = depths(&pools);
    let (markers, summits) = Relief::new(pools.width(), depths.clone()).summits(STEPS as i32).components();
    let labels = negated(&depths, pools.width()).flooded(&markers, &pools);
    let least = LEAST_SHARE * fan.area() as f64;
    let mut found: Vec<Blob> = (1..=summits.len() as u32)
        .filter_map(|label| Blob::of(&labels, label, pools.width()))
        .filter(|blob| blob.area as f64 >= least)
        .collect();
    found.sort_by_key(|blob| std::cmp::Reverse(blob.area));
    found
}
