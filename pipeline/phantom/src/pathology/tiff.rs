//! TIFF: a field as a plain picture, a slide as a pyramid of JPEG tiles in BigTIFF.

use std::io::{Read, Seek, Write};

use ::tiff::encoder::colortype::RGB8;
use ::tiff::encoder::{Rational, TiffEncoder};
use ::tiff::tags::Tag;
use ::tiff::{TiffError, TiffResult};

use super::PathologyError;
use super::pyramid::{Level, REDUCTION, TILE};
use super::spec::MICRONS_PER_PIXEL;

const DESCRIPTION: &str = "PRESCREEN PHANTOM: synthetic, no clinical meaning";
/// Tag values of TIFF 6.0.
const CENTIMETRE: u16 = 3;
const JPEG: u16 = 7;
const YCBCR: u16 = 6;
const CHUNKY: u16 = 1;
const FULL: u32 = 0;
const REDUCED: u32 = 1;

/// Pixels a centimetre at this many micrometres a pixel.
fn resolution(microns_per_pixel: f64) -> Rational {
    Rational { n: (1e7 / microns_per_pixel).round() as u32, d: 1000 }
}

/// An uncompressed picture in one strip after another.
pub(crate) fn field(
    out: impl Write + Seek,
    columns: u32,
    rows: u32,
    rgb: &[u8],
) -> Result<(), PathologyError> {
    let write = || -> TiffResult<()> {
        let mut encoder = TiffEncoder::new(out)?;
        let mut image = encoder.new_image::<RGB8>(columns, rows)?;
        image.encoder().write_tag(Tag::ImageDescription, DESCRIPTION)?;
        image.encoder().write_tag(Tag::ResolutionUnit, CENTIMETRE)?;
        image.encoder().write_tag(Tag::XResolution, resolution(MICRONS_PER_PIXEL))?;
        image.encoder().write_tag(Tag::YResolution, resolution(MICRONS_PER_PIXEL))?;
        image.write_data(rgb)
    };
    write().map_err(|source| PathologyError::Tiff(Box::new(source)))
}

/// A pyramid: one directory for each level, finest first.
pub(crate) fn slide(out: impl Write + Seek, levels: &mut [Level]) -> Result<(), PathologyError> {
    let wrap = |source: TiffError| PathologyError::Tiff(Box::new(source));
    let mut encoder = TiffEncoder::new_big(out).map_err(wrap)?;
    let mut microns = MICRONS_PER_PIXEL;
    for (number, level) in levels.iter_mut().enumerate() {
        let (columns, rows, tiles) = (level.columns, level.rows, level.tiles.clone());
        let mut bytes = level.bytes_of(|_| true)?;
        let mut write = || -> TiffResult<()> {
            let mut directory = encoder.image_directory()?;
            let mut offsets = Vec::with_capacity(tiles.len());
            for tile in &tiles {
                let mut fragment = vec![0; tile.length as usize];
                bytes.read_exact(&mut fragment)?;
                offsets.push(directory.write_data(fragment.as_slice())?);
            }
            let counts: Vec<u64> = tiles.iter().map(|tile| u64::from(tile.length)).collect();
            directory.write_tag(Tag::NewSubfileType, if number == 0 { FULL } else { REDUCED })?;
            directory.write_tag(Tag::ImageWidth, columns)?;
            directory.write_tag(Tag::ImageLength, rows)?;
            directory.write_tag(Tag::BitsPerSample, [8_u16; 3].as_slice())?;
            directory.write_tag(Tag::Compression, JPEG)?;
            directory.write_tag(Tag::PhotometricInterpretation, YCBCR)?;
            directory.write_tag(Tag::ImageDescription, DESCRIPTION)?;
            directory.write_tag(Tag::SamplesPerPixel, 3_u16)?;
            directory.write_tag(Tag::PlanarConfiguration, CHUNKY)?;
            directory.write_tag(Tag::ChromaSubsampling, [2_u16, 1].as_slice())?;
            directory.write_tag(Tag::ResolutionUnit, CENTIMETRE)?;
            directory.write_tag(Tag::XResolution, resolution(microns))?;
            directory.write_tag(Tag::YResolution, resolution(microns))?;
            directory.write_tag(Tag::TileWidth, TILE as u32)?;
            directory.write_tag(Tag::TileLength, TILE as u32)?;
            directory.write_tag(Tag::TileOffsets, offsets.as_slice())?;
            directory.write_tag(Tag::TileByteCounts, counts.as_slice())?;
            directory.finish()
        };
        write().map_err(wrap)?;
        microns *= REDUCTION as f64;
    }
    Ok(())
}
