//! Everything that decides an answer besides the input, as one SHA-256.

use schemas::{Digest, ModelIdentity};
use serde::Serialize;

use crate::Prompt;

/// The sources that decide what is asked and what is believed: a change in them is a change of answer, so that no
/// remembered answer of other code is taken for one of this code.
const SOURCES: [&str; 5] = [
    include_str!("lib.rs"),
    include_str!("abstention.rs"),
    include_str!("answer.rs"),
    include_str!("pictures.rs"),
    include_str!("prompt.rs"),
];

/// Serialised compactly, keys in alphabetical order: the canonical form that is hashed.
#[derive(Serialize)]
struct Parts<'a> {
    code: Code,
    decoder: Decoder,
    device: &'a str,
    dtype: &'a str,
    model: Digest,
    prompt: PromptPart<'a>,
}

#[derive(Serialize)]
struct Code {
    sources: Digest,
    version: &'static str,
}

#[derive(Serialize)]
struct Decoder {
    max_images: u32,
    max_new_tokens: u32,
    sampling: &'static str,
}

#[derive(Serialize)]
struct PromptPart<'a> {
    id: &'a str,
    sha256: Digest,
}

pub(crate) fn of(model: &ModelIdentity, prompt: &Prompt, max_new_tokens: u32, max_images: u32) -> Digest {
    let parts = Parts {
        code: Code { sources: Digest::of(SOURCES.concat().as_bytes()), version: env!("CARGO_PKG_VERSION") },
        decoder: Decoder { max_images, max_new_tokens, sampling: "greedy" },
        device: &model.device,
        dtype: &model.dtype,
        model: model.digest,
        prompt: PromptPart { id: prompt.id(), sha256: prompt.digest() },
    };
    #[expect(clippy::expect_used, reason = "plain structs with string keys: serialisation cannot fail")]
    let canonical = serde_json::to_vec(&parts).expect("fingerprint parts serialise");
    Digest::of(&canonical)
}
