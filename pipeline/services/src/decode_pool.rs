//! Frames from sandboxed decode workers: processes of this binary with limits on memory, processor time and wall clock.
//!
//! ```text
//!   stage's thread: a question ─▶ check out a worker ─▶ request ─▶ answer ─▶ check in
//!                                  (waits while all       │
//!                                   n are busy)           ├─ ends without an answer ─▶ fresh worker, once more
//!                                                         │                              └─ again: DECODER_CRASHED
//!                                                         └─ wall clock, CPU limit ───▶ killed: DECODER_TIMEOUT
//! ```
//!
//! - A crash or timeout costs one instance; the next request gets a fresh process.
//! - A crash is tried once more, so that a worker killed from outside costs nothing. A timeout is not: it would double
//!   what a hostile instance can cost.
//! - A worker that does not get as far as its first request says nothing about an instance: that is `Unavailable`.
//! - There are never more than n processes, each with one request at most; the others wait at the check-out.

mod process;

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pixels::Thumbnails;
use prometheus::{HistogramOpts, HistogramVec, Registry};
use schemas::{BlobRef, FrameNumber, ReasonCode};
use stage::{
    BlobError, ClipHeader, EcgStrip, Frame, FrameError, Frames, Image, SlideHeader, Thumbnail, TilePosition,
};

pub use process::WorkerStartError;

use crate::{
    ObjectBlobs,
    wire::{Answer, Question, Request, Size, Strip},
};
use process::{Reply, WorkerEnd, WorkerProcess};

const DECODER_CRASHED: ReasonCode = ReasonCode::known("DECODER_CRASHED");
const DECODER_TIMEOUT: ReasonCode = ReasonCode::known("DECODER_TIMEOUT");

/// Of thumbnails kept: the frames of fifty clips.
const THUMBNAIL_BYTES: usize = 64 << 20;

/// Seconds of one picture: from a thumbnail out of the page cache to a first tile of gigabytes.
const DECODE_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.0, 10.0];

/// How workers are started and what they may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodePoolConfig {
    /// The program; it calls [`decode_worker::serve`](crate::decode_worker::serve) on its standard input and output.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Most processes at once; 0 counts as 1.
    pub workers: usize,
    /// Wall clock of one request. The first of an instance also finds its mask; what checking the digest of a large one
    /// takes comes on top.
    pub request_timeout: Duration,
    /// Resident memory of a worker in bytes. What would pass it costs the instance its worker, twice: `DECODER_CRASHED`.
    pub memory_bytes: u64,
}

/// The pool.
pub struct DecodePool {
    blobs: Arc<ObjectBlobs>,
    config: DecodePoolConfig,
    // A lock, because the threads of all stages share the workers and each wants the one that has its instance open,
    // which a queue cannot give; held to take or put back one slot.
    idle: Mutex<Vec<Slot>>,
    checked_in: Condvar,
    thumbnails: Thumbnails,
    /// Absent where nobody watches.
    metrics: Option<FrameMetrics>,
}

/// How long pictures take. Cheap to clone: pools of one process share it.
#[derive(Clone)]
pub struct FrameMetrics {
    seconds: HistogramVec,
}

impl FrameMetrics {
    /// Declares the family.
    ///
    /// # Errors
    /// If it is declared already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(
            "prescreen_frame_decode_seconds",
            "Seconds until a worker hands over a frame, thumbnail or tile, by how its pixels are written; the first of an instance \
             also checks its digest and finds its mask.",
        );
        let seconds = HistogramVec::new(options.buckets(DECODE_SECONDS.to_vec()), &["transfer_syntax"])?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { seconds })
    }
}

/// A place for one worker.
#[derive(Default)]
struct Slot {
    /// Started at the first request.
    process: Option<WorkerProcess>,
    /// The instance it has open.
    last: Option<BlobRef>,
}

impl DecodePool {
    /// A pool over the files of `blobs`. Starts no process yet.
    pub fn new(blobs: Arc<ObjectBlobs>, config: DecodePoolConfig) -> Self {
        let idle = (0..config.workers.max(1)).map(|_| Slot::default()).collect();
        let thumbnails = Thumbnails::new(THUMBNAIL_BYTES);
        Self { blobs, config, idle: Mutex::new(idle), checked_in: Condvar::new(), thumbnails, metrics: None }
    }

    /// The same, counting in `metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: FrameMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    fn ask(&self, blob: &BlobRef, question: Question) -> Result<Reply, FrameError> {
        let file = self.blobs.local_file(blob).map_err(not_readable)?;
        // Both kinds of store refuse a folder that is not UTF-8 when they are opened.
        let path = file.path().to_string_lossy().into_owned();
        let request = Request { path, blob: blob.clone(), question };
        let mut slot = self.check_out(blob);
        let asked_at = Instant::now();
        let first = slot.ask(&self.config, &request);
        let reply = match first {
            Err(WorkerEnd::Crashed { .. }) => slot.ask(&self.config, &request),
            first => first,
        };
        match reply {
            Ok(reply) => {
                if let (Some(metrics), Some(coding)) = (&self.metrics, reply.coding)
                    && question.is_for_a_picture()
                {
                    let took = asked_at.elapsed().as_secs_f64();
                    metrics.seconds.with_label_values(&[coding.label()]).observe(took);
                }
                Ok(reply)
            }
            Err(WorkerEnd::NotStarted(error)) => Err(FrameError::Unavailable(Box::new(error))),
            Err(WorkerEnd::TimedOut) => Err(FrameError::Damaged {
                code: DECODER_TIMEOUT,
                detail: format!("decoder used up its {} s", self.config.request_timeout.as_secs_f64()),
            }),
            Err(WorkerEnd::Crashed { how }) => Err(FrameError::Damaged {
                code: DECODER_CRASHED,
                detail: format!("decoder ended twice: {how}"),
            }),
        }
    }

    /// The worker that has `blob` open, else the one unused for longest.
    fn check_out(&self, blob: &BlobRef) -> CheckedOut<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.is_empty() {
            idle = self.checked_in.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
        let place = idle.iter().position(|slot| slot.last.as_ref() == Some(blob)).unwrap_or_default();
        CheckedOut { pool: self, slot: idle.remove(place) }
    }
}

