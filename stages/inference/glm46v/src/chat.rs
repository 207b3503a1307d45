//! Messages, and the checkpoint's own Jinja template that turns them into one prompt.
//!
//! The template decides all whitespace and all control tokens; nothing of it is repeated here. It is rendered as
//! transformers does (`trim_blocks`, `lstrip_blocks`, Python's string methods, a `tojson` that takes Python's
//! arguments). minijinja's own `tojson` escapes HTML, which would change the prompt.

use image::RgbImage;
use minijinja::value::{Kwargs, Value as Jinja};
use minijinja::{Environment, ErrorKind, context};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter};

use crate::error::{LoadError, RequestError};
use crate::video::Video;

/// One turn of the conversation.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown, in order.
    pub content: Vec<Part>,
}

impl Message {
    /// A turn of text alone.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: vec![Part::Text(text.into())] }
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// Questions and pictures.
    User,
    /// Earlier answers.
    Assistant,
}

/// A piece of a message.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text without control tokens.
    Text(String),
    /// A still picture.
    Image(RgbImage),
    /// A video.
    Video(Video),
}

/// Whether the model may reason before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// The answer may begin with `<think>…</think>`.
    On,
    /// The template closes the reasoning at once.
    Off,
}

/// Control tokens that some templates ask for by name (`{{ eos_token }}`).
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct SpecialTokens(std::collections::BTreeMap<&'static str, String>);

impl SpecialTokens {
    /// From `tokenizer_config.json`, where a token is a string or an object with `content`.
    pub(crate) fn parse(config: Option<&Value>) -> Self {
        let named = ["bos_token", "eos_token", "pad_token", "unk_token"].into_iter().filter_map(|name| {
            let token = config?.get(name)?;
            let text = token.as_str().or_else(|| token.get("content")?.as_str())?;
            Some((name, text.to_owned()))
        });
        Self(named.collect())
    }
}

/// The parsed template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: SpecialTokens,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    pub(crate) fn parse(source: String, special_tokens: SpecialTokens) -> Result<Self, LoadError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", |message: String| -> Result<Jinja, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source).map_err(|source| LoadError::Template { source })?;
        Ok(Self { environment, special_tokens })
    }

    /// The prompt up to where the assistant begins to write.
    pub(crate) fn render(&self, messages: &[Message], thinking: Thinking) -> Result<String, RequestError> {
        let messages: Vec<TemplateMessage<'_>> = messages.iter().map(TemplateMessage::from).collect();
        let special_tokens = Jinja::from_serialize(&self.special_tokens);
        self.environment
            .get_template(NAME)
            .and_then(|template| {
                template.render(context! {
                    messages,
                    add_generation_prompt => true,
                    enable_thinking => thinking == Thinking::On,
                    ..special_tokens
                })
            })
            .map_err(|source| RequestError::Template { source })
    }
}

/// A message as templates expect it.
#[derive(Serialize)]
struct TemplateMessage<'a> {
    role: Role,
    content: TemplateContent<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum TemplateContent<'a> {
    /// A lone text is a plain string: some templates paste a system message as it is.
    Text(&'a str),
    Parts(Vec<TemplatePart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum TemplatePart<'a> {
    Text { text: &'a str },
    Image,
    Video,
}

impl<'a> From<&'a Message> for TemplateMessage<'a> {
    fn from(message: &'a Message) -> Self {
        let content = match message.content.as_slice() {
            [Part::Text(text)] => TemplateContent::Text(text),
            parts => TemplateContent::Parts(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => TemplatePart::Text { text },
                        Part::Image(_) => TemplatePart::Image,
                        Part::Video(_) => TemplatePart::Video,
                    })
                    .collect(),
            ),
        };
        Self { role: message.role, content }
    }
}

/// `tojson(value, ensure_ascii=False, indent=None)` with Python's spacing.
fn tojson(value: Jinja, arguments: Kwargs) -> Result<String, minijinja::Error> {
    let invalid = |detail: String| minijinja::Error::new(ErrorKind::InvalidOperation, detail);
    if arguments.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false) {
        return Err(invalid("tojson(ensure_ascii=true) is not supported".to_owned()));
    }
    let indent = arguments.get::<Option<usize>>("indent")?;
    arguments.assert_all_used()?;
    let mut json = Vec::new();
    match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, OneLine)),
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let pretty = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, pretty))
        }
    }
    .map_err(|e| invalid(e.to_string()))?;
    String::from_utf8(json).map_err(|e| invalid(e.to_string()))
}

/// Python's default separators: `", "` and `": "`.
struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}
