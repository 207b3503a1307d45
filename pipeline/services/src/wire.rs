//! What travels between the pool and a decode worker.
//!
//! ```text
//!   message   u32 little-endian length of the head │ head, JSON │ the bytes of the picture that the head announces
//!
//!   pool ──▶ Setup   ──▶ worker       once
//!   pool ◀── Ready   ◀── worker
//!   pool ──▶ Request ──▶ worker       one at a time
//!   pool ◀── Said    ◀── worker
//! ```

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use pixels::PixelCoding;
use schemas::{BlobRef, FrameNumber, NotAnalysable, ReasonCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stage::{ClipHeader, FrameError, Image, SlideHeader, TilePosition};

/// Most bytes of a head. The longest holds the times of every frame of a clip.
const MAX_HEAD_BYTES: u32 = 16 * 1024 * 1024;

/// Most bytes of a picture: what a worker under its memory limit could not have made is refused unread.
const MAX_PICTURE_BYTES: u64 = 512 * 1024 * 1024;

/// Bytes a second at which the digest of an instance is checked, on a slow disk and a processor without instructions for
/// it. The first request of a slide of gigabytes gets this much longer than others.
const CHECKED_BYTES_A_SECOND: u64 = 100_000_000;

/// The worker's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Resident memory in bytes.
    pub(crate) memory_bytes: u64,
    /// Processor time of one request in seconds.
    pub(crate) cpu_seconds: u64,
}

/// The worker keeps its limits from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The protocol's number: pool and worker are the same binary, unless one was replaced under the other.
    pub(crate) protocol: u32,
}

/// The protocol's number.
pub(crate) const PROTOCOL: u32 = 4;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) blob: BlobRef,
    pub(crate) question: Question,
}

impl Request {
    /// Whole seconds that checking the digest may take.
    pub(crate) fn checking_seconds(&self) -> u64 {
        self.blob.bytes / CHECKED_BYTES_A_SECOND
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    Header,
    Frame(FrameNumber),
    Thumbnail { number: FrameNumber, height: u32 },
    Ecg(FrameNumber),
    Slide,
    Tile(TilePosition),
}

impl Question {
    /// Whether the answer needs pixels to be decoded.
    pub(crate) fn is_for_a_picture(self) -> bool {
        matches!(self, Self::Frame(_) | Self::Thumbnail { .. } | Self::Tile(_))
    }
}

/// What a worker says to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) answer: Answer,
    /// How the pixels are written that it looked at; absent where it could not open them.
    pub(crate) coding: Option<Coding>,
}

/// [`PixelCoding`] as it travels, and the files that are not DICOM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Coding {
    Native,
    Deflated,
    Rle,
    JpegLossy,
    JpegLossless,
    JpegLs,
    Jpeg2000,
    JpegXl,
    PictureFile,
}

impl Coding {
    /// Of what was opened; `None` for pixels that no decoder here reads.
    pub(crate) fn of(coding: Option<PixelCoding>) -> Option<Self> {
        Some(match coding {
            None => Self::PictureFile,
            Some(PixelCoding::Native | PixelCoding::EncapsulatedNative) => Self::Native,
            Some(PixelCoding::DeflatedFrame) => Self::Deflated,
            Some(PixelCoding::Rle) => Self::Rle,
            Some(PixelCoding::JpegLossy) => Self::JpegLossy,
            Some(PixelCoding::JpegLossless) => Self::JpegLossless,
            Some(PixelCoding::JpegLs) => Self::JpegLs,
            Some(PixelCoding::Jpeg2000) => Self::Jpeg2000,
            Some(PixelCoding::JpegXl) => Self::JpegXl,
            Some(PixelCoding::Video | PixelCoding::Unknown) => return None,
        })
    }

    /// As a metric's label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Deflated => "deflated",
            Self::Rle => "rle",
            Self::JpegLossy => "jpeg_lossy",
            Self::JpegLossless => "jpeg_lossless",
            Self::JpegLs => "jpeg_ls",
            Self::Jpeg2000 => "jpeg_2000",
            Self::JpegXl => "jpeg_xl",
            Self::PictureFile => "picture_file",
        }
    }
}

