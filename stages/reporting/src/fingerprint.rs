//! Everything that decides a report besides the input, as one SHA-256.

use schemas::Digest;
use serde::Serialize;

use crate::{Config, ReportWriter, Rules};

/// The sources that decide what a report says.
const SOURCES: [&str; 19] = [
    include_str!("lib.rs"),
    include_str!("assess.rs"),
    include_str!("assess/certainty.rs"),
    include_str!("assess/reading.rs"),
    include_str!("codes.rs"),
    include_str!("compose.rs"),
    include_str!("material.rs"),
    include_str!("numbers.rs"),
    include_str!("references.rs"),
    include_str!("references/search.rs"),
    include_str!("samples.rs"),
    include_str!("templates.rs"),
    include_str!("words.rs"),
    include_str!("language.rs"),
    include_str!("language/clause.rs"),
    include_str!("language/fold.rs"),
    include_str!("language/lexicon.rs"),
    include_str!("language/reword.rs"),
    include_str!("fingerprint.rs"),
];

/// Serialised compactly, keys in alphabetical order: the canonical form that is hashed.
#[derive(Serialize)]
struct Parts<'a> {
    allow_demo_model: bool,
    calibration_set: Option<Digest>,
    certainty: Rules,
    code: Code,
    drift_alarm: bool,
    inference: Digest,
    policy: Policy<'a>,
    texts: Texts,
}

#[derive(Serialize)]
struct Code {
    sources: Digest,
    version: &'static str,
}

#[derive(Serialize)]
struct Policy<'a> {
    sha256: Digest,
    version: &'a str,
}

/// What reports are written with.
#[derive(Serialize)]
pub(crate) struct Texts {
    pub(crate) codes: Digest,
    pub(crate) references: Digest,
    pub(crate) templates: Digest,
    pub(crate) words: Digest,
}

pub(crate) fn of(
    inference: Digest,
    config: &Config,
    calibration_set: Option<Digest>,
    writer: &ReportWriter,
) -> Digest {
    let policy = writer.policy();
    let parts = Parts {
        allow_demo_model: config.allow_demo_model,
        calibration_set,
        certainty: config.certainty,
        code: Code { sources: Digest::of(SOURCES.concat().as_bytes()), version: env!("CARGO_PKG_VERSION") },
        drift_alarm: config.drift_alarm,
        inference,
        policy: Policy { sha256: policy.digest(), version: policy.version() },
        texts: writer.texts(),
    };
    #[expect(clippy::expect_used, reason = "plain structs with string keys: serialisation cannot fail")]
    let canonical = serde_json::to_vec(&parts).expect("fingerprint parts serialise");
    Digest::of(&canonical)
}
