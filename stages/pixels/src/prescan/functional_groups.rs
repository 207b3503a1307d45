//! What is kept of the functional groups of a multi-frame image (PS3.3 C.7.6.16).
//!
//! ```text
//!   Shared Functional Groups ─▶ item ─▶ Pixel Measures ─▶ item ─▶ Pixel Spacing
//!   Per-Frame Functional Groups ─▶ item for each frame ─▶ Plane Position (Slide) ─▶ item ─▶ column, row
//! ```
//! A slide has a hundred thousand frames, so of each only its place is kept, in eight bytes, and no values are collected.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::attributes::Value;

/// The functional groups, as far as slides need them.
#[derive(Default)]
pub(crate) struct FunctionalGroups {
    /// Pixel Spacing (0028,0030) that all frames share.
    pub(crate) pixel_spacing: Option<Value>,
    /// Where each frame lies in the total pixel matrix: column and row of its first pixel, from 1; `None` where the
    /// frame's item does not say.
    pub(crate) positions: Vec<[Option<i32>; 2]>,
}

impl FunctionalGroups {
    /// Is this element, in an item of `inner` in an item of `outer` of the data set, one that is kept?
    pub(super) fn keeps(outer: Tag, inner: Tag, tag: Tag) -> bool {
        matches!(
            (outer, inner, tag),
            (tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING)
                | (
                    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
                    tags::PLANE_POSITION_SLIDE_SEQUENCE,
                    tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX
                        | tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX
                )
        )
    }

    /// An item of a sequence of the data set begins.
    pub(super) fn open_item(&mut self, sequence: Tag) {
        if sequence == tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE {
            self.positions.push([None; 2]);
        }
    }

    /// Takes an element that is [kept](Self::keeps).
    pub(super) fn insert(&mut self, tag: Tag, value: Value) {
        if tag == tags::PIXEL_SPACING {
            self.pixel_spacing.get_or_insert(value);
            return;
        }
        // VR SL: a column or row beyond that is in no matrix.
        let number = value.numbers().and_then(|numbers| numbers.first().copied());
        let place =
            number.filter(|n| (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(n)).map(|n| n as i32);
        if let Some([column, row]) = self.positions.last_mut() {
            *(if tag == tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX { column } else { row }) = place;
        }
    }
}