/// Where it carries a [`Size`], the bytes of that picture follow the head: RGB, of a thumbnail luma.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Header(Box<ClipHeader>),
    Frame(Size),
    Thumbnail(Size),
    Ecg(Option<Strip>),
    Slide(Box<SlideHeader>),
    Tile(Option<Size>),
    Failed(Fault),
}

impl Answer {
    /// Bytes of the picture that follows, 0 if none does; `None` if it is none that may be read.
    pub(crate) fn picture_bytes(&self) -> Option<usize> {
        match self {
            Self::Frame(size) | Self::Tile(Some(size)) | Self::Ecg(Some(Strip { size, .. })) => size.bytes(3),
            Self::Thumbnail(size) => size.bytes(1),
            Self::Header(_) | Self::Slide(_) | Self::Ecg(None) | Self::Tile(None) | Self::Failed(_) => {
                Some(0)
            }
        }
    }
}

/// [`stage::EcgStrip`] as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Strip {
    pub(crate) size: Size,
    pub(crate) seconds_per_pixel: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Size {
    pub(crate) fn of(picture: &Image) -> Self {
        Self { width: picture.width, height: picture.height }
    }

    /// The picture of this size with the bytes that came.
    pub(crate) fn picture(self, rgb: Arc<[u8]>) -> Image {
        Image { width: self.width, height: self.height, rgb }
    }

    /// Bytes of a picture with so many channels, if it is one that may be read.
    fn bytes(self, channels: u64) -> Option<usize> {
        let bytes = u64::from(self.width).checked_mul(u64::from(self.height))?.checked_mul(channels)?;
        (bytes <= MAX_PICTURE_BYTES).then(|| usize::try_from(bytes).ok()).flatten()
    }
}

/// [`FrameError`] as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    NotAnalysable(NotAnalysable),
    Damaged { code: ReasonCode, detail: String },
    NotFound,
    Mismatch,
    Unavailable(String),
}

#[derive(Debug, thiserror::Error)]
#[error("decode worker cannot read the instance: {reason}")]
struct Unreadable {
    reason: String,
}

impl Fault {
    pub(crate) fn of(error: &FrameError) -> Self {
        match error {
            FrameError::NotAnalysable { reason } => Self::NotAnalysable(*reason),
            FrameError::Damaged { code, detail } => {
                Self::Damaged { code: code.clone(), detail: detail.clone() }
            }
            FrameError::NotFound { .. } => Self::NotFound,
            FrameError::Mismatch { .. } => Self::Mismatch,
            FrameError::Unavailable(source) => Self::Unavailable(source.to_string()),
        }
    }

    pub(crate) fn into_error(self, blob: &BlobRef) -> FrameError {
        match self {
            Self::NotAnalysable(reason) => FrameError::NotAnalysable { reason },
            Self::Damaged { code, detail } => FrameError::Damaged { code, detail },
            Self::NotFound => FrameError::NotFound { key: blob.key() },
            Self::Mismatch => FrameError::Mismatch { key: blob.key() },
            Self::Unavailable(reason) => FrameError::Unavailable(Box::new(Unreadable { reason })),
        }
    }
}

/// Writes one head, and the picture after it.
pub(crate) fn send(output: &mut impl Write, head: &impl Serialize, picture: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let length = u32::try_from(head.len()).ok().filter(|length| *length <= MAX_HEAD_BYTES);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "head is too long"))?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(&head)?;
    output.write_all(picture)?;
    output.flush()
}

/// Reads one head; nothing at the end of the input.
pub(crate) fn receive<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_HEAD_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "head is too long"));
    }
    let mut head = vec![0; length as usize];
    input.read_exact(&mut head)?;
    Ok(Some(serde_json::from_slice(&head)?))
}
