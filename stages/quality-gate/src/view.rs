//! Does the clip show the view that an ejection fraction is read from? Measured on the chambers that can be seen.

use chambers::{Blob, Blood, Chambers, segment_clip};
use raster::{Mask, Plane};

/// Frames whose blood is averaged to find the chambers, evenly spaced: speckle of blood is new in every frame, so that
/// many leave a twenty-fourth of its variance.
const FRAMES: usize = 24;
/// Frames averaged around end-diastole.
const DIASTOLE: usize = 5;

/// What of a heart can be seen.
pub(crate) struct Look {
    /// Chambers recognised: 4, 2, 1 (a left ventricle alone) or 0.
    pub(crate) chambers: u8,
    /// What can be said of a left ventricle, where there is one.
    pub(crate) ventricle: Option<Ventricle>,
}

/// A left ventricle, at end-diastole where not said otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ventricle {
    /// Degrees between its axis and the vertical, over the whole clip.
    pub(crate) tilt_deg: f64,
    /// Distance between the mitral hinges in its widths, over the whole clip; none where no atrium lies below it.
    pub(crate) annulus: Option<f64>,
    /// Area of the right ventricle over its own; none where there is one ventricle.
    pub(crate) ratio: Option<f64>,
    /// Length over width.
    pub(crate) elongation: f64,
    /// Depth of its apex as share of the fan's height.
    pub(crate) apex_depth: f64,
}

/// Looks at `frames` (128 rows high) inside `fan`, blood told apart by `blood`.
pub(crate) fn look(frames: &[Plane], fan: &Mask, blood: &Blood) -> Look {
    let chambers = Chambers::of(&segment_clip(spread(frames, FRAMES), fan, blood), fan);
    let Some(ventricle) = &chambers.left_ventricle else { return Look { chambers: 0, ventricle: None } };
    let diastole = at_diastole(frames, fan, blood, ventricle).unwrap_or_else(|| chambers.clone());
    let full = diastole.left_ventricle.as_ref().unwrap_or(ventricle);
    let seen = if chambers.are_four() {
        4
    } else if chambers.are_two() {
        2
    } else {
        1
    };
    Look {
        chambers: seen,
        ventricle: Some(Ventricle {
            tilt_deg: chambers.tilt_deg().unwrap_or(0.0),
            annulus: chambers.annulus(),
            ratio: diastole.ventricle_ratio(),
            elongation: full.length / full.width,
            apex_depth: full.mask.bounds().map_or(0.0, |bounds| {
                diastole.depth(chambers::Point { x: full.centroid.x, y: bounds.top as f64 })
            }),
        }),
    }
}

/// The chambers when the left ventricle, as the whole clip shows it, holds most blood; none where it is not found again.
fn at_diastole(frames: &[Plane], fan: &Mask, blood: &Blood, ventricle: &Blob) -> Option<Chambers> {
    let region = ventricle.mask.dilated(3);
    let level = blood.threshold();
    let area =
        |frame: &Plane| region.select(frame.samples()).filter(|sample| f64::from(*sample) <= level).count();
    let areas: Vec<usize> = frames.iter().map(area).collect();
    let (start, _) = areas
        .windows(DIASTOLE)
        .map(|window| window.iter().sum::<usize>())
        .enumerate()
        .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)))?;
    let blobs = segment_clip(frames.iter().skip(start).take(DIASTOLE), fan, blood);
    let chambers = Chambers::of(&blobs, fan);
    let found = chambers.left_ventricle.as_ref()?;
    (2 * found.overlap(ventricle) > ventricle.area).then_some(chambers)
}

/// At most `count` of `frames`, evenly spaced.
pub(crate) fn spread(frames: &[Plane], count: usize) -> impl Iterator<Item = &Plane> {
    let step = frames.len().div_ceil(count.max(1)).max(1);
    frames.iter().step_by(step)
}
