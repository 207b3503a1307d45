//! What codes are called in a report, in both languages, from one file that a translator can edit.

use std::collections::BTreeMap;

use schemas::{Bilingual, Certainty, Domain, ReasonCode, Tag};
use serde::Deserialize;

/// Names and sentences by code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    #[expect(dead_code, reason = "for the translator; the file's hash is what the fingerprint takes")]
    version: String,
    certainties: BTreeMap<String, Bilingual>,
    doubts: BTreeMap<String, Bilingual>,
    abstentions: BTreeMap<ReasonCode, Abstention>,
    abstention_other: Bilingual,
    features: BTreeMap<ReasonCode, Bilingual>,
    cautions: BTreeMap<ReasonCode, Bilingual>,
    /// The heading of the list of references.
    pub(crate) references: Bilingual,
}

/// Why there is no judgement, and what could be acquired again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Abstention {
    why: Bilingual,
    acquire: Option<Acquire>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acquire {
    echo: Option<Bilingual>,
    pathology: Option<Bilingual>,
}

/// The marks that have a sentence of their own. The others are said in the lines about study, gate and wording.
pub(crate) const DOUBTS: [Tag; 9] = [
    Tag::Uncalibrated,
    Tag::EfDisagree,
    Tag::ViewConflict,
    Tag::PhaseUnreliable,
    Tag::BandAmbiguous,
    Tag::Arrhythmia,
    Tag::DriftAlarm,
    Tag::StainFallback,
    Tag::FormatUncertain,
];

const CERTAINTIES: [Certainty; 4] = [Certainty::Low, Certainty::Medium, Certainty::High, Certainty::Abstain];
const DEMO_MODEL: &str = "DEMO_MODEL";

/// An enum's name as it stands in messages.
pub(crate) fn name_of(value: impl serde::Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

impl Words {
    /// A tag or certainty that this build knows and the file has no words for.
    pub(crate) fn missing(&self) -> Option<String> {
        let missing = |words: &BTreeMap<String, Bilingual>, mut names: Vec<String>| {
            names.retain(|name| !words.contains_key(name));
            names.into_iter().next()
        };
        let doubts = DOUBTS.map(name_of).into_iter().chain([DEMO_MODEL.to_owned()]);
        missing(&self.doubts, doubts.collect())
            .or_else(|| missing(&self.certainties, CERTAINTIES.map(name_of).to_vec()))
    }

    pub(crate) fn certainty(&self, certainty: Certainty) -> Bilingual {
        self.certainties.get(&name_of(certainty)).cloned().unwrap_or_else(|| Bilingual::new("", ""))
    }

    /// The sentence of a doubt; none for a mark that is said elsewhere.
    pub(crate) fn doubt(&self, tag: Tag) -> Option<&Bilingual> {
        self.doubts.get(&name_of(tag))
    }

    /// The sentence about a model of phantoms.
    pub(crate) fn demo_model(&self) -> Option<&Bilingual> {
        self.doubts.get(DEMO_MODEL)
    }

    /// What a feature is called.
    pub(crate) fn feature(&self, code: &ReasonCode) -> Option<&Bilingual> {
        self.features.get(code)
    }

    /// What a warning or reason of the gate is called; one without a name goes by its code.
    pub(crate) fn caution(&self, code: &ReasonCode) -> Bilingual {
        self.cautions.get(code).cloned().unwrap_or_else(|| Bilingual::new(code.as_str(), code.as_str()))
    }

    /// The sentence for an abstention.
    pub(crate) fn why(&self, code: &ReasonCode) -> Bilingual {
        let other = || {
            let fill = |template: &str| template.replace("{code}", code.as_str());
            Bilingual::new(fill(&self.abstention_other.en), fill(&self.abstention_other.zh))
        };
        self.abstentions.get(code).map_or_else(other, |abstention| abstention.why.clone())
    }

    /// What could be acquired again after an abstention.
    pub(crate) fn acquire(&self, code: &ReasonCode, domain: Domain) -> Option<&Bilingual> {
        let acquire = self.abstentions.get(code)?.acquire.as_ref()?;
        match domain {
            Domain::Echo => acquire.echo.as_ref(),
            Domain::Pathology => acquire.pathology.as_ref(),
            Domain::Unknown => None,
        }
    }

    /// The codes that have words, for the samples a template is tried with.
    pub(crate) fn abstention_codes(&self) -> impl Iterator<Item = &ReasonCode> {
        self.abstentions.keys()
    }

    pub(crate) fn feature_codes(&self) -> impl Iterator<Item = &ReasonCode> {
        self.features.keys()
    }

    pub(crate) fn caution_codes(&self) -> impl Iterator<Item = &ReasonCode> {
        self.cautions.keys()
    }
}
