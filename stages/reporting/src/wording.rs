//! The report's words in both languages, from one file that a translator can edit.

use std::collections::BTreeMap;

use schemas::{Bilingual, Digest, ReasonCode};
use serde::Deserialize;

const EMBEDDED: &str = include_str!("wording.json");

/// Every sentence a report may hold. `{name}` marks what is filled in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sentences {
    #[expect(dead_code, reason = "for the translator; the file's hash is what the fingerprint takes")]
    version: String,
    pub(crate) title: Bilingual,
    pub(crate) last_line: Bilingual,
    pub(crate) synthetic: Bilingual,
    pub(crate) verdict_accept: Bilingual,
    pub(crate) verdict_caution: Bilingual,
    pub(crate) verdict_reject: Bilingual,
    pub(crate) caution_unnamed: Bilingual,
    caution_other: Bilingual,
    pub(crate) ef: Bilingual,
    pub(crate) findings: Bilingual,
    pub(crate) no_findings: Bilingual,
    pub(crate) separator: Bilingual,
    pub(crate) doubts: Doubts,
    abstentions: BTreeMap<ReasonCode, Bilingual>,
    abstention_other: Bilingual,
    finding_names: BTreeMap<ReasonCode, Bilingual>,
    caution_names: BTreeMap<ReasonCode, Bilingual>,
}

/// The sentence for each doubt about the answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Doubts {
    pub(crate) uncalibrated: Bilingual,
    pub(crate) ef_disagree: Bilingual,
    pub(crate) view_conflict: Bilingual,
    pub(crate) phase_unreliable: Bilingual,
    pub(crate) demo_model: Bilingual,
}

/// The sentences and their hash.
#[derive(Debug, Clone)]
pub(crate) struct Wording {
    pub(crate) sentences: Sentences,
    pub(crate) digest: Digest,
}

impl Wording {
    /// The sentences this build carries.
    pub(crate) fn embedded() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the file is part of this build; every test of the crate reads it"
        )]
        let sentences = serde_json::from_str(EMBEDDED).expect("embedded wording is readable");
        Self { sentences, digest: Digest::of(EMBEDDED.as_bytes()) }
    }

    /// What a feature is called.
    pub(crate) fn finding(&self, code: &ReasonCode) -> Option<&Bilingual> {
        self.sentences.finding_names.get(code)
    }

    /// What a warning of the gate is called; one without a name goes by its code.
    pub(crate) fn caution(&self, code: &ReasonCode) -> Bilingual {
        named(&self.sentences.caution_names, code, &self.sentences.caution_other)
    }

    /// The sentence for an abstention.
    pub(crate) fn abstention(&self, code: &ReasonCode) -> Bilingual {
        named(&self.sentences.abstentions, code, &self.sentences.abstention_other)
    }
}

fn named(names: &BTreeMap<ReasonCode, Bilingual>, code: &ReasonCode, other: &Bilingual) -> Bilingual {
    let code_itself = Bilingual::new(code.as_str(), code.as_str());
    names.get(code).cloned().unwrap_or_else(|| fill(other, "{code}", &code_itself))
}

/// `template` with `place` filled in, in each language.
pub(crate) fn fill(template: &Bilingual, place: &str, value: &Bilingual) -> Bilingual {
    Bilingual::new(template.en.replace(place, &value.en), template.zh.replace(place, &value.zh))
}
