//! Asking about one subject shown in one way, and what is heard.
//!
//! ```text
//!                 v0    v1    v2          variations, v0 the picture itself
//!   best beat      1     4     7          taken in this order while the budget lasts,
//!   second         2     5     8          so that beats come before variations of them;
//!   third          3     6     9          asked beat by beat, so that each is read once
//! ```

use std::sync::Arc;

use schemas::{Answer, AskedAbout, Domain, FinishReason, GenerationStats};
use stage::{BackendError, ConfigError, Generation, ModelBackend, ModelRequest, Picture, StageError};

use crate::{
    AbstentionReason, Form, Prompt, PromptConfig,
    distribution::{NumberScores, ScoresError},
    form::before_number,
};

/// Which subject in which variation, both counted from 0, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Planned {
    pub(crate) subject: usize,
    pub(crate) variation: usize,
}

/// At most `budget` askings.
pub(crate) fn plan(subjects: usize, variations: usize, budget: usize) -> Vec<Planned> {
    let all = (0..variations)
        .flat_map(|variation| (0..subjects).map(move |subject| Planned { subject, variation }));
    let mut planned: Vec<Planned> = all.take(budget).collect();
    planned.sort();
    planned
}

/// What one asking gave.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) asked: AskedAbout,
    pub(crate) answer: Answer,
    /// How the model distributes the ejection fraction; absent where it gives every number no probability, or where its
    /// backend cannot score.
    pub(crate) scores: Option<NumberScores>,
    pub(crate) log_probability: Option<f64>,
    pub(crate) generated_tokens: u32,
}

/// A form with the prompt that asks for it.
pub(crate) struct Questions {
    form: Form,
    prompt: Prompt,
    schema: String,
    max_new_tokens: u32,
    /// What the ejection fraction is scored over.
    numbers: Arc<[String]>,
}

impl Questions {
    pub(crate) fn build(form: Form, prompt: PromptConfig, max_new_tokens: u32) -> Result<Self, ConfigError> {
        let longest = form.longest_answer();
        if (max_new_tokens as usize) < longest {
            return Err(ConfigError {
                key: "max_new_tokens",
                value: max_new_tokens.to_string(),
                expected: format!(
                    "expected at least {longest}: so many bytes has the longest answer, and a token may be one byte"
                ),
            });
        }
        let prompt = Prompt::parse(prompt, form)?;
        let numbers = NumberScores::continuations().into();
        Ok(Self { form, prompt, schema: form.schema(), max_new_tokens, numbers })
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) fn request(&self, pictures: Vec<Picture>, list: &str) -> ModelRequest {
        ModelRequest {
            system: self.prompt.system().map(str::to_owned),
            pictures,
            prompt: self.prompt.user(list),
            answer_prefix: String::new(),
            schema: Some(self.schema.clone()),
            max_new_tokens: self.max_new_tokens,
        }
    }

    /// The answer in `generation`, or why it is not believed.
    pub(crate) fn read(&self, generation: &Generation) -> Result<Answer, AbstentionReason> {
        match generation.finish_reason {
            FinishReason::Length => Err(AbstentionReason::AnswerTruncated),
            FinishReason::Repetition => Err(AbstentionReason::Repetition),
            FinishReason::Stop => {
                self.form.parse(&generation.text).map_err(|_| AbstentionReason::AnswerUnparsable)
            }
        }
    }

    /// How the model distributes the ejection fraction, where the form has one. Scored after the model's own view and
    /// quality, where its answer went on to the number.
    pub(crate) fn score(
        &self,
        model: &dyn ModelBackend,
        request: ModelRequest,
        answer: &Answer,
    ) -> Result<Option<NumberScores>, StageError> {
        if self.form != Form::Echo {
            return Ok(None);
        }
        let answer_prefix = before_number(answer.view, answer.quality);
        let request = ModelRequest { answer_prefix, schema: None, ..request };
        match model.score(&request, &self.numbers) {
            Ok(scores) => NumberScores::read(&scores)
                .map_err(|error: ScoresError| BackendError::Broken(error.into()).into()),
            // A server that gives no log-probabilities: the answer stands, the doubt about it is not measured.
            Err(BackendError::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The form for a kind of examination.
pub(crate) fn form_of(domain: Domain) -> Option<Form> {
    match domain {
        Domain::Echo => Some(Form::Echo),
        Domain::Pathology => Some(Form::Pathology),
        Domain::Unknown => None,
    }
}

/// What all askings cost together; the worst way to end names the end.
pub(crate) fn add(total: Option<GenerationStats>, generation: &Generation) -> GenerationStats {
    let one = GenerationStats {
        finish_reason: generation.finish_reason,
        prompt_tokens: generation.prompt_tokens,
        vision_tokens: generation.vision_tokens,
        generated_tokens: generation.generated_tokens,
    };
    let Some(total) = total else { return one };
    GenerationStats {
        finish_reason: worse(total.finish_reason, one.finish_reason),
        prompt_tokens: total.prompt_tokens.saturating_add(one.prompt_tokens),
        vision_tokens: total.vision_tokens.saturating_add(one.vision_tokens),
        generated_tokens: total.generated_tokens.saturating_add(one.generated_tokens),
    }
}

fn worse(a: FinishReason, b: FinishReason) -> FinishReason {
    let badness = |reason| match reason {
        FinishReason::Stop => 0,
        FinishReason::Length => 1,
        FinishReason::Repetition => 2,
    };
    if badness(b) > badness(a) { b } else { a }
}
