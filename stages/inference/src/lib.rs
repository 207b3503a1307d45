//! Ask the model about each beat or tile, several times; parse its answers strictly; measure how sure it is.
//!
//! ```text
//!   KeyframesExtracted ──▶ may it be asked? ──no──▶ abstain, the model is not asked
//!                               │ yes
//!                          best beats (or tiles) × variations, within the budget of askings
//!                               │ each: masked pictures from the blob store
//!                               ├─▶ ModelBackend::generate  greedy, held to the form's schema ──▶ parse ──▶ heard │ dropped
//!                               └─▶ ModelBackend::score     0 to 100 and null in the number's place, after the model's
//!                               │                           own view and quality
//!                          more than half heard, from a trained model?
//!                               │ yes                                      │ no
//!                          Inference::Answer by majority,             Inference::Abstained with the worst reason
//!                          Evidence: distribution, semantic
//!                          entropy, agreement
//! ```
//!
//! Invariants:
//! - What does not parse is dropped with a code, never guessed; no value is repaired or defaulted.
//! - No text of the model leaves this crate: an abstention is worded by us, an answer is made of closed words and numbers.
//! - Nothing of a header reaches the model: not the view the device names, no text.
//! - Doubt is measured from probabilities and from agreement; the model is never asked how sure it is.
//! - An untrained model is asked once, so that the whole way is exercised, and is never believed.
//! - The same [`Fingerprint`](FindingsInferred::fingerprint) and input give the same output.

mod abstention;
mod asking;
mod config;
mod consensus;
mod distribution;
mod fingerprint;
mod form;
mod picture;
mod prompt;
mod subject;
mod variation;

use std::sync::Arc;

use schemas::{
    AskedAbout, Digest, Evidence, FindingsInferred, GenerationStats, Inference, KeyframesExtracted, encode,
};
use stage::{ConfigError, Ctx, MemoKey, ModelBackend, Outcome, Services, Stage, StageError};

pub use abstention::AbstentionReason;
pub use config::{Config, PromptsConfig};
pub use form::{Artefact, FindingCode, Form, Nuclei, Tissue, UnparsableAnswer};
pub use picture::PictureError;
pub use prompt::{Prompt, PromptConfig};
pub use variation::Variation;

use asking::{Heard, Questions};
use fingerprint::{Forms, Settings};
use subject::Subject;

/// The stage.
pub struct InferenceStage {
    model: Arc<dyn ModelBackend>,
    echo: Questions,
    pathology: Questions,
    settings: Settings,
    fingerprint: Digest,
}

/// What came of asking.
struct Asked {
    inference: Inference,
    generation: Option<GenerationStats>,
    evidence: Option<Evidence>,
}

impl Asked {
    fn abstained(reason: AbstentionReason, generation: Option<GenerationStats>) -> Self {
        Self { inference: Inference::Abstained(reason.abstention()), generation, evidence: None }
    }
}

impl InferenceStage {
    /// What to ask and what about, or why the model is not asked.
    fn subjects<'a>(
        &self,
        input: &'a KeyframesExtracted,
    ) -> Result<(&Questions, Vec<Subject<'a>>), AbstentionReason> {
        let form = asking::form_of(input.study.domain).ok_or(AbstentionReason::DomainNotSupported)?;
        if self.model.identity().synthetic_only && !input.study.synthetic && !self.settings.allow_demo_model {
            return Err(AbstentionReason::ModelSyntheticOnly);
        }
        let (questions, subjects) = match form {
            Form::Echo => (&self.echo, subject::beats(&input.clips, self.settings.beats as usize)),
            Form::Pathology => (&self.pathology, subject::tiles(&input.clips, self.settings.tiles as usize)),
        };
        if subjects.is_empty() { Err(AbstentionReason::NoKeyframes) } else { Ok((questions, subjects)) }
    }

    fn ask(
        &self,
        questions: &Questions,
        subjects: &[Subject<'_>],
        ctx: &mut Ctx<'_>,
    ) -> Result<Asked, StageError> {
        let untrained = self.model.identity().untrained;
        let budget = if untrained { 1 } else { self.settings.askings as usize };
        let plan = asking::plan(subjects.len(), self.settings.variations.len(), budget);
        let (mut heard, mut dropped) = (Vec::new(), Vec::new());
        let mut stats = None;
        for (index, subject) in subjects.iter().enumerate() {
            let loaded = subject.load(ctx.blobs())?;
            for planned in plan.iter().filter(|planned| planned.subject == index) {
                let Some(variation) = self.settings.variations.get(planned.variation) else { continue };
                let (pictures, list) = loaded
                    .show(self.model.presentation(), |picture| variation.apply(picture))
                    .map_err(StageError::invalid)?;
                let request = questions.request(pictures, list);
                let generation = self.model.generate(&request)?;
                stats = Some(asking::add(stats, &generation));
                if untrained {
                    return Ok(Asked::abstained(AbstentionReason::ModelUntrained, stats));
                }
                match questions.read(&generation) {
                    Ok(answer) => heard.push(Heard {
                        asked: AskedAbout {
                            clip: subject.clip,
                            beat: subject.number,
                            variation: planned.variation as u32,
                        },
                        scores: questions.score(self.model.as_ref(), request, &answer)?,
                        answer,
                        log_probability: generation.log_probability,
                        generated_tokens: generation.generated_tokens,
                    }),
                    Err(reason) => dropped.push(reason),
                }
            }
        }
        Ok(match consensus::of(questions.form(), &heard, &dropped) {
            Ok(consensus) => Asked {
                inference: Inference::Answer(consensus.answer),
                generation: stats,
                evidence: Some(consensus.evidence),
            },
            Err(reason) => Asked::abstained(reason, stats),
        })
    }
}

impl Stage for InferenceStage {
    const NAME: &'static str = "inference";
    type Config = Config;
    type In = KeyframesExtracted;
    type Out = FindingsInferred;

    fn build(config: Config, services: &Services) -> Result<Self, ConfigError> {
        let settings = config.settings()?;
        let echo = Questions::build(Form::Echo, config.prompts.echo, config.max_new_tokens)?;
        let pathology = Questions::build(Form::Pathology, config.prompts.pathology, config.max_new_tokens)?;
        let model = Arc::clone(&services.model);
        let fingerprint = fingerprint::of(
            model.identity(),
            model.presentation(),
            Forms { echo: &echo, pathology: &pathology },
            &settings,
        );
        Ok(Self { model, echo, pathology, settings, fingerprint })
    }

    fn process(
        &mut self,
        input: &KeyframesExtracted,
        ctx: &mut Ctx<'_>,
    ) -> Result<Outcome<FindingsInferred>, StageError> {
        let asked = match self.subjects(input) {
            Ok((questions, subjects)) => self.ask(questions, &subjects, ctx)?,
            Err(reason) => Asked::abstained(reason, None),
        };
        Ok(Outcome::Emit(FindingsInferred {
            study: input.study.clone(),
            verdict: input.verdict,
            cautions: input.cautions.clone(),
            clips: input.clips.clone(),
            model: self.model.identity().clone(),
            fingerprint: self.fingerprint,
            inference: asked.inference,
            generation: asked.generation,
            evidence: asked.evidence,
        }))
    }

    /// Over the fingerprint and the whole input: the outcome repeats more of it than the pictures. Nothing where the
    /// model would not be asked.
    fn memo_key(&self, input: &KeyframesExtracted) -> Option<MemoKey> {
        self.subjects(input).ok()?;
        let input = Digest::of(&encode(input));
        Some(MemoKey(Digest::of(format!("{}\n{input}", self.fingerprint).as_bytes())))
    }
}
