//! Prompt files: the ones inside the binary by name, any other by path.

use std::path::Path;

use toml::{Table, Value};

const BUILT_IN: [(&str, &str); 2] = [
    ("echo.en", include_str!("../../config/prompts/echo.en.md")),
    ("echo.zh", include_str!("../../config/prompts/echo.zh.md")),
];

/// A prompt that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromptError {
    /// Neither built in nor a file.
    #[error("stages.inference.prompt {name:?} is neither built in (echo.en, echo.zh) nor a readable file")]
    Unreadable {
        /// What was asked for.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Replaces the prompt's name in a stage's table by its id and text. A table without `prompt` stays as it is.
pub(crate) fn resolve(table: &mut Table) -> Result<(), PromptError> {
    let Some(Value::String(name)) = table.get("prompt").cloned() else { return Ok(()) };
    let text = match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        Some((_, text)) => (*text).to_owned(),
        None => std::fs::read_to_string(&name)
            .map_err(|source| PromptError::Unreadable { name: name.clone(), source })?,
    };
    let id =
        Path::new(&name).file_stem().map_or_else(|| name.clone(), |stem| stem.to_string_lossy().into_owned());
    let id = if BUILT_IN.iter().any(|(built_in, _)| *built_in == name) { name } else { id };
    let prompt =
        Table::from_iter([("id".to_owned(), Value::String(id)), ("text".to_owned(), Value::String(text))]);
    table.insert("prompt".to_owned(), Value::Table(prompt));
    Ok(())
}