impl Slot {
    fn ask(&mut self, config: &DecodePoolConfig, request: &Request) -> Result<Reply, WorkerEnd> {
        // Out of the slot while it works: a process that ended is not put back.
        let mut process = match self.process.take() {
            Some(process) => process,
            None => WorkerProcess::start(config).map_err(WorkerEnd::NotStarted)?,
        };
        let open = self.last.take().is_some_and(|last| last == request.blob);
        let checking = if open { 0 } else { request.checking_seconds() };
        let reply = process.ask(request, config.request_timeout + Duration::from_secs(checking))?;
        self.process = Some(process);
        self.last = Some(request.blob.clone());
        Ok(reply)
    }
}

/// A slot in use; checked in when dropped, so that a panic loses none.
struct CheckedOut<'a> {
    pool: &'a DecodePool,
    slot: Slot,
}

impl CheckedOut<'_> {
    fn ask(&mut self, config: &DecodePoolConfig, request: &Request) -> Result<Reply, WorkerEnd> {
        self.slot.ask(config, request)
    }
}

impl Drop for CheckedOut<'_> {
    fn drop(&mut self) {
        let slot = std::mem::take(&mut self.slot);
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        self.pool.checked_in.notify_one();
    }
}

impl DecodePool {
    /// As [`Self::ask`], with the worker's refusal as the error it stands for.
    fn answer(&self, blob: &BlobRef, question: Question) -> Result<Reply, FrameError> {
        match self.ask(blob, question)? {
            Reply { answer: Answer::Failed(fault), .. } => Err(fault.into_error(blob)),
            reply => Ok(reply),
        }
    }
}

impl Frames for DecodePool {
    fn header(&self, instance: &BlobRef) -> Result<ClipHeader, FrameError> {
        match self.answer(instance, Question::Header)? {
            Reply { answer: Answer::Header(header), .. } => Ok(*header),
            _ => Err(other_reply()),
        }
    }

    fn frame(&self, instance: &BlobRef, number: FrameNumber) -> Result<Frame, FrameError> {
        match self.answer(instance, Question::Frame(number))? {
            Reply { answer: Answer::Frame(size), picture, .. } => {
                Ok(Frame { number, image: size.picture(picture) })
            }
            _ => Err(other_reply()),
        }
    }

    fn thumbnail(
        &self,
        instance: &BlobRef,
        number: FrameNumber,
        height: u32,
    ) -> Result<Option<Thumbnail>, FrameError> {
        let made = self.thumbnails.get_or_make(instance, (number, height), || {
            match self.answer(instance, Question::Thumbnail { number, height })? {
                Reply { answer: Answer::Thumbnail(Size { width, height }), picture, .. } => {
                    Ok(Thumbnail { width, height, luma: picture })
                }
                _ => Err(other_reply()),
            }
        });
        made.map(Some)
    }

    fn ecg(&self, instance: &BlobRef, number: FrameNumber) -> Result<Option<EcgStrip>, FrameError> {
        match self.answer(instance, Question::Ecg(number))? {
            Reply { answer: Answer::Ecg(Some(Strip { seconds_per_pixel, size })), picture, .. } => {
                Ok(Some(EcgStrip { image: size.picture(picture), seconds_per_pixel }))
            }
            Reply { answer: Answer::Ecg(None), .. } => Ok(None),
            _ => Err(other_reply()),
        }
    }

    fn slide(&self, instance: &BlobRef) -> Result<SlideHeader, FrameError> {
        match self.answer(instance, Question::Slide)? {
            Reply { answer: Answer::Slide(header), .. } => Ok(*header),
            _ => Err(other_reply()),
        }
    }

    fn tile(&self, instance: &BlobRef, position: TilePosition) -> Result<Option<Image>, FrameError> {
        match self.answer(instance, Question::Tile(position))? {
            Reply { answer: Answer::Tile(size), picture, .. } => Ok(size.map(|size| size.picture(picture))),
            _ => Err(other_reply()),
        }
    }
}

/// A worker that answers another question than was asked is taken for one that went astray.
fn other_reply() -> FrameError {
    FrameError::Damaged { code: DECODER_CRASHED, detail: "decoder answered another question".to_owned() }
}

fn not_readable(error: BlobError) -> FrameError {
    match error {
        BlobError::NotFound { key } => FrameError::NotFound { key },
        BlobError::Mismatch { key } => FrameError::Mismatch { key },
        error @ BlobError::Unavailable { .. } => FrameError::Unavailable(Box::new(error)),
    }
}
