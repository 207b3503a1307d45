//! A whole slide: three levels of tiles as DICOM instances or one TIFF, and a label.

use std::path::Path;

use serde::Serialize;

use super::anatomy::Region;
use super::corruption::Corruption;
use super::dicom::{self, Content, InstanceHeader, Pixels, StudyHeader};
use super::files::{folder, write_whole};
use super::mark::{self, Mark};
use super::pyramid::{self, Level, REDUCTION, TILE, Tile};
use super::spec::{MICRONS_PER_PIXEL, Organisation, SlideSpec};
use super::specimen::Specimen;
use super::truth::{Kind, Truth};
use super::{PathologyError, StudyUids, tiff};

/// Quality of the tiles of a slide that nothing is wrong with.
const JPEG_QUALITY: u8 = 85;
/// Share of the shorter side that stays glass along the border.
const MARGIN: f32 = 0.04;
const LABEL_SIZE: [usize; 2] = [480, 300];

/// How a slide is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum SlideFormat {
    /// VL Whole Slide Microscopy, an instance for each level and one for the label.
    Dicom(Organisation),
    /// One BigTIFF with a directory for each level, without a label.
    Tiff,
}

/// A slide to be drawn piece by piece.
pub struct Slide {
    spec: SlideSpec,
    specimen: Specimen,
    mark: Mark,
}

impl std::fmt::Debug for Slide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slide").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Slide {
    /// Plans a slide: no pixel is drawn yet.
    ///
    /// # Errors
    /// [`PathologyError::Spec`] when a value lies outside its documented range.
    pub fn new(spec: &SlideSpec) -> Result<Self, PathologyError> {
        spec.check()?;
        let margin = MARGIN * spec.columns.min(spec.rows) as f32;
        let specimen =
            Specimen::new(spec.seed, [spec.columns, spec.rows], margin, spec.section, spec.corruption);
        Ok(Self { spec: *spec, specimen, mark: Mark::of_slide(margin) })
    }

    /// Any rectangle of the finest level as 8-bit RGB, the same whether drawn alone or with its neighbours.
    pub fn region(&self, [left, top]: [u32; 2], [columns, rows]: [u32; 2]) -> Vec<u8> {
        self.draw(Region {
            left: left as i32,
            top: top as i32,
            columns: columns as usize,
            rows: rows as usize,
        })
        .rgb
    }

    fn draw(&self, region: Region) -> super::specimen::View {
        let mut view = self.specimen.view(region);
        self.mark.draw(region, &mut view.rgb);
        view
    }
}

