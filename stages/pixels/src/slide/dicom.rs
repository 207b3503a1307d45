//! DICOM objects of microscopy: whole slide images (PS3.3 A.32.8), and single fields of view.
//!
//! ```text
//!   TILED_FULL    tile (column, row) is frame row * across + column     PS3.3 C.7.6.17.3
//!   TILED_SPARSE  tile (column, row) is the first frame whose functional groups place it there; none is glass
//!   no matrix     one frame, one tile
//! ```
//! TILED_FULL counts along a row of tiles, then down the rows, then through the focal planes, then through the optical
//! paths: the first plane of the first path lies in front, so it is the one that is read.

use std::io::{Read, Seek};

use dicom_dictionary_std::{
    tags,
    uids::{
        VL_MICROSCOPIC_IMAGE_STORAGE, VL_SLIDE_COORDINATES_MICROSCOPIC_IMAGE_STORAGE,
        VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE,
    },
};
use schemas::ReasonCode;
use stage::{SlideHeader, SlideLevel, TilePosition};

use super::{Grid, SlideError};
use crate::{
    clip::Clip,
    error::DecodeError,
    frame::Frame,
    header::AttributeError,
    not_analysable::NotAnalysable,
    prescan::{Attributes, Header, Scan, ShownTag},
    transfer_syntax::PixelCoding,
};

/// More than one focal plane or optical path: the first of each is read.
const FIRST_PLANE_ONLY: ReasonCode = ReasonCode::known("FIRST_PLANE_ONLY");
/// Ultrasound image storage, also multi-frame and retired: a margin with names in it, whatever the modality says.
const ULTRASOUND: [&str; 4] = [
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.6.1",
];
/// Micrometres in a millimetre.
const MICRONS: f64 = 1000.0;

/// A DICOM object opened as a slide of one level.
pub(super) struct Instance<R> {
    clip: Clip<R>,
    tiles: Tiles,
}

/// Which frame is which tile.
enum Tiles {
    Full,
    /// Index of the tile in the grid, and of its frame; in the order of tiles, each once.
    Sparse(Vec<(u32, u32)>),
}

impl<R: Read + Seek> Instance<R> {
    pub(super) fn coding(&self) -> Option<PixelCoding> {
        self.clip.header().map(|header| header.object.transfer_syntax.coding())
    }

    pub(super) fn open(reader: R, scan: Scan) -> Result<(Self, SlideHeader), DecodeError> {
        let object = scan.header()?;
        microscopy(&object, &scan.attributes)?;
        no_label(&scan.attributes)?;
        let matrix = Matrix::read(&scan.attributes)?;
        let positions: Vec<_> = scan.attributes.groups.positions.clone();
        let clip = Clip::of_scan(reader, scan)?;
        let Some(header) = clip.header() else { return Err(DecodeError::UnknownFormat) };
        let mut warnings = header.warnings.clone();
        let (tile_columns, tile_rows) = (u32::from(header.columns), u32::from(header.rows));
        let extent = matrix.extent.unwrap_or([tile_columns, tile_rows]);
        let [columns, rows] = extent;
        let level = SlideLevel {
            columns,
            rows,
            tile_columns,
            tile_rows,
            microns_per_pixel: matrix.microns_per_pixel(extent),
        };
        let grid = Grid::of(&level)?;
        let sparse = matrix.sparse.unwrap_or_else(|| positions.iter().any(|place| *place != [None; 2]));
        let (tiles, several) = if matrix.extent.is_some() && sparse {
            place(&positions, header.frames, &level, grid)?
        } else if header.frames > 1 && matrix.extent.is_none() {
            return Err(AttributeError::Missing { tag: ShownTag(tags::TOTAL_PIXEL_MATRIX_COLUMNS) }.into());
        } else {
            let planes = matrix.planes.unwrap_or(u64::from(header.frames) / grid.tiles().max(1));
            if grid.tiles().checked_mul(planes) != Some(u64::from(header.frames)) || planes == 0 {
                return Err(SlideError::TileCount { frames: header.frames, tiles: grid.tiles() }.into());
            }
            (Tiles::Full, planes > 1)
        };
        if several {
            warnings.push(FIRST_PLANE_ONLY);
        }
        let synthetic = header.object.synthetic;
        Ok((Self { clip, tiles }, SlideHeader { levels: vec![level], synthetic, warnings }))
    }

