//! A field of view: one picture with its maps.

use std::io::Cursor;

use image::ImageEncoder as _;

use super::anatomy::Region;
use super::corruption::Corruption;
use super::dicom::{self, Content, InstanceHeader, Pixels};
use super::mark::Mark;
use super::spec::{FieldSpec, MICRONS_PER_PIXEL, Organisation, needs_jpeg};
use super::specimen::Specimen;
use super::stain::StainMatrix;
use super::truth::{Kind, Truth};
use super::{PathologyError, StudyUids, pyramid, tiff};

/// Quality of a JPEG field that nothing is wrong with.
const JPEG_QUALITY: u8 = 92;

/// How a field is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldFormat {
    /// VL Whole Slide Microscopy of one tile: native RGB, or JPEG 4:2:2 where the corruption is `jpeg`.
    Dicom,
    /// PNG.
    Png,
    /// Baseline JPEG, 4:2:2.
    Jpeg,
    /// Uncompressed TIFF with its resolution.
    Tiff,
}

impl FieldFormat {
    /// The usual ending of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Dicom => "dcm",
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Tiff => "tiff",
        }
    }
}

/// A drawn field. All maps have `columns * rows` entries, row by row.
#[derive(Debug, Clone)]
pub struct Field {
    /// What it was made from.
    pub spec: FieldSpec,
    /// 8-bit RGB, row by row, before any compression.
    pub rgb: Vec<u8>,
    /// Concentration of haematoxylin, in units of the stain matrix.
    pub hematoxylin: Vec<f32>,
    /// Concentration of eosin.
    pub eosin: Vec<f32>,
    /// Stained tissue.
    pub tissue: Vec<bool>,
    /// Nuclei.
    pub nuclei: Vec<bool>,
    /// Nuclei whose centre lies in the picture, beside the mark.
    pub nuclei_count: usize,
    /// The dyes.
    pub stain_matrix: StainMatrix,
    jpeg_quality: Option<u8>,
}

impl Field {
    /// Draws a field; equal specifications give equal pixels, on every machine.
    ///
    /// # Errors
    /// [`PathologyError::Spec`] when a value lies outside its documented range.
    pub fn draw(spec: &FieldSpec) -> Result<Self, PathologyError> {
        spec.check()?;
        let specimen =
            Specimen::new(spec.seed, [spec.columns, spec.rows], 0.0, spec.section, spec.corruption);
        let region = Region { left: 0, top: 0, columns: spec.columns as usize, rows: spec.rows as usize };
        let view = specimen.view(region);
        let (mut rgb, mut layers) = (view.rgb, view.layers);
        let mark = Mark::of_field(spec.rows);
        for index in mark.draw(region, &mut rgb) {
            layers.hematoxylin[index] = 0.0;
            layers.eosin[index] = 0.0;
            layers.tissue[index] = false;
            layers.nuclei[index] = false;
        }
        let hidden = specimen.layers(mark.plate()).nuclei_count;
        Ok(Self {
            spec: *spec,
            rgb,
            hematoxylin: layers.hematoxylin,
            eosin: layers.eosin,
            tissue: layers.tissue,
            nuclei: layers.nuclei,
            nuclei_count: layers.nuclei_count - hidden,
            stain_matrix: specimen.matrix,
            jpeg_quality: specimen.jpeg_quality(),
        })
    }

    /// Share of the pixels that are stained tissue.
    pub fn tissue_fraction(&self) -> f64 {
        self.tissue.iter().filter(|tissue| **tissue).count() as f64 / self.tissue.len() as f64
    }

    /// The field as a file.
    ///
    /// # Errors
    /// [`PathologyError::Lossless`] when the corruption is `jpeg` and the format has none.
    pub fn encode(&self, format: FieldFormat) -> Result<Vec<u8>, PathologyError> {
        let FieldSpec { columns, rows, .. } = self.spec;
        if matches!(format, FieldFormat::Png | FieldFormat::Tiff) && needs_jpeg(self.spec.corruption) {
            return Err(PathologyError::Lossless { format: format.extension() });
        }
        let size = [columns as u16, rows as u16];
        let mut bytes = Vec::new();
        match format {
            FieldFormat::Png => image::codecs::png::PngEncoder::new(&mut bytes)
                .write_image(&self.rgb, columns, rows, image::ExtendedColorType::Rgb8)
                .map_err(PathologyError::Png)?,
            FieldFormat::Jpeg => {
                bytes = pyramid::jpeg(&self.rgb, size, self.jpeg_quality.unwrap_or(JPEG_QUALITY))?;
            }
            FieldFormat::Tiff => tiff::field(Cursor::new(&mut bytes), columns, rows, &self.rgb)?,
            FieldFormat::Dicom => {
                let uids = StudyUids::new(&self.spec)?;
                let uid = uids.derive("field");
                let instance = InstanceHeader {
                    uid: &uid,
                    number: 1,
                    content: Content::Base,
                    columns,
                    rows,
                    tile: [columns, rows],
                    mm_per_pixel: MICRONS_PER_PIXEL / 1000.0,
                    organisation: Organisation::TiledFull,
                    positions: &[[0, 0]],
                    label: None,
                };
                let study = uids.study(self.spec.seed);
                match self.jpeg_quality {
                    None => dicom::write(&mut bytes, &study, &instance, Pixels::Native(&self.rgb))?,
                    Some(quality) => {
                        let fragment = pyramid::jpeg(&self.rgb, size, quality)?;
                        let lengths = &[fragment.len() as u32];
                        let pixels = Pixels::Jpeg { lengths, bytes: &mut fragment.as_slice() };
                        dicom::write(&mut bytes, &study, &instance, pixels)?;
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// The truth, without the names of files.
    pub(crate) fn truth(&self) -> Truth {
        let FieldSpec { seed, columns, rows, corruption, .. } = self.spec;
        Truth {
            study_uid: None,
            domain: "pathology",
            synthetic: true,
            seed,
            kind: Kind::Field,
            files: Vec::new(),
            label_file: None,
            instance_uids: Vec::new(),
            columns,
            rows,
            levels: vec![[columns, rows]],
            microns_per_pixel: MICRONS_PER_PIXEL,
            stain_matrix: self.stain_matrix,
            tissue_fraction: self.tissue_fraction(),
            nuclei_count: self.nuclei_count,
            corruption: corruption.map(Corruption::kind),
            severity: corruption.and_then(Corruption::severity),
            severity_unit: corruption.and_then(|corruption| corruption.kind().unit()),
        }
    }
}