/// Writes one slide into `out_dir`; see [`super::write_slides`].
pub(crate) fn write_slide(
    out_dir: &Path,
    spec: &SlideSpec,
    format: SlideFormat,
) -> Result<Truth, PathologyError> {
    let slide = Slide::new(spec)?;
    let uids = StudyUids::new(&(spec, format))?;
    let study_uid = uids.derive("study");
    let study_dir = match format {
        SlideFormat::Dicom(_) => out_dir.join(&study_uid),
        SlideFormat::Tiff => out_dir.to_owned(),
    };
    folder(&study_dir)?;

    let (mut tissue, mut nuclei_count) = (0, 0);
    let quality = slide.specimen.jpeg_quality().unwrap_or(JPEG_QUALITY);
    let (columns, rows) = (spec.columns as usize, spec.rows as usize);
    let mut levels = pyramid::build([spec.columns, spec.rows], quality, &study_dir, |region| {
        let view = slide.draw(region);
        let inside = Region {
            columns: TILE.min(columns - region.left as usize),
            rows: TILE.min(rows - region.top as usize),
            ..region
        };
        tissue += view.layers.tissue_in(region, inside);
        nuclei_count += view.layers.nuclei_count;
        view.rgb
    })?;

    let mut truth = Truth {
        study_uid: None,
        domain: "pathology",
        synthetic: true,
        seed: spec.seed,
        kind: Kind::Slide,
        files: Vec::new(),
        label_file: None,
        instance_uids: Vec::new(),
        columns: spec.columns,
        rows: spec.rows,
        levels: levels.iter().map(|level| [level.columns, level.rows]).collect(),
        microns_per_pixel: MICRONS_PER_PIXEL,
        stain_matrix: slide.specimen.matrix,
        tissue_fraction: tissue as f64 / (columns as f64 * rows as f64),
        nuclei_count,
        corruption: spec.corruption.map(Corruption::kind),
        severity: spec.corruption.and_then(Corruption::severity),
        severity_unit: spec.corruption.and_then(|corruption| corruption.kind().unit()),
    };
    match format {
        SlideFormat::Tiff => {
            let name = format!("phantom-{}.tiff", spec.seed);
            write_whole(&out_dir.join(&name), |out| tiff::slide(out, &mut levels))?;
            truth.files.push(name);
        }
        SlideFormat::Dicom(organisation) => {
            for (number, level) in levels.iter_mut().enumerate() {
                let uid = uids.derive(&format!("level {number}"));
                let name = format!("{study_uid}/{uid}.dcm");
                let place = Place { number, uid: &uid, organisation };
                write_level(&out_dir.join(&name), &uids.study(spec.seed), place, level)?;
                truth.files.push(name);
                truth.instance_uids.push(uid);
            }
            let uid = uids.derive("label");
            let name = format!("{study_uid}/{uid}.dcm");
            write_label(&out_dir.join(&name), &uids.study(spec.seed), &uid, levels.len() + 1)?;
            truth.label_file = Some(name);
            truth.study_uid = Some(study_uid);
        }
    }
    Ok(truth)
}

/// Which instance of the slide a level becomes.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// Of the level, the finest being 0.
    number: usize,
    uid: &'a str,
    organisation: Organisation,
}

fn write_level(
    path: &Path,
    study: &StudyHeader,
    Place { number, uid, organisation }: Place<'_>,
    level: &mut Level,
) -> Result<(), PathologyError> {
    let kept = |tile: &Tile| organisation == Organisation::TiledFull || !tile.glass;
    let tiles = level.tiles.clone();
    let positions: Vec<[u32; 2]> =
        tiles.iter().filter(|tile| kept(tile)).map(|tile| [tile.column, tile.row]).collect();
    let lengths: Vec<u32> = tiles.iter().filter(|tile| kept(tile)).map(|tile| tile.length).collect();
    let reduction = (REDUCTION as f64).powi(number as i32);
    let instance = InstanceHeader {
        uid,
        number: number + 1,
        content: if number == 0 { Content::Base } else { Content::Resampled },
        columns: level.columns,
        rows: level.rows,
        tile: [TILE as u32; 2],
        mm_per_pixel: MICRONS_PER_PIXEL / 1000.0 * reduction,
        organisation,
        positions: &positions,
        label: None,
    };
    let mut bytes = level.bytes_of(kept)?;
    write_whole(path, |out| {
        dicom::write(out, study, &instance, Pixels::Jpeg { lengths: &lengths, bytes: &mut bytes })
    })
}

/// The label shows the synthetic name, as real labels show a real one: it must never be decoded downstream.
fn write_label(path: &Path, study: &StudyHeader, uid: &str, number: usize) -> Result<(), PathologyError> {
    let [columns, rows] = LABEL_SIZE;
    let born = format!("DOB {}", dicom::BIRTH_DATE);
    let lines = ["SYNTHETIC PHANTOM", &study.patient_name, &study.patient_id, &born];
    let rgb = mark::label(&lines, columns, rows);
    let text = lines.join(" ");
    let instance = InstanceHeader {
        uid,
        number,
        content: Content::Label,
        columns: columns as u32,
        rows: rows as u32,
        tile: [columns as u32, rows as u32],
        // A label is 25 mm wide.
        mm_per_pixel: 25.0 / columns as f64,
        organisation: Organisation::TiledFull,
        positions: &[[0, 0]],
        label: Some(&text),
    };
    write_whole(path, |out| dicom::write(out, study, &instance, Pixels::Native(&rgb)))
}
