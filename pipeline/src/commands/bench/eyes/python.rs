//! The Python beside us: a child process that answers one line with one line.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::Deserialize;
use serde_json::{Value, json};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const SCRIPT: &str = include_str!("eyes.py");
/// One thread, as on our side; the script sets those of OpenCV and torch.
const ONE_THREAD: [&str; 5] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
];

/// The process; it ends with us, when its input does.
pub(crate) struct Python {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) has: Has,
}

/// What this Python can do.
#[derive(Debug, Deserialize)]
pub(crate) struct Has {
    /// Versions by name.
    pub(crate) packages: BTreeMap<String, String>,
    /// Ways to decode the cine.
    pub(crate) decoders: Vec<String>,
    /// Implementations of Macenko's normalisation.
    pub(crate) normalisers: Vec<String>,
}

/// One piece of work, done.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {
    /// Processor seconds.
    pub(crate) seconds: f64,
    pub(crate) found: Value,
}

impl Python {
    /// Starts `program` on a cine and tiles. Waits until it has imported everything and done everything once.
    pub(crate) fn start(
        program: &Path,
        folder: &Path,
        cine: &Path,
        tiles: &[impl AsRef<Path>],
    ) -> Result<Self, Failed> {
        let script = folder.join("eyes.py");
        std::fs::write(&script, SCRIPT)?;
        let mut child = Command::new(program)
            .arg(&script)
            .envs(ONE_THREAD.map(|variable| (variable, "1")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("cannot start {}: {error}; name a Python with --python", program.display())
            })?;
        let questions = child.stdin.take().ok_or("no pipe to Python")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from Python")?);
        let none = Has { packages: BTreeMap::new(), decoders: Vec::new(), normalisers: Vec::new() };
        let mut python = Self { child, questions, answers, has: none };
        let tiles: Vec<&Path> = tiles.iter().map(AsRef::as_ref).collect();
        python.has = serde_json::from_value(python.ask(&json!({ "cine": cine, "tiles": tiles }))?)?;
        Ok(python)
    }

    /// Does one piece of work.
    pub(crate) fn work(&mut self, work: &str, by: Option<&str>) -> Result<Done, Failed> {
        Ok(serde_json::from_value(self.ask(&json!({ "work": work, "by": by }))?)?)
    }

    fn ask(&mut self, question: &Value) -> Result<Value, Failed> {
        // One that has ended said why on standard error, which is ours.
        let sent = writeln!(self.questions, "{question}");
        let mut answer = String::new();
        if sent.is_err() || self.answers.read_line(&mut answer)? == 0 {
            let status = self.child.wait()?;
            return Err(format!("Python ended before it answered ({status}); it said why above").into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself; nothing is lost either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
