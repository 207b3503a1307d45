//! What is true of a study, and the folder that holds studies beside their truth.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::corruption::{Corruption, CorruptionKind};
use super::cycle::Interval;
use super::spec::{EchoSpec, View};
use super::{EchoError, generate};

/// The truth of one study, as an entry of `truth.json`. Frames are 1-based, as in DICOM.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// Study Instance UID.
    pub study_uid: String,
    /// Always `echo`.
    pub domain: &'static str,
    /// Always true: none of this is a patient.
    pub synthetic: bool,
    /// Seed of the study's [`EchoSpec`].
    pub seed: u64,
    /// The loop that the study is about: the first apical one without colour, else the first one.
    #[serde(flatten)]
    pub cine: CineTruth,
    /// Ejection fraction, 100 · (EDV − ESV) / EDV.
    pub ef_percent: f64,
    /// End-diastolic volume, ml.
    pub edv_ml: f64,
    /// End-systolic volume, ml.
    pub esv_ml: f64,
    /// Beats a minute.
    pub heart_rate: f64,
    /// Every cine; the same heart in each.
    pub cines: Vec<CineTruth>,
    /// Instances that are no cine, to which a gate's answer is "not applicable".
    pub stills: Vec<String>,
}

/// The truth of one cine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CineTruth {
    /// SOP Instance UID.
    pub instance_uid: String,
    /// The view.
    pub view: View,
    /// Frames nearest to an R wave.
    pub ed_frames: Vec<usize>,
    /// Frames nearest to an end of ejection.
    pub es_frames: Vec<usize>,
    /// Times of the R waves, ms from the first frame.
    pub r_waves_ms: Vec<f64>,
    /// Times of the ends of ejection, ms from the first frame.
    pub end_systoles_ms: Vec<f64>,
    /// Where a frame is as good as end diastole (volume within about 1 %).
    pub ed_intervals: Vec<Interval>,
    /// Where a frame is as good as end systole.
    pub es_intervals: Vec<Interval>,
    /// Number of frames.
    pub frames: usize,
    /// Frames a second: 1000 / the header's FrameTime.
    pub fps: f64,
    /// Centimetres per pixel of the sector; none when no sector is shown.
    pub cm_per_pixel: Option<f64>,
    /// Area of the left ventricle as the plane shows it at end diastole, cm², whether or not the sector holds all of it.
    pub ed_area_cm2: f64,
    /// The same at end systole, cm².
    pub es_area_cm2: f64,
    /// Colour Doppler lies over it.
    pub colour: bool,
    /// What is wrong with it.
    pub corruption: Option<CorruptionKind>,
    /// How bad that is; none for a kind without degrees.
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

/// Sampled studies.
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
    /// The specifications, in order.
    pub fn specs(self) -> impl Iterator<Item = EchoSpec> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // 53 bits, so that a seed survives JSON readers that know doubles only.
        (0..self.count)
            .map(move |_| EchoSpec { corruption: self.corruption, ..EchoSpec::sample(rng.next_u64() >> 11) })
    }
}

/// Writes `<out_dir>/<study_uid>/<instance_uid>.dcm` one study at a time, in the order of `specs`, and `<out_dir>/truth.json` last.
///
/// Every file appears whole or not at all (written beside, synced, renamed); a `truth.json` says that all its studies
/// are there. An earlier `truth.json` of the folder is replaced; earlier studies are left.
///
/// # Errors
/// [`EchoError::Io`] with the path that could not be written.
pub fn write_studies(out_dir: &Path, specs: impl IntoIterator<Item = EchoSpec>) -> Result<Truths, EchoError> {
    let mut studies = Vec::new();
    for spec in specs {
        let study = generate(&spec)?;
        let folder = out_dir.join(&study.study_uid);
        fs::create_dir_all(&folder).map_err(|source| EchoError::Io { path: folder.clone(), source })?;
        for instance in &study.instances {
            write_whole(&folder.join(format!("{}.dcm", instance.sop_instance_uid)), &instance.file_bytes)?;
        }
        studies.push(study.truth);
    }
    let truths = Truths { studies };
    fs::create_dir_all(out_dir).map_err(|source| EchoError::Io { path: out_dir.to_owned(), source })?;
    let mut json = serde_json::to_vec_pretty(&truths).map_err(EchoError::Json)?;
    json.push(b'\n');
    write_whole(&out_dir.join("truth.json"), &json)?;
    Ok(truths)
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), EchoError> {
    let partial: PathBuf = path.with_extension("partial");
    let write = || {
        let mut file = fs::File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|source| EchoError::Io { path: path.to_owned(), source })
}
