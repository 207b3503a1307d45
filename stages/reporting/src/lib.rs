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
//! - The only number in a text is the ejection fraction of the field beside it, and it comes from the model.
//! - No text of the model or of a header appears: a report is made of the words in `wording.json` and of stable codes.
//! - Every text ends with the mandatory last line of its language.
//! - Without a calibration set a number is tagged `UNCALIBRATED`, its certainty is at best `U_HIGH`, and it has no interval.

mod assess;
mod compose;
mod fingerprint;
mod language;
mod wording;

use schemas::{Digest, FindingsInferred, Inference, ReasonCode, ReportIssued, ReportStatus};
use serde::Deserialize;
use stage::{ConfigError, Ctx, Outcome, Services, Stage, StageError};

pub use language::{LanguagePolicy, PolicyError, Violation};

use wording::Wording;

/// The stage's table in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Lets a model and a study of different kinds meet: one of phantoms, the other of patients. For demonstrations.
    pub allow_demo_model: bool,
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
    wording: Wording,
    policy: LanguagePolicy,
}

impl ReportingStage {
    fn check(&self, input: &FindingsInferred) -> Result<(), InputError> {
        let Inference::Answer(answer) = &input.inference else { return Ok(()) };
        if let Some(percent) = answer.lvef_percent.filter(|percent| *percent > 100) {
            return Err(InputError::EjectionFraction { percent });
        }
        match answer.findings.iter().find(|finding| self.wording.finding(&finding.code).is_none()) {
            Some(finding) => Err(InputError::UnknownFinding { code: finding.code.clone() }),
            None => Ok(()),
        }
    }

    fn run_fingerprint(&self, inference: Digest) -> Digest {
        fingerprint::of(inference, self.config, &self.wording, &self.policy)
    }
}

impl Stage for ReportingStage {
    const NAME: &'static str = "reporting";
    type Config = Config;
    type In = FindingsInferred;
    type Out = ReportIssued;

    fn build(config: Config, _services: &Services) -> Result<Self, ConfigError> {
        Ok(Self { config, wording: Wording::embedded(), policy: LanguagePolicy::embedded() })
    }

    fn process(
        &mut self,
        input: &FindingsInferred,
        _ctx: &mut Ctx<'_>,
    ) -> Result<Outcome<ReportIssued>, StageError> {
        self.check(input).map_err(StageError::invalid)?;
        let mut assessment = assess::assess(input, self.config.allow_demo_model);
        let mut text = compose::report(&self.wording, input, &assessment);
        if !compose::may_leave(&self.policy, &self.wording, &text, assessment.ef.as_ref()) {
            assessment = assessment.silenced();
            text = compose::silenced(&self.wording, input.study.synthetic);
        }
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
            text,
            clips: input.clips.clone(),
            model: input.model.clone(),
            inference_fingerprint: input.fingerprint,
            run_fingerprint: self.run_fingerprint(input.fingerprint),
        }))
    }
}
