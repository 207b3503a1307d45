//! Prompt files: the ones inside the binary by name, any other by path.

use std::path::Path;

use toml::{Table, Value};

const BUILT_IN: [(&str, &str); 4] = [
    ("echo.en", include_str!("../../config/prompts/echo.en.md")),
    ("echo.zh", include_str!("../../config/prompts/echo.zh.md")),
    ("pathology.en", include_str!("../../config/prompts/pathology.en.md")),
    ("pathology.zh", include_str!("../../config/prompts/pathology.zh.md")),
];

/// A prompt that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromptError {
    /// Neither built in nor a file.
    #[error(
        "stages.inference.prompts.{form} is {name:?}, which is neither built in ({}) nor a readable file",
        BUILT_IN.map(|(name, _)| name).join(", ")
    )]
    Unreadable {
        /// The key: for which kind of examination.
        form: String,
        /// What was asked for.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Replaces each prompt's name in a stage's table `prompts` by its id and text. A table without `prompts` stays as it is.
pub(crate) fn resolve(table: &mut Table) -> Result<(), PromptError> {
    let Some(Value::Table(prompts)) = table.get_mut("prompts") else { return Ok(()) };
    for (form, prompt) in prompts.iter_mut() {
        if let Value::String(name) = prompt {
            *prompt = Value::Table(read(form, name)?);
        }
    }
    Ok(())
}

fn read(form: &str, name: &str) -> Result<Table, PromptError> {
    let built_in = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
    let (id, text) = if let Some((id, text)) = built_in {
        ((*id).to_owned(), (*text).to_owned())
    } else {
        let text = std::fs::read_to_string(name).map_err(|source| PromptError::Unreadable {
            form: form.to_owned(),
            name: name.to_owned(),
            source,
        })?;
        let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        (stem.unwrap_or_else(|| name.to_owned()), text)
    };
    Ok(Table::from_iter([("id".to_owned(), Value::String(id)), ("text".to_owned(), Value::String(text))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The phantom checkpoint knows each paragraph of these prompts as one word: one that is edited falls apart into
    /// letters that it has never read, and its answers are worth nothing until it is trained again
    /// (`pipeline/phantom/training`).
    #[test]
    fn the_phantom_checkpoint_was_trained_on_these_very_prompts() {
        let tokenizer = include_str!("../../stages/inference/glm46v/checkpoints/phantom/tokenizer.json");
        let tokenizer: serde_json::Value = serde_json::from_str(tokenizer).expect("JSON");
        let words = tokenizer["added_tokens"].as_array().expect("words").iter();
        let words: Vec<&str> = words.filter_map(|word| word["content"].as_str()).collect();
        for (name, prompt) in BUILT_IN {
            let paragraphs = prompt
                .trim_start_matches("# system")
                .split("# user")
                .flat_map(|turn| turn.split("{pictures}"));
            for paragraph in paragraphs.map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
                assert!(words.contains(&paragraph), "{name}: {paragraph}");
            }
        }
    }
}
