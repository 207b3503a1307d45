//! What is compared: each property of a study's answer, with its name, its kind and its margin.

use schemas::ReasonCode;
use serde::{Deserialize, Serialize};

use crate::margins::Margins;

/// Subject of what concerns a study as a whole.
pub const WHOLE: &str = "total";
/// Subject of what needs the truth.
pub const TRUTH: &str = "truth";

/// One property of an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// The stage could not process its input: live, a dead letter.
    Failed,
    /// The stage rejected the study for a clinical reason.
    Rejected,
    /// The gate passed it with warnings.
    Caution,
    /// The stage gave this reason: of a rejection, a warning, a doubt about a clip, an abstention.
    Code(ReasonCode),
    /// Which instances are fit to be read.
    FitInstances,
    /// Which frames or tiles were chosen.
    Frames,
    /// Ejection fraction from contours alone, in points; the median over clips, as reports have it.
    GeometricEf,
    /// No answer, or none that is reported.
    Abstained,
    /// The model names this finding.
    Finding(ReasonCode),
    /// The model sees this view.
    View(String),
    /// The model grades the quality so.
    Quality(String),
    /// Semantic entropy of the answers, 0 to 1.
    SemanticEntropy,
    /// The report has this certainty.
    Certainty(String),
    /// The report has this tag.
    Tag(String),
    /// The report gives an ejection fraction.
    LvefGiven,
    /// The report gives an interval.
    IntervalGiven,
    /// Ejection fraction, in points.
    Lvef,
    /// Width of its interval, in points.
    IntervalWidth,
    /// What the report says, in both languages.
    Text,
    /// Wall-clock seconds.
    Seconds,
    /// Askings of the model.
    Requests,
    /// Tokens into the model.
    PromptTokens,
    /// Tokens out of the model.
    GeneratedTokens,
    /// The interval holds the true ejection fraction.
    Covered,
    /// Distance of the ejection fraction from the truth, in points.
    AbsoluteError,
    /// Expected calibration error of the band of the ejection fraction, ten bins.
    CalibrationError,
}

/// What a group of properties is about. Properties of a group are told together or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Group {
    Failed,
    Rejected,
    Caution,
    Code,
    FitInstances,
    Frames,
    Abstained,
    Finding,
    View,
    Quality,
    Certainty,
    Tag,
    LvefGiven,
    IntervalGiven,
    Text,
    Number,
    Covered,
    CalibrationError,
}

/// How a property is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There or not.
    Presence,
    /// The same or another.
    Identity,
    /// A number in points.
    Points,
    /// A number that only its ratio to another says something of.
    Ratio(Middle),
    /// One number over all studies.
    Score,
}

/// Which middle of many numbers is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Middle {
    /// Of times, which have outliers.
    Median,
    /// Of costs, which add up.
    Mean,
}

/// Which change is one for the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worse {
    /// Either: without the truth nobody can say which answer is the better one, so a person must look.
    Either,
    /// More of it.
    More,
    /// Less of it.
    Less,
}

/// What a measure is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Margin {
    /// At most so many studies more.
    Count(u64),
    /// Less than this share of pairs.
    Share(f64),
    /// Mean difference within `bias`, and less than `share` of pairs beyond `step`.
    Points {
        /// Of the mean difference.
        bias: f64,
        /// Of one difference.
        step: f64,
        /// Of pairs beyond the step.
        share: f64,
    },
    /// Below this ratio, or less than `floor` more in the mean.
    Ratio {
        /// Of the middles.
        most: f64,
        /// Mean increase that is none, in the property's unit.
        floor: f64,
    },
    /// At most so much more.
    Increase(f64),
    /// Not judged: shown, because it helps to understand the rest.
    None,
}

impl Property {
    pub(crate) fn group(&self) -> Group {
        match self {
            Self::Failed => Group::Failed,
            Self::Rejected => Group::Rejected,
            Self::Caution => Group::Caution,
            Self::Code(_) => Group::Code,
            Self::FitInstances => Group::FitInstances,
            Self::Frames => Group::Frames,
            Self::Abstained => Group::Abstained,
            Self::Finding(_) => Group::Finding,
            Self::View(_) => Group::View,
            Self::Quality(_) => Group::Quality,
            Self::Certainty(_) => Group::Certainty,
            Self::Tag(_) => Group::Tag,
            Self::LvefGiven => Group::LvefGiven,
            Self::IntervalGiven => Group::IntervalGiven,
            Self::Text => Group::Text,
            Self::Covered => Group::Covered,
            Self::CalibrationError => Group::CalibrationError,
            Self::GeometricEf
            | Self::SemanticEntropy
            | Self::Lvef
            | Self::IntervalWidth
            | Self::Seconds
            | Self::Requests
            | Self::PromptTokens
            | Self::GeneratedTokens
            | Self::AbsoluteError => Group::Number,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::FitInstances | Self::Frames | Self::Text => Kind::Identity,
            Self::GeometricEf
            | Self::SemanticEntropy
            | Self::Lvef
            | Self::IntervalWidth
            | Self::AbsoluteError => Kind::Points,
            Self::Seconds => Kind::Ratio(Middle::Median),
            Self::Requests | Self::PromptTokens | Self::GeneratedTokens => Kind::Ratio(Middle::Mean),
            Self::CalibrationError => Kind::Score,
            _ => Kind::Presence,
        }
    }

