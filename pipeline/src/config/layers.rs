//! From layers to one table: built-in defaults, then what was promoted, then files, then `PRESCREEN__SECTION__KEY`, then `--set`.
//!
//! A later layer replaces single keys of an earlier one; tables merge, everything else is replaced whole.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Every default, commented; the one place where they stand.
pub(crate) const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// Prefix of environment variables that set options.
const ENV_PREFIX: &str = "PRESCREEN__";

/// A layer that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerError {
    /// The file is not readable.
    #[error("cannot read configuration file {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {path} is not valid TOML")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// A file that sets more than what a replay judges.
    #[error(
        "{path} sets {key}; a candidate may set [model] and [stages] only, the rest belongs into a file of --config"
    )]
    NotJudged {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A `--set` without `=` or with an empty key.
    #[error("--set {text:?} is not key=value, for example --set console.listen=127.0.0.1:9000")]
    Assignment {
        /// What was given.
        text: String,
    },
    /// A key whose parent is no table.
    #[error("{key} cannot be set: {parent} is not a table")]
    NotATable {
        /// The key given.
        key: String,
        /// The part of it that holds a value already.
        parent: String,
    },
}

/// Where options come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    /// What was promoted in the data directory.
    pub(crate) promoted: Option<Table>,
    /// `--config FILE`, in order.
    pub(crate) files: Vec<PathBuf>,
    /// Environment variables of the process.
    pub(crate) environment: Vec<(String, String)>,
    /// `--set key=value`, in order.
    pub(crate) assignments: Vec<String>,
}

impl Layers {
    /// Merges all layers.
    pub(crate) fn merge(&self) -> Result<Table, LayerError> {
        let mut table = parse(Path::new("config/default.toml"), DEFAULTS)?;
        overlay(&mut table, self.promoted.clone().unwrap_or_default());
        for path in &self.files {
            let text = std::fs::read_to_string(path)
                .map_err(|source| LayerError::Unreadable { path: path.clone(), source })?;
            overlay(&mut table, parse(path, &text)?);
        }
        for (name, text) in &self.environment {
            if let Some(key) = name.strip_prefix(ENV_PREFIX) {
                set(&mut table, &key.to_lowercase().replace("__", "."), text)?;
            }
        }
        for text in &self.assignments {
            let (key, value) =
                text.split_once('=').ok_or_else(|| LayerError::Assignment { text: text.clone() })?;
            if key.trim().is_empty() {
                return Err(LayerError::Assignment { text: text.clone() });
            }
            set(&mut table, key.trim(), value)?;
        }
        Ok(table)
    }
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Table, LayerError> {
    text.parse().map_err(|source| LayerError::Syntax { path: path.to_owned(), source: Box::new(source) })
}

pub(super) fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            // A secret is replaced whole: `{ env = … }` over `{ file = … }` must not become both.
            (Some(Value::Table(below)), Value::Table(above)) if !is_secret(&above) => overlay(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn is_secret(table: &Table) -> bool {
    table.len() == 1 && (table.contains_key("file") || table.contains_key("env"))
}

/// Sets one dotted key. The text is read as a TOML value, and as a plain string if it is none.
fn set(table: &mut Table, key: &str, text: &str) -> Result<(), LayerError> {
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let (parents, last) = key.rsplit_once('.').map_or((None, key), |(parents, last)| (Some(parents), last));
    let mut place = table;
    for part in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let entry = place.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = entry else {
            return Err(LayerError::NotATable { key: key.to_owned(), parent: part.to_owned() });
        };
        place = inner;
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_replace_single_keys_and_tables_merge() {
        let layers = Layers {
            environment: vec![
                ("PRESCREEN__CONSOLE__LISTEN".to_owned(), "127.0.0.1:1".to_owned()),
                ("OTHER__CONSOLE__LISTEN".to_owned(), "127.0.0.1:3".to_owned()),
            ],
            assignments: vec!["console.listen=127.0.0.1:2".to_owned(), "decode.workers=3".to_owned()],
            ..Layers::default()
        };
        let table = layers.merge().expect("a table");
        assert_eq!(table["console"]["listen"].as_str(), Some("127.0.0.1:2"));
        assert_eq!(table["decode"]["workers"].as_integer(), Some(3));
        assert!(table["decode"].get("timeout").is_some(), "the other keys of a table stay");
    }

    #[test]
    fn a_wrong_assignment_is_named() {
        for wrong in ["console.listen", "=1"] {
            let layers = Layers { assignments: vec![wrong.to_owned()], ..Layers::default() };
            let error = layers.merge().expect_err("no assignment");
            assert!(error.to_string().contains(wrong), "{error}");
        }
        let through = Layers { assignments: vec!["console.listen.port=1".to_owned()], ..Layers::default() };
        assert!(matches!(through.merge(), Err(LayerError::NotATable { .. })));
    }
}
