//! `bench eyes`: the same pictures by us and by Python, in turns, one thread each, and what decoding holds in memory.
//!
//! ```text
//!   phantoms ─▶ files ─┬─▶ ours, in this process ─┐
//!                      └─▶ eyes.py, a child ──────┴─ run by run in turns ─▶ medians of processor seconds ─▶ ratio
//!   phantoms ─▶ files ───▶ a decode worker ─▶ VmHWM
//! ```
//! What counts is the processor time of the whole process, so that a thread that works beside the one we look at is not
//! hidden. Starting, importing and drawing count on neither side. Both sides must come to the same answers.

mod cine;
mod footprint;
mod prepared;
mod python;
mod table;

use std::{
    hint::black_box,
    io::Cursor,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use keyframes::Trace;
use phantom::pathology::{Field, FieldFormat, FieldSpec, Organisation, SlideFormat, SlideSpec, write_slides};
use quality_gate::QualityGate;
use schemas::GatedInstance;
use serde_json::Value;
use services::ObjectBlobs;
use stage::{ClipHeader, Ctx, Frames, Image, Outcome, Services, Stage as _, testing::MemoryBlobs};
use stain::{MAX_SAMPLE, Macenko, Plan, REFERENCE, Rounding, exact, sample};

use crate::{
    cli::{Bench, Options},
    config::Config,
    exit::{Exit, Failure},
    log,
    system::stage_config,
};

use self::{
    cine::Cine,
    prepared::Prepared,
    python::Python,
    table::{Answers, Footprint, Rival, Row, Table},
};
use super::{answer, command_line, commit, gate::exam::Exam, machine::Machine, processor_seconds};

/// Of every phantom. The same seed, the same phantoms.
const SEED: u64 = 7_000;
/// Side of a tile whose stains are normalised, in pixels.
const TILE: u32 = 1024;
/// Times that the loop is repeated for the cine whose memory is measured: 600 frames.
const LONG: u32 = 10;
/// Of our side over the other.
const LEAST_RATIO: f64 = 3.0;

/// How much is measured.
struct Size {
    /// Of each work, on each side.
    runs: usize,
    /// Normalised in each run.
    tiles: u64,
    /// The slide whose memory is measured, in pixels; tiles have 256 by 256.
    slide: [u32; 2],
}

const QUICK: Size = Size { runs: 3, tiles: 1, slide: [2048, 1536] };
const FULL: Size = Size { runs: 9, tiles: 4, slide: [8192, 6144] };

/// Measures, prints the table, and answers "no" when a target is missed.
pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    log::start(&config.log)?;
    let size = if arguments.full { FULL } else { QUICK };
    let program = arguments.python.as_deref().unwrap_or(Path::new("python3"));
    let folder = tempfile::tempdir()?;
    let cine = Cine::draw(SEED)?;
    let file = folder.path().join("cine.dcm");
    std::fs::write(&file, cine.file(1))?;
    let (tiles, pictures) = tiles(size.tiles, folder.path())?;
    let mut python = Python::start(program, folder.path(), &file, &pictures)?;
    let echo = Echo::new(&cine, config)?;
    let (mut rows, answers) = loops(&echo, size.runs, &mut python)?;
    rows.extend(stains(&tiles, size.runs, &mut python)?);
    let table = Table {
        command: command_line(arguments, options),
        commit: commit(),
        date: Timestamp::now(),
        seed: SEED,
        runs: size.runs,
        machine: Machine::here(),
        packages: std::mem::take(&mut python.has.packages),
        rows,
        answers,
        footprints: footprints(&cine, size.slide, folder.path(), config)?,
    };
    answer(&table, options)
}

/// The loop as our stages see it.
struct Echo<'a> {
    cine: &'a Cine,
    config: &'a Config,
    rules: keyframes::Config,
    header: ClipHeader,
    /// The frames, decoded and masked.
    decoded: Vec<Image>,
}

