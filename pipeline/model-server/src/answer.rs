//! Answers as OpenAI's clients read them.

use glm46v::{FinishReason, Generation, TokenScore};
use jiff::Timestamp;
use serde::Serialize;

use crate::question::Question;

/// What every object of one answer repeats.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Named {
    id: String,
    created: i64,
    model: String,
}

impl Named {
    pub(crate) fn new(model: &str, now: Timestamp) -> Self {
        Self {
            id: format!("chatcmpl-{:x}", now.as_nanosecond()),
            created: now.as_second(),
            model: model.to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ChatCompletion {
    #[serde(flatten)]
    named: Named,
    object: &'static str,
    choices: [Choice; 1],
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Choice {
    index: u32,
    message: AssistantMessage,
    logprobs: Option<LogProbs>,
    finish_reason: &'static str,
}

#[derive(Debug, Serialize)]
struct AssistantMessage {
    role: &'static str,
    content: String,
}

/// Tokens in and out.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptTokens,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct PromptTokens {
    cached_tokens: usize,
    image_tokens: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct LogProbs {
    content: Vec<LogProb>,
}

#[derive(Debug, Serialize)]
struct LogProb {
    #[serde(flatten)]
    token: TokenLogProb,
    top_logprobs: Vec<TokenLogProb>,
}

#[derive(Debug, Serialize)]
struct TokenLogProb {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl TokenLogProb {
    fn new(id: u32, logprob: f32, text: &dyn Fn(u32) -> String) -> Self {
        let token = text(id);
        // JSON has no -∞; OpenAI writes this.
        Self { bytes: token.clone().into_bytes(), token, logprob: logprob.max(-9999.0) }
    }
}

impl LogProbs {
    pub(crate) fn new(scores: &[TokenScore], text: &dyn Fn(u32) -> String) -> Self {
        let content = scores.iter().map(|score| LogProb {
            token: TokenLogProb::new(score.id, score.logprob, text),
            top_logprobs: score
                .top
                .iter()
                .map(|(id, logprob)| TokenLogProb::new(*id, *logprob, text))
                .collect(),
        });
        Self { content: content.collect() }
    }
}

impl Usage {
    pub(crate) fn of(answer: &Generation) -> Self {
        let (prompt_tokens, completion_tokens) = (answer.prompt_tokens, answer.generated_tokens());
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: PromptTokens {
                cached_tokens: answer.cached_tokens,
                image_tokens: answer.vision_tokens,
            },
        }
    }
}

/// Why it ends, in OpenAI's words: a loop was cut off as a length would be.
pub(crate) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::Repetition => "length",
    }
}

impl ChatCompletion {
    pub(crate) fn new(
        named: &Named,
        question: &Question,
        answer: &Generation,
        text: &dyn Fn(u32) -> String,
    ) -> Self {
        Self {
            named: named.clone(),
            object: "chat.completion",
            choices: [Choice {
                index: 0,
                message: AssistantMessage { role: "assistant", content: answer.text.clone() },
                logprobs: question.top_logprobs.map(|_| LogProbs::new(&answer.scores, text)),
                finish_reason: finish_reason(answer.finish_reason),
            }],
            usage: Usage::of(answer),
        }
    }
}

/// One event of a streamed answer.
#[derive(Debug, Serialize)]
pub(crate) struct Chunk {
    #[serde(flatten)]
    named: Named,
    object: &'static str,
    choices: Vec<Delta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Debug, Serialize)]
struct Delta {
    index: u32,
    delta: DeltaMessage,
    logprobs: Option<LogProbs>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct DeltaMessage {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

impl Chunk {
    fn of(named: &Named, delta: Delta) -> Self {
        Self { named: named.clone(), object: "chat.completion.chunk", choices: vec![delta], usage: None }
    }

    pub(crate) fn opening(named: &Named) -> Self {
        let delta = DeltaMessage { role: Some("assistant"), content: Some(String::new()) };
        Self::of(named, Delta { index: 0, delta, logprobs: None, finish_reason: None })
    }

    pub(crate) fn text(named: &Named, text: String, logprobs: Option<LogProbs>) -> Self {
        let delta = DeltaMessage { role: None, content: Some(text) };
        Self::of(named, Delta { index: 0, delta, logprobs, finish_reason: None })
    }

    pub(crate) fn closing(named: &Named, reason: FinishReason) -> Self {
        let finish_reason = Some(finish_reason(reason));
        Self::of(named, Delta { index: 0, delta: DeltaMessage::default(), logprobs: None, finish_reason })
    }

    pub(crate) fn usage(named: &Named, usage: Usage) -> Self {
        Self {
            named: named.clone(),
            object: "chat.completion.chunk",
            choices: Vec::new(),
            usage: Some(usage),
        }
    }
}
