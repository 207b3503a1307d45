//! Why a frame cannot be had.

use std::io;

use schemas::ReasonCode;
use stage::FrameError;

use crate::{
    codec::CodecFault,
    fragments::FragmentError,
    header::{AttributeError, HeaderFault},
    mask::MaskError,
    not_analysable::NotAnalysable,
    prescan::PrescanError,
    probe::CodestreamError,
    slide::SlideError,
};

/// Why a frame cannot be had. Shows numbers and tags, never text from the header.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Neither DICOM nor PNG, JPEG or TIFF.
    #[error("the file is neither DICOM nor PNG, JPEG or TIFF")]
    UnknownFormat,
    /// The data set is damaged or hostile.
    #[error("the data set cannot be read")]
    Prescan(#[from] PrescanError),
    /// An attribute makes the pixels unreadable.
    #[error("the image attributes cannot be used")]
    Attribute(#[from] AttributeError),
    /// A whole object of a kind that nobody here can look at.
    #[error("the image is not analysable")]
    NotAnalysable(#[from] NotAnalysable),
    /// The pixel data does not hold the declared frames.
    #[error("the pixel data does not give the declared frames")]
    Fragments(#[from] FragmentError),
    /// The codestream contradicts the header.
    #[error("the codestream of the frame cannot be used")]
    Codestream(#[from] CodestreamError),
    /// The codec gave up.
    #[error("the {codec} codec refused the frame")]
    Codec {
        /// Which codec.
        codec: &'static str,
        /// Its own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A PNG, JPEG or TIFF file that cannot be decoded.
    #[error("the picture file cannot be decoded")]
    Still(#[source] image::ImageError),
    /// No such frame.
    #[error("frame index {index} asked for, the instance has {frames} frames")]
    FrameIndex {
        /// Index from 0.
        index: u32,
        /// Frames there are.
        frames: u32,
    },
    /// The instance cannot be read as a slide, or holds no such tile.
    #[error("the instance gives no such part of a slide")]
    Slide(#[from] SlideError),
    /// No mask can be made, so the frame does not leave.
    #[error("the frame cannot be masked")]
    Mask(#[from] MaskError),
    /// The file system failed.
    #[error("reading the instance failed")]
    Io(#[from] io::Error),
}

impl DecodeError {
    /// A stable code of capitals, digits and underscores.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownFormat => "UNKNOWN_FORMAT",
            Self::Prescan(error) => error.code(),
            Self::Attribute(AttributeError::Budget { .. }) => "FRAME_TOO_LARGE",
            Self::Attribute(AttributeError::Palette(_)) => "PALETTE_INVALID",
            Self::Attribute(_) | Self::Fragments(FragmentError::OddColumns { .. }) => "ATTRIBUTE_INVALID",
            Self::NotAnalysable(reason) => reason.code(),
            Self::Fragments(FragmentError::Form { .. }) => "PIXEL_DATA_FORM",
            Self::Fragments(FragmentError::TooFewFrames { .. }) => "FRAME_COUNT_MISMATCH",
            Self::Codestream(
                CodestreamError::Damaged { .. }
                | CodestreamError::ShortSegment { .. }
                | CodestreamError::ShortFrame { .. },
            ) => "CODESTREAM_DAMAGED",
            Self::Codestream(_) => "CODESTREAM_MISMATCH",
            Self::Codec { .. } => "CODEC_FAILED",
            Self::Still(_) => "STILL_INVALID",
            Self::FrameIndex { .. } => "FRAME_INDEX",
            Self::Slide(error) => error.code(),
            Self::Mask(MaskError::NoFan { .. }) => "NO_FAN",
            Self::Mask(MaskError::Frames { .. }) => "MASK_SIZE",
            Self::Io(_) => "IO",
        }
    }

    /// The error and its causes in one line.
    fn detail(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl From<HeaderFault> for DecodeError {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::Attribute(error) => Self::Attribute(error),
            HeaderFault::NotAnalysable(reason) => Self::NotAnalysable(reason),
        }
    }
}

impl From<CodecFault> for DecodeError {
    fn from(fault: CodecFault) -> Self {
        match fault {
            CodecFault::Codestream(error) => Self::Codestream(error),
            CodecFault::NotAnalysable(reason) => Self::NotAnalysable(reason),
            CodecFault::Fragments(error) => Self::Fragments(error),
            CodecFault::Codec { codec, source } => Self::Codec { codec, source },
        }
    }
}

impl From<DecodeError> for FrameError {
    fn from(error: DecodeError) -> Self {
        if let DecodeError::Slide(slide) = &error
            && let Some(reason) = slide.not_analysable()
        {
            return Self::NotAnalysable { reason };
        }
        match error {
            DecodeError::NotAnalysable(reason) => Self::NotAnalysable { reason: reason.into() },
            DecodeError::Io(source) | DecodeError::Prescan(PrescanError::Io(source)) => {
                Self::Unavailable(Box::new(source))
            }
            error => Self::Damaged { code: ReasonCode::known(error.code()), detail: error.detail() },
        }
    }
}
