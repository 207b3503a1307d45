//! A Python beside us: a child process that answers each line of JSON with one.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// One thread, as on our side; a script sets those of OpenCV and torch.
const ONE_THREAD: [&str; 5] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
];

/// A script that we carry.
pub(super) struct Script {
    /// Its file.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// The process; it ends with us, when its input does.
pub(super) struct Python {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Starts `program` on a script, which is written into `folder`.
    pub(super) fn start(program: &Path, script: &Script, folder: &Path) -> Result<Self, Failed> {
        let path = folder.join(script.name);
        std::fs::write(&path, script.text)?;
        let mut child = Command::new(program)
            .arg(&path)
            .envs(ONE_THREAD.map(|variable| (variable, "1")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("cannot start {}: {error}; name a Python with --python", program.display())
            })?;
        let questions = child.stdin.take().ok_or("no pipe to Python")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from Python")?);
        Ok(Self { child, questions, answers })
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, question: &Value) -> Result<T, Failed> {
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
