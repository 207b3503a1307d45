//! A loop of which only a few frames are wanted, and no file: what a training set is drawn from.

use image::RgbImage;

use super::cine::{Annotation, Cine, Take};
use super::corruption::Effects;
use super::scan::{HEIGHT, WIDTH};
use super::spec::{Content, EchoSpec, SpecError};
use super::truth::CineTruth;
use super::{EchoError, Uids, cine_truth};

/// The first loop of a specification, frame by frame in any order. A frame is the one that [`generate`](super::generate)
/// compresses for the same specification, but for the invented name in the text, which no mask leaves visible.
pub struct LoopFrames {
    cine: Cine,
    truth: CineTruth,
}

impl LoopFrames {
    /// Makes ready what all frames share; most of the cost of a few frames.
    ///
    /// # Errors
    /// [`EchoError::Spec`] when a value lies outside its documented range.
    pub fn new(spec: &EchoSpec) -> Result<Self, EchoError> {
        spec.check()?;
        let place = spec.contents.iter().enumerate().find_map(|(index, content)| match content {
            Content::Loop(view) => Some((index, *view)),
            _ => None,
        });
        let (index, view) = place.ok_or(SpecError::NoLoop)?;
        let effects = Effects::of(spec.corruption);
        let annotation = Annotation { name: "PHANTOM^ECHO", identity: "ID PH DOB" };
        let cine = Cine::new(spec, Take { view, number: index as u16 + 1, effects }, &annotation);
        let uid = Uids::new(spec)?.derive(&format!("instance {index}"));
        let truth = cine_truth(&uid, spec.corruption, &cine);
        Ok(Self { cine, truth })
    }

    /// What is true of the loop.
    pub fn truth(&self) -> &CineTruth {
        &self.truth
    }

    /// Frame `index` (0-based) as the screen shows it, before compression; none past the last.
    pub fn frame(&mut self, index: usize) -> Option<RgbImage> {
        let screen = (index < self.truth.frames).then(|| self.cine.frame(index))?;
        RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, screen.rgb)
    }
}
