//! Everything that decides an answer besides the input, as one SHA-256.

use schemas::{Digest, ModelIdentity};
use serde::Serialize;
use stage::Presentation;

use crate::{Variation, asking::Questions};

/// The sources that decide what is asked and what is believed: a change in them is a change of answer, so that no
/// remembered answer of other code is taken for one of this code.
const SOURCES: [&str; 13] = [
    include_str!("lib.rs"),
    include_str!("abstention.rs"),
    include_str!("asking.rs"),
    include_str!("config.rs"),
    include_str!("consensus.rs"),
    include_str!("distribution.rs"),
    include_str!("form.rs"),
    include_str!("form/echo.rs"),
    include_str!("form/pathology.rs"),
    include_str!("picture.rs"),
    include_str!("prompt.rs"),
    include_str!("subject.rs"),
    include_str!("variation.rs"),
];

/// What was configured, apart from the prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Settings {
    pub(crate) allow_demo_model: bool,
    pub(crate) askings: u32,
    pub(crate) beats: u32,
    pub(crate) max_new_tokens: u32,
    pub(crate) tiles: u32,
    pub(crate) variations: Vec<Variation>,
}

/// Serialised compactly, keys in alphabetical order: the canonical form that is hashed.
#[derive(Serialize)]
struct Parts<'a> {
    code: Code,
    device: &'a str,
    dtype: &'a str,
    echo: FormPart<'a>,
    model: Digest,
    pathology: FormPart<'a>,
    presentation: &'static str,
    sampling: &'static str,
    settings: &'a Settings,
}

#[derive(Serialize)]
struct Code {
    sources: Digest,
    version: &'static str,
}

#[derive(Serialize)]
struct FormPart<'a> {
    prompt_id: &'a str,
    prompt_sha256: Digest,
    schema_sha256: Digest,
}

impl<'a> FormPart<'a> {
    fn of(questions: &'a Questions) -> Self {
        let prompt = questions.prompt();
        Self {
            prompt_id: prompt.id(),
            prompt_sha256: prompt.digest(),
            schema_sha256: Digest::of(questions.schema().as_bytes()),
        }
    }
}

/// The questions that can be asked.
#[derive(Clone, Copy)]
pub(crate) struct Forms<'a> {
    pub(crate) echo: &'a Questions,
    pub(crate) pathology: &'a Questions,
}

pub(crate) fn of(
    model: &ModelIdentity,
    presentation: Presentation,
    forms: Forms<'_>,
    settings: &Settings,
) -> Digest {
    let parts = Parts {
        code: Code { sources: Digest::of(SOURCES.concat().as_bytes()), version: env!("CARGO_PKG_VERSION") },
        device: &model.device,
        dtype: &model.dtype,
        echo: FormPart::of(forms.echo),
        model: model.digest,
        pathology: FormPart::of(forms.pathology),
        presentation: match presentation {
            Presentation::Stills => "stills",
            Presentation::Beats => "beats",
        },
        sampling: "greedy",
        settings,
    };
    #[expect(clippy::expect_used, reason = "plain structs with string keys: serialisation cannot fail")]
    let canonical = serde_json::to_vec(&parts).expect("fingerprint parts serialise");
    Digest::of(&canonical)
}
