//! Writes the hash of each passage of a corpus anew, after a person has read what changed:
//! `cargo run -p reporting --example seal_references -- config/references/passages.jsonl`.

use std::{env, error::Error, fs};

use schemas::Digest;
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: seal_references FILE")?;
    let mut sealed = String::new();
    for (index, line) in fs::read_to_string(&path)?.lines().enumerate().filter(|(_, l)| !l.trim().is_empty())
    {
        let mut passage: Value =
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        let text = passage["text"].as_str().ok_or_else(|| format!("line {}: no text", index + 1))?;
        passage["hash"] = Digest::of(text.as_bytes()).to_string().into();
        sealed.push_str(&passage.to_string());
        sealed.push('\n');
    }
    fs::write(&path, sealed)?;
    Ok(())
}
