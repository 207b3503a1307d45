//! What can go wrong, by operation: [`LoadError`] while a checkpoint is opened (refuse to start), [`RequestError`]
//! while one request is answered (its variants tell whether to fix the request, wait, or start a new engine).

use std::fmt;
use std::path::PathBuf;

use crate::memory::{Gigabytes, MemoryNeed, WouldFit};
use crate::numerics::{DeviceChoice, DeviceKind, Precision};

/// Why a checkpoint folder cannot be used. Nothing of the model runs after one of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that every checkpoint needs is not there.
    #[error("model folder {} has no {wanted}; take the whole folder from the model's publisher", folder.display())]
    FileMissing {
        /// The checkpoint folder.
        folder: PathBuf,
        /// The file, or the files of which one is needed.
        wanted: &'static str,
    },
    /// A file is not JSON.
    #[error("{} is not valid JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A JSON file lacks a field that has no default.
    #[error("{file} lacks the field {field}")]
    FieldMissing {
        /// Name of the file in the folder.
        file: &'static str,
        /// Path of the field, dotted.
        field: String,
    },
    /// A JSON field has the wrong type.
    #[error("{file}: field {field} has the wrong type")]
    FieldType {
        /// Name of the file in the folder.
        file: &'static str,
        /// Path of the field, dotted.
        field: String,
        /// What was found and expected.
        source: serde_json::Error,
    },
    /// A JSON field has a value that this library cannot honour.
    #[error("{file}: field {field} is {value}; expected {expected}")]
    FieldValue {
        /// Name of the file in the folder.
        file: &'static str,
        /// Path of the field, dotted.
        field: String,
        /// The value found.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A weight file is damaged: cut short, not safetensors, or unreadable.
    #[error("cannot read weights from {}; copy the file again", path.display())]
    Weights {
        /// The weight file.
        path: PathBuf,
        /// Where and why.
        source: candle_core::Error,
    },
    /// The shard index names a file outside the folder.
    #[error("model.safetensors.index.json names the shard {shard:?}; expected a plain file name")]
    ShardName {
        /// The name found.
        shard: String,
    },
    /// The architecture needs tensors that no weight file has.
    #[error("the weights lack {names}")]
    TensorsMissing {
        /// Their names.
        names: Names,
    },
    /// The weight files have tensors that the architecture does not know.
    #[error("the weights have unexpected tensors: {names}; is config.json the one of this checkpoint?")]
    TensorsUnexpected {
        /// Their names.
        names: Names,
    },
    /// Two weight files have the same tensor.
    #[error("tensor {name} is both in {} and in {}", first.display(), second.display())]
    TensorTwice {
        /// The tensor.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// A tensor's shape contradicts config.json.
    #[error("tensor {name} has shape {found:?}; config.json asks for {expected:?}")]
    TensorShape {
        /// The tensor.
        name: String,
        /// Shape in the weight file.
        found: Vec<usize>,
        /// Shape by config.json.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a type that this library does not read.
    #[error("tensor {name} is stored as {dtype}; expected F32, F16 or BF16")]
    TensorDtype {
        /// The tensor.
        name: String,
        /// Its type as safetensors names it.
        dtype: String,
    },
    /// A PEFT adapter cannot be merged.
    #[error("cannot merge the adapter in {}", folder.display())]
    Adapter {
        /// The adapter's folder.
        folder: PathBuf,
        /// Why.
        source: crate::checkpoint::AdapterError,
    },
    /// tokenizer.json is damaged or of an unknown kind.
    #[error("cannot use {}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: tokenizers::Error,
    },
    /// The tokenizer lacks a token that the processor writes into prompts.
    #[error("tokenizer.json lacks the token {token}")]
    TokenMissing {
        /// The token.
        token: &'static str,
    },
    /// config.json and tokenizer.json disagree about a token's id.
    #[error("config.json: {field} is {config_id}, but tokenizer.json gives {token} the id {tokenizer_id}")]
    TokenId {
        /// Field of config.json.
        field: &'static str,
        /// The token.
        token: &'static str,
        /// Its id by config.json.
        config_id: u32,
        /// Its id by tokenizer.json.
        tokenizer_id: u32,
    },
    /// The tokenizer can produce ids for which there is no embedding.
    #[error("tokenizer.json has ids up to {largest_id}, but config.json gives vocab_size {vocab_size}")]
    VocabularyTooSmall {
        /// Largest id of the tokenizer.
        largest_id: u32,
        /// Rows of the embedding table.
        vocab_size: usize,
    },
    /// The chat template does not parse.
    #[error("the chat template of the checkpoint does not parse")]
    Template {
        /// Where and why.
        source: minijinja::Error,
    },
    /// A tensor operation failed while weights were prepared.
    #[error("cannot prepare the weights")]
    Compute {
        /// What the tensor library said.
        #[from]
        source: candle_core::Error,
    },
    /// Not one block of keys and values fits the memory that the engine may use for them.
    #[error("kv_bytes is {given}; this model needs at least {least}")]
    StoreTooSmall {
        /// Bytes given.
        given: u64,
        /// Bytes of one block.
        least: u64,
    },
    /// A CUDA card is asked for, but the library was built without feature `cuda`.
    #[error(
        "device cuda:{ordinal} is asked for, but this build has no CUDA; build with feature cuda or take the CPU"
    )]
    BuiltWithoutCuda {
        /// Number of the card.
        ordinal: usize,
    },
    /// The device does not open.
    #[error("cannot open device {device}")]
    Device {
        /// The device.
        device: DeviceChoice,
        /// What its driver said.
        source: candle_core::Error,
    },
    /// The device does not compute in the wanted format.
    #[error("{wanted} cannot be computed on {device}; expected {}", OneOf(possible))]
    PrecisionUnsupported {
        /// The wanted format.
        wanted: Precision,
        /// The device.
        device: DeviceKind,
        /// The formats it has.
        possible: &'static [Precision],
    },
    /// Bitwise reproducible answers are asked for on a device whose libraries do not promise them.
    #[error("answers are the same to the last bit on the CPU only; choose fast determinism or the CPU")]
    ExactNeedsCpu,
    /// The engine would need more memory than there is.
    #[error("the model {need}, but there are {}: {would_fit}", Gigabytes(*available))]
    MemoryTooSmall {
        /// What it needs.
        need: Box<MemoryNeed>,
        /// Bytes that there are.
        available: u64,
        /// What would fit.
        would_fit: WouldFit,
    },
    /// The cache of quantised weights can be neither read nor written.
    #[error("cannot use the weight cache {}; make its folder readable and writable, with room for the weights", path.display())]
    WeightCache {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The engine's thread cannot be started.
    #[error("cannot start the engine's thread")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
}

