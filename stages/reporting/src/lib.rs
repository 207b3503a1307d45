//! From model output to an uncertainty-tagged preliminary report.
//!
//! ```text
//!   FindingsInferred ─▶ assess: certainty, doubts, abstention ─▶ compose: zh and en from templates ─▶ guard ─▶ ReportIssued
//!                                                                                                      │ a listed term, or a
//!                                                                                                      │ number not in a field
//!                                                                                                      ▼
//!                                                                             abstain template, tag LANGUAGE_POLICY
//! ```
//!
//! Invariants:
//! - The numbers in a text are those of the fields beside it: the ejection fraction, its interval, what the contours say.
//! - No text of the model or of a header appears: a report is made of the words and templates in `config/reports` and of
//!   stable codes.
//! - Every text ends with the mandatory last line of its language.
//! - Without a calibration set that serves it a number is tagged `UNCALIBRATED`, its certainty is `U_HIGH`, and it has no
//!   interval.

mod assess;
mod codes;
mod compose;
mod fingerprint;
mod language;
mod material;
mod numbers;
mod references;
mod samples;
mod templates;
mod words;

use calibration::{CalibrationSet, Refusal};
use schemas::{Digest, FindingsInferred, Inference, ReasonCode, Reference, ReportIssued, ReportStatus, Tag};
use serde::Deserialize;
use stage::{ConfigError, Ctx, Outcome, Services, Stage, StageError};

pub use assess::{
    certainty::{AbstentionBounds, Bounds, Rules},
    reading::Number,
};
pub use codes::CodeTable;
pub use compose::{LAST_LINE, ReportWriter};
pub use language::{LanguagePolicy, PolicyError, Softened, Violation};
pub use material::{Material, MaterialError};
pub use references::{CorpusError, Library};

use assess::{Assessment, Measures};
use compose::{Composed, Content, Materials};

/// The stage's table in the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Lets a model and a study of different kinds meet: one of phantoms, the other of patients. For demonstrations. A
    /// calibration set made of phantoms serves no patient all the same.
    pub allow_demo_model: bool,
    /// The calibration set; without one no number has an interval.
    #[serde(default)]
    pub calibration_set: Option<CalibrationFile>,
    /// Studies are no longer those of the calibration: every number is tagged so. Set by a person, because a report
    /// depends on its input and its configuration alone; the monitors that call for it run beside the store.
    pub drift_alarm: bool,
    /// What each certainty asks for.
    pub certainty: Rules,
    /// Word lists of the wording guard: `built-in`, or the path of a file like `config/language/policy.json`.
    #[serde(default)]
    pub language: Material,
    /// Words and templates of the texts: `built-in`, or the path of a folder like `config/reports`.
    #[serde(default)]
    pub reports: Material,
    /// Passages printed as references: `built-in`, or the path of a file like `config/references/passages.jsonl`.
    #[serde(default)]
    pub references: Material,
}

/// A calibration set as it was read from its file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationFile {
    /// Where it lies, for error texts.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Input that its own stage should not have made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// An ejection fraction above 100 percent.
    #[error("answer has an ejection fraction of {percent} percent; expected 0 to 100")]
    EjectionFraction {
        /// The value found.
        percent: u8,
    },
    /// A distribution of the ejection fraction that is none.
    #[error("evidence has a distribution of the ejection fraction with impossible numbers")]
    Distribution,
    /// A finding this version has no words for.
    #[error("answer has finding {code}; this version has no wording for it")]
    UnknownFinding {
        /// The code found.
        code: ReasonCode,
    },
}

/// The stage.
pub struct ReportingStage {
    config: Config,
    calibration: Option<CalibrationSet>,
    /// Why the set stood behind no number last time, so that the log says it once.
    refusal: Option<Refusal>,
    writer: ReportWriter,
    codes: CodeTable,
}

/// The number that findings give, or the code of why none of it may be believed: what a calibration set is made of. Judged as
/// reports are, but for what a set itself decides. Nothing where no number is asked for.
pub fn number(input: &FindingsInferred, config: &Config) -> Result<Option<Number>, ReasonCode> {
    let reading = assess::reading::reading(input, &config.certainty, config.allow_demo_model);
    reading.map(|reading| reading.number).map_err(|declined| declined.code)
}