impl<'a> Echo<'a> {
    fn new(cine: &'a Cine, config: &'a Config) -> Result<Self, Failure> {
        let rules = stage_config::<keyframes::Keyframes>(&mut config.stages.clone())?();
        let mut clip = pixels::Clip::open(Cursor::new(cine.file(1)))?;
        let mask = clip.mask()?;
        let header = clip.clip_header(&mask);
        let decoded = (0..header.frames).map(|index| Ok(clip.masked_frame(index, &mask)?.into_image()));
        let decoded = decoded.collect::<Result<_, pixels::DecodeError>>()?;
        Ok(Self { cine, config, rules, header, decoded })
    }

    /// Gates the loop, then reads it if `with_keyframes`; from the file, or from decoded frames.
    fn work(&self, decoding: bool, with_keyframes: bool) -> Result<Looked, Failure> {
        let mut tables = self.config.stages.clone();
        let services = Services::without_model();
        let mut gate = QualityGate::build(stage_config::<QualityGate>(&mut tables)?(), &services)?;
        // New in each run: one that has the loop open already would be ahead.
        let exam = Exam::of(self.cine.study())?;
        let prepared = Prepared::new(self.header.clone(), self.decoded.clone());
        let frames: &dyn Frames = if decoding { &exam.files } else { &prepared };
        let blobs = MemoryBlobs::default();
        let mut ctx = Ctx::new(&blobs, frames, Timestamp::UNIX_EPOCH, tracing::Span::none());
        let begun = processor_seconds();
        let instances = match gate.process(&exam.study, &mut ctx)? {
            Outcome::Emit(accepted) => accepted.instances,
            Outcome::Reject(rejection) => rejection.instances,
        };
        let instance = instances.into_iter().next().ok_or("the gate says nothing of the loop")?;
        let trace = match with_keyframes.then(|| keyframes::trace(&instance, frames, &self.rules)) {
            Some(read) => Some(read?.map_err(|code| format!("no keyframes in the loop: {code}"))?),
            None => None,
        };
        Ok(Looked { seconds: processor_seconds() - begun, instance, trace })
    }
}

/// What our stages said of the loop, and how long it took them.
struct Looked {
    /// Processor seconds.
    seconds: f64,
    instance: GatedInstance,
    trace: Option<Trace>,
}

/// What both sides do.
struct Work<'a> {
    name: &'static str,
    /// How `eyes.py` calls it.
    call: &'static str,
    /// Ways in which Python can do it; empty if there is one.
    by: &'a [String],
    /// Of one run.
    parts: f64,
    /// What one part is.
    part: String,
    /// Asked of the ratio.
    least: Option<f64>,
}

impl Work<'_> {
    /// Both sides, run by run in turns. `ours` gives its processor seconds. Also what Python found.
    fn in_turns(
        self,
        runs: usize,
        python: &mut Python,
        mut ours: impl FnMut() -> Result<f64, Failure>,
    ) -> Result<(Row, Value), Failure> {
        let ways: Vec<Option<&str>> = if self.by.is_empty() {
            vec![None]
        } else {
            self.by.iter().map(|by| Some(by.as_str())).collect()
        };
        let mut rivals: Vec<Rival> = ways.iter().map(|by| Rival::new(by.unwrap_or_default())).collect();
        let (mut seconds, mut found) = (Vec::new(), Value::Null);
        // Nothing is counted of the first run: caches are cold, and Python has had one already.
        ours()?;
        for _ in 0..runs {
            seconds.push(ours()? / self.parts);
            for (rival, by) in rivals.iter_mut().zip(&ways) {
                let done = python.work(self.call, *by)?;
                rival.seconds.push(done.seconds / self.parts);
                found = done.found;
            }
        }
        let row = Row { name: self.name, part: self.part, least: self.least, seconds, rivals };
        Ok((row, found))
    }
}