    /// The tile at a position that is inside `grid`, whole.
    pub(super) fn tile(&mut self, position: TilePosition, grid: Grid) -> Result<Option<Frame>, DecodeError> {
        let tile = grid.index(position);
        let frame = match &self.tiles {
            Tiles::Full => tile,
            Tiles::Sparse(frames) => match frames.binary_search_by_key(&tile, |(tile, _)| *tile) {
                Ok(found) => frames.get(found).map_or(tile, |(_, frame)| *frame),
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(self.clip.frame(frame)?))
    }
}

/// What may leave without a mask: microscopy, and nothing that says it is ultrasound anywhere.
fn microscopy(object: &Header, attributes: &Attributes) -> Result<(), SlideError> {
    let class = object.sop_class.as_str();
    let modality = object.modality.as_deref();
    let refuse = |why| Err(SlideError::NotMicroscopy { why });
    if modality == Some("US") || ULTRASOUND.contains(&class) {
        return refuse("modality or SOP class is ultrasound");
    }
    if attributes.items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS).next().is_some() {
        return refuse("it has ultrasound regions");
    }
    let class_of_microscopy = [
        VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE,
        VL_MICROSCOPIC_IMAGE_STORAGE,
        VL_SLIDE_COORDINATES_MICROSCOPIC_IMAGE_STORAGE,
    ]
    .contains(&class);
    if class_of_microscopy || matches!(modality, Some("SM" | "GM")) {
        return Ok(());
    }
    refuse("neither modality nor SOP class is of microscopy")
}

/// A volume image with the label in it, or with burned-in text, is as good as a label. What Image Type says of labels and
/// overviews is checked where the image attributes are read.
fn no_label(attributes: &Attributes) -> Result<(), NotAnalysable> {
    let says = |tag, text: &str| attributes.text(tag).as_deref() == Some(text);
    let localizer = attributes
        .text(tags::IMAGE_TYPE)
        .is_some_and(|image_type| image_type.split('\\').any(|value| value.trim() == "LOCALIZER"));
    if says(tags::SPECIMEN_LABEL_IN_IMAGE, "YES") || says(tags::BURNED_IN_ANNOTATION, "YES") || localizer {
        return Err(NotAnalysable::LabelOrOverview);
    }
    Ok(())
}

/// What the header says of the total pixel matrix.
struct Matrix {
    /// Columns and rows.
    extent: Option<[u32; 2]>,
    /// Dimension Organization Type says TILED_SPARSE, or TILED_FULL, or nothing of tiles.
    sparse: Option<bool>,
    /// Focal planes times optical paths.
    planes: Option<u64>,
    /// Millimetres from pixel to pixel (horizontal, vertical).
    spacing: Option<[f64; 2]>,
    /// Millimetres of the whole matrix (horizontal, vertical).
    size: Option<[f64; 2]>,
}