    pub(crate) fn worse(&self) -> Worse {
        match self {
            Self::Failed
            | Self::Seconds
            | Self::Requests
            | Self::PromptTokens
            | Self::GeneratedTokens
            | Self::AbsoluteError
            | Self::CalibrationError => Worse::More,
            Self::Covered => Worse::Less,
            _ => Worse::Either,
        }
    }

    /// Whether a repetition of the baseline must show this property to be quiet before a change of it means something.
    ///
    /// Not of failures, of which one is enough; nor of times and costs, which the live system does not keep, and whose
    /// interval holds the scatter of single studies already.
    pub(crate) fn needs_noise_floor(&self) -> bool {
        !matches!(self, Self::Failed) && !matches!(self.kind(), Kind::Ratio(_) | Kind::Score)
    }

    pub(crate) fn margin(&self, margins: &Margins) -> Margin {
        match self {
            Self::Failed => Margin::Count(margins.new_failures),
            Self::Rejected
            | Self::Caution
            | Self::Code(_)
            | Self::Abstained
            | Self::Certainty(_)
            | Self::Tag(_)
            | Self::LvefGiven
            | Self::IntervalGiven => Margin::Share(margins.verdict_share),
            Self::Finding(_) | Self::View(_) | Self::Quality(_) => Margin::Share(margins.finding_share),
            Self::Frames => Margin::Share(margins.keyframe_share),
            Self::GeometricEf | Self::Lvef | Self::IntervalWidth | Self::AbsoluteError => Margin::Points {
                bias: margins.ef_bias_points,
                step: margins.ef_step_points,
                share: margins.ef_step_share,
            },
            Self::Seconds => Margin::Ratio { most: margins.latency_ratio, floor: margins.latency_floor },
            Self::Requests | Self::PromptTokens | Self::GeneratedTokens => {
                Margin::Ratio { most: margins.cost_ratio, floor: 0.0 }
            }
            Self::Covered => Margin::Share(margins.coverage_share),
            Self::CalibrationError => Margin::Increase(margins.calibration_error),
            // Neither reaches a report, and what does is judged itself.
            Self::FitInstances | Self::SemanticEntropy | Self::Text => Margin::None,
        }
    }

    /// The name of the property, for example `code.BLUR`.
    pub fn name(&self) -> String {
        let word = |word: &str| word.to_owned();
        match self {
            Self::Failed => word("failed"),
            Self::Rejected => word("rejected"),
            Self::Caution => word("caution"),
            Self::Code(code) => format!("code.{code}"),
            Self::FitInstances => word("fit_instances"),
            Self::Frames => word("frames"),
            Self::GeometricEf => word("geometric_ef"),
            Self::Abstained => word("abstained"),
            Self::Finding(code) => format!("finding.{code}"),
            Self::View(view) => format!("view.{view}"),
            Self::Quality(quality) => format!("quality.{quality}"),
            Self::SemanticEntropy => word("semantic_entropy"),
            Self::Certainty(certainty) => format!("certainty.{certainty}"),
            Self::Tag(tag) => format!("tag.{tag}"),
            Self::LvefGiven => word("lvef_given"),
            Self::IntervalGiven => word("interval_given"),
            Self::Lvef => word("lvef"),
            Self::IntervalWidth => word("interval_width"),
            Self::Text => word("text"),
            Self::Seconds => word("seconds"),
            Self::Requests => word("requests"),
            Self::PromptTokens => word("prompt_tokens"),
            Self::GeneratedTokens => word("generated_tokens"),
            Self::Covered => word("covered"),
            Self::AbsoluteError => word("absolute_error"),
            Self::CalibrationError => word("calibration_error"),
        }
    }
}

/// A property of a subject: a stage, [`WHOLE`] or [`TRUTH`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MeasureId {
    /// The stage, as in the catalogue, or `total`, or `truth`.
    pub subject: String,
    /// Which property.
    pub property: Property,
}

impl MeasureId {
    pub(crate) fn new(subject: &str, property: Property) -> Self {
        Self { subject: subject.to_owned(), property }
    }
}

impl std::fmt::Display for MeasureId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.subject, self.property.name())
    }
}
