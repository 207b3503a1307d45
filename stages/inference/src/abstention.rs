//! Why there is no usable answer, in codes and words of our own.

use schemas::{Abstention, ReasonCode};

/// Why the model's answer is missing or not believed. In order of badness: of several reasons for having no answer, the last names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbstentionReason {
    /// No prompt exists for the kind of examination. Not asked.
    DomainNotSupported,
    /// The model knows phantoms only and the study is a patient's. Not asked.
    ModelSyntheticOnly,
    /// No beat with both its phases, or no tile. Not asked.
    NoKeyframes,
    /// The weights are random: asked, and not believed whatever it said.
    ModelUntrained,
    /// Most answers are not to be used; the worst of them is not the one JSON object asked for.
    AnswerUnparsable,
    /// Most answers are not to be used; the worst of them was cut by the token cap.
    AnswerTruncated,
    /// Most answers are not to be used; in the worst of them the model repeated itself and was cut.
    Repetition,
}

impl AbstentionReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::DomainNotSupported,
        Self::ModelSyntheticOnly,
        Self::NoKeyframes,
        Self::ModelUntrained,
        Self::AnswerUnparsable,
        Self::AnswerTruncated,
        Self::Repetition,
    ];

    /// The stable code.
    pub const fn code(self) -> ReasonCode {
        match self {
            Self::DomainNotSupported => const { ReasonCode::known("DOMAIN_NOT_SUPPORTED") },
            Self::ModelSyntheticOnly => const { ReasonCode::known("MODEL_SYNTHETIC_ONLY") },
            Self::NoKeyframes => const { ReasonCode::known("NO_KEYFRAMES") },
            Self::ModelUntrained => const { ReasonCode::known("MODEL_UNTRAINED") },
            Self::AnswerUnparsable => const { ReasonCode::known("ANSWER_UNPARSABLE") },
            Self::AnswerTruncated => const { ReasonCode::known("ANSWER_TRUNCATED") },
            Self::Repetition => const { ReasonCode::known("REPETITION") },
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::DomainNotSupported => "there is no prompt for this kind of examination",
            Self::ModelSyntheticOnly => {
                "the model was trained on phantoms only and the study is not synthetic"
            }
            Self::NoKeyframes => {
                "no beat with an end-diastolic and an end-systolic picture, and no tile, was found"
            }
            Self::ModelUntrained => "model untrained",
            Self::AnswerUnparsable => "most answers are not the one JSON object asked for",
            Self::AnswerTruncated => "most answers are not to be used; one or more met the token cap",
            Self::Repetition => "most answers are not to be used; the model repeated itself and was stopped",
        }
    }

    pub(crate) fn abstention(self) -> Abstention {
        Abstention { code: self.code(), detail: self.detail().to_owned() }
    }
}