impl ReportingStage {
    fn check(&self, input: &FindingsInferred) -> Result<(), InputError> {
        let Inference::Answer(answer) = &input.inference else { return Ok(()) };
        if let Some(percent) = answer.lvef_percent.filter(|percent| *percent > 100) {
            return Err(InputError::EjectionFraction { percent });
        }
        let distribution = input.evidence.as_ref().and_then(|evidence| evidence.ef.as_ref());
        if distribution.is_some_and(|ef| !assess::reading::is_sound(ef)) {
            return Err(InputError::Distribution);
        }
        match answer.findings.iter().find(|finding| !self.writer.knows(&finding.code)) {
            Some(finding) => Err(InputError::UnknownFinding { code: finding.code.clone() }),
            None => Ok(()),
        }
    }

    fn run_fingerprint(&self, inference: Digest) -> Digest {
        let set = self.calibration.as_ref().map(CalibrationSet::digest);
        fingerprint::of(inference, &self.config, set, &self.writer)
    }

    /// The text with its references; nothing where it may not leave.
    fn write(&self, input: &FindingsInferred, assessment: &Assessment) -> Option<(Composed, Vec<Reference>)> {
        let content = Content {
            study: &input.study,
            verdict: input.verdict,
            cautions: &input.cautions,
            certainty: assessment.certainty,
            tags: &assessment.tags,
            abstention: assessment.abstention.as_ref(),
            ef: assessment.ef.as_ref(),
            calibration: assessment.calibration.as_ref(),
            features: assessment.findings.as_deref(),
            demo_model: input.model.synthetic_only,
        };
        let references = self.writer.references(&content);
        self.writer.report(&content, &references).map(|composed| (composed, references))
    }

    /// A set that serves nothing is a configuration to be mended, and the reports say only that they have none.
    fn tell(&mut self, refusal: Option<Refusal>) {
        if let Some(refusal) = refusal
            && self.refusal != Some(refusal)
        {
            tracing::warn!(%refusal, "numbers are given without an interval");
            self.refusal = Some(refusal);
        }
    }
}

impl Stage for ReportingStage {
    const NAME: &'static str = "reporting";
    type Config = Config;
    type In = FindingsInferred;
    type Out = ReportIssued;

    fn build(config: Config, _services: &Services) -> Result<Self, ConfigError> {
        config.certainty.check()?;
        let read = |file: &CalibrationFile| {
            CalibrationSet::read(&file.text).map_err(|error| ConfigError {
                key: "calibration_set",
                value: file.path.clone(),
                expected: format!("that file {error}"),
            })
        };
        let calibration = config.calibration_set.as_ref().map(read).transpose()?;
        let writer = ReportWriter::load(Materials {
            language: &config.language,
            reports: &config.reports,
            references: &config.references,
        })?;
        Ok(Self { config, calibration, refusal: None, writer, codes: CodeTable::built_in() })
    }

    fn process(
        &mut self,
        input: &FindingsInferred,
        _ctx: &mut Ctx<'_>,
    ) -> Result<Outcome<ReportIssued>, StageError> {
        self.check(input).map_err(StageError::invalid)?;
        let measures = Measures {
            rules: &self.config.certainty,
            set: self.calibration.as_ref(),
            allow_demo_model: self.config.allow_demo_model,
            drift_alarm: self.config.drift_alarm,
        };
        let mut assessment = assess::assess(input, &measures);
        self.tell(assessment.refusal);
        let (text, references) = if let Some((composed, references)) = self.write(input, &assessment) {
            assessment.tags.extend(composed.reworded.then_some(Tag::LanguagePolicy));
            (composed.text, references)
        } else {
            assessment = assessment.silenced();
            (self.writer.withheld(&input.study), Vec::new())
        };
        let codes = self.codes.of_report(input, &assessment);
        Ok(Outcome::Emit(ReportIssued {
            study: input.study.clone(),
            status: ReportStatus::AiDraft,
            verdict: input.verdict,
            cautions: input.cautions.clone(),
            certainty: assessment.certainty,
            tags: assessment.tags.into_iter().collect(),
            abstention: assessment.abstention,
            ef: assessment.ef,
            inference: input.inference.clone(),
            calibration: assessment.calibration,
            references,
            codes,
            text,
            clips: input.clips.clone(),
            model: input.model.clone(),
            inference_fingerprint: input.fingerprint,
            run_fingerprint: self.run_fingerprint(input.fingerprint),
        }))
    }
}
