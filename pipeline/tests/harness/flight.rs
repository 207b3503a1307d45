//! Which records a process is working on, or was when it died: read from the files that its runs keep for that.

use std::fs;

use serde_json::Value;

use super::process::Place;

/// The stages of the data's way.
pub(crate) const STAGES: [&str; 4] = ["quality_gate", "keyframes", "inference", "reporting"];

impl Place {
    /// Records that some worker of `stage` is processing, or was when the process died.
    pub(crate) fn suspects(&self, stage: &str) -> Vec<String> {
        let bytes =
            fs::read(self.data_dir().join("runtime").join(stage).join("suspects")).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == 0 || *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
    }

    /// The same for every stage.
    pub(crate) fn in_flight(&self) -> Vec<String> {
        STAGES.iter().flat_map(|stage| self.suspects(stage)).collect()
    }

    /// At how many deaths of the process each unfinished record of `stage` was in flight.
    pub(crate) fn deaths(&self, stage: &str) -> Vec<u64> {
        let path = self.data_dir().join("runtime").join(stage).join("attempts.json");
        let entries: Value =
            fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        entries.as_array().into_iter().flatten().filter_map(|entry| entry["deaths"].as_u64()).collect()
    }

    /// May the process be killed once more without an innocent record being taken for the cause? A record that was
    /// in flight at two deaths is one that a third would condemn.
    pub(crate) fn bears_another_kill(&self) -> bool {
        STAGES.iter().flat_map(|stage| self.deaths(stage)).all(|deaths| deaths < 2)
    }
}
