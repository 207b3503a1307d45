//! Inside a decode worker process: one request at a time, under limits that it puts on itself before the first.
//!
//! The last instance stays open with its header, the places of its frames and its mask, so that the frames of a clip cost
//! their own decoding only. A panic, an abort, a stack overflow or a signal ends the process; the pool notices, and the
//! instance pays for it.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, Write},
    path::Path,
};

use pixels::{Clip, Mask};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use schemas::{BlobRef, Digest, FrameNumber, ReasonCode};
use sha2::{Digest as _, Sha256};
use stage::{FrameError, Image};

use crate::wire::{Answer, Fault, PROTOCOL, Question, Ready, Request, Setup, Size, receive, send};

/// Why a worker ends before its input does.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The pipe failed, or what came through it is no request.
    #[error("decode worker's pipe failed")]
    Pipe(#[from] io::Error),
    /// A limit cannot be set; nothing is decoded without it.
    #[error("decode worker cannot limit itself")]
    Limit(#[from] rustix::io::Errno),
}

/// Answers requests from `input` on `output` until the input ends. Nothing else may be written to either.
pub fn serve(mut input: impl Read, mut output: impl Write) -> Result<(), ServeError> {
    let Some(setup) = receive::<Setup>(&mut input)? else { return Ok(()) };
    limit(Resource::As, setup.address_space_bytes, Reach::ForGood)?;
    limit(Resource::Core, 0, Reach::ForGood)?;
    send(&mut output, &Ready { protocol: PROTOCOL }, &[])?;
    let mut last = None;
    while let Some(request) = receive::<Request>(&mut input)? {
        // The kernel counts over the life of the process, so the limit moves ahead of what was used. Only the soft one:
        // lowering the hard limit could never be undone.
        let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
        limit(Resource::Cpu, used + 1 + setup.cpu_seconds, Reach::UntilMoved)?;
        let (answer, picture) = match answer(&mut last, &request) {
            Ok((answer, picture)) => (answer, picture),
            Err(error) => (Answer::Failed(Fault::of(&error)), None),
        };
        send(&mut output, &answer, picture.as_ref().map_or(&[], |picture| &picture.rgb))?;
    }
    Ok(())
}

/// Whether a limit may be raised again.
#[derive(Clone, Copy)]
enum Reach {
    ForGood,
    UntilMoved,
}

/// Sets a limit, or leaves a stricter one that this process was born with.
fn limit(resource: Resource, wanted: u64, reach: Reach) -> Result<(), rustix::io::Errno> {
    let born_with = getrlimit(resource).maximum;
    let current = Some(born_with.map_or(wanted, |most| most.min(wanted)));
    let maximum = match reach {
        Reach::ForGood => current,
        Reach::UntilMoved => born_with,
    };
    setrlimit(resource, Rlimit { current, maximum })
}

/// An instance whose content was checked, ready for its frames.
struct Opened {
    blob: BlobRef,
    clip: Clip<BufReader<File>>,
    mask: Mask,
}

fn answer(last: &mut Option<Opened>, request: &Request) -> Result<(Answer, Option<Image>), FrameError> {
    let opened = match last {
        Some(opened) if opened.blob == request.blob => opened,
        // The old one goes first: two instances at once could exceed the memory limit.
        _ => {
            *last = None;
            last.insert(open(request)?)
        }
    };
    match request.question {
        Question::Header => Ok((Answer::Header(Box::new(opened.clip.clip_header(&opened.mask))), None)),
        Question::Frame(FrameNumber(0)) => Err(FrameError::Damaged {
            code: const { ReasonCode::known("FRAME_INDEX") },
            detail: "frame 0 asked for; frames count from 1".to_owned(),
        }),
        Question::Frame(number) => {
            let picture = opened.clip.masked_frame(number.index(), &opened.mask)?.into_image();
            Ok((Answer::Frame(Size { width: picture.width, height: picture.height }), Some(picture)))
        }
    }
}

fn open(request: &Request) -> Result<Opened, FrameError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FrameError::NotFound { key: request.blob.key() },
        _ => FrameError::Unavailable(Box::new(error)),
    };
    let mut file = File::open(Path::new(&request.path)).map_err(unreadable)?;
    if !matches(&mut file, &request.blob).map_err(unreadable)? {
        return Err(FrameError::Mismatch { key: request.blob.key() });
    }
    file.rewind().map_err(unreadable)?;
    let mut clip = Clip::open(BufReader::new(file))?;
    let mask = clip.mask()?;
    Ok(Opened { blob: request.blob.clone(), clip, mask })
}

/// Whether the file is what its reference says. A wrong length is seen without reading.
fn matches(file: &mut File, blob: &BlobRef) -> io::Result<bool> {
    if file.metadata()?.len() != blob.bytes {
        return Ok(false);
    }
    let mut digest = Sha256::new();
    io::copy(file, &mut digest)?;
    Ok(Digest::from_bytes(digest.finalize().into()) == blob.sha256)
}
