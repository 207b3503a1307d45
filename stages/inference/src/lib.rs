//! Ask the model; parse its answer strictly.
//!
//! ```text
//!   KeyframesExtracted ──▶ may it be asked? ──no──▶ abstain, the model is not asked
//!                               │ yes
//!                          ED and ES pictures, masked, from the blob store
//!                               │
//!                          ModelBackend::generate (greedy)
//!                               │
//!                          ended by itself, from a trained model, one JSON object of the closed form?
//!                               │ yes                                      │ no
//!                          Inference::Answer                          Inference::Abstained
//! ```
//!
//! Invariants:
//! - What does not parse becomes an abstention with a code, never a guess; no value is repaired, rounded or defaulted.
//! - No text of the model leaves this crate: an abstention is worded by us, an answer is made of closed words and numbers.
//! - An untrained model is asked all the same, so that the whole way is exercised, and is never believed.
//! - The same [`Fingerprint`](FindingsInferred::fingerprint) and input give the same output.

mod abstention;
mod answer;
mod fingerprint;
mod pictures;
mod prompt;

use std::sync::Arc;

use schemas::{Digest, Domain, FindingsInferred, GenerationStats, Inference, KeyframesExtracted, encode};
use serde::Deserialize;
use stage::{ConfigError, Ctx, MemoKey, ModelBackend, ModelRequest, Outcome, Services, Stage, StageError};

pub use abstention::AbstentionReason;
pub use answer::{FindingCode, UnparsableAnswer, parse_answer};
pub use pictures::PictureError;
pub use prompt::{Prompt, PromptConfig};

use pictures::Picture;

/// The stage's table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The prompt for echocardiography.
    pub prompt: PromptConfig,
    /// Cap on generated tokens, 16 to 4096. An answer that meets it is an abstention.
    pub max_new_tokens: u32,
    /// Most pictures shown of one study, 2 to 64: a beat needs two.
    pub max_images: u32,
    /// Lets a model trained on phantoms only answer for studies of patients. For demonstrations.
    pub allow_demo_model: bool,
}

/// The stage.
pub struct InferenceStage {
    model: Arc<dyn ModelBackend>,
    prompt: Prompt,
    max_new_tokens: u32,
    max_images: usize,
    allow_demo_model: bool,
    fingerprint: Digest,
}

impl InferenceStage {
    /// The pictures to ask about, or why the model is not asked.
    fn pictures<'a>(&self, input: &'a KeyframesExtracted) -> Result<Vec<Picture<'a>>, AbstentionReason> {
        if input.study.domain != Domain::Echo {
            return Err(AbstentionReason::DomainNotSupported);
        }
        if self.model.identity().synthetic_only && !input.study.synthetic && !self.allow_demo_model {
            return Err(AbstentionReason::ModelSyntheticOnly);
        }
        let pictures = pictures::choose(&input.clips, self.max_images);
        if pictures.is_empty() { Err(AbstentionReason::NoKeyframes) } else { Ok(pictures) }
    }

    fn ask(
        &self,
        pictures: &[Picture<'_>],
        ctx: &mut Ctx<'_>,
    ) -> Result<(Inference, GenerationStats), StageError> {
        let images = pictures.iter().map(|picture| picture.load(ctx.blobs())).collect::<Result<_, _>>()?;
        let generation = self.model.generate(&ModelRequest {
            system: self.prompt.system().map(str::to_owned),
            images,
            prompt: self.prompt.user(&pictures::list(pictures)),
            max_new_tokens: self.max_new_tokens,
        })?;
        let stats = GenerationStats {
            finish_reason: generation.finish_reason,
            prompt_tokens: generation.prompt_tokens,
            vision_tokens: generation.vision_tokens,
            generated_tokens: generation.generated_tokens,
        };
        Ok((answer::judge(&generation, self.model.identity().untrained), stats))
    }
}

impl Stage for InferenceStage {
    const NAME: &'static str = "inference";
    type Config = Config;
    type In = KeyframesExtracted;
    type Out = FindingsInferred;

    fn build(config: Config, services: &Services) -> Result<Self, ConfigError> {
        within("max_new_tokens", config.max_new_tokens, 16, 4096)?;
        within("max_images", config.max_images, 2, 64)?;
        let prompt = Prompt::parse(config.prompt)?;
        let model = Arc::clone(&services.model);
        let fingerprint =
            fingerprint::of(model.identity(), &prompt, config.max_new_tokens, config.max_images);
        Ok(Self {
            model,
            prompt,
            max_new_tokens: config.max_new_tokens,
            max_images: config.max_images as usize,
            allow_demo_model: config.allow_demo_model,
            fingerprint,
        })
    }

    fn process(
        &mut self,
        input: &KeyframesExtracted,
        ctx: &mut Ctx<'_>,
    ) -> Result<Outcome<FindingsInferred>, StageError> {
        let (inference, generation) = match self.pictures(input) {
            Ok(pictures) => {
                let (inference, stats) = self.ask(&pictures, ctx)?;
                (inference, Some(stats))
            }
            Err(reason) => (Inference::Abstained(reason.abstention()), None),
        };
        Ok(Outcome::Emit(FindingsInferred {
            study: input.study.clone(),
            verdict: input.verdict,
            cautions: input.cautions.clone(),
            clips: input.clips.clone(),
            model: self.model.identity().clone(),
            fingerprint: self.fingerprint,
            inference,
            generation,
        }))
    }

    /// Over the fingerprint and the whole input: the outcome repeats more of it than the pictures. Nothing where the
    /// model would not be asked.
    fn memo_key(&self, input: &KeyframesExtracted) -> Option<MemoKey> {
        self.pictures(input).ok()?;
        let input = Digest::of(&encode(input));
        Some(MemoKey(Digest::of(format!("{}\n{input}", self.fingerprint).as_bytes())))
    }
}

fn within(key: &'static str, value: u32, least: u32, most: u32) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError { key, value: value.to_string(), expected: format!("expected {least} to {most}") })
}
