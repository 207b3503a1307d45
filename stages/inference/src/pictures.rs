//! Which keyframes the model is shown, and in what order.

use std::{collections::BTreeMap, fmt::Write as _, io::Cursor};

use image::{ImageFormat, ImageReader, Limits};
use schemas::{BlobRef, Clip, Keyframe, KeyframeKind, View};
use stage::{Blobs, Image, StageError};

/// Largest side of a picture in pixels.
const MAX_SIDE: u32 = 8192;

/// Most bytes that decoding one picture may allocate.
const MAX_DECODED_BYTES: u64 = 256 * 1024 * 1024;

/// A stored keyframe is no picture.
#[derive(Debug, thiserror::Error)]
#[error("keyframe {key} is not a readable PNG of at most {MAX_SIDE} pixels a side")]
pub struct PictureError {
    /// The blob's key.
    pub key: String,
    /// What the decoder said.
    pub source: image::ImageError,
}

/// One picture to show.
pub(crate) struct Picture<'a> {
    /// Which clip of the study, counted from 1.
    clip: usize,
    view: Option<View>,
    keyframe: &'a Keyframe,
}

impl Picture<'_> {
    pub(crate) fn load(&self, blobs: &dyn Blobs) -> Result<Image, StageError> {
        let blob = &self.keyframe.image;
        decode_png(blob, &blobs.get(blob)?).map_err(StageError::invalid)
    }
}

/// At most `most` end-diastolic and end-systolic keyframes, in order of clip and frame.
///
/// Beats are taken in turn from every clip, the best of each first, so that no clip crowds out another. A beat with both
/// phases goes before one with a single phase, since an ejection fraction needs both; then confidence decides.
pub(crate) fn choose(clips: &[Clip], most: usize) -> Vec<Picture<'_>> {
    let mut turns: Vec<(usize, usize, Vec<&Keyframe>)> = Vec::new();
    for (clip, taken_from) in clips.iter().enumerate() {
        for (rank, beat) in ranked_beats(taken_from).into_iter().enumerate() {
            turns.push((rank, clip, beat));
        }
    }
    turns.sort_by_key(|(rank, clip, _)| (*rank, *clip));
    let mut chosen: Vec<(usize, &Keyframe)> = Vec::new();
    for (_, clip, beat) in turns {
        if chosen.len() + beat.len() <= most {
            chosen.extend(beat.into_iter().map(|keyframe| (clip, keyframe)));
        }
    }
    chosen.sort_by_key(|(clip, keyframe)| (*clip, keyframe.frame));
    let picture = |(clip, keyframe)| Picture { clip: clip + 1, view: view_of(clips, clip), keyframe };
    chosen.into_iter().map(picture).collect()
}

fn view_of(clips: &[Clip], clip: usize) -> Option<View> {
    clips.get(clip).and_then(|clip| clip.view)
}

fn ranked_beats(clip: &Clip) -> Vec<Vec<&Keyframe>> {
    // Of each phase of a beat the most confident frame; the first of equals.
    let mut beats: BTreeMap<u32, [Option<&Keyframe>; 2]> = BTreeMap::new();
    for keyframe in &clip.keyframes {
        let [ed, es] = beats.entry(keyframe.beat).or_default();
        let phase = match keyframe.kind {
            KeyframeKind::ED => ed,
            KeyframeKind::ES => es,
            KeyframeKind::Tile => continue,
        };
        if phase.is_none_or(|best| keyframe.confidence > best.confidence) {
            *phase = Some(keyframe);
        }
    }
    let mut beats: Vec<Vec<&Keyframe>> =
        beats.into_values().map(|phases| phases.into_iter().flatten().collect()).collect();
    beats.retain(|beat: &Vec<&Keyframe>| !beat.is_empty());
    // A stable sort: the earlier beat of equals goes first.
    beats.sort_by(|a, b| b.len().cmp(&a.len()).then(confidence(b).total_cmp(&confidence(a))));
    beats
}

/// A beat is as certain as its less certain phase.
fn confidence(beat: &[&Keyframe]) -> f64 {
    beat.iter().map(|keyframe| keyframe.confidence).fold(f64::INFINITY, f64::min)
}

/// The list that stands in the prompt: closed words only, so that nothing from a header can speak to the model.
pub(crate) fn list(pictures: &[Picture<'_>]) -> String {
    let mut list = String::new();
    for (index, picture) in pictures.iter().enumerate() {
        let view = match picture.view {
            Some(View::A4C) => ", A4C",
            Some(View::A2C) => ", A2C",
            Some(View::PLAX) => ", PLAX",
            Some(View::PSAX) => ", PSAX",
            Some(View::Subcostal) => ", SUBCOSTAL",
            Some(View::Other) | None => "",
        };
        let phase = if picture.keyframe.kind == KeyframeKind::ED { "ED" } else { "ES" };
        let separator = if index == 0 { "" } else { "\n" };
        // Writing into a String cannot fail.
        let _ = write!(list, "{separator}{}. clip {}{view}, {phase}", index + 1, picture.clip);
    }
    list
}

fn decode_png(blob: &BlobRef, bytes: &[u8]) -> Result<Image, PictureError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    let rgb = reader.decode().map_err(|source| PictureError { key: blob.key(), source })?.into_rgb8();
    Ok(Image { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw().into() })
}
