//! `bench engine`: a model of 154 million parameters by our engine and by transformers, in turns, one thread each.
//!
//! ```text
//!   engine.py, a child: makes the checkpoint, once, below the data directory
//!        │
//!        ├─▶ transformers, f32 ────────┐
//!        └─▶ our engine, f32 and Q8_0 ─┴─ run by run in turns ─▶ medians of processor seconds ─▶ ratios
//!            our engine, one study at a time and eight at once ─▶ medians of wall seconds ─▶ ratio
//!            our engine, two callers with large pictures ─▶ share of preprocessing beside the model
//! ```
//! What counts is the processor time of the whole process. Both sides read the same weights, and must choose the same ids.
//! Nothing is counted twice by a cache: what is measured with prefill says something new at its beginning, and the vision
//! cache is off.

mod ours;
mod overlap;
mod questions;
mod table;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use glm46v::WeightFormat;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use self::{
    ours::Ours,
    questions::{Question, STUDIES},
    table::{Agreement, Row, Table, Unit},
};
use super::{
    answer, command_line, commit,
    machine::{self, Machine},
    python::{Python, Script},
};
use crate::{
    carried_model::Carried,
    cli::{Bench, Options},
    config::Config,
    exit::{Exit, Failure},
    log,
};

const SCRIPT: Script = Script { name: "engine.py", text: include_str!("engine/engine.py") };
/// Of the weights and the pictures. The same seed, the same model, the same questions.
const SEED: u64 = 9_000;

/// How much is measured.
struct Size {
    /// Of each work, on each side.
    runs: usize,
    /// Tokens whose decoding is measured.
    steps: usize,
    /// Tokens of a study's answer.
    answer: usize,
}

const QUICK: Size = Size { runs: 1, steps: 24, answer: 48 };
const FULL: Size = Size { runs: 3, steps: 64, answer: 150 };

/// What Python says of the model.
#[derive(Deserialize)]
struct Has {
    packages: std::collections::BTreeMap<String, String>,
    parameters: u64,
    input_ids: Vec<Vec<u32>>,
}

/// Questions that transformers has answered at once.
#[derive(Deserialize)]
struct Answered {
    /// Processor seconds until the first token.
    prefill: f64,
    /// And for each further step.
    decode: f64,
    ids: Vec<Vec<u32>>,
}

/// Measures, prints the table, and answers "no" when a target is missed.
pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    if rayon::current_num_threads() != 1 {
        return in_one_thread();
    }
    log::start(&config.log)?;
    let size = if arguments.full { FULL } else { QUICK };
    let program = arguments.python.as_deref().unwrap_or(Path::new("python3"));
    let folder = tempfile::tempdir()?;
    let before = machine::load();
    let checkpoint = checkpoint(&config.data_dir)?;
    let questions = questions::all(SEED);
    let mut python = Python::start(program, &SCRIPT, folder.path())?;
    let has: Has = python.ask(&json!({
        "checkpoint": checkpoint,
        "tokens_of": Carried::Untrained.unpack(&config.data_dir)?,
        "seed": SEED,
        "questions": questions.iter().map(|question| question.to_json(folder.path())).collect::<Result<Vec<_>, _>>()?,
    }))?;
    let float = Ours::start(&checkpoint, WeightFormat::Float, &questions)?;
    let small = Ours::start(&checkpoint, WeightFormat::Q8_0, &questions)?;
    let (mut rows, agreement) = beside_transformers(&size, &mut python, &has, &float, &small)?;
    for (ours, name, asked) in [(&float, "studies, f32", Some(2.0)), (&small, "studies, Q8_0", Some(2.0))] {
        rows.push(studies(ours, name, asked, &size)?);
    }
    let table = Table {
        command: command_line(arguments, options),
        commit: commit(),
        date: Timestamp::now(),
        machine: Machine::here(),
        load: [before, machine::load()],
        packages: has.packages,
        parameters: has.parameters,
        tokens: has.input_ids.first().map_or(0, Vec::len),
        runs: size.runs,
        rows,
        agreement,
        overlap: overlap::measure(&float)?,
    };
    answer(&table, options)
}

