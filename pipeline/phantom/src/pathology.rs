//! Synthetic H&E: fields of view and whole slides with a known stain matrix, concentrations, tissue and nuclei.
//!
//! ```text
//!  FieldSpec ─┐                ┌─▶ Field (picture and maps) ─▶ DICOM, PNG, JPEG, TIFF
//!             ├─▶ specimen ────┤
//!  SlideSpec ─┘  (any region)  └─▶ pyramid (tile by tile) ───▶ DICOM levels and label, or tiled BigTIFF
//! ```
//! Light follows Beer and Lambert exactly, so a stain matrix can be recovered from the picture; shapes are textbook
//! cartoons of glands, stroma and nuclei, no tissue of anybody.

mod anatomy;
mod artefact;
mod chance;
mod corruption;
mod dicom;
mod field;
mod files;
mod icc;
mod mark;
mod pyramid;
mod slide;
mod spec;
mod specimen;
mod stain;
mod tiff;
mod truth;

use std::path::PathBuf;

use serde::Serialize;
use uuid::Uuid;

use self::dicom::StudyHeader;

pub use self::corruption::{Corruption, CorruptionError, CorruptionKind};
pub use self::field::{Field, FieldFormat};
pub use self::slide::{Slide, SlideFormat};
pub use self::spec::{FieldSpec, MICRONS_PER_PIXEL, Organisation, Section, SlideSpec, SpecError};
pub use self::stain::{Stain, StainMatrix};
pub use self::truth::{Batch, Kind, Output, Truth, Truths, write_fields, write_slides, write_studies};

/// Why a field or slide could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PathologyError {
    /// The specification cannot be met.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A lossless format cannot show what lossy compression does.
    #[error(
        "a {format} file is lossless and cannot carry the corruption jpeg; choose the format dicom or jpeg"
    )]
    Lossless {
        /// Ending of the format's files.
        format: &'static str,
    },
    /// A picture could not be compressed as JPEG.
    #[error("cannot compress a picture as jpeg")]
    Jpeg(#[source] jpeg_encoder::EncodingError),
    /// A picture could not be written as PNG.
    #[error("cannot write a png")]
    Png(#[source] image::ImageError),
    /// A picture or slide could not be written as TIFF.
    #[error("cannot write a tiff")]
    Tiff(#[source] Box<::tiff::TiffError>),
    /// An object could not be written as DICOM.
    #[error("cannot write a DICOM object")]
    Dicom(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The specification or truth could not be written as JSON.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Changes whenever this code draws different pixels from the same specification, so that a UID never names two.
const GENERATOR: &str = "prescreen phantom pathology 1";

/// UIDs derived from the whole specification: a study that differs in any value has other UIDs.
struct StudyUids {
    spec: String,
}

impl StudyUids {
    fn new(spec: &impl Serialize) -> Result<Self, PathologyError> {
        Ok(Self { spec: serde_json::to_string(spec).map_err(PathologyError::Json)? })
    }

    /// `2.25.` and a UUID (PS3.5 B.2).
    fn derive(&self, role: &str) -> String {
        let name = format!("{GENERATOR}\n{role}\n{}", self.spec);
        format!("2.25.{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u128())
    }

    fn study(&self, seed: u64) -> StudyHeader {
        let tag = format!("{:08X}", seed & 0xffff_ffff);
        StudyHeader {
            study_uid: self.derive("study"),
            series_uid: self.derive("series"),
            frame_of_reference_uid: self.derive("frame of reference"),
            specimen_uid: self.derive("specimen"),
            dimension_uid: self.derive("dimension organization"),
            patient_id: format!("PH-{tag}"),
            patient_name: format!("PHANTOM^PATHOLOGY {tag}"),
        }
    }
}
