//! Checkpoints of the fixtures, and copies of them to damage.

use std::path::{Path, PathBuf};

use glm46v::{Checkpoint, Engine, EngineOptions};
use serde_json::Value;

pub(crate) fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn fixtures() -> PathBuf {
    crate_folder().join("fixtures")
}

pub(crate) fn untrained() -> PathBuf {
    crate_folder().join("checkpoints/untrained")
}

pub(crate) fn engine(folder: &Path) -> Engine {
    Engine::start(Checkpoint::open(folder).unwrap(), EngineOptions::default()).unwrap()
}

/// A copy of a checkpoint that a test may damage.
pub(crate) fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Changes a JSON file of a checkpoint.
pub(crate) fn edit(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(name);
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(&path, serde_json::to_vec(&value).unwrap()).unwrap();
}
