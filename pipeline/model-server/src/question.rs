//! From a chat completion request to what the engine is asked.

use glm46v::{
    GenerateOptions, Message, Part, Processor, Prompt, RepetitionStop, Request, Role, Sampling, Thinking,
    longest_answer,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    pictures::{picture, video},
    refusal::Refusal,
};

/// What a request may ask for at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_pixels: u64,
    pub(crate) default_tokens: usize,
}

/// Most alternatives beside a token: enough to score all numbers from 0 to 100 at once. OpenAI allows 20.
const MOST_ALTERNATIVES: usize = 128;

/// Fields whose value would change the answer in a way that is not supported. Null, and the value that changes nothing,
/// are accepted.
const UNSUPPORTED: [(&str, &str); 12] = [
    ("audio", "null"),
    ("frequency_penalty", "0"),
    ("function_call", "null"),
    ("functions", "null"),
    ("logit_bias", "{}"),
    ("modalities", r#"["text"]"#),
    ("n", "1"),
    ("prediction", "null"),
    ("presence_penalty", "0"),
    ("stop", "[]"),
    ("tool_choice", r#""none""#),
    ("tools", "[]"),
];

/// A request as it is sent. Fields that say nothing about the answer (`user`, `metadata`, `store`, …) are not read.
#[derive(Debug, Deserialize)]
struct Body {
    model: String,
    messages: Vec<Turn>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    repetition_penalty: Option<f32>,
    seed: Option<i64>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    logprobs: bool,
    top_logprobs: Option<usize>,
    response_format: Option<ResponseFormat>,
    chat_template_kwargs: Option<TemplateSettings>,
    /// The answer goes on from the last turn, which is the assistant's. As vLLM has it.
    #[serde(default)]
    continue_final_message: bool,
    add_generation_prompt: Option<bool>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// As vLLM and SGLang name the switch for reasoning.
#[derive(Debug, Deserialize)]
struct TemplateSettings {
    enable_thinking: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Turn {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart {
    Text { text: String },
    ImageUrl { image_url: MediaUrl },
    VideoUrl { video_url: MediaUrl },
}

#[derive(Debug, Deserialize)]
struct MediaUrl {
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat {
    Text,
    JsonSchema { json_schema: JsonSchema },
}

#[derive(Debug, Deserialize)]
struct JsonSchema {
    schema: Value,
}

/// A request that has been read.
pub(crate) struct Question {
    body: Body,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Alternatives beside each token, if log-probabilities are wanted at all.
    pub(crate) top_logprobs: Option<usize>,
}

impl Question {
    pub(crate) fn parse(body: &[u8], served: &str, _: Limits) -> Result<Self, Refusal> {
        let body: Body = serde_json::from_slice(body)
            // A parser's words may repeat what was sent.
            .map_err(|error| {
                Refusal::invalid("body", format!("not a chat completion request: {}", shape(&error)))
            })?;
        if body.model != served {
            return Err(Refusal::UnknownModel { served: served.to_owned() });
        }
        for (field, neutral) in UNSUPPORTED {
            let given = body.rest.get(field).filter(|value| !value.is_null());
            if given.is_some_and(|value| !is_neutral(value, neutral)) {
                return Err(Refusal::invalid(field, format!("{field} is not supported; leave it out")));
            }
        }
        let top_logprobs = body.logprobs.then(|| body.top_logprobs.unwrap_or(0));
        if top_logprobs.is_some_and(|top| top > MOST_ALTERNATIVES) {
            return Err(Refusal::invalid("top_logprobs", format!("at most {MOST_ALTERNATIVES}")));
        }
        if body.continue_final_message == body.add_generation_prompt.unwrap_or(!body.continue_final_message) {
            let message =
                "set it to false with continue_final_message, and to true, or leave it out, without";
            return Err(Refusal::invalid("add_generation_prompt", message));
        }
        let include_usage = body.stream_options.as_ref().is_some_and(|options| options.include_usage);
        Ok(Self { stream: body.stream, include_usage, top_logprobs, body })
    }

    /// What the engine is asked.
    pub(crate) fn request(&self, processor: &Processor, limits: Limits) -> Result<Request, Refusal> {
        let body = &self.body;
        let turns = body.messages.iter().enumerate();
        let mut messages = turns.map(|(i, turn)| turn.message(i, limits)).collect::<Result<Vec<_>, _>>()?;
        let answer_prefix =
            if body.continue_final_message { answer_prefix(messages.pop())? } else { String::new() };
        let max_new_tokens = body.max_completion_tokens.or(body.max_tokens).unwrap_or(limits.default_tokens);
        let grammar = match &body.response_format {
            None | Some(ResponseFormat::Text) => None,
            Some(ResponseFormat::JsonSchema { json_schema }) => {
                let refused = |message: String| Refusal::invalid("response_format", message);
                let longest = longest_answer(&json_schema.schema)
                    .map_err(|error| refused(error.to_string()))?
                    .saturating_sub(answer_prefix.len());
                if longest > max_new_tokens {
                    return Err(refused(format!(
                        "its longest answer has {longest} more bytes, and so up to as many tokens, but max_tokens is {max_new_tokens}"
                    )));
                }
                Some(
                    processor
                        .grammar(json_schema.schema.clone())
                        .map_err(|error| refused(error.to_string()))?,
                )
            }
        };
        let thinking = body.chat_template_kwargs.as_ref().and_then(|settings| settings.enable_thinking);
        let prompt = Prompt {
            messages,
            thinking: if thinking == Some(true) && grammar.is_none() { Thinking::On } else { Thinking::Off },
        };
        let options = GenerateOptions {
            max_new_tokens,
            repetition: RepetitionStop::DEFAULT,
            sampling: self.sampling(),
            top_logprobs: self.top_logprobs,
            ..GenerateOptions::default()
        };
        Ok(Request { answer_prefix, grammar, ..Request::new(prompt, options) })
    }

    /// Greedy unless a temperature is asked for: the same question, the same answer.
    fn sampling(&self) -> Sampling {
        let body = &self.body;
        match body.temperature.filter(|temperature| *temperature != 0.0) {
            None => Sampling::Greedy,
            Some(temperature) => Sampling::Random {
                temperature,
                // vLLM's -1: no limit.
                top_k: body.top_k.and_then(|k| usize::try_from(k).ok()),
                top_p: body.top_p.filter(|p| *p != 1.0),
                repetition_penalty: body.repetition_penalty.unwrap_or(1.0),
                seed: body.seed.unwrap_or_default().cast_unsigned(),
            },
        }
    }
}

impl Turn {
    fn message(&self, index: usize, limits: Limits) -> Result<Message, Refusal> {
        let role = match self.role.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => {
                let expected = "expected system, user or assistant";
                return Err(Refusal::invalid(format!("messages[{index}].role"), expected));
            }
        };
        let content = match &self.content {
            Content::Text(text) => vec![Part::Text(text.clone())],
            Content::Parts(parts) => {
                let one = |(part_index, part): (usize, &ContentPart)| match part {
                    ContentPart::Text { text } => Ok(Part::Text(text.clone())),
                    ContentPart::ImageUrl { image_url } => {
                        let param = format!("messages[{index}].content[{part_index}].image_url");
                        picture(&image_url.url, &param, limits).map(Part::Image)
                    }
                    ContentPart::VideoUrl { video_url } => {
                        let param = format!("messages[{index}].content[{part_index}].video_url");
                        video(&video_url.url, &param, limits).map(Part::Video)
                    }
                };
                parts.iter().enumerate().map(one).collect::<Result<_, _>>()?
            }
        };
        Ok(Message { role, content })
    }
}

/// The text of the last turn, which must be the assistant's.
fn answer_prefix(last: Option<Message>) -> Result<String, Refusal> {
    let refused = |message: &str| Err(Refusal::invalid("continue_final_message", message));
    let Some(Message { role: Role::Assistant, content }) = last else {
        return refused("the last message is not the assistant's");
    };
    let mut prefix = String::new();
    for part in content {
        let Part::Text(text) = part else { return refused("an answer cannot begin with a picture") };
        prefix.push_str(&text);
    }
    if prefix.is_empty() { refused("the last message is empty") } else { Ok(prefix) }
}

fn is_neutral(value: &Value, neutral: &str) -> bool {
    serde_json::from_str::<Value>(neutral).is_ok_and(|neutral| {
        *value == neutral || value.as_f64().is_some_and(|number| Some(number) == neutral.as_f64())
    })
}

/// Where and of what kind a parser's fault is, without the text it found.
fn shape(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or has the wrong type",
        _ => "not valid JSON",
    };
    format!("{kind} at line {}, column {}", error.line(), error.column())
}
