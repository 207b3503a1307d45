//! GLM-4.6V-Flash in candle: tensors and text, knows no study.
//!
//! ```text
//! Checkpoint::open(folder) ─▶ Engine::start ─▶ EngineHandle ─ generate(Request) ─▶ Generation
//!   config, picture_config      engine, one      │ caller's thread:  chat, tokenizer, processor, patches,
//!   checkpoint/{manifest,       thread           │                   resample, video
//!     weights, digest, adapter}                  │                   continuations
//!                                                └ engine's thread:  engine/core ─ vision, position_table
//!                                                                                ─ text, rope, kv_store, attention
//!                                                                                ─ sampler, grammar, engine/scoring
//! ```
//!
//! `numerics` decides in which number formats a device computes, `memory` whether it has room, both before anything is
//! loaded.
//!
//! The reference is transformers 5.23 in f32: the tests compare ids, positions, pixels and the scores of every step
//! with fixtures that `fixtures/make_fixtures.py` makes from it. Decoding is greedy, of equal scores the lowest id
//! wins, and the CPU computes in f32 whatever the files hold, so the same request has the same answer.
//!
//! ```no_run
//! use glm46v::{Checkpoint, Engine, EngineOptions, GenerateOptions, Message, Prompt, Request, Role, Thinking};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::start(Checkpoint::open("checkpoints/untrained")?, EngineOptions::default())?;
//! let prompt = Prompt { messages: vec![Message::text(Role::User, "Which view?")], thinking: Thinking::Off };
//! let options = GenerateOptions { max_new_tokens: 64, ..GenerateOptions::default() };
//! let answer = engine.handle().generate(&Request::new(prompt, options))?;
//! assert!(engine.handle().info().marks.untrained);
//! assert!(answer.generated_tokens() <= 64);
//! # Ok(())
//! # }
//! ```

mod attention;
mod chat;
mod checkpoint;
mod config;
mod continuations;
mod engine;
mod error;
mod few_rows;
#[cfg(feature = "flash")]
mod flash;
mod grammar;
mod json_fields;
mod kv_store;
mod layers;
mod memory;
mod model;
mod numerics;
mod paged_attention;
mod patches;
mod picture_config;
mod position_table;
mod prepared;
mod processor;
mod request;
mod resample;
mod rope;
mod sampler;
mod scheduler;
mod slices;
mod text;
mod tokenizer;
mod video;
mod vision;
mod vision_cache;

pub use chat::{Message, Part, Role, Thinking};
pub use checkpoint::{AdapterError, CacheFault, CacheUse, Checkpoint, ModelDigest};
pub use config::{ModelConfig, ModelMarks, Presentation, TextConfig, TextRope, VisionConfig};
pub use engine::{
    Canceller, ComputeInfo, Determinism, Engine, EngineHandle, EngineLoad, EngineOptions, ModelInfo, Pending,
    PendingScores,
};
pub use grammar::{Grammar, GrammarError, Unbounded, longest_answer};
/// Pictures come as this type of the `image` crate: 8-bit RGB, row by row.
pub use image::RgbImage;

pub use error::{LoadError, Media, Names, RequestError};
pub use memory::{Gigabytes, MemoryNeed, WouldFit};
pub use numerics::{DeviceChoice, DeviceKind, Numerics, Precision, UnknownDevice, WeightFormat};
pub use patches::{Grid, ResizeTask, smart_resize};
pub use picture_config::{Normalize, PictureConfig, PictureConfigs, VideoConfig, VideoGeneration};
pub use prepared::Prepared;
pub use processor::{Processor, Prompt};
pub use request::{Capture, Captured, FinishReason, GenerateOptions, Generation, Request, Timings};
pub use resample::resize_bicubic;
pub use rope::{Position, Run, positions};
pub use sampler::{RepetitionStop, Sampling, TokenScore};
pub use scheduler::Priority;
pub use video::{FrameTiming, Video, sample_frames};
