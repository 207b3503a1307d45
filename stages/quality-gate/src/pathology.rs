//! A single H&E field of view.

use raster::{Mask, Plane, Window, histogram, otsu};
use schemas::{BlobRef, FrameNumber};
use stage::{ClipHeader, FrameError, Frames, Image, StageError};

use crate::{
    Config,
    applicability::NotApplicable,
    checks::{decodable, focus, tissue},
    gate::{Gated, Record},
    sharpness::{laplacian_variance, reblur},
};

/// Grey level of empty glass, the reference of optical density (Macenko 2009 as usually implemented).
const GLASS: f64 = 240.0;
/// Steps of an 8-bit sample in one unit of optical density.
const STEPS: f64 = 250.0;
/// Optical densities between which the threshold of tissue must lie; Otsu alone collapses where nearly everything is
/// tissue.
const TISSUE_THRESHOLD: [f64; 2] = [0.05, 0.10];
/// Closes gaps in tissue, pixels.
const CLOSING_REACH: usize = 3;

/// Judges one instance.
pub(crate) fn gate(
    mut record: Record<'_>,
    header: &ClipHeader,
    blob: &BlobRef,
    config: &Config,
    frames: &dyn Frames,
) -> Result<Gated, StageError> {
    if header.frames > 1 {
        return Ok(record.not_applicable(NotApplicable::TiledSlide));
    }
    let decoding = config.damaged;
    let image = match frames.frame(blob, FrameNumber::from_index(0)) {
        Ok(frame) => frame.image,
        Err(FrameError::NotAnalysable { reason }) => {
            return Ok(record.not_applicable(NotApplicable::NotAnalysable(reason)));
        }
        Err(FrameError::Damaged { code, .. }) => {
            record.note(decodable::unreadable(code, decoding.reject));
            return Ok(record.judged());
        }
        Err(error) => return Err(error.into()),
    };
    record.note(decodable::check(0.0, None, decoding));
    let window = Window::inside(header.visible, image.width, image.height);
    let region = tissue_region(&image, window);
    let share = region.area() as f64 / region.inside().len().max(1) as f64;
    let limits = &config.pathology;
    record.note(tissue::check(share, limits.tissue));
    if !record.is_rejected() {
        // A noisy blank picture is sharp: focus is asked on tissue only.
        let luma = Plane::luma(&image, window);
        let variance = laplacian_variance(&luma, &region);
        record.note(focus::check(variance, reblur(&luma, &region), limits.focus, limits.focus_reject_blur));
    }
    Ok(record.judged())
}

/// Where the mean optical density of the channels says tissue.
fn tissue_region(image: &Image, window: Window) -> Mask {
    let density: Vec<f64> = (0..=255).map(|level| -((f64::from(level) + 1.0) / GLASS).ln()).collect();
    let of = |level: u8| density.get(usize::from(level)).copied().unwrap_or_default();
    let plane = Plane::of_pixels(image, window, |[r, g, b]| {
        ((of(r) + of(g) + of(b)) / 3.0 * STEPS).round().clamp(0.0, 255.0) as u8
    });
    let split =
        otsu(&histogram(plane.samples().iter().copied())).map_or(0.0, |split| f64::from(split.threshold));
    let [least, most] = TISSUE_THRESHOLD;
    let threshold = (split / STEPS).clamp(least, most) * STEPS;
    Mask::of(&plane, |sample| f64::from(sample) > threshold).dilated(CLOSING_REACH).eroded(CLOSING_REACH)
}