/// The three measurements of the loop, and what both sides said of it.
fn loops(echo: &Echo<'_>, runs: usize, python: &mut Python) -> Result<(Vec<Row>, Answers), Failure> {
    let decoders = python.has.decoders.clone();
    let part = || format!("{} frames {} x {}", cine::FRAMES, cine::COLUMNS, cine::ROWS);
    let least = Some(LEAST_RATIO);
    let work = Work {
        name: "decode, mask, gate",
        call: "decode_gate",
        by: &decoders,
        parts: f64::from(cine::FRAMES),
        part: format!("frame {} x {}", cine::COLUMNS, cine::ROWS),
        least,
    };
    let (decode_gate, _) = work.in_turns(runs, python, || Ok(echo.work(true, false)?.seconds))?;
    let work =
        Work { name: "gate, keyframes", call: "gate_keyframes", by: &[], parts: 1.0, part: part(), least };
    let mut last = None;
    let (gate_keyframes, found) = work.in_turns(runs, python, || {
        let read = echo.work(false, true)?;
        last = read.trace.map(|trace| (read.instance, trace));
        Ok(read.seconds)
    })?;
    let (instance, trace) = last.ok_or("the loop was not read")?;
    let answers = Answers::of(&instance, &trace, found)?;
    let name = "decode, mask, gate, keyframes";
    let work = Work { name, call: "all", by: &decoders, parts: 1.0, part: part(), least };
    let (all, _) = work.in_turns(runs, python, || Ok(echo.work(true, true)?.seconds))?;
    Ok((vec![decode_gate, gate_keyframes, all], answers))
}

/// Macenko's normalisation as the pipeline does it, and as torchstain does it, byte for byte.
fn stains(tiles: &[Vec<u8>], runs: usize, python: &mut Python) -> Result<Vec<Row>, Failure> {
    let normalisers = python.has.normalisers.clone();
    let work = |name, least| Work {
        name,
        call: "macenko",
        by: &normalisers,
        parts: tiles.len() as f64,
        part: format!("tile {TILE} x {TILE}"),
        least,
    };
    let (planned, _) = work("Macenko, fit and apply", Some(LEAST_RATIO)).in_turns(runs, python, || {
        let begun = processor_seconds();
        for tile in tiles {
            let plan = Plan::of(&sample(tile, MAX_SAMPLE));
            black_box(plan.normaliser(&REFERENCE).apply(tile));
        }
        Ok(processor_seconds() - begun)
    })?;
    let (compatible, _) = work("the same, torchstain's bytes", None).in_turns(runs, python, || {
        let begun = processor_seconds();
        for tile in tiles {
            let found = Macenko::TORCHSTAIN.estimate(tile.as_chunks().0)?;
            black_box(exact(tile, &found.staining, &REFERENCE.staining, Rounding::Truncate));
        }
        Ok(processor_seconds() - begun)
    })?;
    Ok(vec![planned, compatible])
}

/// Tiles as RGB and as PNG files below `folder`.
fn tiles(count: u64, folder: &Path) -> Result<(Vec<Vec<u8>>, Vec<PathBuf>), Failure> {
    let mut tiles = (Vec::new(), Vec::new());
    for seed in SEED..SEED + count {
        let field = Field::draw(&FieldSpec { columns: TILE, rows: TILE, ..FieldSpec::sample(seed) })?;
        let path = folder.join(format!("tile-{seed}.png"));
        std::fs::write(&path, field.encode(FieldFormat::Png)?)?;
        tiles.0.push(field.rgb);
        tiles.1.push(path);
    }
    Ok(tiles)
}

/// What a decode worker holds for a long cine and for a slide.
fn footprints(
    cine: &Cine,
    [columns, rows]: [u32; 2],
    folder: &Path,
    config: &Config,
) -> Result<Vec<Footprint>, Failure> {
    let blobs = Arc::new(ObjectBlobs::folder(&folder.join("blobs"))?);
    let cine_bytes = footprint::of_cine(&cine.file(LONG), &blobs, config)?;
    let spec = SlideSpec { columns, rows, ..SlideSpec::sample(SEED) };
    let truths = write_slides(folder, [spec], SlideFormat::Dicom(Organisation::TiledFull))?;
    let finest =
        truths.studies.first().and_then(|slide| slide.files.first()).ok_or("the slide has no file")?;
    let slide = std::fs::read(folder.join(finest))?;
    let (slide_bytes, tiles) = footprint::of_slide(&slide, &blobs, config)?;
    Ok(vec![
        Footprint { of: format!("cine of {} frames", cine::FRAMES * LONG), bytes: cine_bytes },
        Footprint { of: format!("slide of {tiles} tiles"), bytes: slide_bytes },
    ])
}
