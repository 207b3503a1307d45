//! Inside a decode worker process: one request at a time, under limits that it puts on itself before the first.
//!
//! The last instance stays open with its header, the places of its frames or tiles and its mask, so that each picture of a
//! clip or slide costs its own decoding only. A panic, an abort, a stack overflow or a signal ends the process; the pool notices, and the
//! instance pays for it.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, Write},
    path::Path,
    sync::Arc,
};

use pixels::{MaskedClip, Slide};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use schemas::{BlobRef, Digest, FrameNumber, ReasonCode};
use sha2::{Digest as _, Sha256};
use stage::{EcgStrip, FrameError, Thumbnail};

use crate::wire::{
    Answer, Coding, Fault, PROTOCOL, Question, Ready, Request, Said, Setup, Size, Strip, receive, send,
};

/// Resident bytes of the program itself: code, constants, and what the system maps. The data limit counts none of them.
const PROGRAM_BYTES: u64 = 32 << 20;
/// Address space for each byte of memory. The data limit binds what is written to; this binds what is only reserved, and
/// stands in where a kernel counts the heap alone as data (Linux before 4.7).
const RESERVED_SHARE: u64 = 4;

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
    limit(Resource::Data, setup.memory_bytes.saturating_sub(PROGRAM_BYTES), Reach::ForGood)?;
    limit(Resource::As, setup.memory_bytes.saturating_mul(RESERVED_SHARE), Reach::ForGood)?;
    limit(Resource::Core, 0, Reach::ForGood)?;
    send(&mut output, &Ready { protocol: PROTOCOL }, &[])?;
    let mut last = None;
    while let Some(request) = receive::<Request>(&mut input)? {
        // The kernel counts over the life of the process, so the limit moves ahead of what was used. Only the soft one:
        // lowering the hard limit could never be undone.
        let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
        let open = last.as_ref().is_some_and(|opened: &Opened| opened.blob == request.blob);
        let checking = if open { 0 } else { request.checking_seconds() };
        limit(Resource::Cpu, used + 1 + setup.cpu_seconds + checking, Reach::UntilMoved)?;
        let (answer, picture) = match answer(&mut last, &request) {
            Ok((answer, picture)) => (answer, picture),
            Err(error) => (Answer::Failed(Fault::of(&error)), no_picture()),
        };
        let coding = last.as_ref().and_then(Opened::coding);
        send(&mut output, &Said { answer, coding }, &picture)?;
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

/// An instance whose content was checked. It is read as a clip or as a slide: a slide has no mask to look for, and a clip
/// no levels. At most one of the two is there.
struct Opened {
    blob: BlobRef,
    file: File,
    clip: Option<MaskedClip<BufReader<File>>>,
    slide: Option<Slide<BufReader<File>>>,
}

fn answer(last: &mut Option<Opened>, request: &Request) -> Result<(Answer, Arc<[u8]>), FrameError> {
    let opened = match last {
        Some(opened) if opened.blob == request.blob => opened,
        // The old one goes first: two instances at once could exceed the memory limit.
        _ => {
            *last = None;
            last.insert(open(request)?)
        }
    };
    match request.question {
        Question::Header => Ok((Answer::Header(Box::new(opened.clip()?.header()?)), no_picture())),
        Question::Frame(number) => {
            let index = index_of(number)?;
            let picture = opened.clip()?.frame(index)?;
            Ok((Answer::Frame(Size::of(&picture)), picture.rgb))
        }
        Question::Thumbnail { number, height } => {
            let index = index_of(number)?;
            let Thumbnail { width, height, luma } = opened.clip()?.thumbnail(index, height)?;
            Ok((Answer::Thumbnail(Size { width, height }), luma))
        }
        Question::Ecg(number) => {
            let index = index_of(number)?;
            Ok(match opened.clip()?.ecg(index)? {
                None => (Answer::Ecg(None), no_picture()),
                Some(EcgStrip { image, seconds_per_pixel }) => {
                    let strip = Strip { size: Size::of(&image), seconds_per_pixel };
                    (Answer::Ecg(Some(strip)), image.rgb)
                }
            })
        }
        Question::Slide => Ok((Answer::Slide(Box::new(opened.slide()?.header().clone())), no_picture())),
        Question::Tile(position) => {
            let picture = opened.slide()?.tile(position)?;
            let size = picture.as_ref().map(Size::of);
            Ok((Answer::Tile(size), picture.map_or_else(no_picture, |picture| picture.rgb)))
        }
    }
}

fn no_picture() -> Arc<[u8]> {
    Arc::from([])
}

fn index_of(number: FrameNumber) -> Result<u32, FrameError> {
    if number.0 == 0 {
        return Err(FrameError::Damaged {
            code: const { ReasonCode::known("FRAME_INDEX") },
            detail: "frame 0 asked for; frames count from 1".to_owned(),
        });
    }
    Ok(number.index())
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
    Ok(Opened { blob: request.blob.clone(), file, clip: None, slide: None })
}

impl Opened {
    /// The same open file, from its start: what was checked is what is read.
    fn reader(&self) -> Result<BufReader<File>, FrameError> {
        let unavailable = |error: io::Error| FrameError::Unavailable(Box::new(error));
        let mut file = self.file.try_clone().map_err(unavailable)?;
        file.rewind().map_err(unavailable)?;
        Ok(BufReader::new(file))
    }

    fn coding(&self) -> Option<Coding> {
        let clip = self.clip.as_ref().map(|clip| Coding::of(clip.coding()));
        clip.or_else(|| self.slide.as_ref().map(|slide| Coding::of(slide.coding()))).flatten()
    }

    fn clip(&mut self) -> Result<&mut MaskedClip<BufReader<File>>, FrameError> {
        self.slide = None;
        let clip = match self.clip.take() {
            Some(clip) => clip,
            None => MaskedClip::open(self.reader()?)?,
        };
        Ok(self.clip.insert(clip))
    }

    fn slide(&mut self) -> Result<&mut Slide<BufReader<File>>, FrameError> {
        self.clip = None;
        let slide = match self.slide.take() {
            Some(slide) => slide,
            None => Slide::open(self.reader()?)?,
        };
        Ok(self.slide.insert(slide))
    }
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