/// This command again, as a process whose products run on one thread: candle decides at the start.
fn in_one_thread() -> Result<Exit, Failure> {
    let program = std::env::current_exe()?;
    let status =
        Command::new(program).args(std::env::args_os().skip(1)).env("RAYON_NUM_THREADS", "1").status()?;
    match status.code() {
        Some(0) => Ok(Exit::Done),
        Some(1) => Ok(Exit::No),
        _ => Err(format!("the bench ended with {status}; it said why above").into()),
    }
}

/// Where the model of this seed lies, or will lie. Absolute, because Python is told of it.
fn checkpoint(data_dir: &Path) -> Result<PathBuf, Failure> {
    let folder = data_dir.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?.join(format!("glm4v-154m-{SEED}")))
}

/// Vision, prefill and decoding on both sides, run by run in turns.
fn beside_transformers(
    size: &Size,
    python: &mut Python,
    has: &Has,
    float: &Ours<'_>,
    small: &Ours<'_>,
) -> Result<(Vec<Row>, Agreement), Failure> {
    let row = |name, of: &str, asked| Row::new(name, of, Unit::ProcessorMs, asked);
    let tokens = has.input_ids.first().map_or(0, Vec::len);
    let prompt = format!("{} tokens, of them {} vision", tokens, questions::VISION_TOKENS);
    let mut prefill =
        [row("vision and prefill, f32", &prompt, Some(1.0)), row("vision and prefill, Q8_0", &prompt, None)];
    let step = "one step";
    let mut lone = [row("decode, f32", step, Some(1.5)), row("decode, Q8_0", step, None)];
    let step = format!("one step of {STUDIES}");
    let mut crowd =
        [row("decode, batch, f32", &step, Some(1.0)), row("decode, batch, Q8_0", &step, Some(2.0))];
    let tokens = size.steps + 1;
    let everyone: Vec<usize> = (0..STUDIES).collect();
    let mut agreement = Agreement::default();
    // Nothing is counted of the first run: caches are cold, and Python has had one already.
    for ours in [float, small] {
        ours.lone(0, 4)?;
        ours.fill()?;
    }
    for run in 0..size.runs {
        let theirs: Answered = python.ask(&json!({ "batch": [0], "tokens": tokens }))?;
        let all: Answered = python.ask(&json!({ "batch": everyone, "tokens": tokens }))?;
        let rows = prefill.iter_mut().zip(&mut lone).zip(&mut crowd);
        for (ours, ((prefill, lone), crowd)) in [float, small].into_iter().zip(rows) {
            let answered = ours.lone(0, tokens)?;
            prefill.add(answered.prefill, theirs.prefill);
            lone.add(answered.decode, theirs.decode);
            crowd.add(ours.crowd(tokens)?, all.decode);
        }
        if run == 0 {
            agreement = Agreement::of(&float.alike(0, tokens)?, &has.input_ids, &theirs.ids);
        }
    }
    Ok((prefill.into_iter().chain(lone).chain(crowd).collect(), agreement))
}

/// Eight studies at once beside eight, one at a time.
fn studies(ours: &Ours<'_>, name: &'static str, asked: Option<f64>, size: &Size) -> Result<Row, Failure> {
    let of = format!("{STUDIES} studies, {} tokens each", size.answer);
    let mut row = Row::new(name, &of, Unit::WallSeconds, asked);
    for _ in 0..size.runs {
        row.add(ours.at_once(size.answer)?, ours.one_by_one(size.answer)?);
    }
    Ok(row)
}

impl Question {
    /// As `engine.py` reads it; its pictures become files below `folder`.
    fn to_json(&self, folder: &Path) -> Result<serde_json::Value, Failure> {
        let mut files = Vec::new();
        for (number, picture) in self.pictures.iter().enumerate() {
            let path = folder.join(format!("{}-{number}.png", self.number));
            picture.save(&path)?;
            files.push(path);
        }
        Ok(json!({ "system": self.system(0), "pictures": files, "text": self.text }))
    }
}
