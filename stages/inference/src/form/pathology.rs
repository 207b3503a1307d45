//! The form for one tile: `{"tissue":"glandular","nuclei":"moderate","artefact":null,"quality":"good"}`.
//!
//! What the model is asked is for a physician's eye; where a phantom's truth stands for it, each word says below which
//! phantom it names, so that training, tests and this form agree.

use schemas::{Answer, Finding, Quality, ReasonCode};
use serde::Deserialize;

use super::{
    NULL, QUALITIES, UnparsableAnswer, longest_word, object, one_of, one_of_or_null, present, quality_word,
};

pub(super) const KEYS: [&str; 4] = ["tissue", "nuclei", "artefact", "quality"];

/// What the tile is made of. Null: it cannot be told; a phantom of bare glass (less than 5 % tissue).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tissue {
    /// Glands. Phantoms: 30 % or more of the places for glands hold one.
    Glandular,
    /// Connective tissue without glands. Phantoms: no gland at all.
    Stromal,
    /// Sheets of cells without glands. No phantom shows them.
    Solid,
    /// Lymphatic tissue. No phantom shows it.
    Lymphoid,
    /// Tissue of another kind. No phantom shows it.
    Other,
}

impl Tissue {
    /// Every word.
    pub const ALL: [Self; 5] = [Self::Glandular, Self::Stromal, Self::Solid, Self::Lymphoid, Self::Other];

    /// The word in the form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Glandular => "glandular",
            Self::Stromal => "stromal",
            Self::Solid => "solid",
            Self::Lymphoid => "lymphoid",
            Self::Other => "other",
        }
    }

    /// The code as it stands in messages.
    pub const fn code(self) -> ReasonCode {
        match self {
            Self::Glandular => const { ReasonCode::known("TISSUE_GLANDULAR") },
            Self::Stromal => const { ReasonCode::known("TISSUE_STROMAL") },
            Self::Solid => const { ReasonCode::known("TISSUE_SOLID") },
            Self::Lymphoid => const { ReasonCode::known("TISSUE_LYMPHOID") },
            Self::Other => const { ReasonCode::known("TISSUE_OTHER") },
        }
    }
}

/// How close the nuclei lie. Bounds for phantoms, in nuclei per mm² of tissue: the truth's count over its share of
/// tissue times the picture's area at 0.5 µm per pixel. Fields drawn as they come have about 2,400 to 5,000; glass is low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nuclei {
    /// Phantoms: below 3,000 per mm².
    Low,
    /// Phantoms: from 3,000, below 4,500 per mm².
    Moderate,
    /// Phantoms: from 4,500 per mm².
    High,
}

impl Nuclei {
    /// Every word.
    pub const ALL: [Self; 3] = [Self::Low, Self::Moderate, Self::High];

    /// The word in the form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
        }
    }

    /// The code as it stands in messages.
    pub const fn code(self) -> ReasonCode {
        match self {
            Self::Low => const { ReasonCode::known("NUCLEI_LOW") },
            Self::Moderate => const { ReasonCode::known("NUCLEI_MODERATE") },
            Self::High => const { ReasonCode::known("NUCLEI_HIGH") },
        }
    }
}

/// What spoils the tile most. Null: nothing.
///
/// Quality of a phantom: good without an artefact; fair with pen or fold, blur below 3 px, or both dyes at 35 % or more of
/// their strength; poor beyond that, and on bare glass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Artefact {
    /// Out of focus.
    Blur,
    /// A stroke of a marker.
    Pen,
    /// The section lies double.
    Fold,
    /// Too little of the dyes.
    Pale,
}

impl Artefact {
    /// Every word.
    pub const ALL: [Self; 4] = [Self::Blur, Self::Pen, Self::Fold, Self::Pale];

    /// The word in the form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Blur => "blur",
            Self::Pen => "pen",
            Self::Fold => "fold",
            Self::Pale => "pale",
        }
    }

    /// The code as it stands in messages.
    pub const fn code(self) -> ReasonCode {
        match self {
            Self::Blur => const { ReasonCode::known("ARTEFACT_BLUR") },
            Self::Pen => const { ReasonCode::known("ARTEFACT_PEN") },
            Self::Fold => const { ReasonCode::known("ARTEFACT_FOLD") },
            Self::Pale => const { ReasonCode::known("ARTEFACT_PALE") },
        }
    }
}

/// The form on the wire.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(deserialize_with = "present")]
    tissue: Option<Tissue>,
    nuclei: Nuclei,
    #[serde(deserialize_with = "present")]
    artefact: Option<Artefact>,
    quality: Quality,
}

pub(super) fn parse(text: &str) -> Result<Answer, UnparsableAnswer> {
    let form: Wire = object(text)?;
    let codes = [form.tissue.map(Tissue::code), Some(form.nuclei.code()), form.artefact.map(Artefact::code)];
    Ok(Answer {
        view: None,
        quality: form.quality,
        lvef_percent: None,
        findings: codes.into_iter().flatten().map(|code| Finding { code }).collect(),
    })
}

pub(super) fn schemas() -> [String; 4] {
    [
        one_of_or_null(Tissue::ALL.map(Tissue::word)),
        one_of(Nuclei::ALL.map(Nuclei::word)),
        one_of_or_null(Artefact::ALL.map(Artefact::word)),
        one_of(QUALITIES.map(quality_word)),
    ]
}

pub(super) fn longest_answer() -> usize {
    r#"{"tissue":,"nuclei":,"artefact":,"quality":}"#.len()
        + longest_word(Tissue::ALL.map(Tissue::word)).max(NULL.len())
        + longest_word(Nuclei::ALL.map(Nuclei::word))
        + longest_word(Artefact::ALL.map(Artefact::word)).max(NULL.len())
        + longest_word(QUALITIES.map(quality_word))
}
