//! The Python beside us: what it can do, and its answers.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::python::{self, Script};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const SCRIPT: Script = Script { name: "eyes.py", text: include_str!("eyes.py") };

/// The process.
pub(crate) struct Python {
    process: python::Python,
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
        let mut process = python::Python::start(program, &SCRIPT, folder)?;
        let tiles: Vec<&Path> = tiles.iter().map(AsRef::as_ref).collect();
        let has = process.ask(&json!({ "cine": cine, "tiles": tiles }))?;
        Ok(Self { process, has })
    }

    /// Does one piece of work.
    pub(crate) fn work(&mut self, work: &str, by: Option<&str>) -> Result<Done, Failed> {
        self.process.ask(&json!({ "work": work, "by": by }))
    }
}