impl Matrix {
    fn read(attributes: &Attributes) -> Result<Self, DecodeError> {
        let number = |tag| attributes.number(tag);
        if attributes.get(tags::CONCATENATION_UID).is_some() {
            let parts = number(tags::IN_CONCATENATION_TOTAL_NUMBER).unwrap_or(0.0) as u32;
            if parts != 1 {
                return Err(SlideError::Concatenation { parts }.into());
            }
        }
        let extent = match (number(tags::TOTAL_PIXEL_MATRIX_COLUMNS), number(tags::TOTAL_PIXEL_MATRIX_ROWS)) {
            (None, None) => None,
            (columns, rows) => Some([
                side(tags::TOTAL_PIXEL_MATRIX_COLUMNS, columns)?,
                side(tags::TOTAL_PIXEL_MATRIX_ROWS, rows)?,
            ]),
        };
        let sparse = match attributes.text(tags::DIMENSION_ORGANIZATION_TYPE).as_deref() {
            Some("TILED_FULL") => Some(false),
            Some("TILED_SPARSE") => Some(true),
            _ => None,
        };
        let count = |tag| number(tag).filter(|n| *n >= 1.0).map(|n| n as u64);
        let (paths, depths) =
            (count(tags::NUMBER_OF_OPTICAL_PATHS), count(tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES));
        let planes = match (paths, depths) {
            (None, None) => None,
            (paths, depths) => paths.unwrap_or(1).checked_mul(depths.unwrap_or(1)),
        };
        // Pixel Spacing is between rows, then between columns (PS3.3 10.7.1.1).
        let spacing = attributes.groups.pixel_spacing.as_ref().or(attributes.get(tags::PIXEL_SPACING));
        let spacing = spacing.and_then(|value| match value.numbers()?.as_slice() {
            &[vertical, horizontal] => Some([horizontal, vertical]),
            _ => None,
        });
        let size = number(tags::IMAGED_VOLUME_WIDTH).zip(number(tags::IMAGED_VOLUME_HEIGHT));
        Ok(Self { extent, sparse, planes, spacing, size: size.map(|(width, height)| [width, height]) })
    }

    fn microns_per_pixel(&self, extent: [u32; 2]) -> Option<[f64; 2]> {
        let by_size = self.size.map(|[width, height]| {
            let [columns, rows] = extent.map(f64::from);
            [width / columns, height / rows]
        });
        let possible = |mm: &[f64; 2]| mm.iter().all(|mm| mm.is_finite() && *mm > 0.0);
        self.spacing.filter(possible).or(by_size.filter(possible)).map(|mm| mm.map(|mm| mm * MICRONS))
    }
}

fn side(tag: dicom_core::Tag, value: Option<f64>) -> Result<u32, AttributeError> {
    let value = value.ok_or(AttributeError::Missing { tag: ShownTag(tag) })?;
    if !(1.0..=f64::from(u32::MAX)).contains(&value) {
        return Err(AttributeError::Value { tag: ShownTag(tag), value, allowed: "1 to 4294967295" });
    }
    Ok(value as u32)
}

/// The frame of each tile that has one, and whether there were several for one tile.
fn place(
    positions: &[[Option<i32>; 2]],
    frames: u32,
    level: &SlideLevel,
    grid: Grid,
) -> Result<(Tiles, bool), SlideError> {
    let placed = positions.iter().filter(|place| place.iter().all(Option::is_some)).count();
    if placed != frames as usize || positions.len() != placed {
        return Err(SlideError::Unplaced { placed, frames });
    }
    let mut tiles = Vec::with_capacity(placed);
    for (frame, place) in (0_u32..).zip(positions) {
        let &[Some(column), Some(row)] = place else { continue };
        let off_grid = SlideError::OffGrid { frame: frame + 1, column, row };
        let place = |position: i32, tile: u32, extent: u32| {
            let from_zero = u32::try_from(position).ok()?.checked_sub(1).filter(|pixel| *pixel < extent)?;
            from_zero.is_multiple_of(tile).then(|| from_zero / tile)
        };
        let column = place(column, level.tile_columns, level.columns);
        let Some((column, row)) = column.zip(place(row, level.tile_rows, level.rows)) else {
            return Err(off_grid);
        };
        tiles.push((grid.index(TilePosition { level: 0, column, row }), frame));
    }
    tiles.sort_unstable();
    tiles.dedup_by_key(|(tile, _)| *tile);
    let several = tiles.len() < placed;
    Ok((Tiles::Sparse(tiles), several))
}
