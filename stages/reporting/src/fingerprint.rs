//! Everything that decides a report besides the input, as one SHA-256.

use schemas::Digest;
use serde::Serialize;

use crate::{Config, LanguagePolicy, wording::Wording};

/// The sources that decide what a report says.
const SOURCES: [&str; 7] = [
    include_str!("lib.rs"),
    include_str!("assess.rs"),
    include_str!("compose.rs"),
    include_str!("wording.rs"),
    include_str!("language.rs"),
    include_str!("language/clause.rs"),
    include_str!("language/normal.rs"),
];

/// Serialised compactly, keys in alphabetical order: the canonical form that is hashed.
#[derive(Serialize)]
struct Parts<'a> {
    allow_demo_model: bool,
    calibration_set: Option<&'a str>,
    code: Code,
    inference: Digest,
    policy: Policy<'a>,
    wording: Digest,
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

pub(crate) fn of(inference: Digest, config: Config, wording: &Wording, policy: &LanguagePolicy) -> Digest {
    let parts = Parts {
        allow_demo_model: config.allow_demo_model,
        calibration_set: None,
        code: Code { sources: Digest::of(SOURCES.concat().as_bytes()), version: env!("CARGO_PKG_VERSION") },
        inference,
        policy: Policy { sha256: policy.digest(), version: policy.version() },
        wording: wording.digest,
    };
    #[expect(clippy::expect_used, reason = "plain structs with string keys: serialisation cannot fail")]
    let canonical = serde_json::to_vec(&parts).expect("fingerprint parts serialise");
    Digest::of(&canonical)
}
