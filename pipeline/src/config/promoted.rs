//! The configuration that was promoted last: `current.toml` in the data directory, a layer between the built-in defaults and
//! the operator's own files.
//!
//! It holds tables that decide answers and no others, so that a promotion never moves a database. The operator's files come
//! after it and win; a promotion that they would undo is refused ([`super::Config::if_promoted`] tells).

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::layers::{LayerError, overlay, parse};

/// Name of the file in the data directory.
const FILE: &str = "current.toml";

/// Tables that may decide an answer. All else says where things are and how fast they go.
const JUDGED: [&str; 2] = ["model", "stages"];

/// Where the file of a data directory lies.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Reads a file that may set what is judged and nothing else.
pub(crate) fn judged_file(path: &Path) -> Result<(String, Table), LayerError> {
    let unreadable = |source| LayerError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let table = judged_text(path, &text)?;
    Ok((text, table))
}

/// The same of a text; `path` is for messages.
pub(crate) fn judged_text(path: &Path, text: &str) -> Result<Table, LayerError> {
    let table = parse(path, text)?;
    match table.keys().find(|key| !JUDGED.contains(&key.as_str())) {
        Some(key) => Err(LayerError::NotJudged { path: path.to_owned(), key: key.clone() }),
        None => Ok(table),
    }
}

/// What was promoted in `data_dir`, if anything was.
pub(super) fn read(data_dir: &Path) -> Result<Option<Table>, LayerError> {
    match judged_file(&path(data_dir)) {
        Ok((_, table)) => Ok(Some(table)),
        Err(LayerError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// `above` on `below`.
pub(crate) fn merged(mut below: Table, above: Table) -> Table {
    overlay(&mut below, above);
    below
}

/// The tables of `table` that are judged.
pub(super) fn judged(table: &Table) -> Table {
    table
        .iter()
        .filter(|(key, _)| JUDGED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The dotted keys in which two tables differ.
pub(crate) fn differences(one: &Table, other: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    collect(one, other, "", &mut keys);
    keys
}

fn collect(one: &Table, other: &Table, above: &str, keys: &mut Vec<String>) {
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match (one.get(name), other.get(name)) {
            (Some(Value::Table(one)), Some(Value::Table(other))) => collect(one, other, &key, keys),
            (one, other) if one == other => {}
            _ => keys.push(key),
        }
    }
}
