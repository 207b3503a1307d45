//! What one asking is about: a beat or a tile. Which of a study's are asked about, and how each is shown.

use std::{cmp::Ordering, collections::BTreeMap};

use schemas::{BlobRef, Clip, Keyframe, KeyframeKind};
use stage::{Blobs, Image, Picture, Presentation, StageError};

use crate::{PictureError, picture};

/// A beat with both its phases, or a tile.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    /// Index into the clips, counted from 0.
    pub(crate) clip: u32,
    /// The beat, or the tile's place among the tiles of its clip, counted from 1.
    pub(crate) number: u32,
    shown: Shown<'a>,
}

#[derive(Debug, Clone)]
enum Shown<'a> {
    Beat { ed: &'a BlobRef, es: &'a BlobRef },
    Tile(&'a BlobRef),
}

/// The pictures of a subject as they are stored.
#[derive(Debug, Clone)]
pub(crate) enum Loaded {
    Beat { number: u32, phases: [Image; 2] },
    Tile(Image),
}

/// A subject and how certain its keyframes are.
struct Candidate<'a> {
    confidence: f64,
    subject: Subject<'a>,
}

/// At most `most` beats, the best first. An ejection fraction needs both phases: a beat with one is left out.
pub(crate) fn beats(clips: &[Clip], most: usize) -> Vec<Subject<'_>> {
    in_turn(clips, most, |clip, keyframes| {
        // Of each phase of a beat the most confident frame; the first of equals.
        let mut beats: BTreeMap<u32, [Option<&Keyframe>; 2]> = BTreeMap::new();
        for keyframe in keyframes {
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
        let complete = beats.into_iter().filter_map(|(number, phases)| match phases {
            [Some(ed), Some(es)] => Some(Candidate {
                // A beat is as certain as its less certain phase.
                confidence: ed.confidence.min(es.confidence),
                subject: Subject { clip, number, shown: Shown::Beat { ed: &ed.image, es: &es.image } },
            }),
            _ => None,
        });
        complete.collect()
    })
}

/// At most `most` tiles, the best first; each with its stains brought to the reference where it was.
pub(crate) fn tiles(clips: &[Clip], most: usize) -> Vec<Subject<'_>> {
    in_turn(clips, most, |clip, keyframes| {
        let tiles = keyframes.iter().filter(|keyframe| keyframe.kind == KeyframeKind::Tile);
        (1..)
            .zip(tiles)
            .map(|(number, tile)| Candidate {
                confidence: tile.confidence,
                subject: Subject {
                    clip,
                    number,
                    shown: Shown::Tile(tile.normalised.as_ref().unwrap_or(&tile.image)),
                },
            })
            .collect()
    })
}

/// Takes candidates in turn from every clip, the best of each first, so that no clip crowds out another.
fn in_turn<'a>(
    clips: &'a [Clip],
    most: usize,
    candidates_of: impl Fn(u32, &'a [Keyframe]) -> Vec<Candidate<'a>>,
) -> Vec<Subject<'a>> {
    let mut turns: Vec<(usize, Subject<'a>)> = Vec::new();
    for (clip, taken_from) in (0..).zip(clips) {
        let mut candidates = candidates_of(clip, &taken_from.keyframes);
        // A stable sort: the earlier of equals goes first.
        candidates.sort_by(|a, b| descending(a.confidence, b.confidence));
        turns.extend(candidates.into_iter().map(|candidate| candidate.subject).enumerate());
    }
    turns.sort_by_key(|(turn, subject)| (*turn, subject.clip));
    turns.into_iter().map(|(_, subject)| subject).take(most).collect()
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}

impl Subject<'_> {
    pub(crate) fn load(&self, blobs: &dyn Blobs) -> Result<Loaded, StageError> {
        Ok(match self.shown {
            Shown::Beat { ed, es } => Loaded::Beat {
                number: self.number,
                phases: [picture::load(ed, blobs)?, picture::load(es, blobs)?],
            },
            Shown::Tile(tile) => Loaded::Tile(picture::load(tile, blobs)?),
        })
    }
}

impl Loaded {
    /// The pictures, each changed by `change`, and the list of them that stands in the prompt: closed words only, so that
    /// nothing from a header can speak to the model, and no view, so that the model's is its own.
    pub(crate) fn show(
        &self,
        presentation: Presentation,
        change: impl Fn(&Image) -> Image,
    ) -> Result<(Vec<Picture>, &'static str), PictureError> {
        Ok(match (self, presentation) {
            (Self::Tile(tile), _) => (vec![Picture::Still(change(tile))], "1. tile"),
            (Self::Beat { phases: [ed, es], .. }, Presentation::Stills) => {
                (vec![Picture::Still(change(ed)), Picture::Still(change(es))], "1. ED\n2. ES")
            }
            (Self::Beat { number, phases: [ed, es] }, Presentation::Beats) => {
                let [ed_size, es_size] = [ed, es].map(|image| [image.width, image.height]);
                if ed_size != es_size {
                    return Err(PictureError::BeatSize { beat: *number, ed: ed_size, es: es_size });
                }
                (vec![Picture::Beat([change(ed), change(es)])], "1. ED and ES")
            }
        })
    }
}