/// A list in words: `a`, `a or b`, `a, b or c`.
struct OneOf<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for OneOf<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, one) in self.0.iter().enumerate() {
            let before = match i {
                0 => "",
                _ if i + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}{one}")?;
        }
        Ok(())
    }
}

/// Names in an error text: the first few, and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (i, name) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Which kind of picture a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// A still picture.
    Image,
    /// A video.
    Video,
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Video => "video",
        })
    }
}

/// Why one request has no answer. The engine goes on, except after [`RequestError::EngineGone`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The checkpoint's chat template refuses these messages.
    #[error("the chat template of the checkpoint does not render these messages")]
    Template {
        /// Where and why.
        source: minijinja::Error,
    },
    /// The tokenizer refuses the prompt.
    #[error("the tokenizer cannot encode the prompt")]
    Encode {
        /// Why.
        source: tokenizers::Error,
    },
    /// The tokenizer cannot turn the generated ids back into text.
    #[error("the tokenizer cannot decode the answer")]
    Decode {
        /// Why.
        source: tokenizers::Error,
    },
    /// A text part holds a control token, which would forge a turn or a picture.
    #[error("text of message {message} contains the control token {token}; remove it")]
    ControlTokenInText {
        /// Index of the message.
        message: usize,
        /// The token.
        token: String,
    },
    /// What the answer is to begin or to go on with holds a control token.
    #[error("the answer prefix or a continuation of it contains the control token {token}; remove it")]
    ControlTokenInAnswer {
        /// The token.
        token: String,
    },
    /// A continuation without text has no probability.
    #[error("continuation {index} is empty; expected at least one character")]
    EmptyContinuation {
        /// Index of the continuation.
        index: usize,
    },
    /// The template wrote another number of placeholders than there are pictures.
    #[error("the chat template wrote {found} {media} placeholders for {given} {media} parts")]
    Placeholders {
        /// Image or video.
        media: Media,
        /// Parts in the request.
        given: usize,
        /// Placeholders in the prompt.
        found: usize,
    },
    /// A picture has no pixels.
    #[error("{media} {index} is {width}x{height} pixels; expected at least 1x1")]
    EmptyPicture {
        /// Image or video.
        media: Media,
        /// Index among the parts of its kind.
        index: usize,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A picture is too narrow for the model.
    #[error("{media} {index} is {width}x{height} pixels; one side may be at most 200 times the other")]
    AspectRatio {
        /// Image or video.
        media: Media,
        /// Index among the parts of its kind.
        index: usize,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The frames of a video differ in size.
    #[error("frame {frame} of video {index} differs in size from the first")]
    FrameSize {
        /// Index among the videos.
        index: usize,
        /// Index of the frame.
        frame: usize,
    },
    /// Fewer frames than the model takes at once are left after sampling.
    #[error("video {index} gives {frames} frames; expected at least {needed}")]
    TooFewFrames {
        /// Index among the videos.
        index: usize,
        /// Frames after sampling.
        frames: usize,
        /// Frames of one temporal patch.
        needed: usize,
    },
    /// The times of a video's frames make no sense.
    #[error("video {index}: {problem}")]
    FrameTimes {
        /// Index among the videos.
        index: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// The template made nothing of the messages.
    #[error("the prompt is empty; send at least one message")]
    EmptyPrompt,
    /// The request asks for no token at all.
    #[error("max_new_tokens is 0; expected at least 1")]
    NothingToGenerate,
    /// Prompt and answer do not fit the model's context.
    #[error(
        "{prompt_tokens} prompt tokens and {max_new_tokens} new tokens exceed the model's {limit}; \
         send fewer or smaller pictures"
    )]
    TooLong {
        /// Tokens of the prompt, pictures included.
        prompt_tokens: usize,
        /// Tokens asked for.
        max_new_tokens: usize,
        /// `max_position_embeddings` of the checkpoint.
        limit: usize,
    },
    /// The model's output is not a number: the weights are broken.
    #[error("the logits of step {step} are not finite; the weights are damaged")]
    LogitsNotFinite {
        /// Index of the generated token.
        step: usize,
    },
    /// A setting of the sampling means nothing.
    #[error("{field} is {value}; expected {expected}")]
    Sampling {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: f64,
        /// What would do.
        expected: &'static str,
    },
    /// The answer cannot be held to its grammar.
    #[error("the answer cannot be held to its grammar")]
    Grammar {
        /// Why.
        #[from]
        source: crate::grammar::GrammarError,
    },
    /// Prompt and answer exceed the engine's whole key-value store.
    #[error(
        "{tokens} tokens of prompt and answer exceed the {capacity} that the engine's memory holds; \
         give the engine more memory or ask for less"
    )]
    StoreTooSmall {
        /// Tokens of prompt and answer.
        tokens: usize,
        /// Tokens that the store holds.
        capacity: usize,
    },
    /// The deadline passed before the answer was complete.
    #[error("the deadline of the request has passed")]
    DeadlineExceeded,
    /// The caller gave the request up.
    #[error("the request was cancelled")]
    Cancelled,
    /// As many requests wait as the queue holds. Try again later.
    #[error("the engine's queue of {capacity} requests is full")]
    QueueFull {
        /// Capacity of the queue.
        capacity: usize,
    },
    /// The engine has stopped or crashed. Start a new one.
    #[error("the engine has stopped")]
    EngineGone,
    /// A tensor operation failed.
    #[error("a tensor operation failed")]
    Compute {
        /// What the tensor library said.
        #[from]
        source: candle_core::Error,
    },
}
