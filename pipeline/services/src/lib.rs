//! The synchronous traits of the stages made real.
//!
//! ```text
//!   stage's thread                                this crate                          outside
//!   Blobs::get, put, memo, remember ───────────▶ ObjectBlobs ── small tokio runtime ─▶ folder, S3
//!   Frames::header, frame, ecg, slide, tile ───▶ DecodePool ─── pipes ───────────────▶ decode worker processes
//!                                                    └ ObjectBlobs::local_file            decode_worker::serve
//!   ModelBackend::generate, score ─────────────▶ EngineBackend ─ queue, bounded ─────▶ the engine's thread
//!                                                OpenAiBackend ─ HTTP, breaker ──────▶ a server elsewhere
//! ```
//!
//! Invariants:
//! - Bytes read are checked against the digest they were asked by; bytes written are whole or absent.
//! - Pixels are decoded in worker processes only: hostile ones cost their instance, never this process.
//! - Only masked frames, electrocardiogram strips and tiles of microscopy come back from a worker.

mod blobs;
mod decode_pool;
pub mod decode_worker;
mod engine;
mod openai;
mod schema;
mod wire;

#[cfg(feature = "s3")]
pub use blobs::S3Config;
pub use blobs::{CacheConfig, LocalFile, ObjectBlobs, OpenError};
pub use decode_pool::{DecodePool, DecodePoolConfig, FrameMetrics, WorkerStartError};
pub use engine::EngineBackend;
pub use openai::{OpenAiBackend, OpenAiConfig, OpenAiError};
