//! The calibration set that `[stages.reporting]` names: the one inside the binary by its name, any other by its path. It is
//! read here, because a stage reads no file.

use std::path::{Path, PathBuf};

use calibration::set::LONGEST_FILE;
use toml::{Table, Value};

/// The option's name.
const KEY: &str = "calibration_set";

/// The set inside the binary, made on phantoms for the checkpoint inside it (`prescreen bench trust --full --write` and
/// `prescreen calibrate`; its table and plots lie beside it). It serves no patient and no other model.
const BUILT_IN: (&str, &str) =
    ("phantom-demo-1", include_str!("../../config/calibration/phantom-demo-1.json"));

/// A file that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CalibrationFileError {
    /// Not readable, or no text.
    #[error("stages.reporting.calibration_set {path} cannot be read")]
    Unreadable {
        /// What was asked for.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Longer than any set.
    #[error(
        "stages.reporting.calibration_set {path} has {bytes} bytes; a calibration set has at most {LONGEST_FILE}"
    )]
    TooLong {
        /// What was asked for.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
}

/// Replaces the set's name or path in a stage's table by path and text; an empty path is no set. A table without the option stays
/// as it is.
pub(crate) fn resolve(table: &mut Table) -> Result<(), CalibrationFileError> {
    let Some(Value::String(path)) = table.get(KEY).cloned() else { return Ok(()) };
    if path.is_empty() {
        table.remove(KEY);
        return Ok(());
    }
    let (built_in, text) = BUILT_IN;
    let text = if path == built_in { text.to_owned() } else { read(Path::new(&path))? };
    let file = [("path".to_owned(), Value::String(path)), ("text".to_owned(), Value::String(text))];
    table.insert(KEY.to_owned(), Value::Table(Table::from_iter(file)));
    Ok(())
}

fn read(path: &Path) -> Result<String, CalibrationFileError> {
    let unreadable = |source| CalibrationFileError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > LONGEST_FILE as u64 {
        return Err(CalibrationFileError::TooLong { path: path.to_owned(), bytes });
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use calibration::CalibrationSet;

    use super::*;

    #[test]
    fn the_set_inside_the_binary_is_whole_and_serves_no_patient() {
        let set = CalibrationSet::read(BUILT_IN.1).expect("a set");
        assert_eq!(set.contents().id, BUILT_IN.0);
        assert!(set.contents().synthetic);
        assert!(set.contents().studies >= 2_000, "{}", set.contents().studies);
    }
}
