//! What is true of a field or slide, and folders of them beside their truth.

use std::io::Write as _;
use std::path::Path;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::corruption::{Corruption, CorruptionKind};
use super::field::{Field, FieldFormat};
use super::files::{folder, io, write_whole};
use super::slide::{SlideFormat, write_slide};
use super::spec::{FieldSpec, SlideSpec};
use super::stain::StainMatrix;
use super::{PathologyError, StudyUids};

/// A picture of one place or of a whole section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A single field of view.
    Field,
    /// A whole slide.
    Slide,
}

/// The truth of one study, as an entry of `truth.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// Study Instance UID; none for a picture file, to which intake gives one made from its bytes.
    pub study_uid: Option<String>,
    /// Always `pathology`.
    pub domain: &'static str,
    /// Always true: none of this is a patient. A picture file cannot say so itself: `ingest --synthetic` does.
    pub synthetic: bool,
    /// Seed of the specification.
    pub seed: u64,
    /// Field or slide.
    pub kind: Kind,
    /// Its files, relative to the folder of `truth.json`; a slide's from the finest level to the coarsest.
    pub files: Vec<String>,
    /// The file that shows the slide's label with the synthetic name, never to be decoded.
    pub label_file: Option<String>,
    /// SOP Instance UIDs of `files`, where they are DICOM.
    pub instance_uids: Vec<String>,
    /// Width of the finest level, pixels.
    pub columns: u32,
    /// Height of the finest level, pixels.
    pub rows: u32,
    /// Width and height of each level of a slide, finest first; of a field, its own.
    pub levels: Vec<[u32; 2]>,
    /// Of the finest level.
    pub microns_per_pixel: f64,
    /// The dyes' optical densities, as unit vectors.
    pub stain_matrix: StainMatrix,
    /// Share of the pixels that are stained tissue, as drawn.
    pub tissue_fraction: f64,
    /// Nuclei whose centre lies in the picture.
    pub nuclei_count: usize,
    /// What is wrong with it.
    pub corruption: Option<CorruptionKind>,
    /// How bad it is, in `severity_unit`; none where the corruption has no degrees.
    pub severity: Option<f64>,
    /// The unit of `severity`.
    pub severity_unit: Option<&'static str>,
}

/// The content of `truth.json`: one entry per study, in the order they were made.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Truths {
    /// The studies.
    pub studies: Vec<Truth>,
}

/// What to write, and how it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Fields of view.
    Fields(FieldFormat),
    /// Slides.
    Slides(SlideFormat),
}

/// How many, and what is wrong with them.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// How many studies.
    pub count: usize,
    /// Study i of a seed is the same whatever the count.
    pub seed: u64,
    /// What is wrong with all of them.
    pub corruption: Option<Corruption>,
}

impl Batch {
    fn seeds(self) -> impl Iterator<Item = u64> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // 53 bits, so that a seed survives JSON readers that know doubles only.
        (0..self.count).map(move |_| rng.next_u64() >> 11)
    }

    /// The fields' specifications, in order.
    pub fn fields(self) -> impl Iterator<Item = FieldSpec> {
        self.seeds().map(move |seed| FieldSpec { corruption: self.corruption, ..FieldSpec::sample(seed) })
    }

    /// The slides' specifications, in order.
    pub fn slides(self) -> impl Iterator<Item = SlideSpec> {
        self.seeds().map(move |seed| SlideSpec { corruption: self.corruption, ..SlideSpec::sample(seed) })
    }
}

/// Writes a batch of studies; see [`write_fields`] and [`write_slides`].
///
/// # Errors
/// As theirs.
pub fn write_studies(out_dir: &Path, batch: Batch, output: Output) -> Result<Truths, PathologyError> {
    match output {
        Output::Fields(format) => write_fields(out_dir, batch.fields(), format),
        Output::Slides(format) => write_slides(out_dir, batch.slides(), format),
    }
}

/// Writes fields into `out_dir` one at a time, and `truth.json` last.
///
/// DICOM goes to `<out_dir>/<study_uid>/<instance_uid>.dcm`, pictures to `<out_dir>/phantom-<seed>.<ext>`. Every file
/// appears whole or not at all; a `truth.json` says that all its studies are there. An earlier `truth.json` of the folder
/// is replaced; earlier studies are left.
///
/// # Errors
/// [`PathologyError::Io`] with the path that could not be written; [`PathologyError::Lossless`] when the corruption `jpeg`
/// meets a format without it.
pub fn write_fields(
    out_dir: &Path,
    specs: impl IntoIterator<Item = FieldSpec>,
    format: FieldFormat,
) -> Result<Truths, PathologyError> {
    folder(out_dir)?;
    let studies = specs.into_iter().map(|spec| write_field(out_dir, &spec, format));
    finish(out_dir, studies.collect::<Result<_, _>>()?)
}

/// Writes slides into `out_dir` one at a time, tile by tile, and `truth.json` last; DICOM to
/// `<out_dir>/<study_uid>/<instance_uid>.dcm`, TIFF to `<out_dir>/phantom-<seed>.tiff`.
///
/// # Errors
/// [`PathologyError::Io`] with the path that could not be written.
pub fn write_slides(
    out_dir: &Path,
    specs: impl IntoIterator<Item = SlideSpec>,
    format: SlideFormat,
) -> Result<Truths, PathologyError> {
    folder(out_dir)?;
    let studies = specs.into_iter().map(|spec| write_slide(out_dir, &spec, format));
    finish(out_dir, studies.collect::<Result<_, _>>()?)
}

fn finish(out_dir: &Path, studies: Vec<Truth>) -> Result<Truths, PathologyError> {
    let truths = Truths { studies };
    let mut json = serde_json::to_vec_pretty(&truths).map_err(PathologyError::Json)?;
    json.push(b'\n');
    let path = out_dir.join("truth.json");
    write_whole(&path, |out| out.write_all(&json).map_err(io(&path)))?;
    Ok(truths)
}

fn write_field(out_dir: &Path, spec: &FieldSpec, format: FieldFormat) -> Result<Truth, PathologyError> {
    let field = Field::draw(spec)?;
    let bytes = field.encode(format)?;
    let mut truth = field.truth();
    let file = if format == FieldFormat::Dicom {
        let uids = StudyUids::new(spec)?;
        let (study, instance) = (uids.derive("study"), uids.derive("field"));
        folder(&out_dir.join(&study))?;
        let file = format!("{study}/{instance}.dcm");
        truth.study_uid = Some(study);
        truth.instance_uids = vec![instance];
        file
    } else {
        format!("phantom-{}.{}", spec.seed, format.extension())
    };
    let path = out_dir.join(&file);
    write_whole(&path, |out| out.write_all(&bytes).map_err(io(&path)))?;
    truth.files = vec![file];
    Ok(truth)
}
